"""What a worker of a cluster does: fetch files, read them, and give a row for each reading."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocrcc.clusters.joining import check_version, first_line
from ocrcc.config import PredictConfig
from ocrcc.files import hush_pillow
from ocrcc.pages.reader import PageReader
from ocrcc.reading.json_lines import json_line
from ocrcc.reading.reader import LineReader, Unreadable
from ocrcc.types import Page, Recognition

COLUMNS = ("path", "text", "json", "error")
"""Of a row: what was read is ``json``, as `json_line` writes it, or there is an ``error``."""
_DOWNLOADS = 8
"""Files of an object store that are fetched at the same time."""
Carried = tuple[str, bytes | None]
"""A model's name, and its file unless it ships with the package."""


class Worker:
    """Reads blocks of paths.

    Args:
        version: Of ocrcc where the work is given out.
        model: What reads.
        config: How to read.
        second: The second model, if there is one.

    Raises:
        ConfigError: This is another version of ocrcc.
    """

    def __init__(self, version: str, model: Carried, config: PredictConfig, second: Carried | None = None) -> None:
        check_version(version)
        hush_pillow()
        with tempfile.TemporaryDirectory() as folder:
            if second is not None:
                config = replace(config, second_model=_unpacked(second, Path(folder, "second")))
            self._reader = PageReader(LineReader.load(_unpacked(model, Path(folder, "model")), config=config))

    def __call__(self, block: dict[str, Any]) -> dict[str, list[str]]:
        """Read one block, ``{"path": [...]}``."""
        names = [str(path) for path in block["path"]]
        with tempfile.TemporaryDirectory() as folder:
            places, errors = _fetch(names, Path(folder))
            known = dict(zip(places, names, strict=True))
            rows = [_row(result, known, errors) for result in self._reader.stream(places)]
        return {column: [row[column] for row in rows] for column in COLUMNS}


def _unpacked(model: Carried, folder: Path) -> str:
    """Write a model's file into a folder, and return by which name it can be loaded."""
    name, file = model
    if file is None:
        return name
    folder.mkdir()
    (folder / name).write_bytes(file)
    return str(folder / name)


def _row(result: Recognition | Page | Unreadable, known: dict[str, str], errors: dict[str, str]) -> dict[str, str]:
    """Give a result under the name that its file has for who asked; pages of a document have a number besides."""
    place, page = result.path, ""
    if place not in known:
        place, _, page = place.rpartition("#")
    name = known[place] + (f"#{page}" if page else "")
    if isinstance(result, Unreadable):
        error = errors.get(place) or result.message.replace(place, known[place])
        return {"path": name, "text": "", "json": "", "error": error}
    lines = [result] if isinstance(result, Recognition) else result.lines
    text = "\n".join(line.text for line in lines)
    return {"path": name, "text": text, "json": json_line(replace(result, path=name)), "error": ""}


def _fetch(names: Sequence[str], folder: Path) -> tuple[list[str], dict[str, str]]:
    """Bring what lies in object stores into a folder.

    Returns:
        Where each file is, or would be; and by that, why it is not there.
    """
    errors: dict[str, str] = {}

    def fetch(number: int) -> str:
        name = names[number]
        if "://" not in name:
            return name
        import fsspec

        place = str(folder / f"{number}{Path(name).suffix[:16]}")
        try:
            store, inside = fsspec.core.url_to_fs(name)
            store.get_file(inside, place)
        except Exception as error:  # every store has its own kinds
            Path(place).unlink(missing_ok=True)
            errors[place] = f"{name}: cannot be fetched: {first_line(error) or type(error).__name__}"
        return place

    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        return list(pool.map(fetch, range(len(names)))), errors

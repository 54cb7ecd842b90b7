"""``ocrcc unpack``: a dataset back into image files and a label file, to look at or to correct."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ocrcc.data.images import identify
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import new_aside
from ocrcc.places import claimed, remove

_TABLE = str.maketrans({"\t": " ", "\n": " ", "\r": " "})


def unpack(
    dataset: LmdbDataset, out: Path, *, limit: int = 0, report: Callable[[int, int | None], None] = lambda _d, _t: None
) -> int:
    """Write a dataset's images, as they are stored, and ``labels.txt`` (path, tab, text) into a new folder.

    Args:
        dataset: What to write.
        out: The folder; it appears whole or not at all.
        limit: Only so many lines; 0 for all of them.
        report: Told how many lines are written.

    Returns:
        How many lines were written.

    Raises:
        ConfigError: ``out`` exists.
        DataError: A record is missing, a label cannot stand in a line of text, or the disk is full.
    """
    with claimed(out):
        if os.path.lexists(out):
            raise ConfigError(f"{out} exists", "choose another folder")
        aside = new_aside(out)
        count = min(limit, len(dataset)) if limit else len(dataset)
        try:
            (aside / "images").mkdir(parents=True)
            with open(aside / "labels.txt", "w", encoding="utf-8") as labels:
                for index in range(count):
                    raw, label = dataset.image_bytes(index), dataset.label(index)
                    if label != label.translate(_TABLE):
                        raise DataError(f"{dataset.name}#{index + 1}: its label has a tab or a line break: {label!r}")
                    name = f"images/{index + 1:06d}{_suffix(raw)}"
                    (aside / name).write_bytes(raw)
                    labels.write(f"{name}\t{label}\n")
                    report(index + 1, count)
            aside.rename(out)
        except OSError as error:
            raise DataError(f"{out}: cannot be written: {error.strerror or error}") from None
        finally:
            remove(aside)
    return count


def _suffix(raw: bytes) -> str:
    try:
        image, _ = identify(raw)
    except DataError:
        return ".bin"
    with image:
        kind = (image.format or "bin").lower()
    return {"jpeg": ".jpg", "tiff": ".tif"}.get(kind, f".{kind}")

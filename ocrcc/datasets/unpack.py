"""``ocrcc unpack``: a dataset back into image files and a label file, to look at or to correct."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError

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
    if out.exists():
        raise ConfigError(f"{out} exists", "choose another folder")
    aside = out.with_name(f".{out.name}.tmp")
    count = min(limit, len(dataset)) if limit else len(dataset)
    try:
        shutil.rmtree(aside, ignore_errors=True)
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
        raise DataError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return count


def _suffix(raw: bytes) -> str:
    try:
        with Image.open(io.BytesIO(raw)) as image:
            kind = (image.format or "").lower()
    except (OSError, SyntaxError, ValueError):
        return ".bin"
    return {"jpeg": ".jpg", "tiff": ".tif"}.get(kind, f".{kind}")

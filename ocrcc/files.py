"""What files are called, and files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ocrcc.errors import DataError

IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
"""What the name of an image ends in, where nothing but the name can tell."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of a file to write to; it takes the file's name once it is safely on the disk.

    Args:
        path: The file to be, or to be replaced.

    Raises:
        DataError: It cannot be written; what was there before stays.
    """
    aside = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        aside.unlink(missing_ok=True)

"""Lines as a dataset."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from drawn_lines import draw_line, png
from PIL import Image

from ocrcc.data.lmdb_writer import LmdbWriter


def store(path: Path, lines: Iterable[tuple[Image.Image, str]], *, source: str = "", overwrite: bool = False) -> Path:
    """Write images and their labels; a line came from ``source``, or the dataset's name, and its number from 0."""
    with LmdbWriter(path, overwrite=overwrite) as writer:
        for number, (image, text) in enumerate(lines):
            writer.add(png(image), text, source=f"{source or path.stem}:{number}", size=image.size)
    return path


def store_drawn(path: Path, texts: Iterable[str], *, source: str = "", overwrite: bool = False) -> Path:
    """Write drawn texts."""
    return store(path, [(draw_line(text), text) for text in texts], source=source, overwrite=overwrite)

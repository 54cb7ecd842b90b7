"""Lines that are longer than a model takes: cut at gaps between characters, read in parts, and joined."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ocrcc.config import Preprocessing
from ocrcc.types import Recognition, RecognizedChar

_FILL = 0.9
"""Of the width that a model takes is what a part is wide at most, so that a second look has room to widen it."""
_SEARCH = 0.3
"""Of a part's width, from its end, is where a gap is looked for."""
_SPACE = 0.2
"""Times a line's height is the least width of a gap that is a space between words."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of a line.

    Attributes:
        left: Its first column.
        right: One past its last column.
        gap: How wide the gap is that it ends with, and half of which it has; 0 at the line's end.
    """

    left: int
    right: int
    gap: int = 0


def is_too_long(width: int, height: int, preprocessing: Preprocessing) -> bool:
    """Tell whether a line of this size is longer than a model takes, which would be squeezed if it were not cut."""
    return round(width * preprocessing.height / height) > preprocessing.max_width


def cut_at_gaps(image: Image.Image, preprocessing: Preprocessing) -> list[Part]:
    """Cut a line that is longer than a model takes into parts that are not, where no stroke is cut if possible.

    Args:
        image: Mode ``L`` or ``RGB``.
        preprocessing: Of the model.

    Returns:
        The parts from left to right; one for a line that fits.
    """
    width, height = image.size
    if not is_too_long(width, height, preprocessing):
        return [Part(left=0, right=width)]
    most = max(2, int(_FILL * preprocessing.max_width * height / preprocessing.height))
    blank = _blank_columns(image)
    parts: list[Part] = []
    left = 0
    while width - left > most:
        start = left + max(1, int((1 - _SEARCH) * most))
        middle, gap = _widest_gap(blank, start, left + most)
        parts.append(Part(left=left, right=middle, gap=gap))
        left = middle
    return [*parts, Part(left=left, right=width)]


def _blank_columns(image: Image.Image) -> np.ndarray:
    """Tell for each column whether it is paper from top to bottom."""
    grey = np.asarray(image.convert("L"), dtype=np.int16)
    contrast = np.abs(grey - np.median(grey)).max(axis=0)
    return contrast < 0.25 * max(float(np.percentile(contrast, 95)), 1.0)


def _widest_gap(blank: np.ndarray, start: int, end: int) -> tuple[int, int]:
    """Find the middle and the width of the widest gap that begins in a range; without one, its end."""
    edges = np.diff(np.concatenate([[False], blank[start:end], [False]]).astype(np.int8))
    starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
    if not len(starts):
        return end, 0
    at = int((ends - starts).argmax())
    return start + int(starts[at] + ends[at]) // 2, int(ends[at] - starts[at])


def join(parts: Sequence[tuple[Part, Recognition]], height: int, *, spaces: bool = True) -> Recognition:
    """Put the readings of a line's parts together; between words of letters, a wide gap is a space.

    Args:
        parts: From left to right.
        height: Of the line in pixels.
        spaces: Whether the model knows a space at all.
    """
    if len(parts) == 1:
        return parts[0][1]
    chars: list[RecognizedChar] = []
    gap, before = 0, 0
    for part, reading in parts:
        moved = [replace(char, left=char.left + part.left, right=char.right + part.left) for char in reading.chars]
        if spaces and chars and moved and gap >= _SPACE * height and _spaced(chars[-1].char) and _spaced(moved[0].char):
            sure = min(chars[-1].confidence, moved[0].confidence)
            chars.append(RecognizedChar(char=" ", confidence=sure, left=before - gap // 2, right=before + gap // 2 + 1))
        chars += moved
        gap, before = part.gap, part.right
    first = parts[0][1]
    return Recognition(
        path=first.path,
        text="".join(char.char for char in chars),
        confidence=min(reading.confidence for _, reading in parts),
        chars=tuple(chars),
    )


def _spaced(char: str) -> bool:
    """Tell whether a character belongs to a script that has spaces between words."""
    return not char.isspace() and unicodedata.east_asian_width(char) not in ("W", "F")

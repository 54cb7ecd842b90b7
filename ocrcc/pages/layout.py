"""What an image holds: one line of text, a line from top to bottom, or a page. All of the rule is here.

An image is a **page** if it shows text in at least two bands, one above the other, or if it is large and not
flat. In a band of text many strokes begin and end side by side: it is at least three times as wide as high,
has two or more edges for each of its heights, and is not much lower than the image's other bands; what is left
of the lines above and below, underlines, pictures and the parts of single characters fail one of these. Bands
merge where a page hangs askew, and then its size tells: at least 500 pixels each way, and not much wider than
high. Whoever knows better says so (``--layout``).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

Layout = Literal["line", "vertical", "page"]

LOWEST_PAGE = 40
"""Pixels; nobody puts two lines of text into an image of less height."""

_LARGE = 500
_WIDEST = 1.5
_LONGEST_SIDE = 1200
_FLAT = 24  # grey levels between the darkest and the lightest pixels of an empty image


def find_layout(image: Image.Image) -> Layout:
    """Tell what an upright image holds, by the rule above.

    A line is **vertical** if it is at least twice as high as wide and its ink falls into three pieces or more,
    as that of one character hardly does.

    Args:
        image: Mode ``L`` or ``RGB``.
    """
    width, height = image.size
    if height < LOWEST_PAGE:
        return "line"
    edges = _edges(image)
    if not edges.any():
        return "line"
    if _text_bands(edges) >= 2 or (min(width, height) >= _LARGE and width <= _WIDEST * height):
        return "page"
    pieces = _runs(edges.sum(axis=1) > 0)
    return "vertical" if height >= 2 * width and len(pieces) >= 3 else "line"


def _edges(image: Image.Image) -> np.ndarray:
    """Tell for each pixel, (H, W - 1), whether the next one in its row is much darker or lighter."""
    grey = image.convert("L")
    grey.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BOX)
    pixels = np.asarray(grey, dtype=np.int16)
    low, high = np.percentile(pixels, (0.1, 99.9))
    return np.abs(np.diff(pixels, axis=1)) > max(0.25 * (high - low), _FLAT / 4)


def _text_bands(edges: np.ndarray) -> int:
    """Count the bands of text."""
    in_row = edges.sum(axis=1)
    heights = []
    for start, end in _runs(in_row > max(4, 0.15 * np.percentile(in_row, 95))):
        columns = np.flatnonzero(edges[start:end].any(axis=0))
        width, height = columns[-1] - columns[0] + 1, end - start
        strokes = in_row[start:end].mean()
        if height >= 6 and width >= 3 * height and strokes >= max(8, 2 * width / height):
            heights.append(height)
    return int((np.array(heights) >= 0.6 * np.median(heights or 0)).sum())


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return where runs of true values start and end."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(changes[::2], changes[1::2], strict=True)]

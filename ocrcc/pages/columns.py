"""Lines from top to bottom whose characters stand upright, as in Chinese: laid side by side to be read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image

_TALLEST = 1.25
"""Times the width of a column's ink is a character high at most."""
_APART = 0.12
"""Times a character's width is between two that are laid side by side."""


@dataclass(frozen=True)
class Laid:
    """A column whose characters were laid side by side.

    Attributes:
        image: The line.
        places: Where each cell begins and ends: columns of the line, rows of the column.
    """

    image: Image.Image
    places: tuple[tuple[int, int, int, int], ...]

    def rows(self, left: float, right: float) -> tuple[float, float]:
        """Return the rows of the column that columns of the line come from."""
        across = np.array([edge for start, end, _, _ in self.places for edge in (start, end)], dtype=float)
        down = np.array([edge for _, _, top, bottom in self.places for edge in (top, bottom)], dtype=float)
        return float(np.interp(left, across, down)), float(np.interp(right, across, down))


def lay_out(column: Image.Image) -> Laid | None:
    """Lay the characters of a column side by side; None if there is nothing on it.

    Args:
        column: As it stands on its page, mode ``L`` or ``RGB``.
    """
    grey = np.asarray(column.convert("L"), dtype=np.int16)
    contrast = np.abs(grey - np.median(grey))
    ink = contrast > 0.35 * max(float(np.percentile(contrast, 98)), 16.0)
    if not ink.any():
        return None
    columns = np.flatnonzero(ink.any(axis=0))
    pitch = max(4, int(columns[-1] - columns[0]) + 1)
    cells = _cells(ink.sum(axis=1), pitch)
    apart = max(1, round(_APART * pitch))
    height = max(round(1.1 * pitch), max(bottom - top for top, bottom in cells) + 2)
    width = column.width + apart
    paper = (
        int(np.median(grey)) if column.mode == "L" else tuple(np.median(np.asarray(column), axis=(0, 1)).astype(int))
    )
    line = Image.new(column.mode, (width * len(cells) + apart, height), paper)
    places = []
    for number, (top, bottom) in enumerate(cells):
        left = apart + number * width
        line.paste(column.crop((0, top, column.width, bottom)), (left, (height - bottom + top) // 2))
        places.append((left, left + column.width, top, bottom))
    return Laid(line, tuple(places))


def _cells(ink: np.ndarray, pitch: int) -> list[tuple[int, int]]:
    """Group the pieces of ink of a column, from top to bottom, into characters about as high as wide.

    Args:
        ink: Pixels of it in each row.
        pitch: How wide the column's ink is.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ink > 0, [False]]).astype(np.int8)))
    pieces = [
        part for top, bottom in zip(edges[::2], edges[1::2], strict=True) for part in _split(ink, top, bottom, pitch)
    ]
    # The best grouping up to each piece: what it costs, and where its last group begins.
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(pieces) + 1):
        options = []
        for start in range(end - 1, -1, -1):
            height = pieces[end - 1][1] - pieces[start][0]
            if height > _TALLEST * pitch and start < end - 1:
                break
            options.append((best[start][0] + (height / pitch - 1) ** 2, start))
        best.append(min(options))
    cells: list[tuple[int, int]] = []
    end = len(pieces)
    while end:
        start = best[end][1]
        cells.append((pieces[start][0], pieces[end - 1][1]))
        end = start
    return cells[::-1]


def _split(ink: np.ndarray, top: int, bottom: int, pitch: int) -> list[tuple[int, int]]:
    """Split characters that touch where there is least ink."""
    count = round((bottom - top) / pitch) if bottom - top > 1.5 * pitch else 1
    cuts = [int(top)]
    for number in range(1, count):
        middle = top + (bottom - top) * number // count
        reach = max(1, pitch // 4)
        near = np.arange(middle - reach, middle + reach)
        least = near[ink[near] == ink[near].min()]
        cuts.append(int(least[np.abs(least - middle).argmin()]))
    return list(pairwise([*cuts, int(bottom)]))

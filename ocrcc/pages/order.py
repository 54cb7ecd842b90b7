"""The order in which the lines of a page are read: top to bottom, left to right, column after column.

Lines stand in bands that nothing but white separates. Bands that a common gutter divides are columns, if on both
sides of it stand lines as long as running text has; otherwise, as in forms and tables, rows are read across.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

_LINES = 3  # fewer do not make a column
_LENGTH = 6.0  # times its height is the least median length of a column's lines
_GUTTER = 0.8  # times the height of a line is the least width of a gutter


@dataclass(frozen=True)
class _Place:
    index: int
    left: float
    right: float
    top: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def reading_order(quads: Sequence[np.ndarray]) -> list[int]:
    """Return the indices of lines in reading order.

    Args:
        quads: (4, 2) corners (x, y) each, from the upper left one, clockwise.
    """
    if not quads:
        return []
    return [place.index for place in _ordered(_upright(np.stack(quads)))]


def _upright(quads: np.ndarray) -> list[_Place]:
    """Turn a page that hangs askew and give each line its place on it."""
    along = quads[:, 1] - quads[:, 0] + quads[:, 2] - quads[:, 3]
    angles = np.arctan2(along[:, 1], along[:, 0])
    lengths = np.hypot(along[:, 0], along[:, 1]) * (np.abs(angles) < np.pi / 8)
    if lengths.any():
        order = np.argsort(angles)
        half = np.searchsorted(np.cumsum(lengths[order]), lengths.sum() / 2)
        angle = angles[order][half]
        cos, sin = np.cos(angle), np.sin(angle)
        quads = quads @ np.array([[cos, -sin], [sin, cos]])
    lows, highs = quads.min(axis=1), quads.max(axis=1)
    # Detected boxes overlap their neighbours a little; a line's core does not.
    cores = 0.15 * (highs[:, 1] - lows[:, 1])
    return [
        _Place(index, float(low[0]), float(high[0]), float(low[1] + core), float(high[1] - core))
        for index, (low, high, core) in enumerate(zip(lows, highs, cores, strict=True))
    ]


def _ordered(places: list[_Place]) -> Iterator[_Place]:
    bands = list(_bands(places))
    while bands:
        count, gutter = _columns(bands)
        block = [place for band in bands[:count] for place in band]
        bands = bands[count:]
        if gutter is None:
            yield from _by_rows(block)
        else:
            yield from _ordered([place for place in block if place.right <= gutter])
            yield from _ordered([place for place in block if place.right > gutter])


def _bands(places: list[_Place]) -> Iterator[list[_Place]]:
    """Cut wherever a horizontal line crosses nothing."""
    band: list[_Place] = []
    bottom = float("-inf")
    for place in sorted(places, key=lambda place: place.top):
        if band and place.top >= bottom:
            yield band
            band = []
        band.append(place)
        bottom = max(bottom, place.bottom)
    if band:
        yield band


def _columns(bands: list[list[_Place]]) -> tuple[int, float | None]:
    """Find how many bands from the first share a gutter between columns, and where it is.

    Without one, the first band stands alone.
    """
    block: list[_Place] = []
    covered: list[tuple[float, float]] = []
    found: tuple[int, float | None] = (1, None)
    for count, band in enumerate(bands, start=1):
        block += band
        covered = _union(covered + [(place.left, place.right) for place in band])
        if len(covered) > 1:
            least = _GUTTER * float(np.median([place.height for place in block]))
            gaps = [(right - left, (left + right) / 2) for (_, left), (right, _) in pairwise(covered)]
            for width, middle in sorted(gaps, reverse=True):
                if width >= least and _is_gutter(block, middle):
                    found = (count, middle)
                    break
    return found


def _union(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Merge spans that overlap; sorted."""
    merged: list[tuple[float, float]] = []
    for left, right in sorted(spans):
        if merged and left <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], right))
        else:
            merged.append((left, right))
    return merged


def _is_gutter(places: list[_Place], gutter: float) -> bool:
    """Tell whether both sides look like columns of running text that stand beside each other."""
    sides = [[place for place in places if (place.right <= gutter) == left] for left in (True, False)]
    for side in sides:
        lengths = [(place.right - place.left) / max(place.height, 1) for place in side]
        if len(side) < _LINES or np.median(lengths) < _LENGTH:
            return False
    tops = [min(place.top for place in side) for side in sides]
    bottoms = [max(place.bottom for place in side) for side in sides]
    shared = min(bottoms) - max(tops)
    return shared >= 0.5 * min(bottom - top for top, bottom in zip(tops, bottoms, strict=True))


def _by_rows(places: list[_Place]) -> Iterator[_Place]:
    """Read across: a row is what stands beside its first line."""
    rest = sorted(places, key=lambda place: place.middle)
    while rest:
        first = rest.pop(0)
        beside = [place for place in rest if place.top <= first.middle <= place.bottom]
        rest = [place for place in rest if not place.top <= first.middle <= place.bottom]
        yield from sorted([first, *beside], key=lambda place: place.left)

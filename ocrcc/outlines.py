"""Outlines of lines on a page; where only a baseline was drawn, a band around it, as high as lines stand apart."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from ocrcc.types import Points

_UP, _DOWN = 0.72, 0.28
"""Of the distance between baselines: room for what rises above one, and what hangs below it."""
_NEAR = 20
"""Lines before and after one down the page, among which its neighbours are."""
_WIDEST = 1.5
"""Times the page's usual distance; a line farther from the next stands alone."""


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Return a box's corners."""
    return (left, top), (right, top), (right, bottom), (left, bottom)


def points_in(written: str) -> Points:
    """Read a chain of points, ``x,y x,y`` or ``x y x y``; none where it is no such chain."""
    numbers = [number(each) for each in re.split(r"[\s,;]+", written.strip())]
    if len(numbers) % 2 or None in numbers:
        return ()
    known = [float(each or 0) for each in numbers]
    return tuple(zip(known[::2], known[1::2], strict=True))


def number(written: str | None) -> float | None:
    """Read a number; None where it is none, or infinite."""
    try:
        value = float(written or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def clockwise(points: Points) -> bool:
    """Tell whether four corners run clockwise around what they enclose, so that the first is where a line starts."""
    if len(points) != 4:
        return False
    turns = []
    for at in range(4):
        (ax, ay), (bx, by), (cx, cy) = points[at], points[(at + 1) % 4], points[(at + 2) % 4]
        turns.append((bx - ax) * (cy - by) - (by - ay) * (cx - bx))
    return min(turns) > 0


def turned(points: Points, degrees: float, around: tuple[float, float]) -> Points:
    """Turn points around another one, clockwise on the page."""
    turn, center = cmath.rect(1, math.radians(degrees)), complex(*around)
    found = [center + (complex(*point) - center) * turn for point in points]
    return tuple((point.real, point.imag) for point in found)


def is_level(points: Points) -> bool:
    """Tell whether a baseline runs straight from left to right."""
    return len({y for _, y in points}) == 1 and points[0][0] < points[-1][0]


def is_upright(polygon: Points) -> bool:
    """Tell whether four corners are an upright box's, from the upper left one, clockwise."""
    if len(polygon) != 4:
        return False
    (a, b), (c, d), (e, f), (g, h) = polygon
    return b == d and f == h and a == g and c == e and a < c and b < f


def has_area(polygon: Points) -> bool:
    """Tell whether an outline encloses anything."""
    closed = zip(polygon, (*polygon[1:], *polygon[:1]), strict=True)
    return abs(sum(ax * by - bx * ay for (ax, ay), (bx, by) in closed)) > 1


def with_bands(lines: Sequence[tuple[Points, Points]]) -> list[Points]:
    """Return the outlines of a page's lines.

    Args:
        lines: Outline, empty for a line without one, and baseline of each.

    Returns:
        The outlines; a band for a line that has a baseline alone, unless it is the only one on the page.
    """
    if all(outline or len(baseline) < 2 for outline, baseline in lines):
        return [outline for outline, _ in lines]
    drawn = sorted((baseline for _, baseline in lines if len(baseline) > 1), key=lambda points: _middle(points)[1])
    places = {id(baseline): place for place, baseline in enumerate(drawn)}
    gaps = {}
    for baseline in drawn:
        place = places[id(baseline)]
        others = [*drawn[max(0, place - _NEAR) : place], *drawn[place + 1 : place + 1 + _NEAR]]
        gaps[id(baseline)] = min((_distance(_middle(baseline), other) for other in others), default=math.inf)
    known = [gap for gap in gaps.values() if 1 < gap < math.inf]
    if not known:
        return [outline for outline, _ in lines]
    usual = median(known)
    return [
        outline if outline or len(baseline) < 2 else _band(baseline, gaps[id(baseline)], usual)
        for outline, baseline in lines
    ]


def _band(baseline: Points, gap: float, usual: float) -> Points:
    high = gap if 1 < gap <= _WIDEST * usual else usual
    along = baseline[-1][0] - baseline[0][0], baseline[-1][1] - baseline[0][1]
    if along[0] < 0 and abs(along[0]) > abs(along[1]):  # drawn from right to left
        along = -along[0], -along[1]
    length = math.hypot(*along) or 1.0
    up = along[1] / length * high, -along[0] / length * high
    above = tuple((x + _UP * up[0], y + _UP * up[1]) for x, y in baseline)
    below = tuple((x - _DOWN * up[0], y - _DOWN * up[1]) for x, y in baseline)
    return (*above, *below[::-1])


def _middle(points: Points) -> tuple[float, float]:
    return (points[0][0] + points[-1][0]) / 2, (points[0][1] + points[-1][1]) / 2


def _distance(point: tuple[float, float], baseline: Points) -> float:
    """Return how far a point lies above or below a baseline; infinite beside it."""
    found = math.inf
    for (ax, ay), (bx, by) in pairwise(baseline):
        dx, dy = bx - ax, by - ay
        length = math.hypot(dx, dy)
        px, py = point[0] - ax, point[1] - ay
        if length and 0 <= px * dx + py * dy <= length**2:
            found = min(found, abs(dx * py - dy * px) / length)
    return found

"""Cut a line of text out of a page and set it straight: by its corners, its outline or its baseline."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from ocrcc.errors import DataError
from ocrcc.types import Outline

PADDING = 0.04
"""Of a line's height is added around it when a detector found it; tests/benchmarks/page_reading.py compares."""
_UPRIGHT = 2.5
"""Times its width is the least height of a line that runs from top to bottom: less may be a narrow character."""
_ASPECT = 0.02
"""An image may be scaled since it was labelled, its sides by factors that differ by no more than this share."""
_LEAST_INSIDE = 0.5
"""Of the box around a line must lie on the image, or it is another image's."""
_STRAIGHT = 1.0
"""Pixels by which a line may leave its course and still be cut out as it is."""


def cut_out(image: Image.Image, quad: np.ndarray, padding: float = PADDING) -> tuple[Image.Image, float]:
    """Cut a line out by its corners, with a little of what is around it.

    Args:
        image: The page.
        quad: (4, 2) corners (x, y), from where the line's upper edge starts, clockwise as it is read.
        padding: Times its height is added on every side; nothing at the page's edge, where nothing is.

    Returns:
        The line, and how many of its columns on the left and on the right lie outside the quad.
    """
    width, height = lengths(quad)
    pad = padding * height
    along, down = (quad[1] - quad[0]) / width, (quad[3] - quad[0]) / height
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    outer = quad + pad * (signs[:, :1] * along + signs[:, 1:] * down)
    inside = outer.clip(0, np.array(image.size))
    if np.abs(outer - inside).max() > 0:
        outer, pad = quad.clip(0, np.array(image.size)), 0.0
    low, high = outer.min(axis=0).round(), outer.max(axis=0).round()
    if np.abs(outer - [low, [high[0], low[1]], high, [low[0], high[1]]]).max() <= _STRAIGHT:
        right, bottom = high.clip(low + 1).tolist()
        return image.crop((*low.tolist(), right, bottom)), pad  # straight: pixels as they are
    width, height = lengths(outer)
    size = (max(1, round(width)), max(1, round(height)))
    target = [(0, 0), (size[0], 0), size, (0, size[1])]
    rows = []
    for (x, y), (u, v) in zip(target, outer, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    warp = np.linalg.lstsq(np.array(rows, dtype=np.float64), outer.reshape(-1).astype(np.float64), rcond=None)[0]
    return image.transform(size, Image.Transform.PERSPECTIVE, warp.tolist(), Image.Resampling.BICUBIC), pad


def cut_line(image: Image.Image, outline: Outline, *, chars: int = 0, name: str = "image") -> Image.Image:
    """Cut a labelled line out of its page: straight, turned upright, and without what its outline leaves out.

    Four corners in order are cut as they are. Otherwise the line follows its baseline, or the longer way of the box
    around its outline, and what lies outside of the outline is covered with the line's own paper.

    Args:
        image: The page, upright, mode ``L`` or ``RGB``.
        outline: Where the line stands.
        chars: How many characters it has: one alone never runs from top to bottom; 0 if that is not known.
        name: What to call the page in messages.

    Raises:
        DataError: The outline is empty, or not on this image.
    """
    scale = _scale(image, outline, name)
    polygon = np.array(outline.polygon, dtype=np.float64).reshape(-1, 2) * scale
    baseline = _course(np.array(outline.baseline, dtype=np.float64).reshape(-1, 2) * scale)
    _check_place(polygon, image, name)
    if outline.ordered and len(polygon) == 4:
        return cut_out(image, np.roll(polygon, -int(stands(polygon, chars)), axis=0), padding=0)[0]
    if len(baseline) < 2:
        baseline = _lower_edge(polygon, chars)
    elif (baseline[-1] - baseline[0])[0] < 0 and _mostly_above(polygon, baseline):
        baseline = baseline[::-1]  # drawn from right to left along a line that stands upright
    return _along(image, polygon, baseline)


def lengths(quad: np.ndarray) -> tuple[float, float]:
    """Return a line's length and height, the longer of either pair of sides."""
    sides = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    return max(1.0, float(max(sides[0], sides[2]))), max(1.0, float(max(sides[1], sides[3])))


def stands(quad: np.ndarray, chars: int = 0) -> bool:
    """Tell whether a line runs from top to bottom or back; of many characters, a little height tells.

    Args:
        quad: (4, 2) corners.
        chars: How many characters it has; 0 if that is not known.
    """
    width, height = lengths(quad)
    return chars != 1 and height >= (1.5 if chars > 2 else _UPRIGHT) * width


def _scale(image: Image.Image, outline: Outline, name: str) -> np.ndarray:
    if outline.size is None or min(outline.size) <= 0:
        return np.ones(2)
    scale = np.array(image.size) / np.array(outline.size)
    if abs(scale[0] / scale[1] - 1) > _ASPECT:
        labelled = " x ".join(f"{side:g}" for side in outline.size)
        raise DataError(f"{name}: {image.width} x {image.height} pixels, but the labels are of an image of {labelled}")
    return scale


def _check_place(polygon: np.ndarray, image: Image.Image, name: str) -> None:
    if len(polygon) < 3:
        raise DataError(f"{name}: the line's outline has no area")
    if not np.isfinite(polygon).all():
        raise DataError(f"{name}: the line's outline has corners that are no numbers")
    size = np.ptp(polygon, axis=0)
    if size.min() < 1:
        raise DataError(f"{name}: the line's outline has no area")
    inside = polygon.clip(0, np.array(image.size))
    if np.prod(np.ptp(inside, axis=0) / size) < _LEAST_INSIDE:
        raise DataError(f"{name}: the line's outline lies outside of the image")


def _course(points: np.ndarray) -> np.ndarray:
    """Leave out corners of a baseline that repeat the one before, or that hardly bend it (Douglas and Peucker)."""
    if len(points) < 2 or not np.isfinite(points).all():
        return points[:0]
    points = points[np.r_[True, np.abs(np.diff(points, axis=0)).max(axis=1) > 0]]
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        along = points[last] - points[first]
        offset = points[first + 1 : last] - points[first]
        away = np.abs(along[0] * offset[:, 1] - along[1] * offset[:, 0]) / max(np.hypot(*along), 1e-9)
        if away.max() > _STRAIGHT:
            middle = first + 1 + int(away.argmax())
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def _lower_edge(polygon: np.ndarray, chars: int) -> np.ndarray:
    """Return the lower edge of the smallest box around an outline, as it is read; level, unless askew is smaller."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    angles = np.unique(np.arctan2(edges[:, 1], edges[:, 0]) % (math.pi / 2))
    best, least = _box_at(polygon, 0.0), 0.0
    least = 0.95 * float(np.prod(lengths(best)))
    for angle in angles.tolist():
        box = _box_at(polygon, angle if angle <= math.pi / 4 else angle - math.pi / 2)
        if np.prod(lengths(box)) < least:
            best, least = box, float(np.prod(lengths(box)))
    best = np.roll(best, -int(stands(best, chars)), axis=0)
    return best[[3, 2]]


def _box_at(polygon: np.ndarray, angle: float) -> np.ndarray:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    turned = polygon @ turn
    (left, top), (right, bottom) = turned.min(axis=0), turned.max(axis=0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) @ turn.T


def _mostly_above(polygon: np.ndarray, baseline: np.ndarray) -> bool:
    level = np.interp(polygon[:, 0], *baseline[np.argsort(baseline[:, 0])].T)
    above = level - polygon[:, 1]
    return bool(above.max() > -above.min())


def _along(image: Image.Image, polygon: np.ndarray, baseline: np.ndarray) -> Image.Image:
    """Cut out what lies along a baseline, as far as the outline reaches."""
    low = np.floor(polygon.min(axis=0).clip(0)).astype(int)
    high = np.ceil(polygon.max(axis=0).clip(None, np.array(image.size))).astype(int)
    page, paper = _masked(image.crop((*low.tolist(), *high.tolist())), polygon - low)
    if len(baseline) == 2 and abs(baseline[1, 1] - baseline[0, 1]) <= _STRAIGHT and baseline[1, 0] > baseline[0, 0]:
        return page  # level: pixels as they are
    baseline = baseline - low
    outline = _dense(polygon - low)
    baseline = _reach(baseline, outline)
    steps = np.diff(baseline, axis=0)
    runs = np.hypot(steps[:, 0], steps[:, 1])
    ups = np.stack([steps[:, 1], -steps[:, 0]], axis=1) / runs[:, None]
    above, below = _heights(outline, baseline, ups, runs)
    # At a bend the two sides' upward directions meet halfway.
    normals = np.concatenate([ups[:1], ups[:-1] + ups[1:], ups[-1:]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(0.1)
    tops, bottoms = baseline + above * normals, baseline - below * normals
    stops = np.concatenate([[0], np.cumsum(runs)]).round().astype(int)
    size = (max(1, int(stops[-1])), max(1, round(above + below)))
    mesh = [
        (
            (int(stops[at]), 0, int(stops[at + 1]), size[1]),
            (*tops[at].tolist(), *bottoms[at].tolist(), *bottoms[at + 1].tolist(), *tops[at + 1].tolist()),
        )
        for at in range(len(runs))
        if stops[at + 1] > stops[at]
    ]
    return page.transform(size, Image.Transform.MESH, mesh, Image.Resampling.BICUBIC, fillcolor=paper)


def _masked(part: Image.Image, polygon: np.ndarray) -> tuple[Image.Image, int | tuple[int, ...]]:
    """Cover what lies outside of an outline with its paper: the commonest grey or colour inside."""
    mask = Image.new("L", part.size, 0)
    ImageDraw.Draw(mask).polygon([tuple(point) for point in polygon.round().tolist()], fill=255, outline=255)
    inside = np.asarray(part)[np.asarray(mask) > 0]
    if not len(inside):
        return part, 255 if part.mode == "L" else (255, 255, 255)
    middle = np.median(inside.reshape(len(inside), -1), axis=0).astype(int).tolist()
    paper = middle[0] if part.mode == "L" else tuple(middle)
    return Image.composite(part, Image.new(part.mode, part.size, paper), mask), paper


def _dense(polygon: np.ndarray) -> np.ndarray:
    """Put points on the edges of an outline, between its corners."""
    shares = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    return (polygon + shares * (np.roll(polygon, -1, axis=0) - polygon)).reshape(-1, 2)


def _reach(baseline: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Lengthen or shorten a baseline at both ends, in its own direction, to where the outline ends."""
    first, last = baseline[1] - baseline[0], baseline[-1] - baseline[-2]
    first, last = first / np.hypot(*first), last / np.hypot(*last)
    before = max(0.0, float(((baseline[0] - outline) @ first).max()))
    after = max(0.0, float(((outline - baseline[-1]) @ last).max()))
    if len(baseline) > 2:  # where it is bent, its ends' directions reach no farther than half of its length
        longest = float(np.hypot(*np.diff(baseline, axis=0).T).sum()) / 2
        before, after = min(before, longest), min(after, longest)
    return np.concatenate([[baseline[0] - before * first], baseline[1:-1], [baseline[-1] + after * last]])


def _heights(outline: np.ndarray, baseline: np.ndarray, ups: np.ndarray, runs: np.ndarray) -> tuple[float, float]:
    """Return how far an outline reaches above and below its baseline, in pixels."""
    offsets = outline[:, None] - baseline[None, :-1]
    along = np.einsum("ijk,jk->ij", offsets, np.stack([-ups[:, 1], ups[:, 0]], axis=1))
    outside = np.maximum(np.maximum(-along, along - runs), 0)
    up = np.einsum("ijk,jk->ij", offsets, ups)
    nearest = np.hypot(outside, up).argmin(axis=1)
    heights = up[np.arange(len(outline)), nearest]
    above, below = max(0.0, float(heights.max())), max(0.0, float(-heights.min()))
    return (above, below) if above + below >= 1 else (1.0, 0.0)

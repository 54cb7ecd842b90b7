"""Where the glyphs of a line stand: the one place that turns frames, on which CTC peaks, into pixel columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from ocrcc.quantiles import quantiles

_WIDE, _NARROW = 1.1, 0.7
"""No character is wider than this share of its line's height: hanzi, and letters and digits."""
INK = 0.25
"""Columns whose darkest pixel is paler than this share of the line's darkest have no ink."""
_PAPER = 0.15
"""Of the contrast, by which most pixels may differ from the lightest (or darkest) and still be paper."""
_OUTSIDE = 0.5
"""Of its width, by which the first or last peak may lie outside the ink; farther, and the ink is not its own."""
_MOST_SHIFT = 0.5
"""Line heights by which peaks are moved at most: beyond, what starts or ends the line is no glyph that was read."""


def ink_columns(pixels: np.ndarray) -> np.ndarray:
    """Return (W,) how much ink each column of a line has at its darkest, 0..1 of the line's darkest.

    Args:
        pixels: (H, W), or (K, H, W), dark on light or light on dark.
    """
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    low, paper, high = quantiles(pixels[:, ::2, ::2] if pixels.shape[1] > 8 else pixels, 0.02, 0.5, 0.98)
    nearest = low if paper - low < high - paper else high
    if abs(paper - nearest) > _PAPER * (high - low):  # more than half of the line is no paper
        paper = nearest
    ink = np.abs(pixels.astype(np.float32, copy=False) - paper).max(axis=(0, 1))
    return ink / max(float(ink.max(initial=0.0)), 1e-9)


def glyph_boxes(spans: np.ndarray, text: Sequence[str], ink: np.ndarray, height: float) -> np.ndarray:
    """Find which pixel columns the characters of a line take up.

    CTC reads a character on a frame or two, and a model does so early or late in its glyphs, as its training had it:
    by how much is told from where the line's ink starts and ends. A character reaches from there to where there
    is least ink between it and its neighbour, but no further than a character of its kind is wide; empty columns at
    its sides are left out.

    Args:
        spans: (L, 2) first column of each character's frames and one past the last, rising.
        text: L characters.
        ink: (W,) of the line, as `ink_columns` gives it.
        height: Of the line, in the same pixels.

    Returns:
        (L, 2) int64 first column, and one past the last; never empty, never outside the line.
    """
    if not len(spans):
        return np.zeros((0, 2), np.int64)
    width = len(ink)
    wide = np.array([unicodedata.east_asian_width(char[0]) in "WFA" for char in text])
    middles = _centred(spans.mean(axis=1), np.where(wide, 1.0, 0.5), ink, height)
    reach = np.where(wide, _WIDE, _NARROW) * height / 2
    shares = np.where(wide[:-1] == wide[1:], 0.5, np.where(wide[:-1], 2 / 3, 1 / 3))
    cuts = [_least_ink(ink, *ends) for ends in zip(middles[:-1], middles[1:], shares, strict=True)]
    left = np.maximum([0, *cuts], np.floor(middles - reach)).astype(np.int64)
    right = np.minimum([*cuts, width], np.ceil(middles + reach)).astype(np.int64)
    left = np.clip(left, 0, width - 1)
    boxes = np.stack((left, np.clip(right, left + 1, width)), axis=1)
    return np.array([_trim(ink, int(first), int(end)) for first, end in boxes], dtype=np.int64)


def _centred(peaks: np.ndarray, widths: np.ndarray, ink: np.ndarray, height: float) -> np.ndarray:
    """Move peaks (L,) so that the first and the last lie as far within the line's ink as glyphs of their widths do."""
    inked = np.flatnonzero(ink > INK)
    if not len(inked):
        return peaks
    first, end = inked[0], inked[-1] + 1
    unit = (end - first) / widths.sum()
    leads, wide = np.array([peaks[0] - first, end - peaks[-1]]), widths[[0, -1]] * unit
    if (leads < -_OUTSIDE * wide).any():
        return peaks
    before, after = leads - wide / 2
    shift = np.clip((after - before) / 2, -_MOST_SHIFT * height, _MOST_SHIFT * height)
    return np.clip(peaks + shift, 0, len(ink) - 1)


def _least_ink(ink: np.ndarray, left: float, right: float, share: float) -> int:
    """Find where to cut between two middles: where there is least ink, and if in doubt at that share of the way."""
    apart = right - left
    first = int(left + 0.1 * apart)
    columns = np.arange(first, max(first, int(np.ceil(right - 0.1 * apart))) + 1)
    columns = columns[columns < len(ink)]
    if not len(columns):
        return len(ink)
    doubt = np.abs(columns - (left + share * apart)) / max(apart, 1.0)
    return int(columns[np.argmin(ink[columns] + 0.3 * doubt)])


def _trim(ink: np.ndarray, first: int, end: int) -> tuple[int, int]:
    """Leave out columns without ink at both sides; a character without any keeps its place."""
    inked = np.flatnonzero(ink[first:end] > INK)
    if not len(inked):
        return first, end
    return first + int(inked[0]), first + int(inked[-1]) + 1

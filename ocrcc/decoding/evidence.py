"""What tells whether a character was read right: its scores, those between it and the next one, and the line's ink.

A posterior alone is sure of much that is wrong: a point that was passed over leaves both its neighbours at 1.000.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np

from ocrcc.charset import BLANK
from ocrcc.decoding.boxes import INK

_MOST = 30.0
"""Leads beyond this are all alike: e to the 30th."""
FEATURES = (
    *("odds", "lead", "lookalike lead", "lookalike mass", "frames", "missed", "stray ink", "stray ink, wide", "gap"),
    *("width, narrow", "width, wide", "wide", "disagreement", "read again", "margin", "margin known", "has lookalikes"),
)
"""What the columns of evidence are; a calibration of other ones is of no use."""


def assemble(
    confidences: np.ndarray, scores: np.ndarray, ink: np.ndarray, margins: np.ndarray, agreement: np.ndarray, looks: int
) -> np.ndarray:
    """Bring all evidence on the characters of a line to numbers that a logistic regression can weigh.

    Args:
        confidences: (L,) mean posteriors.
        scores: (L, 4) of `from_logits`.
        ink: (L, 5) of `from_ink`.
        margins: (L,) in feature space; nan where not known.
        agreement: (L,) share of the looks at the line that read the same there.
        looks: How many there were.

    Returns:
        (L, F) float64, the columns of `FEATURES`.
    """
    sure = np.clip(confidences, 1e-6, 1 - 1e-6)
    lead, alike, frames, missed = scores.astype(np.float64).T
    stray, stray_wide, gap, width, wide = ink.astype(np.float64).T
    known = np.isfinite(margins)
    columns = (
        np.log(sure / (1 - sure)),
        np.clip(lead, -2, 20),
        np.clip(alike, -2, 20),
        np.log(1e-7 + sure * np.exp(-np.clip(alike, -5, 20))),
        np.log(np.maximum(frames, 1)),
        np.clip(missed, -2, 15),
        np.minimum(stray, 0.5),
        np.minimum(stray_wide, 0.5),
        np.minimum(gap, 1),
        np.where(wide > 0, 0, width),
        np.where(wide > 0, width, 0),
        wide,
        1 - agreement,
        np.full(len(sure), float(looks > 1)),
        np.where(known, margins, 0),
        known.astype(np.float64),
        (alike < _MOST).astype(np.float64),
    )
    return np.stack(columns, axis=1)


def from_logits(
    logits: np.ndarray, classes: np.ndarray, starts: np.ndarray, ends: np.ndarray, siblings: np.ndarray
) -> np.ndarray:
    """Tell what a line's scores say of each of its characters, beside the posterior.

    Args:
        logits: (T, C) of the line's own frames.
        classes: (L,) what was read.
        starts: (L,) first frame of each.
        ends: (L,) one past the last frame.
        siblings: (C, K) look-alikes of each class, padded with the blank.

    Returns:
        (L, 4): how far its class leads the next likeliest on its best frame, and its likeliest look-alike there
        (the most there is, where it has none), how many frames it has, and how far any other class falls short of
        the blank between it and the next one (and before the first).
    """
    if not len(classes):
        return np.zeros((0, 4), np.float32)
    rows = np.arange(len(classes))
    peaks = np.array(
        [start + logits[start:end, own].argmax() for start, end, own in zip(starts, ends, classes, strict=True)]
    )
    at_peaks = logits[peaks].astype(np.float32)
    own = at_peaks[rows, classes]
    at_peaks[:, BLANK] = at_peaks[rows, classes] = -np.inf
    lead = own - at_peaks.max(axis=1)
    alike = siblings[classes]
    chances = np.where(alike == BLANK, -np.inf, np.take_along_axis(at_peaks, alike, 1))
    lead_alike = own - chances.max(axis=1, initial=-np.inf)
    missed = np.full(len(classes), _MOST, np.float32)
    bounds = [0, *starts[1:], len(logits)]
    for number in rows:
        before = range(0, starts[0]) if not number else range(0)
        between = [*before, *range(ends[number], bounds[number + 1])]
        if between:
            scores = logits[between].astype(np.float32)
            blank = scores[:, BLANK].copy()
            scores[:, [BLANK, *classes[number : number + 2]]] = -np.inf
            missed[number] = (blank - scores.max(axis=1)).min()
    found = np.stack((lead, lead_alike, (ends - starts).astype(np.float32), missed), axis=1)
    return np.clip(found, -_MOST, _MOST)


def from_ink(boxes: np.ndarray, text: Sequence[str], ink: np.ndarray, height: float) -> np.ndarray:
    """Tell what a line's ink says of each of its characters: ink that none was read from, and gaps with none.

    Args:
        boxes: (L, 2) columns of the glyphs.
        text: L characters.
        ink: (W,) of the line, as `ink_columns` gives it.
        height: Of the line, in the same pixels.

    Returns:
        (L, 5), in line heights but for the last: ink between the middle of the glyph and that of the next one that
        hangs together with neither (and ink outside the first and the last), the same again if either is wide and
        may well come in pieces, the widest empty stretch there, the width of its box, and whether it is wide.
    """
    if not len(boxes):
        return np.zeros((0, 5), np.float32)
    wide = np.array([unicodedata.east_asian_width(char[0]) in "WFA" for char in text])
    inked = ink > INK
    middles = (boxes.sum(axis=1) - 1) // 2
    ends = [*middles[1:], len(ink)]
    found = np.zeros((len(boxes), 5), np.float32)
    for number, (start, end) in enumerate(zip(middles, ends, strict=True)):
        stretch = inked[start:end]
        pieces = _pieces(stretch)
        stray = sum(last - first for first, last in pieces if first and (last < len(stretch)))
        gap = _longest_gap(pieces, len(stretch))
        if number + 1 == len(boxes):
            gap = 0
        if not number:
            stray += sum(last - first for first, last in _pieces(inked[: boxes[0, 0]]))
        either = wide[number] or wide[min(number + 1, len(wide) - 1)]
        found[number, :3] = (0 if either else stray, stray if either else 0, gap)
    found[:, 3] = boxes[:, 1] - boxes[:, 0]
    found[:, :4] /= height
    found[:, 4] = wide
    return found


def _pieces(inked: np.ndarray) -> list[tuple[int, int]]:
    """Find the stretches of columns that have ink."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], inked.astype(np.int8), [0]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _longest_gap(pieces: list[tuple[int, int]], width: int) -> int:
    bounds = [0, *[edge for piece in pieces for edge in piece], width]
    return max(end - start for start, end in zip(bounds[::2], bounds[1::2], strict=True))

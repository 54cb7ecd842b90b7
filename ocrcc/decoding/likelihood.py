"""How likely a text is on a line's frames, over all paths that collapse to it (Graves et al. 2006, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocrcc.charset import BLANK

_FRAMES_AT_ONCE = 16
"""Half a megabyte for thousands of classes, which stays in a core's cache from one step to the next."""


def log_softmax(logits: np.ndarray, classes: Sequence[int] | None = None) -> np.ndarray:
    """Turn scores (T, C) into log posteriors, in float32 and a new array; of some classes alone, if they are named."""
    found = np.empty((len(logits), logits.shape[1] if classes is None else len(classes)), np.float32)
    for first in range(0, len(logits), _FRAMES_AT_ONCE):
        scores = logits[first : first + _FRAMES_AT_ONCE].astype(np.float32)
        scores -= scores.max(-1, keepdims=True)
        wanted = scores.copy() if classes is None else scores[:, classes]
        np.exp(scores, out=scores)
        np.subtract(wanted, np.log(scores.sum(-1, keepdims=True)), out=found[first : first + _FRAMES_AT_ONCE])
    return found


def log_likelihoods(log_posteriors: Sequence[np.ndarray], targets: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the log-probability of each text on the frames that belong to it (forward variables, equations 5 to 8).

    All texts are gone through together, frame by frame. The variables are scaled to a sum of 1 at each frame, so that
    no line is too long for them.

    Args:
        log_posteriors: M arrays (T, C), of as many frames as each line has.
        targets: M lists of class ids.

    Returns:
        (M,) float64; -inf where the frames are too few.
    """
    frames = np.array([len(each) for each in log_posteriors])
    states = 2 * max(map(len, targets), default=0) + 1
    emissions = np.zeros((max(frames, default=0), len(targets), states))
    skips = np.zeros((len(targets), states))
    for row, (posteriors, target) in enumerate(zip(log_posteriors, targets, strict=True)):
        chain = np.full(2 * len(target) + 1, BLANK)
        chain[1::2] = target
        emissions[: frames[row], row, : len(chain)] = np.exp(posteriors[:, chain])
        skips[row, 3 : len(chain) : 2] = chain[3::2] != chain[1:-2:2]
    forward = np.zeros((len(targets), states))
    forward[:, 0] = 1
    found = np.zeros(len(targets))
    with np.errstate(divide="ignore"):
        for frame, emission in enumerate(emissions):
            moved = forward.copy()
            moved[:, 1:] += forward[:, :-1]
            moved[:, 2:] += forward[:, :-2] * skips[:, 2:]
            moved *= emission
            sums = moved.sum(axis=1)
            own = frame < frames
            forward[own] = moved[own] / np.maximum(sums[own], np.finfo(float).tiny)[:, None]
            found[own] += np.log(sums[own])
        ends = 2 * np.array([len(target) for target in targets], dtype=np.int64)
        rows = np.arange(len(targets))
        last = forward[rows, ends] + np.where(ends > 0, forward[rows, np.maximum(ends - 1, 0)], 0)
        return found + np.log(last)

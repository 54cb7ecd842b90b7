"""How far a share measured on these lines may lie from that of all lines of their kind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 1000
_AT_ONCE = 2**21
"""Line numbers drawn at a time."""
_Z = 1.959964


@dataclass(frozen=True)
class Interval:
    """Where a share lies with 95 % confidence.

    Attributes:
        low: Lower end.
        high: Upper end.
    """

    low: float
    high: float


def bootstrap(parts: np.ndarray, wholes: np.ndarray, *, seed: int = 0) -> Interval:
    """Return the 95 % percentile interval of sum(parts) / sum(wholes), lines drawn anew with replacement.

    Whole lines are drawn, since the characters of a line share its font and its scan. Where no part, or every one, is
    in, each draw would say the same, so Wilson's interval stands there.

    Args:
        parts: (N,) of each line, for example its edits.
        wholes: (N,) of each line, for example its characters.
        seed: Of the draws.

    Returns:
        nan at both ends where the wholes sum to nothing.
    """
    there = (wholes > 0) | (parts > 0)
    parts, wholes = parts[there].astype(np.float64), wholes[there].astype(np.float64)
    total = float(wholes.sum())
    if not total:
        return Interval(math.nan, math.nan)
    if parts.sum() in (0, total):
        return wilson(float(parts.sum()), total)
    dice = np.random.default_rng(seed)
    lines = len(parts)
    step = max(1, _AT_ONCE // lines)
    found = []
    for first in range(0, _RESAMPLES, step):
        drawn = dice.integers(0, lines, (min(step, _RESAMPLES - first), lines))
        found.append(parts[drawn].sum(1) / np.maximum(wholes[drawn].sum(1), 1e-9))
    low, high = np.quantile(np.concatenate(found), (0.025, 0.975)).tolist()
    return Interval(low, high)


def wilson(right: float, total: float) -> Interval:
    """Return Wilson's 95 % score interval (1927) of a share; it is no point even where all, or none, are right.

    >>> wilson(10, 10)
    Interval(low=0.7224671885643666, high=1.0)
    """
    share, squared = right / total, _Z * _Z
    middle = (share + squared / (2 * total)) / (1 + squared / total)
    reach = _Z * math.sqrt(share * (1 - share) / total + squared / (4 * total * total)) / (1 + squared / total)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))

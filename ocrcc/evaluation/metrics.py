"""How right readings are: line accuracy, CER and 1-NED, from sums that are exact however lines are batched."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

_BINS = 15
"""Of confidences, for `expected_error`."""


def fold(text: str) -> str:
    """Drop the differences that a reader would not see as errors: compatibility forms (NFKC) and white space.

    >>> fold("ＡＢ １，①") == fold("AB1, 1")
    True
    """
    return "".join(unicodedata.normalize("NFKC", text).split())


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How right a set of readings is, compared in one way.

    Attributes:
        lines: Lines compared.
        characters: Characters of their references.
        correct: Lines that were read exactly.
        edits: Insertions, deletions and substitutions that turn the references into the readings.
        line_accuracy: correct / lines; nan without lines.
        cer: edits / characters over the whole set, an error rate that can exceed 1; nan where the references
            have no characters.
        one_minus_ned: As in ICDAR 2019: 1 minus the mean over lines of edits / the longer of reference and
            reading, 0 where both are empty; nan without lines.
    """

    lines: int
    characters: int
    correct: int
    edits: int
    line_accuracy: float
    cer: float
    one_minus_ned: float


class ScoreCounter:
    """Collects pairs of reference and reading.

    Only whole numbers are kept, so that neither order nor batches nor processes change a digit.
    """

    def __init__(self) -> None:
        self._characters = 0
        self._distances: Counter[tuple[int, int]] = Counter()

    def update(self, truth: str, read: str) -> int:
        """Count one line and return its edits."""
        edits = Levenshtein.distance(truth, read)
        self._characters += len(truth)
        self._distances[edits, max(len(truth), len(read))] += 1
        return edits

    def merge(self, other: ScoreCounter) -> None:
        """Count everything that ``other`` has counted."""
        self._characters += other._characters
        self._distances.update(other._distances)

    def summary(self) -> Scores:
        """Return the scores of everything counted so far."""
        lines = sum(self._distances.values())
        correct = sum(count for (edits, _), count in self._distances.items() if not edits)
        edits = sum(edits * count for (edits, _), count in self._distances.items())
        ned = math.fsum(edits / longest * count for (edits, longest), count in self._distances.items() if edits)
        return Scores(
            lines=lines,
            characters=self._characters,
            correct=correct,
            edits=edits,
            line_accuracy=correct / lines if lines else math.nan,
            cer=edits / self._characters if self._characters else math.nan,
            one_minus_ned=1 - ned / lines if lines else math.nan,
        )


def expected_error(sure: np.ndarray, right: np.ndarray) -> float:
    """Return how far confidences (M,) lie from the share that is right, on average over 15 equally wide bins (ECE).

    As Guo et al. 2017 have it; nan without characters.
    """
    if not len(sure):
        return float("nan")
    bins = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    apart = np.bincount(bins, weights=sure - right, minlength=_BINS)
    return float(np.abs(apart).sum() / len(sure))

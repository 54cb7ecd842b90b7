"""The random draws behind one line: fixed by (seed, index) alone, on any machine and in any process."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BLOCK = 96
"""Uniform numbers drawn at once; one numpy call for many draws is what makes a line cheap."""


class Dice:
    """A stream of random choices.

    Args:
        seed: Of the whole set; not negative.
        index: Of the line.
    """

    def __init__(self, seed: int, index: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, index))))
        self._numbers: list[float] = []

    def random(self) -> float:
        """Return a number in 0..1, 1 excluded."""
        if not self._numbers:
            self._numbers = self._generator.random(_BLOCK).tolist()
        return self._numbers.pop()

    def chance(self, probability: float) -> bool:
        """Return True with a probability."""
        return self.random() < probability

    def uniform(self, low: float, high: float) -> float:
        """Return a number between two others."""
        return low + (high - low) * self.random()

    def below(self, count: int) -> int:
        """Return an integer in 0..count, count excluded."""
        return int(self.random() * count)

    def between(self, low: int, high: int) -> int:
        """Return an integer, both ends included."""
        return low + self.below(high - low + 1)

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def weighted(self, items: Sequence[T], cumulative: Sequence[float]) -> T:
        """Return one of the items, as likely as their weights, given as a running sum, say."""
        return items[min(bisect_right(cumulative, self.random() * cumulative[-1]), len(items) - 1)]


def running_sum(weights: Sequence[float]) -> list[float]:
    """Add weights up for `Dice.weighted`.

    >>> running_sum([1, 2, 1])
    [1, 3, 4]
    """
    return list(accumulate(weights))

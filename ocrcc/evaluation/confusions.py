"""Which characters are taken for which: the edits between references and readings, counted by character."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from ocrcc.lookalikes import Lookalikes


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """An error that was made ``count`` times.

    Attributes:
        truth: The character of the reference; empty where the reading has one too many.
        predicted: The character that was read; empty where it was left out.
        count: How often.
    """

    truth: str
    predicted: str
    count: int


@dataclass(frozen=True, kw_only=True)
class PairConfusion:
    """How often two look-alikes were taken for one another.

    Attributes:
        first: A character.
        second: Its look-alike.
        first_as_second: How often the first was read as the second.
        second_as_first: How often the second was read as the first.
    """

    first: str
    second: str
    first_as_second: int
    second_as_first: int

    @property
    def count(self) -> int:
        """Both ways together."""
        return self.first_as_second + self.second_as_first


class ConfusionCounter:
    """Counts the edits of the shortest alignment of each reading with its reference."""

    def __init__(self) -> None:
        self._pairs: Counter[tuple[str, str]] = Counter()

    def update(self, truth: str, read: str) -> None:
        """Count the edits of one line."""
        if truth == read:
            return
        for edit in Levenshtein.editops(truth, read):
            lost = "" if edit.tag == "insert" else truth[edit.src_pos]
            got = "" if edit.tag == "delete" else read[edit.dest_pos]
            self._pairs[lost, got] += 1

    def merge(self, other: ConfusionCounter) -> None:
        """Count everything that ``other`` has counted."""
        self._pairs.update(other._pairs)

    def substitutions(self) -> tuple[Confusion, ...]:
        """List the characters read as another one, the most frequent first; ties by code points."""
        return self._ranked(lambda truth, predicted: bool(truth and predicted))

    def insertions(self) -> tuple[Confusion, ...]:
        """List the characters read where there are none, the most frequent first."""
        return self._ranked(lambda truth, _: not truth)

    def deletions(self) -> tuple[Confusion, ...]:
        """List the characters left out, the most frequent first."""
        return self._ranked(lambda _, predicted: not predicted)

    def lost(self, characters: Container[str]) -> int:
        """Return how many of these characters of the references were read as others or left out."""
        return sum(count for (truth, _), count in self._pairs.items() if truth and truth in characters)

    def between(self, lookalikes: Lookalikes) -> tuple[PairConfusion, ...]:
        """List the look-alikes that were taken for one another, both ways, the most frequent first."""
        found = []
        for truth, predicted in self._pairs:
            first, second = sorted((truth, predicted))
            known = lookalikes.score(truth, predicted) is not None
            if known and (truth == first or (first, second) not in self._pairs):
                found.append(
                    PairConfusion(
                        first=first,
                        second=second,
                        first_as_second=self._pairs[first, second],
                        second_as_first=self._pairs[second, first],
                    )
                )
        return tuple(sorted(found, key=lambda pair: (-pair.count, pair.first, pair.second)))

    def _ranked(self, wanted: Callable[[str, str], bool]) -> tuple[Confusion, ...]:
        found = [(-count, *pair) for pair, count in self._pairs.items() if wanted(*pair)]
        return tuple(
            Confusion(truth=truth, predicted=predicted, count=-negative) for negative, truth, predicted in sorted(found)
        )

"""Which lines of a dataset are whole: foreign ones have holes, count from 0, or say another number than they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

_NAMED = 20


@dataclass(frozen=True)
class Numbering:
    """The records of a dataset that are lines.

    Attributes:
        numbers: Of the record of each line.
        missing: How many of the lines that the dataset says it has are not whole.
        named: The numbers of the first few of them.
        beyond: How many whole lines stand beyond those that it says it has; they are not read.
    """

    numbers: np.ndarray
    missing: int
    named: tuple[int, ...]
    beyond: int

    def describe(self) -> list[str]:
        """Say in words what is not as it should be; nothing for a whole dataset."""
        said = []
        if self.missing:
            named = ", ".join(f"#{number}" for number in self.named[:5]) + (", …" if self.missing > 5 else "")
            has, leaves = ("lines have", "are") if self.missing > 1 else ("line has", "is")
            said.append(f"{self.missing} {has} no image or no label and {leaves} left out: {named}")
        if self.beyond:
            said.append(f"{self.beyond} more lines than its num-samples says are there and not read")
        return said


def number_lines(keys: Callable[[bytes], Iterator[bytes]], declared: int) -> Numbering:
    """Find the lines that have an image and a label, by their keys.

    Args:
        keys: Gives all keys of the dataset from one on, in order and each once.
        declared: How many lines it says it has.
    """
    images, labels = (np.fromiter(_numbers(keys(kind), kind), dtype=np.int32) for kind in (b"image-", b"label-"))
    if np.array_equal(images, labels):
        whole = either = images  # nearly always, and sets of a million numbers take memory
    else:
        whole, either = np.intersect1d(images, labels), np.union1d(images, labels)
    first = 0 if len(either) and either[0] == 0 else 1
    last = declared if first or (len(either) and declared in either) else declared - 1
    read = whole[whole <= last]
    missing = max(0, last - first + 1 - len(read))
    named = tuple(islice(_absent(read, first, last), _NAMED)) if missing else ()
    return Numbering(read, missing, named, len(whole) - len(read))


def _numbers(keys: Iterator[bytes], prefix: bytes) -> Iterator[int]:
    for key in keys:
        if not key.startswith(prefix):
            return
        number = key[len(prefix) :]
        if len(number) == 9 and number.isdigit():
            yield int(number)


def _absent(present: np.ndarray, first: int, last: int) -> Iterator[int]:
    """Give the numbers that are not there."""
    before = np.concatenate([[first - 1], present])
    after = np.concatenate([present, [last + 1]])
    for hole in np.flatnonzero(after - before > 1):
        yield from range(int(before[hole]) + 1, int(after[hole]))

"""Some of a source's lines, as a dataset of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from ocrcc.types import LabelledLines, Line, LineSource


class SomeLines:
    """Some of a dataset's lines; a `ocrcc.types.LabelledLines`.

    Args:
        dataset: Where from.
        numbers: (M,) which of them, from 0.
    """

    def __init__(self, dataset: LabelledLines, numbers: np.ndarray) -> None:
        self.name, self.size = dataset.name, len(numbers)
        self.sha256 = getattr(dataset, "sha256", "")
        """Of all of the dataset."""
        self.widths, self.heights = dataset.widths[numbers], dataset.heights[numbers]
        self._dataset, self._numbers = dataset, numbers

    def __len__(self) -> int:
        return self.size

    def line(self, index: int) -> Line:
        """Return line ``index``."""
        return self._dataset.line(int(self._numbers[index]))

    def label(self, index: int) -> str:
        """Return the text of line ``index``."""
        return self._dataset.label(int(self._numbers[index]))

    def source(self, index: int) -> str:
        """Return where line ``index`` came from."""
        return self._dataset.source(int(self._numbers[index]))

    @cached_property
    def characters(self) -> Mapping[str, int]:
        """The characters of all labels and how often they occur."""
        return count_characters(self)


class FirstLines:
    """The first lines of a source that never ends, held in memory; a `ocrcc.types.LabelledLines`.

    Args:
        source: Where from.
        count: How many.
        name: For tables; by default the source's.
    """

    def __init__(self, source: LineSource, count: int, name: str = "") -> None:
        self.name, self.size = name or source.name, count
        self._lines = [source.line(index) for index in range(count)]
        self.widths = np.array([line.image.width for line in self._lines])
        self.heights = np.array([line.image.height for line in self._lines])

    def __len__(self) -> int:
        return self.size

    def line(self, index: int) -> Line:
        """Return line ``index``."""
        return self._lines[index]

    def label(self, index: int) -> str:
        """Return the text of line ``index``."""
        return self._lines[index].label

    def source(self, index: int) -> str:
        """Return where line ``index`` came from."""
        return self._lines[index].source

    @cached_property
    def characters(self) -> Mapping[str, int]:
        """The characters of all labels and how often they occur."""
        return count_characters(self)


def count_characters(dataset: LabelledLines) -> Counter[str]:
    """Count the characters of all labels of a dataset."""
    return Counter(char for index in range(len(dataset)) for char in dataset.label(index))

"""What was read on each line, kept for a report: numbers of every line, texts of the wrong ones alone."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocrcc.types import CharSpan, RecognizedChar, SizedLineSource


@dataclass(frozen=True, kw_only=True)
class LineRead:
    """A line and what was read on it.

    Attributes:
        dataset: Number of its dataset.
        index: Of the line in it.
        truth: The label, normalised by the charset.
        text: What was read.
        confidence: Of that.
        confidences: Of its characters.
        source: Where the line came from.
        aspect: Width of the image over its height.
    """

    dataset: int
    index: int
    truth: str
    text: str
    confidence: float
    confidences: tuple[float, ...]
    source: str
    aspect: float


OnLine = Callable[[LineRead], None]


def line_read(
    dataset: SizedLineSource,
    number: int,
    index: int,
    truth: str,
    confidence: float,
    chars: Sequence[CharSpan | RecognizedChar],
    source: str,
) -> LineRead:
    """Bring together what is known of a line of the dataset of that number, and of what was read on it."""
    return LineRead(
        dataset=number,
        index=index,
        truth=truth,
        text="".join(char.char for char in chars),
        confidence=confidence,
        confidences=tuple(char.confidence for char in chars),
        source=source,
        aspect=float(dataset.widths[index] / max(1, dataset.heights[index])),
    )


@dataclass(frozen=True, kw_only=True)
class WrongRead:
    """A line that was not read as its label says.

    Attributes:
        dataset: Number of its dataset.
        index: Of the line in it.
        truth: The label.
        read: What was read.
        edits: Between the two.
        confidence: Of the reading.
        source: Where the line came from.
    """

    dataset: int
    index: int
    truth: str
    read: str
    edits: int
    confidence: float
    source: str

    @property
    def badness(self) -> float:
        """Share of it that is wrong."""
        return self.edits / max(len(self.truth), len(self.read), 1)

    @property
    def place(self) -> tuple[int, int]:
        """Which line it is."""
        return self.dataset, self.index

    def parts(self) -> tuple[list[tuple[bool, str]], list[tuple[bool, str]]]:
        """Cut label and reading where they differ: each part with whether it is the same in both."""
        codes = Levenshtein.opcodes(self.truth, self.read)
        truth = [(code.tag == "equal", self.truth[code.src_start : code.src_end]) for code in codes]
        read = [(code.tag == "equal", self.read[code.dest_start : code.dest_end]) for code in codes]
        return [part for part in truth if part[1]], [part for part in read if part[1]]


class LineLog:
    """Collects the lines of all datasets as one model read them."""

    def __init__(self) -> None:
        self.wrong: dict[tuple[int, int], WrongRead] = {}
        """By dataset and index, in the order of reading."""
        self._lengths, self._right = array("I"), array("b")
        self._aspects, self._confidences = array("f"), array("f")
        self._char_confidences, self._char_right = array("f"), array("b")

    def update(self, line: LineRead) -> None:
        """Take in one line."""
        read = line.text
        right = np.ones(len(read), np.int8)
        edits = Levenshtein.editops(line.truth, read) if line.truth != read else ()
        for edit in edits:
            if edit.tag != "delete":
                right[edit.dest_pos] = 0
        if edits:
            found = WrongRead(
                dataset=line.dataset,
                index=line.index,
                truth=line.truth,
                read=read,
                edits=len(edits),
                confidence=line.confidence,
                source=line.source,
            )
            self.wrong[found.place] = found
        self._lengths.append(len(line.truth))
        self._right.append(not edits)
        self._aspects.append(line.aspect)
        self._confidences.append(line.confidence)
        self._char_confidences.extend(line.confidences)
        self._char_right.extend(right.tolist())

    @property
    def right(self) -> np.ndarray:
        """(N,) bool, of each line whether it was read exactly."""
        return np.array(self._right, bool)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) characters of the labels."""
        return np.array(self._lengths)

    @property
    def aspects(self) -> np.ndarray:
        """(N,) widths of the images over their heights."""
        return np.array(self._aspects)

    @property
    def confidences(self) -> np.ndarray:
        """(N,) of the lines."""
        return np.array(self._confidences)

    @property
    def characters(self) -> tuple[np.ndarray, np.ndarray]:
        """Confidence (M,) of each character that was read, and (M,) bool whether it stands so in the label."""
        return np.array(self._char_confidences, np.float64), np.array(self._char_right, bool)

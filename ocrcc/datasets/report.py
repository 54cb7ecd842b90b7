"""What a dataset holds and what is odd about it, for the one who built it or got it from somebody."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np

from ocrcc import packaged
from ocrcc.charset import Charset, lint, load_charset
from ocrcc.config import Preprocessing
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import DataError
from ocrcc.images.opening import open_image

Report = Callable[[int, int | None], None]

WIDTH_STRIDE = 4
"""Pixels a frame of the registered models, by which labels are called too long."""
NAMED = 20
"""How many examples of each oddity are kept."""
_LENGTHS = (0, 1, 2, 5, 10, 20, 40, 80)
_WIDTHS = (32, 64, 128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class Finding:
    """Lines that have something in common.

    Attributes:
        count: How many.
        named: The first few, in words.
    """

    count: int = 0
    named: tuple[str, ...] = ()


@dataclass(frozen=True)
class Histogram:
    """How many lines lie in which range.

    Attributes:
        ranges: Of the values, in words.
        counts: One a range.
    """

    ranges: tuple[str, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """What a dataset holds.

    Attributes:
        name: Its path.
        lines: How many.
        counts: Its characters and how often they occur, the most frequent first.
        charset: The charset it was compared with.
        missing: The characters that charset lacks and how often they occur, the most frequent first.
        lengths: Characters a label.
        widths: Pixels, as scaled to the height of ``preprocessing``.
        heights: Smallest, middle and largest, pixels as they are.
        preprocessing: Which scales the widths and decides what is too long.
        unreadable: Lines without an image or a label, or with a broken one.
        too_long: Lines whose label needs more frames than the image has at `WIDTH_STRIDE`.
        squeezed: Lines wider than ``preprocessing.max_width``.
        repeated: Lines whose very image was there before, with the same label.
        conflicting: Images that are there several times with different labels.
        edge_spaces: Labels that begin or end with a space.
        odd_characters: What `ocrcc.charset.lint` says of the characters.
    """

    name: str
    lines: int
    counts: Mapping[str, int]
    charset: str
    missing: Mapping[str, int]
    lengths: Histogram
    widths: Histogram
    heights: tuple[int, int, int]
    preprocessing: Preprocessing
    unreadable: Finding
    too_long: Finding
    squeezed: Finding
    repeated: Finding
    conflicting: Finding
    edge_spaces: Finding
    odd_characters: tuple[str, ...]

    @property
    def characters(self) -> int:
        """How many characters all labels have together."""
        return sum(self.counts.values())


def image_hash(image: bytes) -> int:
    """Hash encoded bytes to 8 bytes, by which equal images are found."""
    return int.from_bytes(blake2b(image, digest_size=8).digest())


def describe_dataset(
    dataset: LmdbDataset,
    *,
    charset: str = "",
    verify: bool = False,
    notes: LineNotes | None = None,
    report: Report = lambda _done, _total: None,
) -> DatasetReport:
    """Describe a dataset.

    Args:
        dataset: Ours or a foreign one.
        charset: To compare with, by name or file; empty for the shipped one that covers most.
        verify: Decode every image.
        notes: Of its lines, where whoever wrote it has taken them; otherwise all are read.
        report: Told how many lines are done, of how many.

    Raises:
        DataError: The dataset cannot be read.
        CharsetError: There is no such charset.
    """
    counts = dict(sorted(dataset.characters.items(), key=lambda item: (-item[1], item[0])))
    compared = load_charset(charset) if charset else _best_charset(counts)
    notes = _read(dataset, verify, report) if notes is None else notes
    preprocessing = Preprocessing()
    widths = _scaled_widths(dataset, preprocessing)
    return DatasetReport(
        name=dataset.name,
        lines=len(dataset),
        counts=counts,
        charset=compared.name,
        missing={char: count for char, count in counts.items() if char not in compared},
        lengths=_histogram(dataset.label_lengths, _LENGTHS),
        widths=_histogram(widths, (*_WIDTHS, preprocessing.max_width)),
        heights=_span(dataset.heights),
        preprocessing=preprocessing,
        unreadable=Finding(notes.readable.count(0), tuple(notes.unreadable)),
        too_long=_too_long(dataset, notes.repeats, widths),
        squeezed=_squeezed(dataset, preprocessing),
        repeated=_repeated(dataset, notes),
        conflicting=_conflicting(dataset, notes),
        edge_spaces=_edge_spaces(dataset, notes),
        odd_characters=tuple(lint(counts)),
    )


class LineNotes:
    """What is noted of each line while it is read or written; keeps 19 bytes a line."""

    def __init__(self) -> None:
        self.images = array("Q")
        self.labels = array("Q")
        self.repeats = array("H")
        self.readable = array("B")
        self.unreadable: list[str] = []
        self.edge_spaces = array("q")

    def add(self, label: str, image: int, *, error: str = "") -> None:
        """Note a line.

        Args:
            label: Its text.
            image: The `image_hash` of its image.
            error: Why it cannot be read, if it cannot.
        """
        if label and (label[0].isspace() or label[-1].isspace()):
            self.edge_spaces.append(len(self.images))
        if error and len(self.unreadable) < NAMED:  # there may be a million
            self.unreadable.append(error)
        self.images.append(image)
        self.labels.append(image_hash(label.encode()))
        self.repeats.append(min(0xFFFF, sum(one == other for one, other in pairwise(label))))
        self.readable.append(not error)


def _read(dataset: LmdbDataset, verify: bool, report: Report) -> LineNotes:
    """Read every label and every image."""
    notes = LineNotes()
    for index in range(len(dataset)):
        label, image, said = "", 0, ""
        try:
            label = dataset.label(index)
            encoded = dataset.image_bytes(index)
            if verify:
                open_image(encoded, name=dataset.source(index))
            image = image_hash(encoded)
        except DataError as error:
            said = error.message
        notes.add(label, image, error=said)
        report(index + 1, len(dataset))
    return notes


def _edge_spaces(dataset: LmdbDataset, notes: LineNotes) -> Finding:
    found = notes.edge_spaces
    named = tuple(f"{dataset.source(index)}: {dataset.label(index)!r}" for index in found[:NAMED])
    return Finding(len(found), named)


def _best_charset(counts: Mapping[str, int]) -> Charset:
    """Return the shipped charset that lacks least; of equals the smallest."""
    known = [load_charset(name) for name in packaged.names("charsets", ".txt")]
    return min(
        known,
        key=lambda charset: (sum(count for char, count in counts.items() if char not in charset), len(charset)),
    )


def _scaled_widths(dataset: LmdbDataset, preprocessing: Preprocessing) -> np.ndarray:
    sizes = zip(dataset.widths.tolist(), dataset.heights.tolist(), strict=True)
    return np.fromiter((preprocessing.scaled_width(*size) for size in sizes), dtype=np.int64, count=len(dataset))


def _histogram(values: np.ndarray, bounds: Sequence[int]) -> Histogram:
    """Count the values up to each bound; beyond the last one is a range of its own."""
    edges = np.array([-1, *bounds, np.iinfo(np.int64).max])
    counts = np.bincount(np.searchsorted(edges[1:], values), minlength=len(bounds) + 1)
    lows = (0, *(bound + 1 for bound in bounds))
    words = [str(high) if low == high else f"{low}-{high}" for low, high in zip(lows[:-1], bounds, strict=True)]
    found = [(word, int(count)) for word, count in zip([*words, f"{lows[-1]}-"], counts, strict=True)]
    while len(found) > 1 and not found[-1][1]:
        found.pop()
    while len(found) > 1 and not found[0][1]:
        found.pop(0)
    return Histogram(tuple(word for word, _ in found), tuple(count for _, count in found))


def _span(values: np.ndarray) -> tuple[int, int, int]:
    if not len(values):
        return 0, 0, 0
    return int(values.min()), int(np.median(values)), int(values.max())


def _too_long(dataset: LmdbDataset, repeats: array[int], widths: np.ndarray) -> Finding:
    """CTC needs a frame for every character, and one more for the blank between equal neighbours."""
    frames = -(-widths // WIDTH_STRIDE)
    needed = dataset.label_lengths.astype(np.int64) + np.array(repeats, dtype=np.int64)
    found = np.flatnonzero(needed > frames)
    named = [
        f"{dataset.source(index)}: {needed[index]} frames needed, {frames[index]} there"
        for index in found[:NAMED].tolist()
    ]
    return Finding(len(found), tuple(named))


def _squeezed(dataset: LmdbDataset, preprocessing: Preprocessing) -> Finding:
    heights = np.maximum(dataset.heights.astype(np.float64), 1)
    scaled = dataset.widths * (preprocessing.height / heights)
    found = np.flatnonzero(scaled >= preprocessing.max_width + 0.5)
    named = [
        f"{dataset.source(index)}: {dataset.widths[index]} x {dataset.heights[index]} pixels"
        for index in found[:NAMED].tolist()
    ]
    return Finding(len(found), tuple(named))


def _repeated(dataset: LmdbDataset, notes: LineNotes) -> Finding:
    pairs = np.array([notes.images, notes.labels], dtype=np.uint64).reshape(2, -1)
    readable = np.flatnonzero(np.array(notes.readable))
    _, first = np.unique(pairs[:, readable], axis=1, return_index=True)
    again = np.setdiff1d(readable, readable[first])
    return Finding(len(again), tuple(dataset.source(index) for index in again[:NAMED].tolist()))


def _conflicting(dataset: LmdbDataset, notes: LineNotes) -> Finding:
    readable = np.flatnonzero(np.array(notes.readable))
    images = np.array(notes.images, dtype=np.uint64)[readable]
    labels = np.array(notes.labels, dtype=np.uint64)[readable]
    order = np.argsort(images, kind="stable")
    _, starts, sizes = np.unique(images[order], return_index=True, return_counts=True)
    several = sizes > 1
    groups = [
        order[start : start + size]
        for start, size in zip(starts[several].tolist(), sizes[several].tolist(), strict=True)
        if len(set(labels[order[start : start + size]].tolist())) > 1
    ]
    groups.sort(key=lambda group: group[0])
    named = []
    for group in groups[:NAMED]:
        lines = {labels[place]: int(readable[place]) for place in reversed(group)}
        named.append(
            "; ".join(f"{dataset.source(line)} {dataset.label(line)!r}" for line in sorted(lines.values())[:4])
        )
    return Finding(len(groups), tuple(named))

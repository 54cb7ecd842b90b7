"""Which characters are looked at: alike many of each class, chosen from the labels, and what a model says of them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from ocrcc.charset import Charset, lacks, normalise
from ocrcc.errors import DataError
from ocrcc.projection.points import TILE, Shown, Space
from ocrcc.projection.tiles import tile
from ocrcc.space.characters import Report, Skipped, Viewer, cut, walk
from ocrcc.types import LabelledLines

Place = tuple[int, int, int]
"""Number of a dataset, of a line in it, and of a character in the line's label."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """M characters as one model sees them, sorted by class and place.

    Attributes:
        places: Where they stand.
        chars: What the labels say.
        sources: Where their lines came from.
        features: (M, D) float32.
        predicted: What is read there.
        confidence: (M,) its posterior.
        margin: (M,), NaN where there is none.
        siblings: The look-alike with the nearest center, or nothing.
        crops: (M, TILE, TILE) or (M, TILE, TILE, 3) uint8.
    """

    places: list[Place]
    chars: list[str]
    sources: list[str]
    features: np.ndarray
    predicted: list[str]
    confidence: np.ndarray
    margin: np.ndarray
    siblings: list[str]
    crops: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def take(self, rows: Sequence[int]) -> Sample:
        """Return some of the characters, in the order of ``rows``."""
        return Sample(
            places=[self.places[row] for row in rows],
            chars=[self.chars[row] for row in rows],
            sources=[self.sources[row] for row in rows],
            features=self.features[rows],
            predicted=[self.predicted[row] for row in rows],
            confidence=self.confidence[rows],
            margin=self.margin[rows],
            siblings=[self.siblings[row] for row in rows],
            crops=self.crops[rows],
        )


def count_characters(datasets: Sequence[LabelledLines], charset: Charset) -> Counter[str]:
    """Count the characters of all labels as the charset normalises them, without reading any."""
    counts: Counter[str] = Counter()
    for dataset in datasets:
        for char, count in dataset.characters.items():
            for normalised in normalise(char, charset.normalisation):
                counts[normalised] += count
    return counts


def balanced_share(counts: Collection[int], most: int) -> int:
    """Return how many of each class may be taken, so that all together are no more than ``most``.

    >>> balanced_share([1000, 10, 1000], 210)
    100
    """
    left, classes = most, len(counts)
    for count in sorted(counts):
        if count * classes >= left:
            return max(1, left // classes)
        left, classes = left - count, classes - 1
    return max(counts, default=0)


def choose(
    datasets: Sequence[LabelledLines], charset: Charset, chars: Collection[str], most: int, seed: int, skipped: Skipped
) -> list[Place]:
    """Choose characters from the labels, alike many of each class and at random among its own.

    Labels alone are read. Those that the charset cannot write are left out, for they cannot be aligned.

    Args:
        datasets: Where from.
        charset: Of the model.
        chars: The classes.
        most: How many of all classes together.
        seed: The same one gives the same choice.
        skipped: Takes in the lines whose label cannot be read or written.
    """
    counts = count_characters(datasets, charset)
    share = balanced_share([counts[char] for char in chars if counts[char]], most)
    kept: dict[str, list[tuple[float, Place]]] = {char: [] for char in chars}
    rng = np.random.default_rng(seed)
    for which, dataset in enumerate(datasets):
        for line in range(len(dataset)):
            try:
                label = charset.normalise(dataset.label(line))
            except DataError as error:
                skipped.add("unreadable", error.message)
                continue
            here = [position for position, char in enumerate(label) if char in kept]
            if not here:
                continue
            if missing := charset.missing(label):
                skipped.add("unwritable", f"{dataset.source(line)}: {lacks(charset.name, missing)}")
                continue
            for position, key in zip(here, rng.random(len(here)).tolist(), strict=True):
                # the highest keys win: a random choice of each class without knowing how many will come
                heap, entry = kept[label[position]], (key, (which, line, position))
                if len(heap) < share:
                    heapq.heappush(heap, entry)
                else:
                    heapq.heappushpop(heap, entry)
    return sorted(place for heap in kept.values() for _, place in heap)


def look(
    viewer: Viewer,
    datasets: Sequence[LabelledLines],
    places: Sequence[Place],
    *,
    batch_size: int,
    workers: int,
    skipped: Skipped,
    report: Report = lambda _done, _total: None,
) -> Sample:
    """Read the lines of chosen characters and keep what the model says of these.

    Raises:
        ModelError: The model gives no numbers.
    """
    wanted: list[dict[int, set[int]]] = [{} for _ in datasets]
    for which, line, position in places:
        wanted[which].setdefault(line, set()).add(position)
    count, channels = len(places), viewer.preprocessing.channels
    features = np.empty((count, viewer.recognizer.feature_width), dtype=np.float32)
    crops = np.empty((count, TILE, TILE) if channels == 1 else (count, TILE, TILE, channels), dtype=np.uint8)
    confidence, margin = np.empty(count, dtype=np.float32), np.empty(count, dtype=np.float32)
    found: list[tuple[str, Place, int, str, str, str]] = []
    batches = walk(
        viewer, datasets, wanted=wanted, batch_size=batch_size, workers=workers, skipped=skipped, report=report
    )
    for batch in batches:
        rows = slice(len(found), len(found) + len(batch))
        features[rows], confidence[rows], margin[rows] = batch.features, batch.confidence, batch.margin
        for number in range(len(batch)):
            crops[len(found)] = tile(cut(batch, number, viewer.preprocessing))
            place = (batch.dataset, int(batch.lines[number]), int(batch.positions[number]))
            char, predicted, sibling = (
                viewer.charset.char(int(ids[number])) for ids in (batch.classes, batch.predicted, batch.sibling)
            )
            found.append((char, place, len(found), batch.sources[batch.rows[number]], predicted, sibling))
    found.sort(key=lambda entry: (viewer.charset.id(entry[0]), entry[1]))
    order = [entry[2] for entry in found]
    return Sample(
        places=[entry[1] for entry in found],
        chars=[entry[0] for entry in found],
        sources=[entry[3] for entry in found],
        features=features[order],
        predicted=[entry[4] for entry in found],
        confidence=confidence[order],
        margin=margin[order],
        siblings=[entry[5] for entry in found],
        crops=crops[order],
    )


def in_common(samples: Sequence[Sample]) -> tuple[list[Sample], int]:
    """Bring samples of several models to the characters that all of them could align, in the first one's order.

    Returns:
        The samples, and how many characters of the first are not in all.
    """
    tables = [
        {(place, char): row for row, (place, char) in enumerate(zip(sample.places, sample.chars, strict=True))}
        for sample in samples
    ]
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    common = [sample.take([table[key] for key in shared]) for sample, table in zip(samples, tables, strict=True)]
    return common, len(samples[0]) - len(shared)


def to_shown(sample: Sample, panels: Sequence[str]) -> Shown:
    """Take from a sample what is the same for every model."""
    return Shown(
        chars=sample.chars,
        panels=panels,
        crops=sample.crops,
        sources=sample.sources,
        positions=np.array([position for _, _, position in sample.places], dtype=np.int64),
    )


def class_centers(viewer: Viewer, sample: Sample, chars: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the centers (P, D) of characters of a sample, and which of them the model has (P,).

    In place of the others stands the mean of what the sample has of them.
    """
    ids = [viewer.charset.id(char) for char in chars]
    all_chars = np.array(sample.chars)
    centers = np.stack([sample.features[all_chars == char].mean(axis=0) for char in chars])
    learned = np.zeros(len(chars), dtype=bool)
    if viewer.centers is not None:
        learned = (viewer.centers.center_counts[ids] > 0).cpu().numpy()
        centers[learned] = viewer.centers.centers[ids].cpu().numpy()[learned]
    return centers, learned


def to_space(name: str, viewer: Viewer, sample: Sample, shown: Shown) -> Space:
    """Take from a sample what one model makes of it."""
    centers, learned = class_centers(viewer, sample, shown.different())
    return Space(
        name=name,
        features=sample.features,
        predicted=sample.predicted,
        confidence=sample.confidence,
        margin=sample.margin,
        siblings=sample.siblings,
        centers=centers,
        learned=learned,
    )

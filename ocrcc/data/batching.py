"""From lines to padded batches: an endless reproducible stream to train on, one ordered pass to measure on."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ocrcc.charset import BLANK, Charset
from ocrcc.config import Preprocessing
from ocrcc.data.augment import augment
from ocrcc.errors import ConfigError, DataError, OcrccError
from ocrcc.files import hush_pillow
from ocrcc.images.transforms import pad, prepare
from ocrcc.processes import end_at_exit, leave_stopping_to_parent, loader_died
from ocrcc.types import Batch, LineSource, SizedLineSource

LINES_PER_CHUNK = 16
"""Times the batch size: so many lines are drawn at once and sorted by width, so that little of a batch is padding."""
_WIDEST = 4 / 3
"""No line of a batch is padded to more than this times its width (or by one step more than reading pads it). A
batch that is mostly padding would teach batch normalisation figures that no line has when it is read."""
_STEP_COST = 32
"""Pixels of width of a full batch that take as long as a step of any batch does beside its pixels."""
_DYING = 1.0
"""Seconds that a process may need for it."""


@dataclass(frozen=True, kw_only=True)
class _Encoded:
    pixels: np.ndarray  # (K, H, W)
    target: list[int]
    label: str
    source: str
    replayed: bool = False


def _encode(
    label: str, source: str, image: Image.Image, charset: Charset, preprocessing: Preprocessing, strict: bool = True
) -> _Encoded:
    """Prepare a line; if not ``strict``, a label that the charset cannot write gets no target."""
    label = charset.normalise(label)
    target = charset.encode(label) if strict or not charset.missing(label) else []
    return _Encoded(pixels=prepare(image, preprocessing), target=target, label=label, source=source)


def _collate(lines: Sequence[_Encoded], preprocessing: Preprocessing, width_stride: int) -> Batch:
    """Pad lines to the widest one's padded width."""
    widths = [line.pixels.shape[2] for line in lines]
    targets = [torch.tensor(line.target, dtype=torch.int64) for line in lines]
    padded = preprocessing.padded_width(max(widths))
    return Batch(
        images=torch.from_numpy(pad([line.pixels for line in lines], padded, preprocessing.padding)),
        widths=torch.tensor(widths),
        frames=torch.tensor([math.ceil(width / width_stride) for width in widths]),
        targets=torch.nn.utils.rnn.pad_sequence(targets, batch_first=True, padding_value=BLANK),
        target_lengths=torch.tensor([len(target) for target in targets]),
        labels=tuple(line.label for line in lines),
        sources=tuple(line.source for line in lines),
        replayed=torch.tensor([line.replayed for line in lines]) if any(line.replayed for line in lines) else None,
    )


@dataclass(frozen=True, kw_only=True)
class TrainingBatch:
    """A batch and what could not go into it.

    Attributes:
        batch: The lines.
        after: Chunk, and batch within it, with which the stream goes on.
        problems: One message for each line of the batch's chunk that could not be read; given once, with
            the first batch of the chunk.
    """

    batch: Batch
    after: tuple[int, int]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MixedSource:
    """A training source, its share of every chunk, and which of its lines take part.

    Attributes:
        source: The lines.
        weight: Relative to the other sources' weights.
        kept: Line indices that take part; None for all of them.
        replayed: They are there to keep what a model knew (`ocrcc.training.objective.CenterObjective`), and are
            augmented as strongly as can be: the more ways a line can look, the more is kept.
    """

    source: LineSource
    weight: float
    kept: np.ndarray | None = None
    replayed: bool = False

    @property
    def size(self) -> int | None:
        """How many lines take part; None if they never end."""
        return self.source.size if self.kept is None else len(self.kept)


def endless() -> ConfigError:
    """Make the error of epochs over lines without end."""
    return ConfigError("rendered lines have no epochs", "use --steps or --minutes")


class TrainingChunks(Dataset[list[TrainingBatch] | OcrccError]):
    """Chunk number -> its batches, a pure function of the arguments; that is all a resumed run needs.

    Args:
        sources: What to draw from. Each gives every chunk the same number of lines; a finite one is gone
            through in a new random order each epoch.
        charset: Encodes the labels.
        preprocessing: Of the model.
        width_stride: Pixels a frame.
        batch_size: Lines a batch, at most.
        seed: Of order and augmentation.
        strength: Of the augmentation, 0..1; never applied to sources without end, which are rendered, unless they
            are replayed.
        rank: Of this process.
        world: Number of processes; each takes other chunks.
    """

    def __init__(
        self,
        sources: Sequence[MixedSource],
        charset: Charset,
        preprocessing: Preprocessing,
        *,
        width_stride: int,
        batch_size: int,
        seed: int,
        strength: float,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.sources = tuple(sources)
        self.charset = charset
        self.preprocessing = preprocessing
        self.width_stride = width_stride
        self.batch_size = batch_size
        self.seed = seed
        self.strength = strength
        # Of the padding that reading's steps would bring into short lines, half is saved.
        self._finer = replace(preprocessing, width_step=max(1, preprocessing.width_step // 2))
        self.rank = rank
        self.world = world
        self.shares = _shares([source.weight for source in self.sources], batch_size * LINES_PER_CHUNK)
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def lines_of_an_epoch(self) -> float:
        """Return how many lines are drawn until each that is not replayed was seen once, on average.

        Raises:
            ConfigError: Some of them are rendered, and never end.
        """
        own = [
            (mixed.size, share) for mixed, share in zip(self.sources, self.shares, strict=True) if not mixed.replayed
        ]
        if any(size is None for size, _ in own):
            raise endless()
        return sum(size or 0 for size, _ in own) * sum(self.shares) / sum(share for _, share in own)

    def __getitem__(self, number: int) -> list[TrainingBatch] | OcrccError:
        try:
            return self._chunk(number)
        except OcrccError as error:  # handed over as it is: a loader would bury it in its own traceback
            return error

    def _chunk(self, chunk: int) -> list[TrainingBatch]:
        number = chunk * self.world + self.rank
        lines: list[_Encoded] = []
        problems: list[str] = []
        for which, share in enumerate(self.shares):
            for position in range(number * share, (number + 1) * share):
                try:
                    lines.append(self._line(which, position))
                except DataError as error:
                    problems.append(error.message)
        if len(problems) > len(lines):
            raise DataError(
                f"{len(problems)} of {len(problems) + len(lines)} lines cannot be read: {problems[0]}",
                "run ocrcc inspect on the data",
            )
        batches = [_collate(group, self._finer, self.width_stride) for group in self._groups(lines)]
        order = np.random.default_rng((self.seed, number)).permutation(len(batches))
        return [
            TrainingBatch(
                batch=batches[index],
                after=(chunk, place + 1) if place + 1 < len(batches) else (chunk + 1, 0),
                problems=tuple(problems) if place == 0 else (),
            )
            for place, index in enumerate(order)
        ]

    def _line(self, which: int, position: int) -> _Encoded:
        mixed = self.sources[which]
        line = mixed.source.line(self._index(which, position))
        strength = 1.0 if mixed.replayed else 0.0 if mixed.source.size is None else self.strength
        image = augment(line.image, np.random.default_rng((self.seed, which, position)), strength)
        encoded = _encode(line.label, line.source, image, self.charset, self.preprocessing)
        return replace(encoded, replayed=mixed.replayed)

    def _groups(self, lines: Sequence[_Encoded]) -> Iterator[Sequence[_Encoded]]:
        """Cut lines into batches of similar width, so that padding and steps together take least."""
        lines = sorted(lines, key=lambda line: line.pixels.shape[2])
        widths = [line.pixels.shape[2] for line in lines]
        padded = np.array([self.preprocessing.padded_width(width) for width in widths])
        widest = np.maximum(padded + self.preprocessing.width_step, padded * _WIDEST)
        least = np.zeros(len(lines) + 1)  # what the first lines take at least, for each number of them
        firsts = np.zeros(len(lines) + 1, dtype=int)  # where the last batch of these begins
        for end, width in enumerate(map(self._finer.padded_width, widths), start=1):
            first = max(0, end - self.batch_size, int(np.searchsorted(widest, width)))
            costs = least[first:end] + width * np.arange(end - first, 0, -1)
            best = int(costs.argmin())
            firsts[end] = first + best
            least[end] = costs[best] + _STEP_COST * self.batch_size
        end = len(lines)
        while end:
            yield lines[firsts[end] : end]
            end = firsts[end]

    def _index(self, which: int, position: int) -> int:
        mixed = self.sources[which]
        size = mixed.size
        if size is None:
            return position
        epoch, place = divmod(position, size)
        if (which, epoch) not in self._orders:
            self._orders.pop((which, epoch - 2), None)
            self._orders[which, epoch] = np.random.default_rng((self.seed, which, epoch)).permutation(size)
        index = int(self._orders[which, epoch][place])
        return index if mixed.kept is None else int(mixed.kept[index])


def _shares(weights: Sequence[float], total: int) -> list[int]:
    """Split ``total`` lines by weight, with at least one line for each source.

    >>> _shares([1, 3], 100), _shares([1, 1e-9], 100)
    ([25, 75], [99, 1])
    """
    exact = [weight * total / sum(weights) for weight in weights]
    shares = [max(1, math.floor(share)) for share in exact]
    shares[int(np.argmax(exact))] += total - sum(shares)
    return shares


def training_batches(
    chunks: TrainingChunks, *, start: tuple[int, int] = (0, 0), workers: int = 0
) -> Iterator[TrainingBatch]:
    """Give batches for ever; the same ones whatever the number of workers.

    Args:
        chunks: Where from.
        start: Chunk and batch to begin with: what `TrainingBatch.after` said of the last one.
        workers: Processes that load; 0 loads in this one.
    """
    first, skipped = start
    loader: DataLoader[Any] = DataLoader(
        chunks,
        batch_size=None,
        sampler=_CountFrom(first),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_set_up_worker,
    )
    for batches in _loaded(loader):
        if isinstance(batches, OcrccError):
            raise batches
        yield from batches[skipped:]
        skipped = 0


def _loaded(loader: DataLoader[Any]) -> Iterator[Any]:
    """Give what is loaded; no process of it is left at exit."""
    before = set(multiprocessing.active_children())
    iterator = iter(loader)
    workers = set(multiprocessing.active_children()) - before
    end_at_exit(workers)
    while True:
        try:
            loaded = next(iterator)
        except StopIteration:
            return
        except (OSError, EOFError):
            # Of a worker that dies while it hands something over, torch does not say so.
            if not wait([worker.sentinel for worker in workers], timeout=_DYING):
                raise
            raise loader_died() from None
        yield loaded


def _set_up_worker(_: int) -> None:
    leave_stopping_to_parent()
    hush_pillow()


class _CountFrom(torch.utils.data.Sampler[int]):
    def __init__(self, first: int) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        number = self.first
        while True:
            yield number
            number += 1


@dataclass(frozen=True, kw_only=True)
class _Whole(Dataset[tuple[list[int], Batch | None, list[str]]]):
    """Batch number -> the lines of it, all of one padded width."""

    source: LineSource
    batches: Sequence[np.ndarray]
    charset: Charset
    preprocessing: Preprocessing
    width_stride: int

    def __getitem__(self, number: int) -> tuple[list[int], Batch | None, list[str]]:
        indices, lines, problems = [], [], []
        for index in self.batches[number]:
            try:
                line = self.source.line(int(index))
            except DataError as error:
                problems.append(error.message)
                continue
            lines.append(_encode(line.label, line.source, line.image, self.charset, self.preprocessing, strict=False))
            indices.append(int(index))
        return indices, _collate(lines, self.preprocessing, self.width_stride) if lines else None, problems

    def __len__(self) -> int:
        return len(self.batches)


def evaluation_batches(
    dataset: SizedLineSource,
    charset: Charset,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    width_stride: int,
    workers: int = 0,
    which: np.ndarray | None = None,
    on_problem: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[list[int], Batch]]:
    """Give every readable line once, in batches of one padded width, with the lines' numbers.

    Labels that the charset cannot write stay as they are, but get a target of length 0.

    Args:
        dataset: The lines.
        charset: Of the model.
        preprocessing: Of the model.
        batch_size: At most so many lines a batch.
        width_stride: Pixels a frame.
        workers: Processes that load; 0 loads in this one.
        which: For each line whether it is wanted; all by default.
        on_problem: Called with a message for each line that cannot be read.
    """
    padded = np.array(
        [
            preprocessing.padded_width(preprocessing.scaled_width(int(width), int(height)))
            for width, height in zip(dataset.widths, dataset.heights, strict=True)
        ]
    )
    wanted = np.ones(len(padded), bool) if which is None else which
    groups = [np.flatnonzero((padded == width) & wanted) for width in np.unique(padded[wanted])]
    batches = [group[cut : cut + batch_size] for group in groups for cut in range(0, len(group), batch_size)]
    whole = _Whole(
        source=dataset, batches=batches, charset=charset, preprocessing=preprocessing, width_stride=width_stride
    )
    loader: DataLoader[Any] = DataLoader(whole, batch_size=None, num_workers=workers, worker_init_fn=_set_up_worker)
    for indices, batch, problems in _loaded(loader):
        for problem in problems:
            on_problem(problem)
        if batch is not None:
            yield indices, batch

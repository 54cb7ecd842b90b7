"""Lines of the user's own: parted into those to learn from and those to be judged by, and their labels checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import FinetuneConfig, Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import FirstLines, SomeLines
from ocrcc.datasets.report import image_hash
from ocrcc.errors import DataError
from ocrcc.evaluation.evaluate import read_dataset
from ocrcc.synth.source import SynthSource
from ocrcc.training.sources import Sources
from ocrcc.types import LabelledLines

_FEWEST = 20
"""With fewer different images, there are none to be judged by."""
_SHARE, _MOST = 0.2, 300
"""Of the different images, and at most so many of them, are held back for validation."""
_LOOKED_AT = 400
"""Lines whose labels are compared with what is read."""
_SHORTEST = 3
"""Shorter readings are like too many labels."""
_UNLIKE, _ALIKE = 0.5, 0.75
"""A label that is less like what is read than the one, while another line's is more like it than the other, stands
beside the wrong image."""
_ENDLESS = 200
"""Lines of a source without end that are held back."""
_SEED_APART = 7919
"""Added to the seed of a source without end, so that no line is both held back and learned on."""
_SLIPPED = 0.3
"""With so many labels beside the wrong images, the others are not to be trusted either."""


@dataclass(frozen=True, kw_only=True)
class Parted:
    """Training sources, and what was held back of them.

    Attributes:
        mixed: What is left to learn from.
        validation: What is held back.
        different: How many different images there were.
    """

    mixed: tuple[MixedSource, ...]
    validation: tuple[SomeLines, ...]
    different: int


def hold_out(mixed: Sequence[MixedSource], seed: int) -> Parted:
    """Hold a fifth of the different images back, at most 300; sources without end stay as they are.

    Which ones depends on the seed and on each image's bytes alone, so equal images are never on both sides.
    """
    hashes = [_hashes(source) for source in mixed]
    known = {image for each in hashes for image in each.tolist()}
    different = sorted(known, key=lambda image: _drawn(image, seed))
    wanted = min(_MOST, round(_SHARE * len(different)))
    held = np.array(different[:wanted], np.uint64)
    kept, validation = [], []
    for source, each in zip(mixed, hashes, strict=True):
        if source.size is None:
            kept.append(source)
            continue
        numbers, apart = _numbers(source), np.isin(each, held)
        if apart.any():
            validation.append(SomeLines(_dataset(source), numbers[apart]))
        if not apart.all():
            kept.append(replace(source, kept=numbers[~apart]))
    return Parted(mixed=tuple(kept), validation=tuple(validation), different=len(different))


def without(
    mixed: Sequence[MixedSource], validation: Sequence[LmdbDataset]
) -> tuple[tuple[MixedSource, ...], list[str]]:
    """Take images that validation has too out of training sources.

    Returns:
        What is left, and where the lines came from that were taken out.
    """
    images = (each.image_bytes(index) for each in validation for index in range(len(each)))
    known = np.array([image_hash(image) for image in images], np.uint64)
    left, names = [], list[str]()
    for source in mixed:
        both = np.isin(_hashes(source), known)
        if not both.any():
            left.append(source)
            continue
        dataset, numbers = _dataset(source), _numbers(source)
        names += [dataset.source(int(number)) for number in numbers[both]]
        if not both.all():
            left.append(replace(source, kept=numbers[~both]))
    return tuple(left), names


def _hashes(source: MixedSource) -> np.ndarray:
    if source.size is None:
        return np.zeros(0, np.uint64)
    dataset = _dataset(source)
    return np.array([image_hash(dataset.image_bytes(int(number))) for number in _numbers(source)], np.uint64)


def _numbers(source: MixedSource) -> np.ndarray:
    return np.arange(source.source.size or 0) if source.kept is None else source.kept


def _dataset(source: MixedSource) -> LmdbDataset:
    assert isinstance(source.source, LmdbDataset)
    return source.source


def _drawn(image: int, seed: int) -> bytes:
    return blake2b(image.to_bytes(8), digest_size=8, key=str(seed).encode()).digest()


@dataclass(frozen=True, kw_only=True)
class Misplaced:
    """Labels that stand beside the wrong images.

    Attributes:
        looked_at: Lines that were read, of each source.
        numbers: Of each source, which lines have such a label.
        examples: Some of them in words.
    """

    looked_at: int
    numbers: tuple[np.ndarray, ...]
    examples: tuple[str, ...]

    @property
    def share(self) -> float:
        """Of the lines that were read."""
        return sum(map(len, self.numbers)) / max(1, self.looked_at)


def find_misplaced(
    recognizer: nn.Module,
    charset: Charset,
    preprocessing: Preprocessing,
    mixed: Sequence[MixedSource],
    *,
    batch_size: int,
    device: str,
    seed: int,
) -> Misplaced:
    """Read some of the lines, and find those that are read as another line's label and not as their own.

    A label file that slipped by a line teaches a model nonsense; who has read it tells at once.

    Args:
        recognizer: The pretrained model; it must read such lines somehow.
        charset: Of the model.
        preprocessing: Of the model.
        mixed: The lines; sources without end are passed over.
        batch_size: Lines read at once, at most.
        device: Where the recogniser is.
        seed: Of the choice among many lines.
    """
    finite = [source for source in mixed if source.size]
    each = math.ceil(_LOOKED_AT / max(1, len(finite)))
    found, examples, looked_at = [], list[str](), 0
    for source in mixed:
        if not source.size:
            found.append(np.zeros(0, np.int64))
            continue
        numbers = _numbers(source)
        if len(numbers) > each:
            numbers = np.sort(np.random.default_rng(seed).choice(numbers, each, replace=False))
        some: LabelledLines = SomeLines(_dataset(source), numbers)
        read = read_dataset(recognizer, charset, preprocessing, some, batch_size=batch_size, device=device)
        looked_at += len(numbers)
        wrong = _misplaced(read, [charset.normalise(some.label(index)) for index in range(len(numbers))])
        found.append(numbers[list(wrong)])
        examples += [
            f"{some.source(index)}: {some.label(index)!r} is read as {read[index]!r}, the label of {some.source(other)}"
            for index, other in wrong.items()
        ]
    return Misplaced(looked_at=looked_at, numbers=tuple(found), examples=tuple(examples[:5]))


def _misplaced(read: Sequence[str | None], labels: Sequence[str]) -> dict[int, int]:
    """Return which readings are like the label of another line, and of which."""
    asked = [index for index, text in enumerate(read) if text is not None and len(text) >= _SHORTEST]
    if not asked:
        return {}
    alike = process.cdist([read[index] for index in asked], labels, scorer=Levenshtein.normalized_similarity)
    best = alike.argmax(1)
    return {
        index: int(best[row])
        for row, index in enumerate(asked)
        if alike[row, index] < _UNLIKE and alike[row, best[row]] > _ALIKE
    }


def leave_out(mixed: Sequence[MixedSource], numbers: Sequence[np.ndarray]) -> tuple[MixedSource, ...]:
    """Take lines out of training sources, by their numbers in each."""
    left = [
        source if not len(gone) else replace(source, kept=np.setdiff1d(_numbers(source), gone))
        for source, gone in zip(mixed, numbers, strict=True)
    ]
    return tuple(source for source in left if source.size != 0)


def trusted(
    own: Sources,
    pretrained: nn.Module,
    charset: Charset,
    preprocessing: Preprocessing,
    config: TrainConfig,
    device: str,
    notes: list[str],
) -> tuple[Sources, str]:
    """Leave lines out whose labels stand beside the wrong images; if there are too many, say why none is trusted."""
    slipped = find_misplaced(
        pretrained.to(device),
        charset,
        preprocessing,
        own.mixed,
        batch_size=config.batch_size,
        device=device,
        seed=config.seed,
    )
    count = sum(map(len, slipped.numbers))
    if slipped.share > _SLIPPED:
        return own, (
            f"labels stand beside the wrong images: {count} of {slipped.looked_at} lines are read as another line's "
            f"label, such as {slipped.examples[0]}"
        )
    if not count:
        return own, ""
    notes.append(f"{count} lines left out, which are read as another line's label, such as {slipped.examples[0]}")
    mixed = leave_out(own.mixed, slipped.numbers)
    return replace(own, mixed=mixed, lines=own.lines - count), ""


def parted(
    own: Sources, validation: Sequence[LmdbDataset], task: FinetuneConfig, config: TrainConfig, notes: list[str]
) -> tuple[Sources, list[LabelledLines], str]:
    """Part lines to learn from and lines to be judged by; if there are too few for that, say so."""
    if validation:
        mixed, names = without(own.mixed, validation)
        if names:
            notes.append(f"{len(names)} training lines are validation lines too, and not learned on: {names[0]}")
        if not mixed:
            raise DataError("every training line is a validation line too", "give other lines to --val, or none")
        return replace(own, mixed=mixed, lines=_lines(mixed)), list(validation), ""
    if not task.guard:
        return own, [], ""
    held_out = hold_out(own.mixed, config.seed)
    endless = [mixed.source for mixed in own.mixed if isinstance(mixed.source, SynthSource)]
    held: list[LabelledLines] = [
        *held_out.validation,
        *(
            FirstLines(SynthSource(each.config, each.charset, each.seed + _SEED_APART, each.name), _ENDLESS)
            for each in endless
        ),
    ]
    if held_out.different < _FEWEST and not endless:
        lines = "1 line is" if held_out.different == 1 else f"{held_out.different} different lines are"
        return own, [], f"{lines} too few to learn from and to be judged by; some hundred would do"
    return replace(own, mixed=held_out.mixed, lines=_lines(held_out.mixed)), held, ""


def _lines(mixed: Sequence[MixedSource]) -> int:
    return sum(source.size or 0 for source in mixed)

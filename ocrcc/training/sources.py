"""What ``--train`` means: datasets and renderers, mixed by weight, with every label's characters checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc.charset import MISSING_HINT, Charset, Normalisation, charset_from_text, lacks, normalise
from ocrcc.config import DataConfig, Unknown
from ocrcc.data.batching import MixedSource, endless
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.opened import Opener
from ocrcc.errors import CharsetError, ConfigError
from ocrcc.synth.source import load_source
from ocrcc.types import LabelledLines, LineSource

_SYNTH = "synth:"


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Training sources, and what was left out of them.

    Attributes:
        mixed: The sources.
        lines: How many lines the datasets among them have that take part.
        skipped: Lines left out because of characters that the charset lacks, by dataset.
        missing: Those characters and how often they occur.
    """

    mixed: tuple[MixedSource, ...]
    lines: int
    skipped: dict[str, int]
    missing: Counter[str]


def charset_of(specs: Sequence[str], normalisation: Normalisation, opener: Opener) -> Charset:
    """Make a charset of all the characters in the datasets among the training sources.

    Raises:
        CharsetError: There is no dataset among them.
    """
    datasets = [opener(spec) for spec in specs if not spec.startswith(_SYNTH)]
    if not datasets:
        raise CharsetError("rendered lines have no characters of their own", "name one: --charset gb2312")
    return charset_from_text((char for dataset in datasets for char in dataset.characters), normalisation)


def open_sources(
    specs: Sequence[str],
    charset: Charset,
    opener: Opener,
    *,
    mix: Sequence[float] = (),
    corpus: Sequence[str] = (),
    unknown: Unknown = "fail",
    seed: int = 0,
    **drawn: Any,
) -> Sources:
    """Open training sources.

    Args:
        specs: Dataset paths and ``synth:PRESET``.
        charset: Of the model that is trained.
        opener: Opens datasets and labels.
        mix: A weight for each; empty for the default mix.
        corpus: Text files for renderers.
        unknown: What to do with lines that have other characters.
        seed: Of renderers.
        drawn: Fields of `ocrcc.config.SynthConfig` for renderers, in place of their presets'.

    Raises:
        CharsetError: Labels have characters that the charset lacks, and ``unknown`` is ``fail``.
        DataError: A source cannot be opened.
    """
    skipped: dict[str, int] = {}
    missing: Counter[str] = Counter()
    opened: list[tuple[LineSource, np.ndarray | None]] = []
    for spec in specs:
        if spec.startswith(_SYNTH):
            texts = [Path(path) for path in corpus]
            opened.append((load_source(spec, charset, seed=seed, corpus=texts, **drawn), None))
            continue
        dataset = opener(spec)
        kept, absent = _usable(dataset, charset)
        if kept is not None:
            skipped[spec] = len(dataset) - len(kept)
            missing.update(absent)
        opened.append((dataset, kept))
    if missing and unknown == "fail":
        raise CharsetError(
            f"{lacks(charset.name, dict(missing.most_common()))}, "
            f"in {sum(skipped.values())} lines of {', '.join(skipped)}",
            MISSING_HINT,
        )
    sizes = [source.size if kept is None else len(kept) for source, kept in opened]
    if 0 in sizes:
        raise CharsetError(f"{specs[sizes.index(0)]}: not one line that charset {charset.name!r} can write")
    known = sum(size for size in sizes if size)
    if not mix:
        endless = sizes.count(None)
        mix = [size if size is not None else max(1, known) / endless for size in sizes]
    mixed = [
        MixedSource(source=source, weight=weight, kept=kept) for (source, kept), weight in zip(opened, mix, strict=True)
    ]
    return Sources(mixed=tuple(mixed), lines=known, skipped=skipped, missing=missing)


def with_replay(sources: Sources, replay: Sources, share: float) -> Sources:
    """Mix general lines into training ones.

    Args:
        sources: What is trained on.
        replay: What is not to be forgotten; may be empty.
        share: Of ``replay`` in all lines, 0..1.
    """
    if not replay.mixed or not share:
        return sources
    mixed = []
    for part, weight, replayed in ((sources, 1 - share, False), (replay, share, True)):
        whole = sum(source.weight for source in part.mixed)
        mixed += [replace(one, weight=weight * one.weight / whole, replayed=replayed) for one in part.mixed]
    return Sources(
        mixed=tuple(mixed),
        lines=sources.lines + replay.lines,
        skipped=sources.skipped | replay.skipped,
        missing=sources.missing + replay.missing,
    )


def _usable(dataset: LmdbDataset, charset: Charset) -> tuple[np.ndarray | None, Counter[str]]:
    """Find the lines that a charset can write; None means all of them, which the index alone can tell."""
    if not any(charset.missing(normalise(char, charset.normalisation)) for char in dataset.characters):
        return None, Counter()
    absent: Counter[str] = Counter()
    kept = []
    for index in range(len(dataset)):
        gone = charset.missing(charset.normalise(dataset.label(index)))
        absent.update(gone)
        if not gone:
            kept.append(index)
    return (np.array(kept, dtype=np.int64), absent) if absent else (None, absent)


def check_validation(datasets: Sequence[LabelledLines], charset: Charset) -> dict[str, str]:
    """Say which validation sets have characters that the charset lacks; they will count as errors."""
    gone = {
        dataset.name: "".join(
            char for char in dataset.characters if charset.missing(normalise(char, charset.normalisation))
        )
        for dataset in datasets
    }
    return {name: characters for name, characters in gone.items() if characters}


def check_sources(task: DataConfig, epochs: float) -> None:
    """Fail early, before anything is written, on a source that is plainly not there or of which there are no epochs.

    Raises:
        ConfigError: A path does not exist, or lines are rendered that are to be gone through.
    """
    if epochs and any(spec.startswith(_SYNTH) for spec in task.train):
        raise endless()
    for spec in task.paths():
        if not spec.startswith(_SYNTH) and not Path(spec).exists():
            raise ConfigError(f"{spec}: no such dataset or label file", "make one with ocrcc build-lmdb or ocrcc synth")

"""General lines, which keep a model from forgetting: some to go on learning from, others to measure what it retains.

They are rendered with the fonts at hand and the texts of the package, and some ship with it: in fonts that none of
its models was trained on, for in fonts that it knows by heart, a model hides long what it forgets elsewhere. Where
there are no fonts, half of these are learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np

from ocrcc import packaged
from ocrcc.charset import Charset
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import FirstLines, SomeLines
from ocrcc.errors import OcrccError
from ocrcc.synth.source import load_source
from ocrcc.types import LabelledLines, LineSource

PACKAGED = packaged.ASSETS / "general.lines"
"""A dataset; an LMDB's usual suffix is one that version control passes over."""
_RETAINED = 200
"""Rendered lines that are measured, beside those that ship."""
_APART = 3
"""One design of so many is measured and not replayed."""
_FEWEST = 50
_REPLAYED, _MEASURED = "synth:second", "synth:documents"
_SEED = 20_260
"""Of the lines that are measured: the same ones in every run, and none of those that are replayed."""


@dataclass(frozen=True, kw_only=True)
class GeneralLines:
    """What a model is to go on reading.

    Attributes:
        replay: Lines that are learned on beside the user's own.
        retained: Datasets of lines that are measured.
        apart: Lines like those, which a gate may see before it is tried on them; no line is in two of these.
        where_from: In words.
    """

    replay: LineSource
    retained: tuple[LabelledLines, ...]
    apart: tuple[LabelledLines, ...]
    where_from: str


def general_lines(
    charset: Charset, corpus: Sequence[str], seed: int, say: Callable[[str], None]
) -> GeneralLines | None:
    """Make general lines of what is at hand; None where a charset can write none of them.

    Args:
        charset: Of the model.
        corpus: Text files beside the texts of the package.
        seed: Of the lines that are replayed.
        say: Told why lines are not rendered, if so.
    """
    texts = [Path(path) for path in corpus]
    try:
        replay = load_source(_REPLAYED, charset, seed=seed + 1, corpus=texts)
        designs, left_out = list(replay.main_families.values()), replay.config.exclude
        unmeasured: tuple[str, ...] | None = None
        if apart := designs[1::_APART]:  # with one design alone there is none to spare
            unmeasured = _without(left_out, [files for files in designs if files not in apart])
            replay = load_source(_REPLAYED, charset, seed=seed + 1, corpus=texts, exclude=_without(left_out, apart))
        measured = load_source(_MEASURED, charset, seed=_SEED, corpus=texts, exclude=unmeasured)
        shipped = _shipped(charset, 2) or _shipped(charset, 1)
        return GeneralLines(
            replay=replay,
            retained=(*shipped[:1], FirstLines(measured, _RETAINED, name="general lines")),
            apart=tuple(shipped[1:]),
            where_from=f"rendered in {replay.faces} faces",
        )
    except OcrccError as error:
        shipped = _shipped(charset, 2)
        rest = "lines of the package take their place" if shipped else "nothing tells what is forgotten: --retain"
        say(f"general lines cannot be rendered ({error.message}); {rest}")
        if not shipped:
            return None
        measured_part, replayed_part = shipped
        return GeneralLines(
            replay=replayed_part, retained=(measured_part,), apart=(), where_from="which ship with the package"
        )


def _without(left_out: Sequence[str], designs: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Leave the files of some designs out beside those that are left out already."""
    return (*left_out, *(escape(file) for files in designs for file in files))


def _shipped(charset: Charset, parts: int) -> list[SomeLines]:
    """Deal the lines of the package that a charset can write into so many parts; none if they are too few."""
    if not (PACKAGED / "data.mdb").exists():
        return []
    dataset = LmdbDataset(PACKAGED)
    labels = [charset.normalise(dataset.label(index)) for index in range(len(dataset))]
    writable = np.array([index for index, label in enumerate(labels) if not charset.missing(label)], np.int64)
    if len(writable) < _FEWEST * parts:
        return []
    dealt = [SomeLines(dataset, writable[part::parts]) for part in range(parts)]
    for some in dealt:
        some.name = "general lines"
    return dealt

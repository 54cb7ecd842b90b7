"""What an evaluation found: collected line by line, summed up, written as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc import __version__
from ocrcc.charset import Charset
from ocrcc.evaluation.confusions import Confusion, ConfusionCounter, PairConfusion
from ocrcc.evaluation.metrics import ScoreCounter, Scores, fold
from ocrcc.evaluation.scorecard import Scorecard
from ocrcc.evaluation.significance import mcnemar
from ocrcc.harmless import json_text
from ocrcc.lookalikes import Lookalikes
from ocrcc.places import marked, output

_NAMED = 100
"""Unreadable lines that are kept by name; the others are only counted."""
_MOST_LOSS = 3.0
"""Nats per character: a line that is lost is lost, and no single one is to decide."""
REPORT = marked("report", b'"made_by": "ocrcc ')


@dataclass(frozen=True, kw_only=True)
class WrongLine:
    """A line that was not read as its label says.

    Attributes:
        truth: The label, normalised by the charset.
        read: What was read.
        source: Where the line came from.
        edits: Between the two.
    """

    truth: str
    read: str
    source: str
    edits: int

    @property
    def badness(self) -> tuple[float, int]:
        """Share of it that is wrong, then how much: what the worst lines have most of."""
        return self.edits / max(len(self.truth), len(self.read), 1), self.edits


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How right the readings of one dataset, or of all of them, are.

    Attributes:
        name: The dataset, or ``total``.
        strict: Every character counts, as the charset's normalisation leaves it.
        folded: Compatibility forms and white space do not count.
        substitutions: Characters read as others, the most frequent first.
        insertions: Characters read where there are none.
        deletions: Characters left out.
        missing: Characters of the labels that the charset lacks, with their counts, the most frequent first.
            They stay in the references, so each of them is an error.
        lookalike_chars: Characters of the labels that have look-alikes; None where nobody said which do.
        lookalike_accuracy: Share of them that was read as what it is; nan without any.
        lookalike_pairs: Look-alikes taken for one another, both ways, the most frequent first.
        unreadable: How many lines could not be opened; they are in no other figure.
        unreadable_named: A message for each of the first of them.
        worst: The worst lines, the worst first, as many as were asked for.
        right: (N,) int8 for each line of the data: 1 read exactly, 0 not, -1 not opened.
        losses: (N,) float32, the negative log likelihood of each line's label per character, in nats; nan for a line
            that was not opened, inf for a label that could not be read from it. Empty if nobody asked for them.
        seconds: From opening the dataset to the last reading.
    """

    name: str
    strict: Scores
    folded: Scores
    substitutions: tuple[Confusion, ...] = ()
    insertions: tuple[Confusion, ...] = ()
    deletions: tuple[Confusion, ...] = ()
    missing: tuple[tuple[str, int], ...] = ()
    lookalike_chars: int | None = None
    lookalike_accuracy: float | None = None
    lookalike_pairs: tuple[PairConfusion, ...] = ()
    unreadable: int = 0
    unreadable_named: tuple[str, ...] = ()
    worst: tuple[WrongLine, ...] = ()
    right: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int8), compare=False, repr=False)
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32), compare=False, repr=False)
    seconds: float = 0.0

    @property
    def lines(self) -> int:
        """Lines compared."""
        return self.strict.lines

    @property
    def line_accuracy(self) -> float:
        """Share of lines read exactly, strict."""
        return self.strict.line_accuracy

    @property
    def cer(self) -> float:
        """Edits / reference characters, strict."""
        return self.strict.cer

    @property
    def one_minus_ned(self) -> float:
        """1 minus the normalised edit distance of ICDAR 2019, strict."""
        return self.strict.one_minus_ned

    @property
    def lines_per_second(self) -> float:
        """Lines read a second, end to end: opening, preprocessing, recogniser, decoding, comparing."""
        return self.lines / self.seconds if self.seconds else math.nan

    def to_json(self) -> dict[str, Any]:
        """Return the figures under the keys of the evaluation format; undefined ones are null."""
        return {
            "lines": self.lines,
            "characters": self.strict.characters,
            "edits": self.strict.edits,
            **_rates(self.strict),
            "folded": {"characters": self.folded.characters, "edits": self.folded.edits, **_rates(self.folded)},
            "lookalike_chars": self.lookalike_chars,
            "lookalike_accuracy": None if self.lookalike_accuracy is None else _defined(self.lookalike_accuracy),
            "lookalike_pairs": [asdict(pair) for pair in self.lookalike_pairs],
            "confusions": [
                {"truth": pair.truth, "predicted": pair.predicted, "count": pair.count} for pair in self.substitutions
            ],
            "insertions": [{"predicted": pair.predicted, "count": pair.count} for pair in self.insertions],
            "deletions": [{"truth": pair.truth, "count": pair.count} for pair in self.deletions],
            "missing": [{"char": char, "count": count} for char, count in self.missing],
            "unreadable": self.unreadable,
            "lines_per_second": _defined(self.lines_per_second),
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a model reads otherwise than another did, on the lines that both could open.

    Attributes:
        fixed: Lines that only this one reads exactly.
        broken: Lines that only the other one did.
        p_value: Of McNemar's test: how likely so uneven a change is among equally good models.
    """

    fixed: int
    broken: int
    p_value: float


def compare(now: Metrics, before: Metrics) -> Comparison:
    """Compare two readings of the same lines, one by one."""
    both = (now.right >= 0) & (before.right >= 0)
    fixed, broken = int((both & (now.right > before.right)).sum()), int((both & (now.right < before.right)).sum())
    return Comparison(fixed=fixed, broken=broken, p_value=mcnemar(fixed, broken))


def mean_loss(metrics: Metrics) -> float:
    """Return the mean loss of the lines that could be opened, in nats per character."""
    return float(np.nanmean(np.minimum(metrics.losses, _MOST_LOSS)))


def standard_errors(before: Metrics, now: Metrics) -> float:
    """Return how many standard errors the loss of the same lines has risen by.

    What a model says of each label tells far sooner than right and wrong whether it reads better or worse.
    """
    risen = np.minimum(now.losses, _MOST_LOSS) - np.minimum(before.losses, _MOST_LOSS)
    risen = risen[~np.isnan(risen)]
    mean = float(risen.mean()) if len(risen) else 0.0
    if not mean:
        return 0.0
    return mean / max(float(risen.std()) / math.sqrt(len(risen)), 1e-12)


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """What a model reads right and wrong on some datasets.

    Attributes:
        model: The model file.
        second_model: The file of another that read the same lines, and was weighed against it; empty for none.
        charset: Its charset's name.
        lineage: SHA-256 of the charset, under ``charset``, and of the datasets, in their order, under ``data``.
        normalisation: What its charset does to labels before they are compared.
        datasets: One for each dataset, in the order given.
        total: All of them as one set.
        baseline: The same of the model it is compared with, if there is one.
        others: The same of further models it is compared with.
        scorecard: What is wrong by kind, in all of them.
    """

    model: str
    charset: str
    normalisation: str
    datasets: tuple[Metrics, ...]
    total: Metrics
    baseline: EvaluationResult | None = None
    others: tuple[EvaluationResult, ...] = ()
    scorecard: Scorecard | None = None
    second_model: str = ""
    lineage: Mapping[str, Any] = field(default_factory=dict)

    @property
    def compared(self) -> tuple[EvaluationResult, ...]:
        """What it is compared with: the baseline first; nothing without one."""
        return (self.baseline, *self.others) if self.baseline is not None else ()

    def comparison(self) -> Comparison | None:
        """Compare with the baseline line by line; None without one."""
        if self.baseline is None:
            return None
        return compare(self.total, self.baseline.total)

    def worse(self) -> list[str]:
        """Say in which figures it is worse than the baseline: lines right, CER, look-alikes; nothing without one."""
        if self.baseline is None:
            return []
        now, before = self.total, self.baseline.total
        said = []
        if now.line_accuracy < before.line_accuracy:
            said.append(f"lines right {before.line_accuracy:.2%} -> {now.line_accuracy:.2%}")
        if now.cer > before.cer:
            said.append(f"CER {before.cer:.2%} -> {now.cer:.2%}")
        if (now.lookalike_accuracy or 0.0) < (before.lookalike_accuracy or 0.0):
            said.append(f"look-alikes right {before.lookalike_accuracy:.2%} -> {now.lookalike_accuracy:.2%}")
        return said

    def to_json(self) -> dict[str, Any]:
        """Return the evaluation format: the total's figures, each dataset's, and those of other models."""
        comparison = self.comparison()
        return {
            "model": self.model,
            **({"second_model": self.second_model} if self.second_model else {}),
            "charset": self.charset,
            "normalisation": self.normalisation,
            "sha256": dict(self.lineage),
            **self.total.to_json(),
            **({"scorecard": self.scorecard.to_json()} if self.scorecard else {}),
            "datasets": [{"name": metrics.name, **metrics.to_json()} for metrics in self.datasets],
            **({"baseline": self.baseline.to_json()} if self.baseline else {}),
            **({"comparison": asdict(comparison)} if comparison else {}),
            **({"others": [other.to_json() for other in self.others]} if self.others else {}),
        }

    def write_json(self, path: Path) -> None:
        """Write `to_json` to a file, which appears whole or not at all.

        Raises:
            DataError: The file cannot be written.
        """
        made = {"made_by": f"ocrcc {__version__}", **self.to_json()}
        text = json_text(made, allow_nan=False, indent=2)
        with output(path, REPORT) as aside:
            aside.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


class Tally:
    """Collects the readings of a dataset.

    Args:
        charset: What could be read at all.
        worst: How many of the worst lines to keep.
        lookalikes: Who looks like whom, if their accuracy is wanted.
    """

    def __init__(self, charset: Charset, *, worst: int = 0, lookalikes: Lookalikes | None = None) -> None:
        self._charset = charset
        self._lookalikes = lookalikes
        self._lookalike_chars = 0
        self._keep = worst
        self._strict = ScoreCounter()
        self._folded = ScoreCounter()
        self._confusions = ConfusionCounter()
        self._missing: Counter[str] = Counter()
        self._worst: list[WrongLine] = []
        self._unreadable = 0
        self._unreadable_named: list[str] = []

    def update(self, truth: str, read: str, source: str) -> bool:
        """Count one reading of a line whose normalised label is ``truth``; return whether it is right."""
        edits = self._strict.update(truth, read)
        self._folded.update(fold(truth), fold(read))
        self._confusions.update(truth, read)
        self._missing.update(char for char in truth if char not in self._charset)
        if self._lookalikes is not None:
            self._lookalike_chars += sum(char in self._lookalikes for char in truth)
        if edits and self._keep:
            self._worst.append(WrongLine(truth=truth, read=read, source=source, edits=edits))
            if len(self._worst) >= 2 * self._keep + 100:
                self._trim()
        return not edits

    def update_unreadable(self, message: str) -> None:
        """Count a line whose image could not be opened."""
        self._unreadable += 1
        if len(self._unreadable_named) < _NAMED:
            self._unreadable_named.append(message)

    def merge(self, other: Tally) -> None:
        """Count everything that ``other`` has counted."""
        self._strict.merge(other._strict)
        self._folded.merge(other._folded)
        self._confusions.merge(other._confusions)
        self._missing.update(other._missing)
        self._lookalike_chars += other._lookalike_chars
        self._worst += other._worst
        self._trim()
        self._unreadable += other._unreadable
        self._unreadable_named = (self._unreadable_named + other._unreadable_named)[:_NAMED]

    def _trim(self) -> None:
        # The sort is stable: of equally bad lines the first ones stay.
        self._worst = sorted(self._worst, key=lambda line: line.badness, reverse=True)[: self._keep]

    def summary(self, name: str, seconds: float, **by_line: np.ndarray) -> Metrics:
        """Return what was found so far, under a name, in so many seconds; arrays by line as `Metrics` has them."""
        self._trim()
        chars, recall = None, None
        if self._lookalikes is not None:
            chars = self._lookalike_chars
            recall = 1 - self._confusions.lost(self._lookalikes) / chars if chars else math.nan
        return Metrics(
            name=name,
            strict=self._strict.summary(),
            folded=self._folded.summary(),
            substitutions=self._confusions.substitutions(),
            insertions=self._confusions.insertions(),
            deletions=self._confusions.deletions(),
            missing=tuple(sorted(self._missing.items(), key=lambda item: (-item[1], item[0]))),
            lookalike_chars=chars,
            lookalike_accuracy=recall,
            lookalike_pairs=() if self._lookalikes is None else self._confusions.between(self._lookalikes),
            unreadable=self._unreadable,
            unreadable_named=tuple(self._unreadable_named),
            worst=tuple(self._worst),
            seconds=seconds,
            **by_line,
        )


def _rates(scores: Scores) -> dict[str, float | None]:
    return {
        "line_accuracy": _defined(scores.line_accuracy),
        "cer": _defined(scores.cer),
        "one_minus_ned": _defined(scores.one_minus_ned),
    }


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None

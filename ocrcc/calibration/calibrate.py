"""Teach a model how far to trust itself: chances fitted to what it reads right and wrong on labelled lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from rapidfuzz.distance import Levenshtein

from ocrcc import packaged
from ocrcc.calibration.store import check_storable, left_behind, store_calibration
from ocrcc.charset import Charset
from ocrcc.config import CalibrateConfig, PredictConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.opened import Say, opened
from ocrcc.decoding.calibration import BLANK, OUTCOMES, Calibration
from ocrcc.errors import ConfigError, DataError
from ocrcc.evaluation.kinds import kind_of
from ocrcc.evaluation.metrics import expected_error
from ocrcc.lookalikes import Lookalikes, load_lookalikes
from ocrcc.models.contract import resolve
from ocrcc.reading.doubts import BUDGET, worth
from ocrcc.reading.reader import LineReader
from ocrcc.types import Doubt, Recognition

_FOLDS = 5
_LEAST = 20
"""Wrong characters, and right ones, below which nothing can be told."""
_RIDGE = 1.0
"""Weight of the squared weights, of standardised evidence; keeps outcomes that never came from infinite ones."""
_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Characters that were read, and what became of them.

    Attributes:
        evidence: (M, F) as `ocrcc.decoding.evidence` assembles it.
        confidences: (M,) posteriors.
        outcomes: (M, 3) bool, those of `ocrcc.decoding.calibration.OUTCOMES`.
        lines: (M,) the line of each.
        missing: Characters of the labels that the charset lacks, and how often they occur.
    """

    evidence: np.ndarray
    confidences: np.ndarray
    outcomes: np.ndarray
    lines: np.ndarray
    missing: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class CalibrationResult:
    """What a calibration found, all on characters held out.

    Attributes:
        path: The calibrated model.
        lines: Lines read.
        characters: Characters that were read on them.
        wrong: Of these, wrong or with one missing after them.
        lookalikes: Of these, look-alikes of what stands there.
        dropped: Characters missing.
        charset: Name of the model's charset.
        missing: Characters of the labels that it lacks, the most frequent first; nothing is learned from them.
        error: Expected calibration error of the chance to be right.
        posterior_error: That of the posterior, the control.
        held: Share of the look-alikes and of the missing ones among the 2 % that review comes to first.
        posterior_held: The same among the 2 % of the lowest posterior, the control.
        left: The ONNX file beside the model that was exported of it and has another calibration still, if there is one.
    """

    path: Path
    lines: int
    characters: int
    wrong: int
    lookalikes: int
    dropped: int
    charset: str
    missing: Mapping[str, int]
    error: float
    posterior_error: float
    held: tuple[float, float]
    posterior_held: tuple[float, float]
    left: Path | None = None


def calibrate(
    model: str | Path,
    data: Sequence[Path],
    config: CalibrateConfig | None = None,
    *,
    out: Path | None = None,
    device: str = "auto",
    report: Callable[[int, int | None], None] = lambda _done, _total: None,
    say: Say = lambda _: None,
) -> CalibrationResult:
    """Fit chances to labelled lines, and store them in the model; its weights stay as they are.

    Args:
        model: A ``.safetensors`` or exported ``.onnx`` file, a run folder, or a shipped model's name.
        data: Datasets, label files, or folders with labels, of the kind that will be read.
        config: How.
        out: Where to write the calibrated model; by default it takes the model's place.
        device: Where to read.
        report: Told how many lines are done, of how many.
        say: Told of lines that cannot be used.

    Raises:
        ConfigError: The model ships with the package and no ``out`` is given, or that is something else's.
        DataError: There are too few wrong characters, right ones or lines to tell anything.
        ModelError: The model cannot be loaded, or is of another make.
    """
    config = config or CalibrateConfig()
    path = resolve(model)
    if out is None and path.parent == packaged.ASSETS / "models":
        raise ConfigError(f"{path.stem} ships with the package", f"name a file of your own: --out mine{path.suffix}")
    out = out or path
    check_storable(path, out)
    settings = PredictConfig(
        engine="onnx" if path.suffix.lower() == ".onnx" else "torch",
        batch_size=config.batch_size,
        threads=config.threads,
        lookalikes=config.lookalikes,
        second_look=config.second_look,
    )
    reader = LineReader.load(path, device=device, config=settings)
    with opened(data, say) as datasets:
        seen = observe(reader, datasets, load_lookalikes(config.lookalikes), limit=config.limit, report=report, say=say)
    wrong = int((~seen.outcomes[:, 0]).sum())
    if wrong < _LEAST:
        raise DataError(
            f"only {wrong} of {len(seen.outcomes)} characters are wrong, too few to learn from", "give more lines"
        )
    if len(seen.outcomes) - wrong < _LEAST:
        raise DataError(
            f"only {len(seen.outcomes) - wrong} of {len(seen.outcomes)} characters are right, too few to learn from",
            "see whether the labels belong to these images: ocrcc eval MODEL --data DATA --report FILE.html",
        )
    if (lines := len(np.unique(seen.lines))) < _FOLDS:
        raise DataError(
            f"only {lines} lines, too few to hold one out and learn from the others", f"give {_FOLDS} or more"
        )
    held = held_out(seen)
    error = expected_error(held[:, 0], seen.outcomes[:, 0])
    fitted = Calibration(weights=fit(seen.evidence, seen.outcomes), characters=len(held), error=error)
    left = left_behind(path, out, fitted.described())
    store_calibration(path, out, fitted.described())
    worths = [worth(Doubt(wrong=1 - right, lookalike=alike, dropped=lost)) for right, alike, lost in held.tolist()]
    return CalibrationResult(
        path=out,
        lines=lines,
        characters=len(held),
        wrong=wrong,
        lookalikes=int(seen.outcomes[:, 1].sum()),
        dropped=int(seen.outcomes[:, 2].sum()),
        charset=reader.charset.name,
        missing=dict(seen.missing.most_common()),
        error=error,
        posterior_error=expected_error(seen.confidences, seen.outcomes[:, 0]),
        held=_held(np.array(worths), seen),
        posterior_held=_held(-seen.confidences, seen),
        left=left,
    )


def _held(worths: np.ndarray, seen: Observed) -> tuple[float, float]:
    return share_held(worths, seen.outcomes[:, 1]), share_held(worths, seen.outcomes[:, 2])


def share_held(worths: np.ndarray, those: np.ndarray, budget: float = BUDGET) -> float:
    """Return which share of ``those`` (M,) is among the characters (M,) of highest worth; nan where there are none."""
    first = np.argsort(-worths, kind="stable")[: round(budget * len(worths))]
    return float(those[first].sum() / those.sum()) if those.any() else float("nan")


def observe(
    reader: LineReader,
    datasets: Sequence[LmdbDataset],
    lookalikes: Lookalikes,
    *,
    limit: int = 0,
    report: Callable[[int, int | None], None] = lambda _done, _total: None,
    say: Say = lambda _: None,
) -> Observed:
    """Read lines and compare each character with what stands there; its own calibration is left aside.

    Args:
        reader: Of the model.
        datasets: The lines.
        lookalikes: Who looks like whom.
        limit: Lines read at most, of all datasets alike many; 0 for all.
        report: Told how many lines are done, of how many.
        say: Told of images that cannot be opened.
    """
    most = -(-limit // len(datasets)) if limit else max(map(len, datasets))
    places = [(dataset, index) for dataset in datasets for index in range(min(most, len(dataset)))]
    truths: list[str] = []
    missing: Counter[str] = Counter()

    def images() -> Iterator[Image.Image]:
        for dataset, index in places:
            try:
                line = dataset.line(index)
            except DataError as error:
                say(error.message)
                continue
            truths.append(reader.charset.normalise(line.label))
            missing.update(char for char in truths[-1] if char not in reader.charset)
            yield line.image

    own, reader.calibration = reader.calibration, BLANK
    lookalikes = lookalikes.for_training()
    evidence, confidences, outcomes, lines = [], [], [], []
    try:
        for number, reading in enumerate(reader.stream(images(), alternatives=0)):
            if isinstance(reading, Recognition):
                found = compare(truths[number], reading.text, reader.charset, lookalikes)
                for char, outcome in zip(reading.chars, found.tolist(), strict=True):
                    if char.evidence:
                        evidence.append(char.evidence)
                        confidences.append(char.confidence)
                        outcomes.append(outcome)
                        lines.append(number)
            report(number + 1, len(places))
    finally:
        reader.calibration = own
    return Observed(
        evidence=np.array(evidence, np.float64).reshape(len(evidence), -1),
        confidences=np.array(confidences),
        outcomes=np.array(outcomes, bool).reshape(-1, len(OUTCOMES)),
        lines=np.array(lines),
        missing=missing,
    )


def compare(truth: str, read: str, charset: Charset, lookalikes: Lookalikes) -> np.ndarray:
    """Tell for each character of a reading (L,) which of the `OUTCOMES` it is: (L, 3) bool.

    A character of the label that is missing is laid to the one before it, or to the first. One that the charset lacks
    could not be read: no evidence can foretell it, and it is laid to nobody.
    """
    found = np.zeros((len(read), len(OUTCOMES)), bool)
    found[:, 0] = True
    for edit in Levenshtein.editops(truth, read) if read else ():
        if edit.tag == "delete":
            if truth[edit.src_pos] in charset:
                found[max(0, edit.dest_pos - 1), [0, 2]] = False, True
            continue
        found[edit.dest_pos, 0] = False
        if edit.tag == "replace":
            found[edit.dest_pos, 1] = kind_of(truth[edit.src_pos], read[edit.dest_pos], lookalikes) == "look-alike"
    return found


def fit(evidence: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Fit a logistic regression of each outcome, by Newton's steps.

    Args:
        evidence: (M, F).
        outcomes: (M, K) bool.

    Returns:
        (K, F + 1) weights of the evidence as it is, of a constant first.
    """
    mean, spread = evidence.mean(axis=0), evidence.std(axis=0)
    spread[spread < 1e-9] = 1.0  # what never differs says nothing
    rows = np.concatenate((np.ones((len(evidence), 1)), (evidence - mean) / spread), axis=1)
    ridge = np.diag([1e-6, *[_RIDGE] * evidence.shape[1]])
    found = []
    for wanted in outcomes.T.astype(np.float64):
        weights = np.zeros(rows.shape[1])
        for _ in range(_STEPS):
            chances = 1 / (1 + np.exp(-np.clip(rows @ weights, -50, 50)))
            slope = rows.T @ (chances - wanted) + ridge @ weights
            bend = (rows * (chances * (1 - chances))[:, None]).T @ rows + ridge
            step = np.linalg.solve(bend, slope)
            step *= min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))  # far from the end a whole step overshoots
            weights = weights - step
            if np.abs(step).max() < 1e-8:
                break
        scaled = weights[1:] / spread
        found.append([weights[0] - float(scaled @ mean), *scaled])
    return np.array(found)


def held_out(seen: Observed) -> np.ndarray:
    """Return (M, 3) chances of each character by weights that none of its line had a part in."""
    chances = np.zeros(seen.outcomes.shape)
    fold = np.unique(seen.lines, return_inverse=True)[1] % _FOLDS  # on some lines nothing was read
    for number in range(_FOLDS):
        apart = fold == number
        if apart.any() and not apart.all():
            weights = fit(seen.evidence[~apart], seen.outcomes[~apart])
            chances[apart] = Calibration(weights=weights).chances(seen.evidence[apart])
    return chances

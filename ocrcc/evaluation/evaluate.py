"""Measure what a recogniser reads right, on any number of datasets; also while it is being trained."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import EvaluateConfig, PredictConfig, Preprocessing
from ocrcc.data.batching import evaluation_batches
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.opened import Say, opened
from ocrcc.decoding import greedy
from ocrcc.decoding.rivals import Rivals
from ocrcc.errors import DataError
from ocrcc.evaluation.line_log import LineLog, OnLine, line_read
from ocrcc.evaluation.models import ExportedModel, line_reader, open_model, rivals_of, two_readers
from ocrcc.evaluation.report import EvaluationResult, Metrics, Tally
from ocrcc.evaluation.scorecard import ScorecardCounter
from ocrcc.lookalikes import Lookalikes, load_lookalikes
from ocrcc.losses.ctc import line_losses
from ocrcc.models.checkpoint import LoadedModel
from ocrcc.models.contract import resolve
from ocrcc.reading.engines import lines_at_once, torch_engine
from ocrcc.reading.looks import read_lines
from ocrcc.reading.parts import is_too_long
from ocrcc.reading.reader import LineReader, Unreadable
from ocrcc.types import Batch, Recognition, SizedLineSource

Report = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What models read, line by line.

    Attributes:
        result: The figures.
        logs: What was read on each line, by the models compared with first, if there are any.
        datasets: The lines, still open.
        reader: Of the model, for single images.
        lookalikes: Who looks like whom; None where nobody said.
    """

    result: EvaluationResult
    logs: tuple[LineLog, ...]
    datasets: tuple[LmdbDataset, ...]
    reader: LineReader
    lookalikes: Lookalikes | None


def evaluate(
    model: str | Path,
    data: Sequence[Path],
    config: EvaluateConfig | None = None,
    *,
    device: str = "auto",
    then: Callable[[Readings], None] | None = None,
    report: Report = lambda _done, _total: None,
    say: Say = lambda _: None,
) -> EvaluationResult:
    """Measure a model.

    Args:
        model: A file, an exported one too, a run folder, or ``hf://owner/name``.
        data: Datasets, label files, or folders with labels.
        config: How.
        device: Where to.
        then: Given what was read on each line while the datasets are still open; that takes longer to find out.
        report: Told how many lines are done, of how many.
        say: Told of lines of label files that cannot be used.

    Raises:
        ModelError: The model cannot be loaded, or gives no numbers.
        DataError: A dataset or the look-alikes cannot be opened, or there is not one line in all datasets.
    """
    config = config or EvaluateConfig()
    if config.threads:
        torch.set_num_threads(config.threads)
    with opened(data, say) as datasets:
        if not sum(len(dataset) for dataset in datasets):
            raise DataError(
                f"{', '.join(map(str, data))}: no lines to measure on", "make a dataset with ocrcc build-lmdb"
            )
        return _evaluate(model, datasets, config, device, then, report)


def _evaluate(
    model: str | Path,
    datasets: Sequence[LmdbDataset],
    config: EvaluateConfig,
    device: str,
    then: Callable[[Readings], None] | None,
    report: Report,
) -> EvaluationResult:
    lookalikes = load_lookalikes(config.lookalikes).for_training() if config.lookalikes else None
    models = [open_model(each, device, config.threads) for each in (*config.compare, model)]
    both = two_readers(model, device, config) if config.second_model else None
    logs = [LineLog() for _ in models]
    results: list[EvaluationResult] = []
    for number, (loaded, log) in enumerate(zip(models, logs, strict=True)):
        card = ScorecardCounter(loaded.charset, lookalikes)
        metrics, total = evaluate_datasets(
            loaded.recognizer,
            loaded.charset,
            loaded.preprocessing,
            datasets,
            batch_size=config.batch_size,
            device=loaded.device,
            workers=config.workers,
            worst=config.worst,
            lookalikes=lookalikes,
            rivals=rivals_of(loaded, config),
            center_share=config.center_share,
            second_look=config.second_look,
            reader=both if loaded is models[-1] else None,
            report=partial(_report_share, report, number, len(models)),
            on_reading=card.update,
            on_line=log.update if then is not None else None,
        )
        results.append(
            EvaluationResult(
                model=str(loaded.path),
                charset=loaded.charset.name,
                normalisation=loaded.charset.normalisation,
                datasets=metrics,
                total=total,
                scorecard=card.summary(),
                lineage={"charset": loaded.charset.sha256, "data": [dataset.sha256 for dataset in datasets]},
            )
        )
    *compared, result = results
    if compared:
        result = replace(result, baseline=compared[0], others=tuple(compared[1:]))
    if config.second_model:
        result = replace(result, second_model=str(resolve(config.second_model)))
    if then is not None:
        then(
            Readings(
                result=result,
                logs=tuple(logs),
                datasets=tuple(datasets),
                reader=both or _reader_of(models[-1], config),
                lookalikes=lookalikes,
            )
        )
    return result


def _reader_of(loaded: ExportedModel | LoadedModel, config: EvaluateConfig) -> LineReader:
    """Make the reader of single images of a model that is measured."""
    settings = PredictConfig(
        batch_size=config.batch_size, center_share=config.center_share, second_look=config.second_look
    )
    rivals = rivals_of(loaded, config)
    return line_reader(loaded.recognizer, loaded.charset, loaded.preprocessing, loaded.device, rivals, settings)


def _report_share(report: Report, before: int, models: int, done: int, total: int | None) -> None:
    """Report progress with one of several models as progress of all of them."""
    report(before * (total or 0) + done, models * (total or 0))


def evaluate_datasets(
    recognizer: nn.Module,
    charset: Charset,
    preprocessing: Preprocessing,
    datasets: Sequence[SizedLineSource],
    *,
    batch_size: int,
    device: str,
    workers: int = 0,
    worst: int = 0,
    lookalikes: Lookalikes | None = None,
    rivals: Rivals | None = None,
    center_share: float = 0.0,
    second_look: float = 0.0,
    losses: bool = False,
    reader: LineReader | None = None,
    report: Report = lambda _done, _total: None,
    on_reading: Callable[[str, str], None] = lambda _truth, _read: None,
    on_line: OnLine | None = None,
) -> tuple[tuple[Metrics, ...], Metrics]:
    """Measure a live recogniser on several datasets.

    It is put into evaluation mode meanwhile, and each of its modules back into the mode it was in. A line
    whose image cannot be opened is counted and named but takes no part in the figures, which would else
    measure the data; a character that the charset lacks stays in the reference and is an error.

    Args:
        recognizer: With the attributes ``width_stride`` and ``num_classes``.
        charset: Of the recogniser.
        preprocessing: Of the recogniser.
        datasets: What to read.
        batch_size: Lines read at once, at most.
        device: Where the recogniser is.
        workers: Processes that load; 0 loads in this one.
        worst: How many of the worst lines to keep.
        lookalikes: Who looks like whom, if their accuracy is wanted.
        rivals: Whom centers decide between, if they have a share.
        center_share: That share (`ocrcc.decoding.greedy.reread`).
        second_look: How sure a line must be not to be read again (`ocrcc.reading.looks.read_lines`).
        losses: Whether `Metrics.losses` are wanted; there are none where lines are looked at twice. Lines longer than
            the model takes are then squeezed, as in training; else they are read in parts, as in prediction.
        reader: Reads all lines in the recogniser's place, as prediction does.
        report: Told how many lines are done, of how many.
        on_reading: Given every label and what was read.
        on_line: Given every line with all that is known of its reading, which takes longer.

    Returns:
        The metrics of each dataset, and of all lines as one set.

    Raises:
        ModelError: The recogniser gives no numbers.
    """
    sizes = [dataset.size or 0 for dataset in datasets]
    total = Tally(charset, worst=worst, lookalikes=lookalikes)
    found: list[Metrics] = []
    outcomes: list[dict[str, np.ndarray]] = []
    settings = PredictConfig(batch_size=batch_size, center_share=center_share, second_look=second_look)
    by_reader = reader or line_reader(recognizer, charset, preprocessing, device, rivals, settings)
    with _evaluation_mode(recognizer):
        for number, dataset in enumerate(datasets):
            tally = Tally(charset, worst=worst, lookalikes=lookalikes)
            started = time.perf_counter()
            whole = np.full(sizes[number], True) if reader else _too_long(dataset, preprocessing) & (not losses)
            batches = evaluation_batches(
                dataset,
                charset,
                preprocessing,
                batch_size=batch_size,
                width_stride=int(recognizer.width_stride),  # type: ignore[arg-type]
                workers=workers,
                which=~whole,
                on_problem=tally.update_unreadable,
            )
            done = sum(sizes[:number])
            right = np.full(sizes[number], -1, np.int8)
            loss = np.full(sizes[number] if losses else 0, np.nan, np.float32)
            outcomes.append({"right": right, "losses": loss})
            for indices, batch in batches:
                readings: list[greedy.Reading] = []
                if second_look or on_line is not None:
                    readings = _look_twice(
                        recognizer, batch, charset, preprocessing, device, rivals, center_share, second_look
                    )
                    read = [reading.text for reading in readings]
                else:
                    read, found_losses = _read(recognizer, batch, charset, device, rivals, center_share, losses)
                    if losses:
                        loss[indices] = found_losses
                for index, *line in zip(indices, batch.labels, read, batch.sources, strict=True):
                    right[index] = tally.update(*line)
                    on_reading(*line[:2])
                if on_line is not None:
                    for index, truth, reading, source in zip(
                        indices, batch.labels, readings, batch.sources, strict=True
                    ):
                        on_line(line_read(dataset, number, index, truth, reading.confidence, reading.spans, source))
                done += len(indices)
                report(done, sum(sizes))
            as_predicted = _read_as_predicted(by_reader, dataset, whole, charset, tally.update_unreadable)
            for index, truth, recognition, source in as_predicted:
                right[index] = tally.update(truth, recognition.text, source)
                on_reading(truth, recognition.text)
                if on_line is not None:
                    on_line(line_read(dataset, number, index, truth, recognition.confidence, recognition.chars, source))
                done += 1
                report(done, sum(sizes))
            found.append(tally.summary(dataset.name, time.perf_counter() - started, **outcomes[-1]))
            total.merge(tally)
    together = {name: np.concatenate([one[name] for one in outcomes]) for name in outcomes[0]} if outcomes else {}
    return tuple(found), total.summary("total", sum(one.seconds for one in found), **together)


def read_dataset(
    recognizer: nn.Module,
    charset: Charset,
    preprocessing: Preprocessing,
    dataset: SizedLineSource,
    *,
    batch_size: int,
    device: str,
) -> list[str | None]:
    """Read every line of a dataset with a live recogniser, once each; None stands for what cannot be opened."""
    found: list[str | None] = [None] * (dataset.size or 0)
    with _evaluation_mode(recognizer):
        stride = int(recognizer.width_stride)  # type: ignore[arg-type]
        for indices, batch in evaluation_batches(
            dataset, charset, preprocessing, batch_size=batch_size, width_stride=stride
        ):
            texts, _ = _read(recognizer, batch, charset, device, None, 0.0)
            for index, text in zip(indices, texts, strict=True):
                found[index] = text
    return found


@contextmanager
def _evaluation_mode(recognizer: nn.Module) -> Iterator[None]:
    """Switch to evaluation without gradients; module by module back, since some may be frozen in a run."""
    modes = [(module, module.training) for module in recognizer.modules()]
    recognizer.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def _read(
    recognizer: nn.Module,
    batch: Batch,
    charset: Charset,
    device: str,
    rivals: Rivals | None,
    center_share: float,
    losses: bool = False,
) -> tuple[list[str], np.ndarray]:
    """Read the lines of a batch, as many at once as memory holds, and compute their losses if they are wanted."""
    num_frames = batch.images.shape[3] // int(recognizer.width_stride)  # type: ignore[arg-type]
    step = lines_at_once(len(batch.images), num_frames, int(recognizer.num_classes))  # type: ignore[arg-type]
    found: list[str] = []
    found_losses = [np.zeros(0, np.float32)]
    for first in range(0, len(batch.images), step):
        part = slice(first, first + step)
        output = recognizer(batch.images[part].to(device))
        logits = output.logits.float()
        if logits.device.type == "cpu":  # where numpy finds the maximum several times faster than torch
            classes = logits.numpy().argmax(-1)
            highest = np.take_along_axis(logits.numpy(), classes[..., None], -1)[..., 0]
        else:
            highest, classes = (values.cpu().numpy() for values in logits.max(-1))
        frames = batch.frames[part].numpy()
        greedy.check_finite(highest, frames)
        runs = greedy.collapse(classes, frames)
        if rivals is not None and center_share:
            features = output.features.float().cpu().numpy()
            runs = greedy.reread(runs, logits.cpu().numpy(), features, rivals, center_share)
        found += runs.texts(charset)
        if losses:
            lengths = batch.target_lengths[part]
            some = line_losses(logits.cpu(), batch.frames[part], batch.targets[part], lengths)
            unwritable = torch.tensor([bool(label) for label in batch.labels[part]]) & (lengths == 0)
            found_losses.append(some.masked_fill(unwritable, torch.inf).numpy())
    return found, np.concatenate(found_losses)


def _too_long(dataset: SizedLineSource, preprocessing: Preprocessing) -> np.ndarray:
    """Tell for each line whether prediction would cut it and read it in parts."""
    sizes = zip(dataset.widths.tolist(), dataset.heights.tolist(), strict=True)
    return np.array([is_too_long(width, height, preprocessing) for width, height in sizes], bool)


def _read_as_predicted(
    reader: LineReader,
    dataset: SizedLineSource,
    which: np.ndarray,
    charset: Charset,
    on_problem: Callable[[str], None],
) -> Iterator[tuple[int, str, Recognition, str]]:
    """Read some lines by a reader, which takes longer ones than a model does: number, truth, reading and source."""
    waiting: deque[tuple[int, str, str]] = deque()

    def images() -> Iterator[Image.Image]:
        for index in np.flatnonzero(which).tolist():
            try:
                line = dataset.line(index)
            except DataError as error:
                on_problem(error.message)
                continue
            waiting.append((index, charset.normalise(line.label), line.source))
            yield line.image

    for read in reader.stream(images()):
        index, truth, source = waiting.popleft()
        if isinstance(read, Unreadable):
            on_problem(f"{source}: {read.message}")
        else:
            yield index, truth, read, source


def _look_twice(
    recognizer: nn.Module,
    batch: Batch,
    charset: Charset,
    preprocessing: Preprocessing,
    device: str,
    rivals: Rivals | None,
    center_share: float,
    unsure: float,
) -> list[greedy.Reading]:
    """Read the lines of a batch as prediction does, which reads unsure ones again."""
    engine = torch_engine(recognizer, device)
    stride = int(recognizer.width_stride)  # type: ignore[arg-type]

    def at_once(padded: int) -> int:
        return lines_at_once(len(batch.images), padded // stride, int(recognizer.num_classes))  # type: ignore[arg-type]

    def read(images: np.ndarray, widths: np.ndarray) -> tuple[list[greedy.Reading], np.ndarray]:
        features, logits = engine(images)
        frames = -(-widths // stride)
        readings = greedy.decode(logits, frames, charset, rivals=rivals, features=features, center_share=center_share)
        return readings, logits

    lines = [image[:, :, :width] for image, width in zip(batch.images.numpy(), batch.widths.tolist(), strict=True)]
    looked = read_lines(lines, read, preprocessing, charset, width_stride=stride, unsure=unsure, at_once=at_once)
    return [look.reading for look in looked]

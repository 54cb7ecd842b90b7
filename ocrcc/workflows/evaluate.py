"""Measure what a recogniser reads right, on any number of datasets; also while it is being trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import EvaluateConfig, Preprocessing
from ocrcc.data.batching import evaluation_batches
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.decoding import greedy
from ocrcc.errors import DataError
from ocrcc.evaluation.report import EvaluationResult, Metrics, Tally
from ocrcc.lookalikes import Lookalikes, load_lookalikes
from ocrcc.models.checkpoint import load_model
from ocrcc.types import SizedLineSource
from ocrcc.workflows.reading import lines_at_once

Report = Callable[[int, int | None], None]


def evaluate(
    model: str | Path,
    data: Sequence[Path],
    config: EvaluateConfig | None = None,
    *,
    device: str = "auto",
    report: Report = lambda _done, _total: None,
) -> EvaluationResult:
    """Measure a model.

    Args:
        model: A file, a run folder, or ``hf://owner/name``.
        data: Datasets.
        config: How.
        device: Where to.
        report: Told how many lines are done, of how many.

    Raises:
        ModelError: The model cannot be loaded, or gives no numbers.
        DataError: A dataset or the look-alikes cannot be opened, or there is not one line in all datasets.
    """
    config = config or EvaluateConfig()
    if config.threads:
        torch.set_num_threads(config.threads)
    datasets = [LmdbDataset(path) for path in data]
    if not sum(len(dataset) for dataset in datasets):
        raise DataError(f"{', '.join(map(str, data))}: no lines to measure on", "make a dataset with ocrcc build-lmdb")
    lookalikes = load_lookalikes(config.lookalikes).for_training() if config.lookalikes else None
    models = [load_model(each, device=device) for each in (config.compare, model) if each]
    lines = sum(len(dataset) for dataset in datasets)
    result: EvaluationResult | None = None
    for number, loaded in enumerate(models):
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
            report=lambda done, _, before=number * lines: report(before + done, len(models) * lines),
        )
        result = EvaluationResult(
            model=str(loaded.path),
            charset=loaded.charset.name,
            normalisation=loaded.charset.normalisation,
            datasets=metrics,
            total=total,
            baseline=result,
        )
    assert result is not None
    return result


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
    report: Report = lambda _done, _total: None,
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
        report: Told how many lines are done, of how many.

    Returns:
        The metrics of each dataset, and of all lines as one set.

    Raises:
        ModelError: The recogniser gives no numbers.
    """
    sizes = [dataset.size or 0 for dataset in datasets]
    total = Tally(charset, worst=worst, lookalikes=lookalikes)
    found: list[Metrics] = []
    outcomes: list[np.ndarray] = [np.zeros(0, np.int8)]
    with _evaluation_mode(recognizer):
        for number, dataset in enumerate(datasets):
            tally = Tally(charset, worst=worst, lookalikes=lookalikes)
            started = time.perf_counter()
            batches = evaluation_batches(
                dataset,
                charset,
                preprocessing,
                batch_size=batch_size,
                width_stride=int(recognizer.width_stride),  # type: ignore[arg-type]
                workers=workers,
                on_problem=tally.update_unreadable,
            )
            done = sum(sizes[:number])
            right = np.full(sizes[number], -1, np.int8)
            outcomes.append(right)
            for indices, batch in batches:
                frames = batch.frames.numpy()
                read = greedy.texts(_best_path(recognizer, batch.images, frames, device), frames, charset)
                for index, *line in zip(indices, batch.labels, read, batch.sources, strict=True):
                    right[index] = tally.update(*line)
                done += len(indices)
                report(done, sum(sizes))
            found.append(tally.summary(dataset.name, time.perf_counter() - started, right))
            total.merge(tally)
    return tuple(found), total.summary("total", sum(one.seconds for one in found), np.concatenate(outcomes))


def evaluate_dataset(
    recognizer: nn.Module,
    charset: Charset,
    preprocessing: Preprocessing,
    dataset: SizedLineSource,
    *,
    batch_size: int,
    device: str,
    workers: int = 0,
) -> Metrics:
    """Measure a live recogniser on one dataset, as `evaluate_datasets` does on several."""
    (metrics,), _ = evaluate_datasets(
        recognizer, charset, preprocessing, [dataset], batch_size=batch_size, device=device, workers=workers
    )
    return metrics


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


def _best_path(recognizer: nn.Module, images: torch.Tensor, frames: np.ndarray, device: str) -> np.ndarray:
    """Return the likeliest class of every frame (N, T) of images (N, K, H, W)."""
    num_frames = images.shape[3] // int(recognizer.width_stride)  # type: ignore[arg-type]
    step = lines_at_once(len(images), num_frames, int(recognizer.num_classes))  # type: ignore[arg-type]
    parts = []
    for first in range(0, len(images), step):
        part = slice(first, first + step)
        logits = recognizer(images[part].to(device)).logits.float()
        if logits.device.type == "cpu":  # where numpy finds the maximum several times faster than torch
            classes = logits.numpy().argmax(-1)
            highest = np.take_along_axis(logits.numpy(), classes[..., None], -1)[..., 0]
        else:
            highest, classes = (found.cpu().numpy() for found in logits.max(-1))
        greedy.check_finite(highest, frames[part])
        parts.append(classes)
    return np.concatenate(parts)

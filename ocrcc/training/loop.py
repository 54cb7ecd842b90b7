"""The one training loop; pretraining and fine-tuning differ in the objective they hand to it."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch import nn
from torchvision.utils import make_grid

from ocrcc.config import Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource, TrainingBatch, training_batches
from ocrcc.errors import StoppedError
from ocrcc.runs.folder import mend_metrics
from ocrcc.runs.tracking import Tracker
from ocrcc.training.devices import make_accelerator
from ocrcc.training.memory import freed_memory_kept
from ocrcc.training.run import Run, Trainee, Validate, keep
from ocrcc.training.window import Window

OnStep = Callable[[int, Callable[[], nn.Module]], None]
"""Told of the steps done, and how to get the weights that would be measured now; it must not change them."""


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """What there is to say at a step.

    Attributes:
        step: Optimizer steps done.
        progress: Share of the run done, 0..1.
        scalars: Means since the last entry, by name.
        lines_per_second: Since the last entry, over all processes.
        seconds_left: Estimated.
        validation: Figures of a validation, if there was one at this step.
    """

    step: int
    progress: float
    scalars: Mapping[str, float]
    lines_per_second: float
    seconds_left: float
    validation: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended.

    Attributes:
        out: The run folder.
        steps: Optimizer steps done.
        seconds: Of training, interrupted parts included.
        best: Validation figures of the saved best, empty without validation.
        best_step: Its step.
        stopped_early: Whether patience ended the run.
        unfit_lines: How often a line took no part because its label needs more frames than it has.
        unfit_names: Some of those lines.
        unreadable: Lines whose image could not be read.
        lost_steps: Steps that taught nothing, since the gradient of their lines was not finite.
        torn_entries: Lines of ``metrics.jsonl`` that were found torn when the run was resumed, and dropped.
    """

    out: Path
    steps: int
    seconds: float
    best: Mapping[str, float]
    best_step: int
    stopped_early: bool
    unfit_lines: int
    unfit_names: Sequence[str]
    unreadable: Sequence[str]
    lost_steps: int = 0
    torn_entries: int = 0


def train(
    trainee: Trainee,
    sources: Sequence[MixedSource],
    config: TrainConfig,
    out: Path,
    *,
    validate: Validate | None = None,
    resume: bool = False,
    device: str = "auto",
    on_log: Callable[[LogEntry], None] = lambda _: None,
    on_step: OnStep = lambda _step, _recognizer: None,
    untrained: bool = False,
) -> TrainResult:
    """Train until the configured end, saving ``last`` and ``best`` into the run folder.

    Args:
        trainee: What to train.
        sources: What to draw lines from.
        config: How to train.
        out: The run folder; it exists.
        validate: Called every ``config.eval_every`` steps.
        resume: Go on from the state in ``out``; on a CPU the end is bit-equal to an uninterrupted run's.
        device: ``auto``, or any that torch has here.
        on_log: Told of the run's course.
        on_step: Called before the first step and after each, by the main process alone.
        untrained: Only measure and save what was given.

    Raises:
        StoppedError: Ctrl-C or SIGTERM; the step was finished and everything saved.
        ModelError: Step after step the loss is not finite; what is saved is.
    """
    set_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    # A frozen backbone gives no gradients for other processes to wait for.
    kwargs = [DistributedDataParallelKwargs(find_unused_parameters=True)] if config.freeze_backbone else []
    accelerator = make_accelerator(config, device, kwargs)
    run = Run(trainee, config, out, accelerator, sources)
    if resume:
        run.load()
    main = accelerator.is_main_process
    torn = mend_metrics(out, run.state.step) if main else 0
    batches = training_batches(run.chunks, start=run.state.place, workers=config.workers)
    window = Window()
    stopped_early = False
    memory = freed_memory_kept() if accelerator.device.type == "cpu" else nullcontext()
    with memory, Tracker(out if main else None, run.state.step) as tracker, _stop_requests() as stop:
        progress, stopping = run.agree(stop.is_set())
        if not run.state.step:
            if main:
                on_step(0, run.evaluated)
            if trainee.pretrained is not None:  # the first candidate for the best
                before = run.validate(validate or keep)
                tracker.entry(0, {f"val/{name}": value for name, value in before.items()}, {})
                on_log(_entry(run, 0.0, {}, 0.0, before))
                run.save()  # beside the best there is always a state to go on from
        while (progress < 1 or not run.state.step) and not (stopped_early or stopping or untrained):
            received = next(batches)
            window.add(received, run.step(received, progress))
            progress, stopping = run.agree(stop.is_set())
            step = run.state.step
            if main:
                on_step(step, run.evaluated)
            evaluating = validate is not None and _due(config.eval_every, step, progress)
            if evaluating or step == 1 or _due(config.log_every, step, progress):
                scalars = run.flush(window)
                rate = window.lines * accelerator.num_processes / window.seconds()
                validation = run.validate(validate) if evaluating and validate else {}
                stopped_early = bool(config.patience) and run.state.worse_in_a_row >= config.patience
                if step == 1:
                    _show_batch(tracker, step, received, trainee.preprocessing)
                measured = {f"val/{name}": value for name, value in validation.items()}
                tracker.entry(step, {**scalars, **measured}, run.extremes())
                on_log(_entry(run, progress, scalars, rate, validation))
                window = Window()
            if stopped_early or stopping or _due(config.save_every, step, progress):
                run.flush(window)
                run.save()
    if stopping and progress < 1:
        raise StoppedError(f"stopped at step {run.state.step}; everything is saved in {out}", f"go on: --resume {out}")
    if run.state.step and run.state.lost == run.state.step:  # too short for a long row
        raise run.not_finite()
    state = run.state
    return TrainResult(
        out=out,
        steps=state.step,
        seconds=state.seconds,
        best=state.best,
        best_step=state.best_step,
        stopped_early=stopped_early,
        unfit_lines=state.unfit,
        unfit_names=list(state.names),
        unreadable=list(state.unreadable),
        lost_steps=state.lost,
        torn_entries=torn,
    )


def _due(every: int, step: int, progress: float) -> bool:
    return progress >= 1 or bool(every and step % every == 0)


def _entry(
    run: Run, progress: float, scalars: Mapping[str, float], rate: float, validation: Mapping[str, float]
) -> LogEntry:
    return LogEntry(
        step=run.state.step,
        progress=progress,
        scalars=scalars,
        lines_per_second=rate,
        seconds_left=run.state.seconds / progress - run.state.seconds if progress else math.inf,
        validation=validation,
    )


def _show_batch(tracker: Tracker, step: int, received: TrainingBatch, preprocessing: Preprocessing) -> None:
    std, mean = (torch.tensor(values).view(-1, 1, 1) for values in (preprocessing.std, preprocessing.mean))
    pixels = received.batch.images[:16] * std + mean
    tracker.image(step, "training_lines", make_grid(pixels.clamp(0, 1), nrow=1))
    tracker.text(step, "training_labels", "\n".join(received.batch.labels[:16]))


@contextmanager
def _stop_requests() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into a flag for as long as training runs; a second Ctrl-C stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def request(number: int, frame: object) -> None:  # noqa: ARG001 - the signature is given
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

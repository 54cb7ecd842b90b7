"""The one training loop; pretraining and fine-tuning differ in the objective they hand to it."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torchvision.utils import make_grid

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource, TrainingBatch, TrainingChunks, training_batches
from ocrcc.errors import ConfigError, ModelError, StoppedError
from ocrcc.models.checkpoint import save_model
from ocrcc.models.recognizer import Recognizer
from ocrcc.workflows.objective import Terms
from ocrcc.workflows.tracking import Tracker

_SCHEDULE_POINTS = 10_000
"""The learning rate changes at so many points of a run, however its end is given."""
_STATE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class Trainee:
    """A recogniser in training and what its file will say of it.

    Attributes:
        recognizer: The weights.
        arch: Their registry name.
        charset: What the classes mean.
        preprocessing: What the input looks like.
        objective: A module: (batch, output) -> `Terms`. Buffers named ``centers`` and ``center_counts`` are
            saved with the model.
        settings: The options of the run, for ``config.toml`` and the model's metadata.
    """

    recognizer: Recognizer
    arch: str
    charset: Charset
    preprocessing: Preprocessing
    objective: nn.Module
    settings: Mapping[str, Any] = field(default_factory=dict)


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


Validate = Callable[[nn.Module], Mapping[str, float]]
"""Measures a recogniser; must give ``cer``, by which the best is chosen."""


@dataclass
class _State:
    """What changes in a run beside the weights."""

    step: int = 0
    seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    worse_in_a_row: int = 0
    unfit: int = 0
    names: dict[str, None] = field(default_factory=dict)
    unreadable: dict[str, None] = field(default_factory=dict)


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
) -> TrainResult:
    """Train until the configured end, saving ``last`` and ``best`` into the run folder.

    Args:
        trainee: What to train.
        sources: What to draw lines from.
        config: How to train.
        out: The run folder; it exists.
        validate: Called every ``config.eval_every`` steps.
        resume: Go on from the state in ``out``; on a CPU the end is bit-equal to an uninterrupted run's.
        device: ``auto``, or ``cpu``.
        on_log: Told of the run's course.

    Raises:
        StoppedError: Ctrl-C or SIGTERM; the step was finished and everything saved.
        ModelError: The loss is no longer finite; the last good model stays.
    """
    set_seed(config.seed)
    if config.threads:
        torch.set_num_threads(config.threads)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=config.precision)
    run = _Run(trainee, config, out, accelerator, sources)
    if resume:
        run.load()
    tracker = Tracker(out, run.state.step) if accelerator.is_main_process else None
    batches = training_batches(run.chunks, start=run.state.step, workers=config.workers)
    window = _Window()
    stopped_early = False
    with _stop_requests() as stop:
        progress, stopping = run.agree(stop.is_set())
        while progress < 1 and not stopped_early and not stopping:
            received = next(batches)
            window.add(received, run.step(received, progress))
            progress, stopping = run.agree(stop.is_set())
            step = run.state.step
            evaluating = validate is not None and _due(config.eval_every, step, progress)
            if evaluating or _due(config.log_every, step, progress):
                scalars = run.flush(window)
                rate = window.lines * accelerator.num_processes / window.seconds()
                validation = run.validate(validate) if evaluating and validate else {}
                stopped_early = bool(config.patience) and run.state.worse_in_a_row >= config.patience
                if tracker:
                    if step <= config.log_every:
                        _show_batch(tracker, step, received, trainee.preprocessing)
                    tracker.scalars(step, {**scalars, **{f"val/{name}": value for name, value in validation.items()}})
                on_log(_entry(run, progress, scalars, rate, validation))
                window = _Window()
            if stopped_early or stopping or _due(config.save_every, step, progress):
                run.flush(window)
                run.save()
    if tracker:
        tracker.close()
    if stopping and progress < 1:
        raise StoppedError(f"stopped at step {run.state.step}; everything is saved in {out}", f"go on: --resume {out}")
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
    )


class _Run:
    """The moving parts of a run, and how they are saved."""

    def __init__(
        self,
        trainee: Trainee,
        config: TrainConfig,
        out: Path,
        accelerator: Accelerator,
        sources: Sequence[MixedSource],
    ) -> None:
        self.trainee, self.config, self.out, self.accelerator = trainee, config, out, accelerator
        self.state = _State()
        self.started = time.monotonic()
        self.steps = _steps(config, sources, accelerator.num_processes)
        self.chunks = TrainingChunks(
            sources,
            trainee.charset,
            trainee.preprocessing,
            width_stride=trainee.recognizer.width_stride,
            batch_size=config.batch_size,
            seed=config.seed,
            strength=config.augment,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        optimizer = _optimizer(trainee.recognizer, config)
        self.schedule, _ = create_scheduler_v2(
            optimizer,
            sched=config.schedule,
            num_epochs=_SCHEDULE_POINTS,
            warmup_epochs=round(config.warmup * _SCHEDULE_POINTS),
            warmup_lr=config.learning_rate / 100,
            min_lr=config.learning_rate / 1000,
        )
        self.model, self.optimizer = accelerator.prepare(trainee.recognizer, optimizer)
        self.objective = trainee.objective.to(accelerator.device)
        self.recognizer: nn.Module = accelerator.unwrap_model(self.model)
        self.average = (
            ModelEmaV3(self.recognizer, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
        )

    def agree(self, stop: bool) -> tuple[float, bool]:
        """Return the share of the run that is done, and whether to stop; all processes get the same answer."""
        self.state.seconds = time.monotonic() - self.started
        share = self.state.step / self.steps if self.steps else self.state.seconds / (60 * self.config.minutes)
        if self.accelerator.num_processes > 1:
            both = torch.tensor([share, float(stop)], device=self.accelerator.device)
            share, stopping = self.accelerator.gather(both).view(-1, 2).amax(dim=0).tolist()
            stop = bool(stopping)
        return min(1.0, share), stop

    def step(self, received: TrainingBatch, progress: float) -> Terms:
        """Take one optimizer step."""
        self.model.train()
        if self.schedule is not None:
            self.schedule.step(int(progress * _SCHEDULE_POINTS))
        batch = received.batch.to(str(self.accelerator.device))
        terms: Terms = self.objective(batch, self.model(batch.images))
        self.accelerator.backward(terms.total)
        scalars = dict(terms.scalars)
        if self.config.clip_norm:
            scalars["gradient_norm"] = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        if self.average is not None:
            self.average.update(self.recognizer, step=self.state.step)
        return Terms(total=terms.total.detach(), scalars=scalars, fits=terms.fits)

    def evaluated(self) -> nn.Module:
        """Return the weights that are measured and saved: the averaged ones, if there are any."""
        return self.recognizer if self.average is None else self.average.module

    def flush(self, window: _Window) -> dict[str, float]:
        """Bring the window's figures to the host; a loss that is not finite ends the run here."""
        scalars = window.means()
        if not all(math.isfinite(value) for value in scalars.values()):
            raise ModelError(
                f"the loss is no longer finite at step {self.state.step}; the models in {self.out} are from before",
                "lower --learning-rate, or use --precision no",
            )
        for source in window.unfit():
            self.state.unfit += 1
            if len(self.state.names) < 1000:
                self.state.names[source] = None
        self.state.unreadable.update(dict.fromkeys(window.problems))
        scalars["learning_rate"] = float(self.optimizer.param_groups[0]["lr"])
        return scalars

    def validate(self, validate: Validate) -> Mapping[str, float]:
        """Measure, and keep the model if it is the best so far."""
        figures = validate(self.evaluated())
        if not self.state.best or figures["cer"] < self.state.best["cer"]:
            self.state.best, self.state.best_step, self.state.worse_in_a_row = dict(figures), self.state.step, 0
            self._save_model("best.safetensors", figures)
        else:
            self.state.worse_in_a_row += 1
        return figures

    def _save_model(self, name: str, figures: Mapping[str, float]) -> None:
        if self.accelerator.is_main_process:
            save_model(
                self.out / name,
                recognizer_state=self.evaluated().state_dict(),
                arch=self.trainee.arch,
                charset=self.trainee.charset,
                preprocessing=self.trainee.preprocessing,
                info={"step": self.state.step, "metrics": dict(figures), "config": dict(self.trainee.settings)},
                centers=getattr(self.objective, "centers", None),
                center_counts=getattr(self.objective, "center_counts", None),
            )

    def save(self) -> None:
        """Write ``last`` and what resuming needs; the state file alone decides where to go on."""
        if not self.accelerator.is_main_process:
            return
        self._save_model("last.safetensors", {})
        state = {
            "recognizer": self.recognizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "state": asdict(self.state),
        }
        aside = self.out / f".{_STATE}.{os.getpid()}.tmp"
        try:
            with aside.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self.out / _STATE)
        except (OSError, RuntimeError) as error:
            aside.unlink(missing_ok=True)
            raise ModelError(f"{self.out / _STATE}: cannot be written: {error}") from None

    def load(self) -> None:
        """Go on from the saved state."""
        path = self.out / _STATE
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            self.recognizer.load_state_dict(stored["recognizer"])
            if self.average is not None and stored["average"] is not None:
                self.average.load_state_dict(stored["average"])
            self.objective.load_state_dict(stored["objective"])
            self.optimizer.load_state_dict(stored["optimizer"])
            torch.set_rng_state(stored["random"])
            self.state = _State(**stored["state"])
            self.started = time.monotonic() - self.state.seconds
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file, so there is nothing to resume", "start without --resume") from None
        except Exception as error:  # a damaged file fails in many ways, and all mean the same
            raise ModelError(f"{path}: damaged, or of other settings: {str(error).splitlines()[0]}") from None


class _Window:
    """Sums since the last log entry; they stay on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._fits: list[tuple[Tensor, tuple[str, ...]]] = []
        self._steps = 0
        self._started = time.monotonic()
        self.lines = 0
        self.problems: list[str] = []

    def add(self, received: TrainingBatch, terms: Terms) -> None:
        """Take in one step."""
        self._steps += 1
        self.lines += len(received.batch.sources)
        for name, value in {"loss": terms.total, **terms.scalars}.items():
            self._sums[name] = self._sums.get(name, 0) + value.detach()
        self._fits.append((terms.fits, received.batch.sources))
        self.problems += received.problems

    def means(self) -> dict[str, float]:
        """Return the mean of each scalar."""
        return {name: float(value) / self._steps for name, value in self._sums.items()}

    def unfit(self) -> Iterator[str]:
        """Name the lines that had too few frames."""
        for fits, sources in self._fits:
            yield from (source for fit, source in zip(fits.tolist(), sources, strict=True) if not fit)
        self._fits.clear()

    def seconds(self) -> float:
        """Return the time since the last entry."""
        return max(1e-9, time.monotonic() - self._started)


def _due(every: int, step: int, progress: float) -> bool:
    return progress >= 1 or bool(every and step % every == 0)


def _steps(config: TrainConfig, sources: Sequence[MixedSource], processes: int) -> int:
    """Return the run's steps; 0 if the clock ends it."""
    if not config.epochs:
        return config.steps
    sizes = [source.size for source in sources]
    if any(size is None for size in sizes):
        raise ConfigError("rendered lines have no epochs", "use --steps or --minutes")
    return math.ceil(config.epochs * sum(size or 0 for size in sizes) / (config.batch_size * processes))


def _optimizer(recognizer: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    if config.optimizer not in list_optimizers():
        raise ConfigError(
            f"timm has no optimizer named {config.optimizer!r}", "such as adamw, adam, sgd, lion, rmsprop"
        )
    return create_optimizer_v2(
        recognizer, opt=config.optimizer, lr=config.learning_rate, weight_decay=config.weight_decay
    )


def _entry(
    run: _Run, progress: float, scalars: Mapping[str, float], rate: float, validation: Mapping[str, float]
) -> LogEntry:
    return LogEntry(
        step=run.state.step,
        progress=progress,
        scalars=scalars,
        lines_per_second=rate,
        seconds_left=run.state.seconds / progress - run.state.seconds,
        validation=validation,
    )


def _show_batch(tracker: Tracker, step: int, received: TrainingBatch, preprocessing: Preprocessing) -> None:
    pixels = received.batch.images[:16] * preprocessing.std + preprocessing.mean
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

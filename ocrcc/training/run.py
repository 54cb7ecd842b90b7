"""The moving parts of a training run: weights, optimizer, schedule, figures, and how they are saved."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed
from torch.nn.modules.batchnorm import _BatchNorm

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource, TrainingBatch, TrainingChunks
from ocrcc.errors import ConfigError, ModelError
from ocrcc.files import sync_file, whole
from ocrcc.losses.separation import ClassMargin
from ocrcc.models.checkpoint import save_model
from ocrcc.models.recognizer import Recognizer
from ocrcc.runs.folder import STATE
from ocrcc.runs.tracking import NamedMargin
from ocrcc.training.objective import Objective, Terms
from ocrcc.training.schedule import SCHEDULE_POINTS, make_optimizer, make_schedule
from ocrcc.training.window import Window

_LOST_IN_A_ROW = 20
"""Steps without a finite gradient, one after the other, that end a run: it is then no matter of single lines."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What a validation says of a recogniser.

    Attributes:
        figures: Worth a curve and a line, by name.
        score: The lower the better; what is not to be kept has ``inf``.
        weights: What is to be saved if this is the best so far.
        arch: Their registry name, if it is not that of what is trained.
    """

    figures: Mapping[str, float]
    score: float
    weights: nn.Module
    arch: str = ""


Validate = Callable[[nn.Module], Judgement]
"""Measures a recogniser in training."""


def keep(recognizer: nn.Module) -> Judgement:
    """Judge a recogniser that nothing can be measured on: it is to be saved."""
    return Judgement(figures={}, score=math.inf, weights=recognizer)


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
        pretrained: The recogniser that the run started from, frozen; it is the first candidate for the best. None
            if there is nothing to be kept.
        settings: The options of the run, for ``config.toml`` and the model's metadata.
        lineage: For the metadata: the fingerprint of what it is ``pretrained`` from, if that is still there beside it,
            and what `ocrcc.runs.lineage.describe_lineage` says of its data.
    """

    recognizer: Recognizer
    arch: str
    charset: Charset
    preprocessing: Preprocessing
    objective: Objective
    pretrained: Recognizer | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class State:
    """What changes in a run beside the weights."""

    step: int = 0
    lines: int = 0
    place: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    best: dict[str, float] = field(default_factory=dict)
    best_score: float = math.inf
    best_step: int = -1
    worse_in_a_row: int = 0
    unfit: int = 0
    names: dict[str, None] = field(default_factory=dict)
    unreadable: dict[str, None] = field(default_factory=dict)
    lost: int = 0


class Run:
    """A training run.

    Args:
        trainee: What to train.
        config: How to train.
        out: The run folder.
        accelerator: Devices, precision and processes.
        sources: What to draw lines from.
    """

    def __init__(
        self,
        trainee: Trainee,
        config: TrainConfig,
        out: Path,
        accelerator: Accelerator,
        sources: Sequence[MixedSource],
    ) -> None:
        self.trainee, self.config, self.out, self.accelerator = trainee, config, out, accelerator
        self.state = State()
        self.started = time.monotonic()
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
        self.lines = config.epochs and config.epochs * self.chunks.lines_of_an_epoch()
        optimizer = make_optimizer(trainee.recognizer, config)
        self.schedule = make_schedule(optimizer, config)
        self._moving = [weight for weight in trainee.recognizer.backbone.parameters() if weight.requires_grad]
        self.model, self.optimizer = accelerator.prepare(trainee.recognizer, optimizer)
        self.forward = _compiled(self.model) if config.compile else self.model
        self.objective = trainee.objective.to(accelerator.device)
        self._margins: Sequence[ClassMargin] = ()
        self._lost = torch.zeros((), dtype=torch.int64, device=accelerator.device)  # steps since the last `flush`
        self._row, self._longest_row = self._lost.clone(), self._lost.clone()  # of lost steps, now and at most
        self.recognizer: nn.Module = accelerator.unwrap_model(self.model)
        self.average = (
            ModelEmaV3(self.recognizer, decay=config.ema_decay, use_warmup=True) if config.ema_decay else None
        )

    def agree(self, stop: bool) -> tuple[float, bool]:
        """Return the share of the run that is done, and whether to stop; all processes get the same answer."""
        self.state.seconds = time.monotonic() - self.started
        if self.config.steps:
            share = self.state.step / self.config.steps
        elif self.lines:
            share = self.state.lines * self.accelerator.num_processes / self.lines
        else:
            share = self.state.seconds / (60 * self.config.minutes)
        if self.accelerator.num_processes > 1:
            both = torch.tensor([share, float(stop)], device=self.accelerator.device)
            share, stopping = self.accelerator.gather(both).view(-1, 2).amax(dim=0).tolist()
            stop = bool(stopping)
        return min(1.0, share), stop

    def step(self, received: TrainingBatch, progress: float) -> Terms:
        """Take one optimizer step; a batch whose gradient is not finite teaches nothing, and ends no long run."""
        self.model.train()
        self._freeze(self.state.step < self.config.freeze_backbone)
        if self.schedule is not None:
            self.schedule.step(int(progress * SCHEDULE_POINTS))
        batch = received.batch.to(str(self.accelerator.device))
        buffers = [buffer for buffer in self.recognizer.buffers() if buffer.is_floating_point()]
        before = [buffer.clone() for buffer in buffers]
        terms: Terms = self.objective(batch, self.forward(batch.images))
        # Batches of rare widths are small; each line is to count the same.
        self.accelerator.backward(terms.total * (len(batch.labels) / self.config.batch_size))
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.clip_norm or math.inf)
        scalars = {**terms.scalars, "gradient_norm": norm}
        lost = ~norm.isfinite()
        for parameter in self.model.parameters():  # on the device: asking it would hold up every step
            if parameter.grad is not None:
                parameter.grad.masked_fill_(lost, 0.0)
        for buffer, was in zip(buffers, before, strict=True):  # a mean that once took in no number never is one again
            torch.where(lost, was, buffer, out=buffer)
        self._lost = self._lost + lost
        self._row = (self._row + 1) * lost
        self._longest_row = torch.maximum(self._longest_row, self._row)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.state.step += 1
        self.state.lines += len(batch.labels)
        self.state.place = received.after
        if self.average is not None:
            self.average.update(self.recognizer, step=self.state.step)
        return Terms(total=terms.total.detach(), scalars=scalars, fits=terms.fits)

    def _freeze(self, frozen: bool) -> None:
        """Hold what is not to learn now: the backbone or not, and the figures of batch norms, if they are frozen."""
        if frozen or not self._moving:
            self.trainee.recognizer.backbone.eval()
        if self.config.freeze_norm:
            for module in self.trainee.recognizer.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        if self._moving and frozen == self._moving[0].requires_grad:
            for weight in self._moving:
                weight.requires_grad_(not frozen)

    def evaluated(self) -> nn.Module:
        """Return the weights that are measured and saved: averaged over time, if that is wanted."""
        return self.recognizer if self.average is None else self.average.module

    def flush(self, window: Window) -> dict[str, float]:
        """Bring the window's figures to the host; a long row of lost steps ends the run here."""
        scalars = window.means()
        self.state.lost += int(self._lost)
        self._lost.zero_()
        if int(self._longest_row) >= _LOST_IN_A_ROW:
            raise self.not_finite()
        for source in window.unfit():
            self.state.unfit += 1
            if len(self.state.names) < 1000:
                self.state.names[source] = None
        self.state.unreadable.update(dict.fromkeys(window.problems))
        found = self.objective.findings()
        scalars |= {name: value for name, value in found.scalars.items() if math.isfinite(value)}
        self._margins = found.classes
        scalars["learning_rate"] = float(self.optimizer.param_groups[0]["lr"])
        return scalars

    def not_finite(self) -> ModelError:
        """Make the error of a run whose steps teach nothing."""
        return ModelError(
            f"the loss is no longer finite at step {self.state.step}; the models in {self.out} are from before",
            "lower --learning-rate, or use --precision no",
        )

    def extremes(self, most: int = 3) -> dict[str, list[NamedMargin]]:
        """Name the characters worst and best told from their look-alikes at the last `flush`."""
        charset, margins = self.trainee.charset, self._margins
        chosen = {"worst_margins": margins[:most], "best_margins": margins[: -most - 1 : -1]} if margins else {}
        return {
            name: [
                NamedMargin(char=charset.char(one.class_id), margin=one.margin, confidence=one.confidence)
                for one in classes
            ]
            for name, classes in chosen.items()
        }

    def validate(self, validate: Validate) -> Mapping[str, float]:
        """Measure, and keep the model if it is the best so far; the first one is, however bad."""
        try:
            judged = validate(self.evaluated())
        except ModelError as error:
            if int(self._row):  # it reads nothing, and does not learn any more
                error = ModelError(f"{error.message}; {self.not_finite().message}", error.hint)
            raise error from None
        if self.state.best_step < 0 or judged.score < self.state.best_score:
            self.state.best, self.state.best_score = dict(judged.figures), judged.score
            self.state.best_step, self.state.worse_in_a_row = self.state.step, 0
            self._save_model("best.safetensors", judged.weights, judged.figures, judged.arch)
        else:
            self.state.worse_in_a_row += 1
        return judged.figures

    def _save_model(self, name: str, weights: nn.Module, figures: Mapping[str, float], arch: str = "") -> None:
        if self.accelerator.is_main_process:
            save_model(
                self.out / name,
                recognizer_state=weights.state_dict(),
                arch=arch or self.trainee.arch,
                charset=self.trainee.charset,
                preprocessing=self.trainee.preprocessing,
                info={
                    "step": self.state.step,
                    "metrics": dict(figures),
                    "config": dict(self.trainee.settings),
                    "lineage": dict(self.trainee.lineage),
                },
                centers=getattr(self.objective, "centers", None),
                center_counts=getattr(self.objective, "center_counts", None),
            )

    def save(self) -> None:
        """Write ``last`` and what resuming needs, of all processes; the state file alone decides where to go on."""
        processes = gather_object([{"random": torch.get_rng_state(), "state": asdict(self.state)}])
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler  # of fp16 alone
        state = {
            "scaler": None if scaler is None else scaler.state_dict(),
            "recognizer": self.recognizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "processes": processes,
        }
        stored = io.BytesIO()  # of a full disk torch says what nobody understands
        torch.save(state, stored)
        with whole(self.out / STATE) as aside:
            aside.write_bytes(stored.getbuffer())
            # Both get their names at once: a first model without a state could neither be gone on with nor replaced.
            sync_file(aside)
            self._save_model("last.safetensors", self.evaluated(), {})

    def load(self) -> None:
        """Go on from the saved state."""
        path = self.out / STATE
        try:
            stored = torch.load(path, map_location="cpu", weights_only=True)
            self.recognizer.load_state_dict(stored["recognizer"])
            if self.average is not None and stored["average"] is not None:
                self.average.load_state_dict(stored["average"])
            self.objective.load_state_dict(stored["objective"])
            self.optimizer.load_state_dict(stored["optimizer"])
            if self.schedule is None:  # no schedule brings what is given now
                for group in self.optimizer.param_groups:
                    group["lr"] = self.config.learning_rate
            if (scaler := self.accelerator.scaler) is not None and stored.get("scaler"):
                scaler.load_state_dict(stored["scaler"])
            # Earlier versions kept the first process's alone.
            processes = stored.get("processes") or [{"random": stored["random"], "state": stored["state"]}]
            own = processes[min(self.accelerator.process_index, len(processes) - 1)]
            torch.set_rng_state(own["random"])
            self.state = State(**own["state"])
            self.started = time.monotonic() - self.state.seconds
        except Exception as error:  # a damaged file fails in many ways, and all mean the same
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise ModelError(f"{path}: damaged, or of other settings: {reason}") from None
        if len(processes) != self.accelerator.num_processes:
            now = self.accelerator.num_processes
            raise ConfigError(
                f"{self.out}: {len(processes)} processes trained it, and now there are {now}",
                "go on with as many as before",
            )


def _compiled(model: nn.Module) -> Callable[[Tensor], Any]:
    """Compile for batches of any size and width: a program for each shape would take minutes every time."""
    # Else the gradient of every convolution is compiled for the very width it meets first (torch 2.14).
    options: dict[str, Any] = {"force_layout_optimization": True}
    compiled = torch.compile(model, options=options)

    def forward(images: Tensor) -> Any:
        # Channels last in its strides too where there is one channel, of which `contiguous` thinks that it is both.
        images = images.movedim(1, -1).clone(memory_format=torch.contiguous_format).movedim(-1, 1)
        for side in (0, 3):
            torch._dynamo.maybe_mark_dynamic(images, side)
        try:
            return compiled(images)
        except BackendCompilerFailed as error:
            reason = str(error.inner_exception).strip().splitlines()[0]
            raise ConfigError(f"torch.compile failed: {reason}", "install a C++ compiler, or drop --compile") from None

    return forward

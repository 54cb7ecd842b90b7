"""Every setting with its one default; the command line and Python read the same classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ocrcc.errors import ConfigError

Precision = Literal["no", "bf16", "fp16"]
Unknown = Literal["fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a line image becomes a recogniser's input. It belongs to the model and travels with it.

    A line is made upright and one-colour or RGB, brought to dark on light if asked, scaled to `height` with
    its aspect kept, normalised, and padded on the right with zeros to a width that depends on nothing but
    its own (`padded_width`). So what is read on a line never depends on its neighbours in a batch.

    Attributes:
        height: Pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: Subtracted from pixels scaled to 0..1.
        std: What the difference is divided by.
        polarity: ``keep``, or ``dark-on-light`` to invert lines whose background is darker than their text.
        width_step: Pixels; padded widths are multiples of it.
        max_width: Pixels; wider lines are squeezed to it.
    """

    height: int = 32
    channels: Literal[1, 3] = 1
    mean: float = 0.5
    std: float = 0.25
    polarity: Literal["keep", "dark-on-light"] = "dark-on-light"
    width_step: int = 32
    max_width: int = 3200

    def __post_init__(self) -> None:
        problems = []
        if not 8 <= self.height <= 512:
            problems.append(f"height is {self.height}, not 8..512")
        if self.channels not in (1, 3):
            problems.append(f"channels is {self.channels}, not 1 or 3")
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            problems.append(f"mean {self.mean} and std {self.std} do not normalise")
        if self.polarity not in ("keep", "dark-on-light"):
            problems.append(f"polarity is {self.polarity!r}, not keep or dark-on-light")
        if not 4 <= self.width_step <= self.max_width <= 100_000:
            problems.append(f"width_step {self.width_step} and max_width {self.max_width} do not fit")
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems))

    def scaled_width(self, width: int, height: int) -> int:
        """Return the pixels that an image of this size is wide once it is `height` high."""
        return max(4, min(self.max_width, round(width * self.height / height)))

    def padded_width(self, scaled_width: int) -> int:
        """Return the input width of a scaled line: coarser steps for longer lines, so that batches fill.

        >>> [Preprocessing().padded_width(width) for width in (4, 32, 33, 700)]
        [32, 32, 64, 704]
        """
        step = self.width_step * (1 if scaled_width <= 16 * self.width_step else 2)
        return math.ceil(scaled_width / step) * step


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What pretrain and finetune share.

    Attributes:
        seed: Of weights, order, augmentation and rendering.
        steps: Optimizer steps; 0 leaves the end to `epochs` or `minutes`.
        epochs: Passes over the training lines; 0 means not set.
        minutes: Minutes of training; 0 means not set.
        batch_size: Lines a step and process.
        optimizer: Any name that timm's optimizer factory knows.
        learning_rate: At the peak of the schedule.
        weight_decay: As the optimizer defines it.
        schedule: Any name that timm's scheduler factory knows, or ``constant``.
        warmup: Share of the run in which the learning rate rises, 0..1.
        clip_norm: Gradients are scaled down to this norm; 0 for never.
        ema_decay: Of the averaged weights that are evaluated and saved; 0 for none.
        precision: ``no``, ``bf16`` or ``fp16``.
        augment: Strength of the augmentation, 0 (none) to 1 (strong).
        workers: Processes that load and augment; 0 loads in the main process.
        threads: CPU threads of the training process; 0 lets torch decide.
        log_every: Steps.
        eval_every: Steps between validations; 0 for only at the end.
        save_every: Steps between saves of ``last``; 0 for only at the end.
        patience: Validations without a better one after which training stops; 0 for never.
        unknown: What to do with lines that have characters the charset lacks: ``fail``, or ``skip`` and count.
    """

    seed: int = 0
    steps: int = 0
    epochs: float = 0
    minutes: float = 0
    batch_size: int = 48
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    schedule: str = "cosine"
    warmup: float = 0.05
    clip_norm: float = 5.0
    ema_decay: float = 0.998
    precision: Precision = "no"
    augment: float = 0.5
    workers: int = 2
    threads: int = 0
    log_every: int = 20
    eval_every: int = 500
    save_every: int = 500
    patience: int = 0
    unknown: Unknown = "fail"

    def __post_init__(self) -> None:
        problems = []
        if sum(bool(end) for end in (self.steps, self.epochs, self.minutes)) != 1:
            problems.append("give exactly one of steps, epochs and minutes")
        for name in (
            "steps",
            "epochs",
            "minutes",
            "warmup",
            "clip_norm",
            "workers",
            "threads",
            "eval_every",
            "save_every",
            "patience",
            "weight_decay",
        ):
            if getattr(self, name) < 0:
                problems.append(f"{name} is negative")
        for name in ("batch_size", "learning_rate", "log_every"):
            if getattr(self, name) <= 0:
                problems.append(f"{name} is not positive")
        for name in ("warmup", "augment"):
            if getattr(self, name) > 1:
                problems.append(f"{name} is over 1")
        if not 0 <= self.ema_decay < 1:
            problems.append("ema_decay is not in 0..1")
        if problems:
            raise ConfigError("; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """How labelled images become a dataset.

    Attributes:
        val_fraction: Share of the lines that go to a second dataset beside the first, 0..1.
        seed: Of that split.
        workers: Processes that verify images; 0 means one per core.
        strict: Stop at the first line that cannot be used.
        max_pixels: Images of more are refused.
        format: Label format, or ``auto`` to tell it from the content.
        encoding: Of the labels, or ``auto``.
    """

    val_fraction: float = 0.0
    seed: int = 0
    workers: int = 0
    strict: bool = False
    max_pixels: int = 50_000_000
    format: str = "auto"
    encoding: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"val_fraction is {self.val_fraction}, not in 0..1")
        if self.workers < 0 or self.max_pixels <= 0:
            raise ConfigError("workers and max_pixels cannot be negative")

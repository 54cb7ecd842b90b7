"""How weights are changed, and how fast over the course of a run: timm's optimisers and schedules."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from timm.optim import create_optimizer_v2, list_optimizers
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler
from torch import nn

from ocrcc.config import TrainConfig
from ocrcc.errors import ConfigError

SCHEDULE_POINTS = 10_000
"""The learning rate changes at so many points of a run, however its end is given."""
_AS_IS_USUAL: Mapping[str, Any] = {
    "poly": {"decay_rate": 1.0},  # which is its power
    "step": {"decay_epochs": SCHEDULE_POINTS / 3},
    "multistep": {"decay_milestones": [SCHEDULE_POINTS // 2, SCHEDULE_POINTS * 3 // 4]},
}
"""timm's defaults are for runs of 300 points, over before the warm-up is."""


def make_optimizer(recognizer: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimiser.

    Raises:
        ConfigError: timm has none of this name.
    """
    if (name := config.optimizer) not in list_optimizers():
        raise ConfigError(f"timm has no optimizer named {name!r}", "such as adamw, adam, sgd, lion, rmsprop")
    return create_optimizer_v2(recognizer, opt=name, lr=config.learning_rate, weight_decay=config.weight_decay)


def make_schedule(optimizer: torch.optim.Optimizer, config: TrainConfig) -> Scheduler | None:
    """Make the schedule of the learning rate, which is at a point of `SCHEDULE_POINTS`; None where it stays.

    Raises:
        ConfigError: timm has none of this name, or it needs a figure.
    """
    schedule: Scheduler | None = None
    if config.schedule != "plateau":  # which follows a figure
        with suppress(ValueError, AssertionError):
            schedule, _ = create_scheduler_v2(
                optimizer,
                sched=config.schedule,
                num_epochs=SCHEDULE_POINTS,
                warmup_epochs=round(config.warmup * SCHEDULE_POINTS),
                warmup_lr=config.learning_rate / 100,
                min_lr=config.learning_rate / 1000,
                **_AS_IS_USUAL.get(config.schedule, {}),
            )
    if schedule is None and config.schedule != "none":  # older timm gives None for a name that it does not know
        hint = "such as cosine, tanh, poly, step, multistep, none"
        raise ConfigError(f"timm has no schedule named {config.schedule!r} that follows the steps alone", hint)
    return schedule

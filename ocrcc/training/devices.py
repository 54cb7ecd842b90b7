"""Where a run computes: one device here, or one for each of several processes."""

from __future__ import annotations

import os
from typing import Any

import torch
from accelerate import Accelerator

from ocrcc.config import TrainConfig
from ocrcc.errors import ConfigError
from ocrcc.models.checkpoint import pick_device

_NAMED_DEVICE = "ACCELERATE_TORCH_DEVICE"
"""What Accelerate asks for the one device of a process that is alone."""


def check_device(device: str) -> str:
    """Find out what a run computes on.

    Args:
        device: ``auto``, or any that torch has here.

    Raises:
        ModelError: There is no such device.
        ConfigError: It cannot serve all the processes that run here.
    """
    picked = pick_device(device)
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if here > 1 and ":" in picked:
        raise ConfigError(f"device {device!r} is one, and {here} processes train here", "--device auto, or cpu")
    if picked == "cuda" and here > torch.cuda.device_count():
        raise ConfigError(
            f"{here} processes train here, and there are {torch.cuda.device_count()} GPUs",
            "start as many processes as GPUs, or --device cpu",
        )
    return picked


def make_accelerator(config: TrainConfig, device: str, handlers: list[Any]) -> Accelerator:
    """Bring the processes of a run together, each on its device.

    Without a GPU, Accelerate must be told that it is a CPU: processes would not find one another, and train apart.

    Raises:
        ConfigError: There are several processes, and they do not find one another.
    """
    picked = check_device(device)
    if picked not in ("cpu", "cuda"):
        os.environ[_NAMED_DEVICE] = picked
    accelerator = Accelerator(cpu=picked == "cpu", mixed_precision=config.precision, kwargs_handlers=handlers)
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != wanted:
        raise ConfigError(f"{wanted} processes were started, but {accelerator.num_processes} train together")
    return accelerator

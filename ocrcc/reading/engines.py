"""How a recogniser is called, whatever runs it, and on how many lines at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import nn

_MAX_SCORES = 2**25
"""Logits of a batch, 128 MB: long lines over thousands of classes would take gigabytes. Unsure ones are kept besides,
for up to three looks."""

Engine = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From images (N, K, H, W) to features (N, T, D) and logits (N, T, C), all float32: what reading needs of a model."""


def lines_at_once(limit: int, num_frames: int, num_classes: int) -> int:
    """Return how many lines of a width fit into memory together, at most ``limit`` and at least one.

    >>> lines_at_once(32, 80, 7000), lines_at_once(32, 800, 7000)
    (32, 5)
    """
    return max(1, min(limit, _MAX_SCORES // max(1, num_frames * num_classes)))


def torch_engine(recognizer: nn.Module, device: str) -> Engine:
    """Make an engine of a recogniser that is in evaluation mode, on ``device``."""
    import torch

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            output = recognizer(torch.from_numpy(images).to(device))
        return output.features.float().cpu().numpy(), output.logits.float().cpu().numpy()

    return read

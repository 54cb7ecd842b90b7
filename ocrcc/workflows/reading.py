"""What evaluation and prediction share: how many lines a recogniser is given at once, and how it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ocrcc.charset import Charset
from ocrcc.decoding.rivals import Rivals
from ocrcc.lookalikes import load_lookalikes, sibling_table

if TYPE_CHECKING:
    from torch import nn

_MAX_SCORES = 2**26
"""Logits held at once, 256 MB: a batch of long lines over thousands of classes would take gigabytes."""

Engine = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From images (N, K, H, W) to features (N, T, D) and logits (N, T, C), all float32: what reading needs of a model."""


def lines_at_once(limit: int, num_frames: int, num_classes: int) -> int:
    """Return how many lines of a width fit into memory together, at most ``limit`` and at least one.

    >>> lines_at_once(32, 80, 7000), lines_at_once(32, 800, 7000)
    (32, 11)
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


def find_rivals(
    lookalikes: str, charset: Charset, centers: np.ndarray | None, counts: np.ndarray | None
) -> Rivals | None:
    """Bring look-alike groups and a model's centers together.

    Args:
        lookalikes: Groups by name or file; empty for none.
        charset: Of the model.
        centers: (C, D), if the model has them.
        counts: (C,), how many characters each center stands on.

    Raises:
        CharsetError: The groups cannot be read.
    """
    if not lookalikes:
        return None
    table = sibling_table(load_lookalikes(lookalikes).for_training(), charset)
    return Rivals(siblings=np.array(table, np.int64), centers=centers, known=None if counts is None else counts > 0)

"""Learning without forgetting: on lines of another kind, a model is to say what it said before."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def divergence(logits: Tensor, before: Tensor, frames: Tensor, characters: Tensor) -> Tensor:
    """Compute the mean over lines of the divergence from earlier posteriors per label character.

    Distillation at temperature 1 (Hinton et al. 2015, sec. 2) from the model itself before training (Li and Hoiem
    2016, eq. 2). Its gradient is zero at the start, while that of labels never is: these would pull a model that reads
    the lines already towards the looks of these very lines.

    Args:
        logits: (N, T, C).
        before: (N, T, C), of the earlier model for the same lines.
        frames: (N,), how many of the T count.
        characters: (N,), of the labels.

    Returns:
        A scalar, in nats.
    """
    counts = torch.arange(logits.shape[1], device=logits.device) < frames[:, None]  # (N, T)
    now, then = logits.float().log_softmax(-1), before.float().log_softmax(-1)
    values = F.kl_div(now, then, reduction="none", log_target=True).sum(-1)  # (N, T)
    return ((values * counts).sum(1) / characters.clamp(min=1)).mean()

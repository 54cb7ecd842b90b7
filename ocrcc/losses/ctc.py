"""The CTC loss of Graves et al. 2006, per line, with the lines that have too few frames told apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ocrcc.charset import BLANK


@dataclass(frozen=True, kw_only=True)
class CtcTerms:
    """What the CTC loss says of a batch.

    Attributes:
        loss: Mean over the lines that fit of the negative log likelihood per label character.
        fits: (N,) bool, the lines whose frames suffice for their label.
    """

    loss: Tensor
    fits: Tensor


def frames_needed(targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Count the frames that a label takes: one a character, and one for the blank between two equal ones.

    Args:
        targets: (N, L) class ids, padded.
        target_lengths: (N,).

    Returns:
        (N,) frames.
    """
    place = torch.arange(1, targets.shape[1], device=targets.device)
    repeats = (targets[:, 1:] == targets[:, :-1]) & (place < target_lengths[:, None])
    return target_lengths + repeats.sum(dim=1)


def ctc_terms(logits: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor) -> CtcTerms:
    """Compute the loss in float32; lines that cannot fit are left out of it, and told.

    Args:
        logits: (N, T, C).
        frames: (N,), how many of the T count.
        targets: (N, L) class ids, padded.
        target_lengths: (N,).
    """
    fits = frames_needed(targets, target_lengths) <= frames
    log_probs = logits.float().log_softmax(dim=-1).transpose(0, 1)  # (T, N, C), as torch wants it
    with torch.autocast(logits.device.type, enabled=False):
        losses = F.ctc_loss(log_probs, targets, frames, target_lengths, BLANK, "none", zero_infinity=True)
    per_character = losses / target_lengths.clamp(min=1)
    return CtcTerms(loss=(per_character * fits).sum() / fits.sum().clamp(min=1), fits=fits)

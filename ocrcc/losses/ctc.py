"""The CTC loss of Graves et al. 2006, per line, with the lines that have too few frames told apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    with torch.autocast(logits.device.type, enabled=False):
        losses = _LabelColumnsCtc.apply(logits, frames, targets, target_lengths)
    per_character = losses / target_lengths.clamp(min=1)
    return CtcTerms(loss=(per_character * fits).sum() / fits.sum().clamp(min=1), fits=fits)


@torch.no_grad()
def line_losses(logits: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Compute the negative log likelihood of each line's label per character, in nats.

    Args:
        logits: (N, T, C).
        frames: (N,), how many of the T count.
        targets: (N, L) class ids, padded.
        target_lengths: (N,).

    Returns:
        (N,) float32; infinite where the frames do not suffice.
    """
    losses = _LabelColumnsCtc.apply(logits, frames, targets, target_lengths) / target_lengths.clamp(min=1)
    return losses.masked_fill(frames_needed(targets, target_lengths) > frames, torch.inf)


class _LabelColumnsCtc(torch.autograd.Function):
    """CTC over the columns that a line's label names, instead of all C of them.

    A line's likelihood depends on the log probabilities of the blank and its own characters alone, and its
    gradient in the logits is softmax minus occupancy (Graves et al. 2006, eq. 16), where occupancy is zero in
    every other column. So torch's loss runs on (N, T, 1 + L) numbers, and the C columns are passed over once
    forwards (for their logsumexp) and once backwards (for the softmax). With 7,000 classes that halves the
    time of the loss; the result is the same.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
        """Return (N,) negative log likelihoods in nats, 0 where there are none."""
        columns = F.pad(targets, (1, 0), value=BLANK)  # (N, 1 + L): the blank, then the label
        own = logits.gather(2, columns[:, None].expand(-1, logits.shape[1], -1)).float()
        log_total = logits.float().logsumexp(dim=2, keepdim=True)
        with torch.enable_grad():
            log_probs = (own - log_total).transpose(0, 1).detach().requires_grad_()  # (T, N, 1 + L)
            losses = F.ctc_loss(
                log_probs, _first_places(targets), frames, target_lengths, BLANK, "none", zero_infinity=True
            )
            # torch gives exp(log_probs) - occupancy, as if a log_softmax came before.
            (difference,) = torch.autograd.grad(losses.sum(), log_probs)
        counts = torch.arange(logits.shape[1], device=logits.device) < frames[:, None]  # (N, T)
        counts = counts & (difference.abs().amax(dim=(0, 2)) > 0)[:, None]  # a line that does not fit has no gradient
        occupancy = (log_probs.detach().exp() - difference).transpose(0, 1) * counts[..., None]
        ctx.save_for_backward(logits, log_total, columns, occupancy, counts)
        return losses.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """Turn (N,) gradients of the losses into that of the logits (N, T, C)."""
        logits, log_total, columns, occupancy, counts = ctx.saved_tensors
        softmax = (logits.float() - log_total).exp_().mul_(counts[..., None])
        softmax.scatter_add_(2, columns[:, None].expand_as(occupancy), -occupancy)
        return softmax.mul_(gradients[0][:, None, None]).to(logits.dtype), None, None, None


def _first_places(targets: Tensor) -> Tensor:
    """Number each label's characters by the place, from 1, where the same character stands first.

    >>> _first_places(torch.tensor([[7, 9, 7, 7]])).tolist()
    [[1, 2, 1, 1]]
    """
    same = targets[:, :, None] == targets[:, None, :]  # (N, L, L)
    return same.int().argmax(dim=2) + 1

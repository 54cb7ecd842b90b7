"""What a training step minimises: a function of a batch and the recogniser's output, with named terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from ocrcc.losses.ctc import ctc_terms
from ocrcc.types import Batch, RecognizerOutput


@dataclass(frozen=True, kw_only=True)
class Terms:
    """One step's losses.

    Attributes:
        total: What is minimised, a scalar.
        scalars: Its parts and whatever else is worth a curve, scalars by name, detached.
        fits: (N,) bool, the lines that have frames enough for their label; the others took no part.
    """

    total: Tensor
    scalars: Mapping[str, Tensor] = field(default_factory=dict)
    fits: Tensor


class CtcObjective(nn.Module):
    """CTC and nothing else. An objective is a module, so that whatever it learns is saved with the run."""

    def forward(self, batch: Batch, output: RecognizerOutput) -> Terms:
        """Compute the loss of a batch."""
        ctc = ctc_terms(output.logits, batch.frames, batch.targets, batch.target_lengths)
        return Terms(total=ctc.loss, scalars={"ctc": ctc.loss.detach()}, fits=ctc.fits)

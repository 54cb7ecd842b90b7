"""What a training step minimises: a function of a batch and the recogniser's output, with named terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ocrcc.config import FinetuneConfig
from ocrcc.decoding.alignment import AlignedFeatures, align, gather_features
from ocrcc.losses.center import Centers, mean, sibling_cross_entropy, sibling_hinge, squared_distance
from ocrcc.losses.ctc import ctc_terms
from ocrcc.losses.separation import separation
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


class CenterObjective(nn.Module):
    """CTC, and terms that hold each aligned character near its own center and away from its look-alikes'.

    With every weight at 0 the gradient is that of `CtcObjective`, and the distances are tracked all the same:
    that is the control.

    Args:
        config: Weights and their kind.
        head: The recogniser's classifier.
        siblings: (C, K) class ids of each class's look-alikes (`ocrcc.lookalikes.sibling_table`).
        centers: Where to start from; empty ones are placed by `place`.
    """

    siblings: Tensor
    steps: Tensor

    def __init__(self, config: FinetuneConfig, head: nn.Linear, siblings: Tensor, centers: Centers) -> None:
        super().__init__()
        self.config = config
        self.moving = centers
        self._head = (head,)  # in a tuple: its weights are the recogniser's to save
        self.register_buffer("siblings", siblings, persistent=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def centers(self) -> Tensor:
        """(C, D), saved with the model."""
        return self.moving.centers

    @property
    def center_counts(self) -> Tensor:
        """(C,), saved with the model."""
        return self.moving.center_counts

    def forward(self, batch: Batch, output: RecognizerOutput) -> Terms:
        """Compute the loss of a batch, and let the centers follow it."""
        config, head = self.config, self._head[0]
        ctc = ctc_terms(output.logits, batch.frames, batch.targets, batch.target_lengths)
        aligned, num_aligned = self._characters(batch, output)
        features, classes = aligned.features, aligned.classes
        near = self.moving.near(classes, self.siblings)
        terms = {}
        if config.center_weight:
            terms["center"] = config.center_weight * mean(squared_distance(features, near)) / features.shape[1]
        if config.sibling_weight:
            terms["sibling"] = config.sibling_weight * mean(sibling_hinge(features, near, config.sibling_margin))
        if config.twin_weight:
            values = sibling_cross_entropy(features, head.weight, head.bias, classes, self.siblings)
            terms["twin"] = config.twin_weight * mean(values)
        rise = (self.steps / max(1, config.term_warmup)).clamp(max=1)
        total = ctc.loss + sum(rise * term for term in terms.values())
        self.steps += 1
        self.moving.update(features.detach(), classes)
        return Terms(
            total=total,
            scalars={
                "ctc": ctc.loss.detach(),
                **{name: term.detach() for name, term in terms.items()},
                **separation(features.detach(), near).scalars(),
                "aligned_lines": num_aligned / len(batch.labels),
            },
            fits=ctc.fits,
        )

    @torch.no_grad()
    def place(self, batch: Batch, output: RecognizerOutput) -> int:
        """Take a batch into the first centers and return how many of its characters were aligned."""
        aligned, _ = self._characters(batch, output)
        self.moving.accumulate(aligned.features, aligned.classes)
        return len(aligned.classes)

    def _characters(self, batch: Batch, output: RecognizerOutput) -> tuple[AlignedFeatures, Tensor]:
        alignment = align(output.logits, batch.frames, batch.targets, batch.target_lengths)
        aligned = gather_features(output.features, alignment, batch.targets, self.config.alignment)
        return aligned, alignment.aligned.sum()

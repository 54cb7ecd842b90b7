"""What a training step minimises: a function of a batch and the recogniser's output, with named terms."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocrcc.charset import BLANK
from ocrcc.config import FinetuneConfig
from ocrcc.decoding.alignment import AlignedFeatures, Alignment, align, gather_features
from ocrcc.losses.center import Centers, mean, sibling_cross_entropy, squared_distance
from ocrcc.losses.ctc import ctc_terms
from ocrcc.losses.separation import ClassMargin, Separation, correlation, rank_classes, separation, watch
from ocrcc.types import Batch, RecognizerOutput

_RECENT = 50
"""Steps whose characters the findings are about, at most."""


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


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What an objective noticed over several steps.

    Attributes:
        scalars: Worth a curve, by name.
        classes: How far classes were kept from their look-alikes, the worst first.
    """

    scalars: Mapping[str, float] = field(default_factory=dict)
    classes: Sequence[ClassMargin] = ()


class Objective(nn.Module):
    """What training minimises. It is a module, so that whatever it learns is saved with the run."""

    def findings(self) -> Findings:
        """Return what was noticed lately.

        Raises:
            ModelError: The run should not go on.
        """
        return Findings()


class CtcObjective(Objective):
    """CTC and nothing else."""

    def forward(self, batch: Batch, output: RecognizerOutput) -> Terms:
        """Compute the loss of a batch."""
        ctc = ctc_terms(output.logits, batch.frames, batch.targets, batch.target_lengths)
        return Terms(total=ctc.loss, scalars={"ctc": ctc.loss.detach()}, fits=ctc.fits)


class CenterObjective(Objective):
    """CTC, and terms that hold each aligned character near its own center and away from its look-alikes'.

    With every weight at 0 the gradient is that of `CtcObjective`, and the distances are tracked all the same:
    that is the control.

    Args:
        config: Weights and their kind.
        head: The recogniser's classifier.
        siblings: (C, K) class ids of each class's look-alikes (`ocrcc.lookalikes.sibling_table`).
        centers: Where to start from; empty ones are placed by `place`.
        teacher: The pretrained recogniser, whose posteriors are kept where no look-alikes are read.
    """

    siblings: Tensor
    steps: Tensor

    def __init__(
        self,
        config: FinetuneConfig,
        head: nn.Linear,
        siblings: Tensor,
        centers: Centers,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.moving = centers
        self._head = (head,)  # in a tuple: its weights are the recogniser's to save
        self._teacher = (teacher,)
        self.register_buffer("siblings", siblings, persistent=False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self._recent: deque[tuple[Tensor, Separation, Tensor]] = deque(maxlen=_RECENT)
        self._at_start: dict[str, float] = {}

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
        alignment, aligned = self._characters(batch, output)
        features, classes = aligned.features, aligned.classes
        near = self.moving.near(classes, self.siblings)
        terms = {}
        if config.center_weight:
            terms["center"] = config.center_weight * mean(squared_distance(features, near)) / features.shape[1]
        if config.twin_weight:
            values = sibling_cross_entropy(features, head.weight, head.bias, classes, self.siblings)
            terms["twin"] = config.twin_weight * mean(values)
        if config.distill_weight:
            terms["distill"] = config.distill_weight * self._divergence(batch, output, alignment)
        rise = (self.steps / max(1, config.term_warmup)).clamp(max=1)
        total = ctc.loss + sum(rise * term for term in terms.values())
        self.steps += 1
        self.moving.update(features.detach(), classes)
        apart = separation(features.detach(), near)
        self._recent.append((classes, apart, alignment.posterior[aligned.lines, aligned.positions]))
        return Terms(
            total=total,
            scalars={
                "ctc": ctc.loss.detach(),
                **{name: term.detach() for name, term in terms.items()},
                **apart.scalars(),
                "aligned_lines": alignment.aligned.sum() / len(batch.labels),
                "aligned_chars": aligned.classes.new_tensor(len(classes)) / batch.target_lengths.sum().clamp(min=1),
            },
            fits=ctc.fits,
        )

    def _divergence(self, batch: Batch, output: RecognizerOutput, alignment: Alignment) -> Tensor:
        """Return the divergence from the teacher's posteriors per label character, look-alikes' frames left out."""
        (teacher,) = self._teacher
        assert teacher is not None
        with torch.no_grad():
            posteriors = teacher.to(batch.images.device)(batch.images).logits.float().softmax(-1)
        frames = torch.arange(output.logits.shape[1], device=batch.frames.device)
        own = frames < batch.frames[:, None]  # (N, T)
        contested = alignment.mask & (self.siblings[batch.targets] != BLANK).any(-1)
        spans = (frames >= alignment.start[..., None]) & (frames < alignment.end[..., None])  # (N, L, T)
        kept = own & ~(spans & contested[..., None]).any(1)
        divergences = F.kl_div(output.logits.float().log_softmax(-1), posteriors, reduction="none").sum(-1)
        return (divergences * kept).sum() / batch.target_lengths.sum().clamp(min=1)

    @torch.no_grad()
    def place(self, batch: Batch, output: RecognizerOutput) -> int:
        """Take a batch into the first centers and return how many of its characters were aligned."""
        _, aligned = self._characters(batch, output)
        self.moving.accumulate(aligned.features, aligned.classes)
        return len(aligned.classes)

    def findings(self) -> Findings:
        """Rank the classes of the last steps by margin, and see that the features are sound."""
        if not self._recent:
            return Findings()
        classes = torch.cat([classes for classes, _, _ in self._recent])
        paired, margins, own, sibling = (
            torch.cat([getattr(apart, name) for _, apart, _ in self._recent])
            for name in ("paired", "margin", "own", "sibling")
        )
        confidences = torch.cat([confidence for _, _, confidence in self._recent])
        self._recent.clear()
        if not bool(paired.any()):
            return Findings()
        distances = {"distance_own": float(own[paired].mean()), "distance_sibling": float(sibling[paired].mean())}
        self._at_start = self._at_start or distances
        watch(distances, self._at_start)
        return Findings(
            scalars={"margin_confidence_correlation": float(correlation(margins[paired], confidences[paired]))},
            classes=rank_classes(classes[paired], margins[paired], confidences[paired]),
        )

    def _characters(self, batch: Batch, output: RecognizerOutput) -> tuple[Alignment, AlignedFeatures]:
        alignment = align(output.logits, batch.frames, batch.targets, batch.target_lengths)
        return alignment, gather_features(output.features, alignment, batch.targets)

"""What a training step minimises: a function of a batch and the recogniser's output, with named terms."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ocrcc.config import FinetuneConfig
from ocrcc.decoding.alignment import AlignedFeatures, Alignment, align, gather_features
from ocrcc.losses.center import Centers, mean, sibling_cross_entropy, squared_distance
from ocrcc.losses.ctc import ctc_terms
from ocrcc.losses.distillation import divergence
from ocrcc.losses.separation import ClassMargin, Separation, correlation, rank_classes, separation, watch
from ocrcc.models.recognizer import Recognizer
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

    Lines that are replayed have no part in these: there, the posteriors of the pretrained recogniser are kept, whatever
    the labels say. With every weight at 0 the gradient is that of CTC, and the distances are tracked all the same: that
    is the control.

    Args:
        config: Weights and their kind.
        head: The recogniser's classifier.
        siblings: (C, K) class ids of each class's look-alikes (`ocrcc.lookalikes.sibling_table`).
        centers: Where to start from; empty ones are placed by `place`.
        pretrained: The recogniser that training started from; None if no lines are replayed.
        same_frames: Whether its backbone is that of the recogniser, which is then not asked twice.
    """

    siblings: Tensor
    steps: Tensor

    def __init__(
        self,
        config: FinetuneConfig,
        head: nn.Linear,
        siblings: Tensor,
        centers: Centers,
        pretrained: Recognizer | None = None,
        same_frames: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.moving = centers
        self._head = (head,)  # in a tuple: its weights are the recogniser's to save
        self._pretrained, self._same_frames = (pretrained,), same_frames
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
        if batch.replayed is None:
            return self._learned(batch, output)
        replayed, own = batch.replayed, ~batch.replayed
        kept = self._kept(batch.where(replayed), output.where(replayed))
        if not bool(own.any()):
            self._count(output.features.new_zeros(0, output.features.shape[-1]), batch.targets.new_zeros(0))
            return Terms(total=kept, scalars={"kept": kept.detach()}, fits=torch.ones_like(own, device=kept.device))
        learned = self._learned(batch.where(own), output.where(own))
        share = float(own.float().mean())
        fits = torch.ones_like(own, device=kept.device)
        fits[own.nonzero()[:, 0].to(kept.device, non_blocking=True)] = learned.fits
        return Terms(
            total=share * learned.total + (1 - share) * kept,
            scalars={**learned.scalars, "kept": kept.detach()},
            fits=fits,
        )

    def _learned(self, batch: Batch, output: RecognizerOutput) -> Terms:
        config, head = self.config, self._head[0]
        ctc = ctc_terms(output.logits, batch.frames, batch.targets, batch.target_lengths)
        alignment, aligned = self._characters(batch, output)
        features, classes = aligned.features, aligned.classes
        near = self.moving.near(classes, self.siblings)
        apart = separation(features.detach(), near)
        terms = {}
        if config.center_weight:
            pulls = squared_distance(features, near) * (apart.margin >= 0)  # others may bear a wrong label
            terms["center"] = config.center_weight * mean(pulls) / features.shape[1]
        if config.twin_weight:
            values = sibling_cross_entropy(features, head.weight, head.bias, classes, self.siblings)
            terms["twin"] = config.twin_weight * mean(values)
        rise = (self.steps / max(1, config.term_warmup)).clamp(max=1)
        total = ctc.loss + sum(rise * term for term in terms.values())
        self._count(features.detach(), classes)
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

    def _count(self, features: Tensor, classes: Tensor) -> None:
        """Count a step and let the centers follow; other processes wait for it, though here all lines are replayed."""
        self.steps += 1
        self.moving.update(features, classes)

    def _kept(self, batch: Batch, output: RecognizerOutput) -> Tensor:
        """Return how far the posteriors have moved from those of the pretrained recogniser."""
        (pretrained,) = self._pretrained
        assert pretrained is not None
        with torch.no_grad():
            pretrained.to(batch.images.device)
            frames = output.frames if self._same_frames else pretrained.backbone(batch.images)
            before = pretrained.forward_frames(frames, batch.images.shape[3]).logits  # type: ignore[arg-type]
        return divergence(output.logits, before, batch.frames, batch.target_lengths)

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
        paired = paired & own.isfinite() & sibling.isfinite()  # a lost step's are not; the run counts those
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

"""How far characters lie from their own center and from their look-alikes': what is tracked, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ocrcc.errors import ModelError
from ocrcc.losses.center import NearCenters, at_least_float

COLLAPSED = 0.01
"""Features have collapsed when all distances are down to this share of what they were."""


@dataclass(frozen=True, kw_only=True)
class Separation:
    """Euclidean distances of M characters; 0 where there is nothing to measure.

    Attributes:
        own: (M,) to the own center.
        sibling: (M,) to the nearest sibling's center.
        between: (M,) from the own center to that sibling's.
        nearest: (M,) int64, which of its siblings that is, 0..K-1.
        known: (M,) bool; whether the own center is known.
        paired: (M,) bool; whether a sibling's center is known as well.
    """

    own: Tensor
    sibling: Tensor
    between: Tensor
    nearest: Tensor
    known: Tensor
    paired: Tensor

    @property
    def margin(self) -> Tensor:
        """(M,) distance to the sibling's center minus the distance to the own one; positive is safe."""
        return (self.sibling - self.own) * self.paired

    def scalars(self) -> dict[str, Tensor]:
        """Return means over the characters that have one; 0 if none has, and NaN if a feature is NaN."""
        sibling = _mean(self.sibling, self.paired)
        return {
            "distance_own": _mean(self.own, self.known),
            "distance_sibling": sibling,
            "distance_between": _mean(self.between, self.paired),
            "distance_ratio": _mean(self.own, self.paired) / sibling.clamp(min=1e-12),
            "margin": _mean(self.margin, self.paired),
        }


def _mean(values: Tensor, where: Tensor) -> Tensor:
    return torch.where(where, values, 0.0).sum() / where.sum().clamp(min=1)


@torch.no_grad()
def separation(features: Tensor, near: NearCenters) -> Separation:
    """Measure characters (M, D) against their centers."""
    features = at_least_float(features)
    own = (features - near.own).norm(dim=1)
    rivals = near.rivals & near.known[:, None]
    if not rivals.shape[1]:
        nothing = torch.zeros_like(own)
        return Separation(
            own=own, sibling=nothing, between=nothing, nearest=nothing.long(), known=near.known, paired=nothing.bool()
        )
    away = (features[:, None] - near.siblings).norm(dim=2)
    nearest = away.masked_fill(~rivals, torch.inf).argmin(1, keepdim=True)
    apart = (near.own[:, None] - near.siblings).norm(dim=2)
    paired = rivals.any(1)
    return Separation(
        own=own * near.known,
        sibling=away.gather(1, nearest)[:, 0] * paired,
        between=apart.gather(1, nearest)[:, 0] * paired,
        nearest=nearest[:, 0],
        known=near.known,
        paired=paired,
    )


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Pearson's correlation of two (M,) series; 0 where one does not vary."""
    pair = torch.stack((first, second)).double()
    pair = pair - pair.sum(dim=1, keepdim=True) / max(1, pair.shape[1])
    spread = pair.square().sum(dim=1).prod().sqrt()
    return pair.prod(dim=0).sum() / spread.clamp(min=1e-12)


@dataclass(frozen=True, kw_only=True)
class ClassMargin:
    """How far one class was kept from its look-alikes.

    Attributes:
        class_id: The class.
        margin: Mean over its characters.
        confidence: Mean posterior of the class over their frames, 0..1.
        count: How many characters.
    """

    class_id: int
    margin: float
    confidence: float
    count: int


def rank_classes(classes: Tensor, margins: Tensor, confidences: Tensor, least: int = 2) -> list[ClassMargin]:
    """Average margins by class; the class worst told from its look-alikes comes first.

    Args:
        classes: (M,) class ids of characters that have look-alikes.
        margins: (M,).
        confidences: (M,).
        least: Classes with fewer characters are left out: one of them says little.
    """
    present, place = classes.unique(return_inverse=True)
    sums = torch.zeros(3, len(present), dtype=torch.float64, device=classes.device)
    sums.index_add_(1, place, torch.stack((margins, confidences, torch.ones_like(margins))).double())
    rows = zip(present.tolist(), *sums.tolist(), strict=True)
    found = [
        ClassMargin(class_id=class_id, margin=margin / count, confidence=confidence / count, count=int(count))
        for class_id, margin, confidence, count in rows
        if count >= least
    ]
    return sorted(found, key=lambda one: (one.margin, one.class_id))


def watch(now: Mapping[str, float], before: Mapping[str, float]) -> None:
    """Stop a run whose features are no longer finite, or shrink all together.

    Args:
        now: `Separation.scalars`, as numbers.
        before: The same at the start of the run.

    Raises:
        ModelError: With what happened and what helps.
    """
    if not all(math.isfinite(value) for value in now.values()):
        raise ModelError("the features are no longer finite", "lower --learning-rate or --center-weight")
    own, sibling = (now[name] / max(before[name], 1e-12) for name in ("distance_own", "distance_sibling"))
    if own < COLLAPSED and sibling < COLLAPSED:
        raise ModelError(
            f"the features collapse: distances to the own center ({now['distance_own']:.3g}) and to look-alikes' "
            f"({now['distance_sibling']:.3g}) are under {COLLAPSED:.0%} of what they were",
            "lower --center-weight",
        )

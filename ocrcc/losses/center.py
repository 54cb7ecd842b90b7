"""Class centers in feature space, and what pulls a character to its own and away from its look-alikes'.

The centers move as in Wen et al. 2016, "A Discriminative Feature Learning Approach for Deep Face Recognition",
eq. 2 to 4. Only the centers of the characters at hand and of their siblings are ever looked at: memory grows
with M x K x D, never with the C classes. Every term returns one value per character; `mean` makes it a loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ocrcc.charset import BLANK


@dataclass(frozen=True, kw_only=True)
class NearCenters:
    """The centers that M characters are measured against.

    Attributes:
        own: (M, D).
        known: (M,) bool; false where the class has no center yet.
        siblings: (M, K, D).
        rivals: (M, K) bool; false where there is no sibling or it has no center yet.
    """

    own: Tensor
    known: Tensor
    siblings: Tensor
    rivals: Tensor


class Centers(nn.Module):
    """The moving centers of C classes. They learn from what they are shown, never from a gradient.

    Args:
        num_classes: C.
        width: D.
        alpha: Update rate of Wen et al. 2016, 0..1.
    """

    centers: Tensor
    center_counts: Tensor

    def __init__(self, num_classes: int, width: int, alpha: float = 0.5) -> None:
        super().__init__()
        self.alpha = alpha
        self.register_buffer("centers", torch.zeros(num_classes, width))
        self.register_buffer("center_counts", torch.zeros(num_classes))

    @torch.no_grad()
    def update(self, features: Tensor, classes: Tensor) -> None:
        """Move the centers of the classes present, on all processes alike.

        A class seen before moves by alpha * sum(x - c) / (1 + n) (eq. 4); one never seen goes straight to the
        mean of its features.

        Args:
            features: (M, D) of any float type; those that are not finite move nothing.
            classes: (M,) class ids.
        """
        finite = features.isfinite().all(dim=1)
        counts = _sum_over_processes(self._count(classes, finite))
        step = torch.where(self.center_counts > 0, self.alpha / (1 + counts), 1 / counts.clamp(min=1))
        moves = (features.float() - self.centers[classes]) * step[classes, None]
        self._move(torch.where(finite[:, None], moves, 0.0), classes)
        self.center_counts += counts

    @torch.no_grad()
    def accumulate(self, features: Tensor, classes: Tensor) -> None:
        """Take features into the plain means of their classes; one pass of this gives the first centers.

        Args:
            features: (M, D) of any float type.
            classes: (M,) class ids.
        """
        self.center_counts += _sum_over_processes(self._count(classes, torch.ones_like(classes)))
        step = 1 / self.center_counts.clamp(min=1)
        self._move((features.float() - self.centers[classes]) * step[classes, None], classes)

    def near(self, classes: Tensor, siblings: Tensor) -> NearCenters:
        """Look up the centers for characters.

        Args:
            classes: (M,) class ids.
            siblings: (C, K) class ids of each class's look-alikes, padded with the blank.
        """
        others = siblings[classes]
        return NearCenters(
            own=self.centers[classes],
            known=self.center_counts[classes] > 0,
            siblings=self.centers[others],
            rivals=(others != BLANK) & (self.center_counts[others] > 0),
        )

    def _count(self, classes: Tensor, which: Tensor) -> Tensor:
        return torch.zeros_like(self.center_counts).index_add_(0, classes, which.to(self.center_counts))

    def _move(self, moves: Tensor, classes: Tensor) -> None:
        if not _distributed():
            self.centers.index_add_(0, classes, moves)
            return
        self.centers += _sum_over_processes(torch.zeros_like(self.centers).index_add_(0, classes, moves))


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _sum_over_processes(values: Tensor) -> Tensor:
    if _distributed():
        dist.all_reduce(values)
    return values


def at_least_float(values: Tensor) -> Tensor:
    """Return half-precision values in float32; wider ones stay as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mean(values: Tensor) -> Tensor:
    """Average per-character values (M,); 0, with a gradient of 0, where there are none."""
    return values.sum() / max(1, values.numel())


def squared_distance(features: Tensor, near: NearCenters) -> Tensor:
    """Return half the squared distance (M,) to the own center: the center loss (Wen et al. 2016, eq. 2)."""
    return 0.5 * (at_least_float(features) - near.own).square().sum(1) * near.known


def sibling_cross_entropy(features: Tensor, weight: Tensor, bias: Tensor, classes: Tensor, siblings: Tensor) -> Tensor:
    """Return the cross-entropy (M,) of the classifier's own scores among a character and its siblings.

    It raises the very difference that decides between look-alikes when the line is read, and costs K + 1
    columns of the classifier instead of C. Characters without siblings give 0.

    Args:
        features: (M, D).
        weight: (C, D) of the classifier.
        bias: (C,) of the classifier.
        classes: (M,) class ids.
        siblings: (C, K) class ids of each class's look-alikes, padded with the blank.
    """
    every = torch.cat((classes[:, None], siblings[classes]), dim=1)
    with torch.autocast(features.device.type, enabled=False):
        rows = F.embedding(every, at_least_float(weight))  # (M, 1 + K, D)
        scores = (rows @ at_least_float(features)[:, :, None]).squeeze(2) + at_least_float(bias)[every]
    scores = scores.masked_fill(every == BLANK, -torch.inf)
    return scores.logsumexp(1) - scores[:, 0]

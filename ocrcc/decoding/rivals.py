"""How safely a character was told from its look-alikes: margins in feature space, and their posteriors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocrcc.charset import BLANK


@dataclass(frozen=True, kw_only=True)
class Rivals:
    """What each class could be taken for, and where the classes lie in feature space.

    Attributes:
        siblings: (C, K) int64 class ids of each class's look-alikes, padded with the blank.
        centers: (C, D) float32, or None for a model without centers.
        known: (C,) bool, the classes that have a center; None without centers.
    """

    siblings: np.ndarray
    centers: np.ndarray | None = None
    known: np.ndarray | None = None

    def decide(self, features: np.ndarray, logits: np.ndarray, classes: np.ndarray, weight: float) -> np.ndarray:
        """Decide between each character and its look-alikes by the classifier and the centers together.

        A candidate's score is its logit minus the weight times half the squared distance to its center over
        D: of a Gaussian around each center, with one variance for all, that is the log likelihood. The
        classifier was shaped by all its mistakes, a center by all its characters; rare classes gain most.

        Args:
            features: (R, D), those of the frames that characters were read from.
            logits: (R, C) of these frames.
            classes: (R,) what they were read as.
            weight: Of the distances; 0 leaves all as it is.

        Returns:
            (R,) classes; a class or a sibling without a center takes no part.
        """
        if self.centers is None or self.known is None or not weight or not len(classes):
            return classes
        candidates = np.concatenate((classes[:, None], self.siblings[classes]), axis=1)
        apart = features.astype(np.float32, copy=False)[:, None] - self.centers[candidates]
        scores = np.take_along_axis(logits, candidates, 1) - weight * 0.5 * np.square(apart).mean(axis=-1)
        scores[:, 1:][(candidates[:, 1:] == BLANK) | ~self.known[candidates[:, 1:]]] = -np.inf
        decided = np.take_along_axis(candidates, scores.argmax(axis=1)[:, None], 1)[:, 0]
        return np.where(self.known[classes], decided, classes)

    def margins(self, features: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """Return (R,) distances to the nearest sibling's center minus those to the own one.

        Args:
            features: (R, D), those of the frames that characters were read from.
            classes: (R,) what they were read as.

        Returns:
            NaN for a character without a sibling whose center is known, or without a center of its own.
        """
        others = self.siblings[classes]
        if self.centers is None or self.known is None or not others.shape[1]:
            return np.full(len(classes), np.nan)
        features = features.astype(np.float32, copy=False)
        own = np.linalg.norm(features - self.centers[classes], axis=-1)
        away = np.linalg.norm(features[:, None] - self.centers[others], axis=-1)
        away[(others == BLANK) | ~self.known[others]] = np.inf
        margins = away.min(axis=1) - own
        margins[~np.isfinite(margins) | ~self.known[classes]] = np.nan
        return margins

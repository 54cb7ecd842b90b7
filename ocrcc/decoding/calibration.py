"""From evidence to chances: how likely a character is right, is its look-alike, or has lost the one after it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc.decoding.evidence import FEATURES
from ocrcc.errors import ModelError

OUTCOMES = ("right", "lookalike", "dropped")
"""What a chance is of: that a character is right and none is missing after it (before it too, for a line's first); that
it is one of its look-alikes; that one is missing there."""
_FAR = 50.0


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Logistic regressions of the three outcomes on the evidence.

    Attributes:
        weights: (3, F + 1) float64, of a constant first.
        characters: How many it was fitted to.
        error: Expected calibration error of the chance to be right, on characters held out.
    """

    weights: np.ndarray
    characters: int = 0
    error: float = 0.0

    def chances(self, evidence: np.ndarray) -> np.ndarray:
        """Return (L, 3) chances of the `OUTCOMES` from evidence (L, F)."""
        scores = self.weights[:, 0] + evidence @ self.weights[:, 1:].T
        return 1 / (1 + np.exp(-np.clip(scores, -_FAR, _FAR)))

    def described(self) -> dict[str, Any]:
        """Return what a model's metadata keep, and `parse_calibration` reads."""
        return {
            "features": list(FEATURES),
            "weights": dict(zip(OUTCOMES, self.weights.tolist(), strict=True)),
            "characters": self.characters,
            "error": self.error,
        }


BLANK = Calibration(weights=np.zeros((len(OUTCOMES), len(FEATURES) + 1)))
"""Knows nothing; for gathering the evidence to fit one to."""


def parse_calibration(stored: Any, path: Path) -> Calibration | None:
    """Read what a model's metadata keep of a calibration.

    Args:
        stored: The metadata's ``calibration``; None for a model without one.
        path: The model, for messages.

    Returns:
        None without one, and for one of other evidence than this version gathers.

    Raises:
        ModelError: It is damaged.
    """
    if stored is None:
        return None
    try:
        if stored["features"] != list(FEATURES):
            return None
        weights = np.array([stored["weights"][name] for name in OUTCOMES], np.float64)
        characters, error = int(stored["characters"]), float(stored["error"])
    except (KeyError, TypeError, ValueError, OverflowError) as problem:
        raise ModelError(f"{path}: its calibration is damaged: {problem}", "calibrate it anew") from None
    if weights.shape != BLANK.weights.shape or not np.isfinite(weights).all() or not math.isfinite(error):
        raise ModelError(f"{path}: its calibration is damaged: weights {weights.shape}", "calibrate it anew")
    return Calibration(weights=weights, characters=characters, error=error)

"""What the steps between two log entries amount to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from ocrcc.data.batching import TrainingBatch
from ocrcc.training.objective import Terms


class Window:
    """Sums since the last log entry; they stay on the device until they are asked for."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, Tensor] = {}  # not every step has every term, and a lost step has none
        self._fits: list[tuple[Tensor, tuple[str, ...]]] = []
        self._started = time.monotonic()
        self.lines = 0
        self.problems: list[str] = []

    def add(self, received: TrainingBatch, terms: Terms) -> None:
        """Take in one step."""
        self.lines += len(received.batch.sources)
        for name, value in {"loss": terms.total, **terms.scalars}.items():
            value, finite = value.detach(), value.detach().isfinite()
            self._sums[name] = self._sums.get(name, 0) + torch.where(finite, value, 0)
            self._counts[name] = self._counts.get(name, 0) + finite
        self._fits.append((terms.fits, received.batch.sources))
        self.problems += received.problems

    def means(self) -> dict[str, float]:
        """Return the mean of each scalar over the steps in which it was finite, without those that never were."""
        counts = {name: int(count) for name, count in self._counts.items()}
        return {name: float(value) / counts[name] for name, value in self._sums.items() if counts[name]}

    def unfit(self) -> Iterator[str]:
        """Name the lines that had too few frames."""
        for fits, sources in self._fits:
            yield from (source for fit, source in zip(fits.tolist(), sources, strict=True) if not fit)
        self._fits.clear()

    def seconds(self) -> float:
        """Return the time since the last entry."""
        return max(1e-9, time.monotonic() - self._started)

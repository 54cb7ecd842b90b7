"""Losses that are no numbers."""

from __future__ import annotations

from dataclasses import replace

from ocrcc.training.objective import CtcObjective


class LostFrom(CtcObjective):
    """An objective whose loss is not a number for some steps in a row."""

    def __init__(self, first, steps):
        super().__init__()
        self.asked, self.lost = 0, range(first, first + steps)

    def forward(self, batch, output):
        self.asked += 1
        terms = super().forward(batch, output)
        return replace(terms, total=terms.total * (float("nan") if self.asked in self.lost else 1.0))

"""How long the long forms are: ``OCRCC_LONG=1 pytest tests/reliability`` runs them, CI the short ones."""

from __future__ import annotations

import os

LONG = float(os.environ.get("OCRCC_LONG") or 0)
"""Tens of times as often as in its short form a test does what it does; 0 for that."""


def times(short: int) -> int:
    """How often to do something whose short form does it so often."""
    return max(short, round(short * 10 * LONG))

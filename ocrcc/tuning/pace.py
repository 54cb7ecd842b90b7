"""How long a fine-tune goes on, and how fast, where nobody says so."""

from __future__ import annotations

import math
from dataclasses import replace

from ocrcc.config import TrainConfig, TuneConfig
from ocrcc.models.experts import parsed
from ocrcc.models.registry import MODELS

_STEPS_PER_ROOT_LINE = 20
_FEWEST_STEPS, _MOST_STEPS = 100, 20_000
_VALIDATIONS = 5
_RATE = 3e-4
_RATE_BEHIND, _RATE_OF_OTHERS = 1e-4, 3e-5
"""Of files of other makes: behind a backbone that stays as it is, and of all their weights. The batch norms of the
backbone are folded into its convolutions, and nothing scales what a step changes: at 1e-4 and 3e-4, PP-OCRv6 small
reads the very lines that it learns worse for as long as the rate rises."""


def with_length(config: TrainConfig, lines: int) -> TrainConfig:
    """Choose how long to train, if nobody did, and how often to validate.

    With twice the lines, each is seen 0.7 times as often.
    """
    if not (config.steps or config.epochs or config.minutes):
        steps = round(_STEPS_PER_ROOT_LINE * math.sqrt(lines)) if lines else 10 * _FEWEST_STEPS
        config = replace(config, steps=min(_MOST_STEPS, max(_FEWEST_STEPS, steps)))
    if not config.eval_every and isinstance(config, TuneConfig) and config.steps:
        config = replace(config, eval_every=math.ceil(config.steps / _VALIDATIONS))
    return config


def with_rate(config: TrainConfig, others: bool, behind: bool) -> TrainConfig:
    """Choose how fast to train, if nobody did."""
    if config.learning_rate:
        return config
    return replace(config, learning_rate=_RATE if not others else _RATE_BEHIND if behind else _RATE_OF_OTHERS)


def of_another_make(arch: str) -> bool:
    """Tell whether a recogniser is a graph from a file that we have not made."""
    spec = MODELS.get(parsed(arch)[0])
    return spec is not None and bool(spec.graph)

"""Which settings a run keeps for as long as it goes on, and which may change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ocrcc.config.setting import LENGTH, SAVING, SPEED, shown
from ocrcc.config.training import DataConfig, TrainConfig
from ocrcc.errors import ConfigError

_MAY_CHANGE = ("learning_rate", "clip_norm")
"""What helps a run on whose loss is no longer finite; no line is drawn or held back by it."""
_BY_CONTENT = ("pretrained", "train", "val", "replay")
"""The lineage knows what is in them, so a file may have moved."""
_RENDERED = "synth:"


def check_course(out: Path, before: object, task: DataConfig, config: TrainConfig) -> None:
    """Make sure that a run goes on as it began.

    With another seed, for one, other lines would be held back, and it would be judged by some that it has learned.
    What ends, reports or speeds up a run may change.

    Args:
        out: The run folder.
        before: The run's settings, as its model names them; older versions know fewer.
        task: What is asked for now.
        config: How.

    Raises:
        ConfigError: Some settings are others; it names them.
    """
    if not isinstance(before, Mapping):
        return
    changed = []
    for part in (task, config):
        for name, value in json.loads(json.dumps(asdict(part))).items():
            if name not in before or name in _MAY_CHANGE or shown(type(part), name)["group"] in (LENGTH, SAVING, SPEED):
                continue
            was = before[name]
            same = _kinds(value) == _kinds(was) if name in _BY_CONTENT else value == was
            if not same:
                changed.append(f"{name} is {_in_words(value)}, and was {_in_words(was)}")
    if changed:
        raise ConfigError(
            f"{out}: goes on with the settings that it began with: {'; '.join(changed)}",
            "leave them out, or start a new run in another folder: --init-from or --pretrained takes its weights",
        )


def _kinds(value: object) -> list[str]:
    """Tell lines that are rendered by their names, and from files; a single name is one file."""
    specs = value if isinstance(value, list) else [value]
    return [str(spec) if str(spec).startswith(_RENDERED) else "" for spec in specs]


def _in_words(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value) or "none"

"""How a setting is declared: its default, and where and how the command line shows it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

from ocrcc.errors import ConfigError

DATA = "Lines"
INPUT = "Input"
OUTPUT = "Output"
MODEL = "Model"
TEXTS = "Texts"
FONTS = "Fonts"
READING = "How lines are read"
PAGES = "Pages"
LOOKALIKES = "Look-alikes"
GENERAL = "General lines, and the guard"
LENGTH = "When training ends"
LEARNING = "How it learns"
SAVING = "Measuring and saving"
CHECK = "Check"
SPEED = "Speed and memory"
OTHER = "Other"
GROUPS = (
    *(INPUT, DATA, MODEL, OUTPUT, READING, LOOKALIKES, PAGES, TEXTS, FONTS, GENERAL),
    *(LENGTH, LEARNING, SAVING, CHECK, SPEED, OTHER),
)
"""What options are shown in, in the order of a command's help."""

_SEEDS = 1 << 32
"""What NumPy's global generator takes."""

_Value = TypeVar("_Value")


def setting(default: _Value, group: str, metavar: str = "", *, short: str = "") -> _Value:
    """Declare a field of a settings class that becomes an option.

    Args:
        default: The field's.
        group: One of the groups above.
        metavar: What the option's value is called where its type does not say it.
        short: A short option; the same letter means the same in all commands.
    """
    return field(default=default, metadata={"group": group, "metavar": metavar, "short": short})


def shown(config: type, name: str) -> dict[str, Any]:
    """Return how a field is shown; one that only has another default here is shown as where it comes from."""
    for each in config.__mro__:
        known = each.__dict__.get("__dataclass_fields__", {})
        if name in known and known[name].metadata:
            return dict(known[name].metadata)
    raise LookupError(f"{config.__name__}.{name} does not say where it is shown")


def check_numbers(config: Any) -> None:
    """Make sure of what holds for every settings class: numbers are finite, and a seed is one.

    It comes before a class's own checks: of NaN, every comparison is false.

    Raises:
        ConfigError: Some are not; it names them.
    """
    problems = []
    for each in fields(config):
        value = getattr(config, each.name)
        if wrong := [number for number in _numbers(value) if not math.isfinite(number)]:
            problems.append(f"{each.name} is {wrong[0]}, not a finite number")
        if each.name == "seed" and not 0 <= value < _SEEDS:
            problems.append(f"seed is {value}, not 0..{_SEEDS - 1}")
    if problems:
        raise ConfigError("; ".join(problems))


def _numbers(value: object) -> Iterator[float]:
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else (value,)
    return (number for number in values if isinstance(number, float))

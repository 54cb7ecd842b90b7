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

_MOST = {"seed": (1 << 32) - 1, "batch_size": 1 << 16, "workers": 1 << 10, "threads": 1 << 10}
"""Of whole numbers by their names: what NumPy's global generator takes; what room or processes are made for at once."""
_MOST_OF_ALL = (1 << 31) - 1
"""Of all others: beyond what C takes, some library fails in words of its own, or a loop never ends."""

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
    """Make sure of what holds for every settings class: numbers are finite, whole ones not endless, and a seed is one.

    It comes before a class's own checks: of NaN, every comparison is false.

    Raises:
        ConfigError: Some are not; it names them.
    """
    problems = []
    for each in fields(config):
        value = getattr(config, each.name)
        if wrong := [one for one in _numbers(value) if isinstance(one, float) and not math.isfinite(one)]:
            problems.append(f"{each.name} is {wrong[0]}, not a finite number")
        if each.name == "seed" and not 0 <= value <= _MOST["seed"]:
            problems.append(f"seed is {value}, not 0..{_MOST['seed']}")
        else:
            problems += too_large(each.name, value)
    if problems:
        raise ConfigError("; ".join(problems))


def too_large(name: str, value: object) -> list[str]:
    """Say of a whole number, or of one in a list, that it is larger than anything of that name can be.

    >>> too_large("batch_size", 32), too_large("batch_size", 99_999_999)
    ([], ['batch_size is 99999999, not 65536 or less'])
    """
    most = _MOST.get(name, _MOST_OF_ALL)
    return [
        f"{name} is {number}, not {most} or less" for number in _numbers(value) if type(number) is int and number > most
    ]


def _numbers(value: object) -> Iterator[float]:
    values = value.values() if isinstance(value, Mapping) else value if isinstance(value, (tuple, list)) else (value,)
    return (number for number in values if isinstance(number, (int, float)))

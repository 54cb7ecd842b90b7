"""How a setting is declared: its default, and where and how the command line shows it."""

from __future__ import annotations

from dataclasses import field
from typing import Any, TypeVar

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

"""Which characters a person should look at, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ocrcc.errors import ConfigError
from ocrcc.types import Doubt, Page, PageLine, Recognition, RecognizedChar

BUDGET = 0.02
"""Share of the characters that somebody looks at."""
_SEEN_ANYWAY = 0.1
"""What an error is worth that is neither a look-alike nor a gap: who reads the text stumbles over it, while nobody
misses the point of an amount, or takes a 已 for a mistake."""
Reason = Literal["look-alike", "missing after", "unsure", "nothing read"]


@dataclass(frozen=True, kw_only=True)
class Doubtful:
    """A character that somebody should look at.

    Attributes:
        path: The image.
        line: Number of its line, from 1.
        position: Its place in the line, from 1.
        char: What was read, and where.
        worth: As `worth` has it.
        text: Of the line.
    """

    path: str
    line: int
    position: int
    char: RecognizedChar
    worth: float
    text: str


def worth(doubt: Doubt) -> float:
    """Return how much a look at a character is worth: its chance to be an error that nobody notices in the text."""
    return doubt.lookalike + doubt.dropped + _SEEN_ANYWAY * doubt.wrong


def worth_of(char: RecognizedChar) -> float:
    """Return how much a look at a character is worth; by its posterior where the model is not calibrated."""
    return worth(char.doubt) if char.doubt is not None else 1 - char.confidence


def reason(char: RecognizedChar) -> Reason:
    """Say what is most likely wrong with a character."""
    doubt = char.doubt
    if not char.char:
        return "nothing read"
    if doubt is None or doubt.wrong - doubt.lookalike - doubt.dropped > max(doubt.lookalike, doubt.dropped):
        return "unsure"
    return "look-alike" if doubt.lookalike >= doubt.dropped else "missing after"


def lines_of(result: Recognition | Page) -> Sequence[Recognition | PageLine]:
    """Give the lines of what was read on an image."""
    return (result,) if isinstance(result, Recognition) else result.lines


class Doubts:
    """Collects characters, and chooses those that are worth a look.

    Args:
        budget: Which share of all characters that is, 0..1.

    Raises:
        ConfigError: It is no share.
    """

    def __init__(self, budget: float = BUDGET) -> None:
        if not 0 <= budget <= 1:  # a command line's own bounds let NaN pass
            raise ConfigError(f"budget is {budget}, not 0..1")
        self._budget = budget
        self._all: list[Doubtful] = []
        self.calibrated = True
        """Whether every character had a chance of its own to be wrong."""

    def add(self, result: Recognition | Page) -> None:
        """Take in what was read on an image."""
        for number, line in enumerate(lines_of(result), start=1):
            # A line on which nothing was read stands for one character, which is none.
            nothing = RecognizedChar(char="", confidence=line.confidence, left=0, right=0)
            for position, char in enumerate(line.chars or (nothing,), start=1):
                self.calibrated &= char.doubt is not None or not char.char.strip(" ")
                self._all.append(
                    Doubtful(
                        path=result.path,
                        line=number,
                        position=position,
                        char=char,
                        worth=worth_of(char),
                        text=line.text,
                    )
                )

    def chosen(self) -> list[Doubtful]:
        """Return the characters worth most, those first; of equal ones the first that came."""
        count = round(self._budget * len(self._all))
        return sorted(self._all, key=lambda one: -one.worth)[:count]

    @property
    def count(self) -> int:
        """How many characters there were."""
        return len(self._all)

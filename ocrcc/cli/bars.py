"""Progress bars on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Units done a second; a dash until one is done."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Draw the rate of one task."""
        # Over all of the time: what comes in batches would seem to come at once.
        rate = task.completed / task.elapsed if task.elapsed else 0
        return Text(f"{rate:.{0 if rate >= 10 else 1}f} {self._unit}/s" if rate else "-")


def progress(console: Console, unit: str = "lines") -> Progress:
    """Make a progress bar with count, rate and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )

"""What the commands show: rich tables on stdout, progress and messages on stderr, all text made harmless."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

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
from rich.table import Table
from rich.text import Text

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
"""Results."""
err = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, logs, warnings."""


def harmless(text: str) -> str:
    r"""Make control and direction-changing characters visible; labels and file names are data.

    >>> harmless("a\x1b[31mb\n")
    'a\\x1b[31mb\\x0a'
    """
    return "".join(
        char if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else _escaped(char) for char in text
    )


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> Table:
    """Make a table whose first ``left`` columns are texts and whose others are numbers, set right."""
    result = Table(title=title or None, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        result.add_column(Text(column), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        result.add_row(*(Text(harmless(str(cell))) for cell in row))
    return result


def notice(message: str) -> None:
    """Print one line on stderr."""
    err.print(Text(harmless(message)))


def warn(message: str) -> None:
    """Print a warning on stderr."""
    err.print(Text("warning: ", style="yellow") + Text(harmless(message)))


def warn_each(what: str, problems: Sequence[str], count: int | None = None, limit: int = 5) -> None:
    """Warn of ``count`` problems, naming the first few; silent if there are none."""
    count = len(problems) if count is None else count
    if count:
        warn(f"{count} {what}")
        for problem in problems[:limit]:
            notice(f"  {problem}")
        if count > limit:
            notice(f"  … and {count - limit} more")


class _Rate(ProgressColumn):
    """Units done a second; a dash until one is done."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Draw the rate of one task."""
        return Text(f"{task.speed:.0f} {self._unit}/s" if task.speed else "-")


def progress(unit: str = "lines") -> Progress:
    """Make a progress bar on stderr with count, rate and time left; invisible where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(unit),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not sys.stderr.isatty(),
    )


@contextmanager
def show_progress(description: str, unit: str = "lines") -> Iterator[Callable[[int, int | None], None]]:
    """Give a workflow the plain function ``report(done, total)`` that moves a progress bar."""
    with progress(unit) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

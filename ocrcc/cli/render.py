"""What the commands show: rich tables on stdout, progress and messages on stderr, all text made harmless.

Rich is imported where something is drawn: one line of text is read and printed in less time than that takes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import typer

from ocrcc.harmless import harmless as harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out: Console
    """Results."""
    err: Console
    """Progress and logs."""


def __getattr__(name: str) -> Any:
    """Make the consoles when they are first wanted."""
    if name not in ("out", "err"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _console(name)


@cache
def _console(name: str) -> Console:
    from rich.console import Console

    width = None if name == "err" or sys.stdout.isatty() else 120
    return Console(stderr=name == "err", highlight=False, soft_wrap=True, width=width)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, left: int = 1) -> Table:
    """Make a table whose first ``left`` columns are texts and whose others are numbers, set right."""
    from rich.table import Table
    from rich.text import Text

    result = Table(title=title or None, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        result.add_column(Text(column), justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        result.add_row(*(cell if isinstance(cell, Text) else Text(harmless(str(cell))) for cell in row))
    return result


def coloured(pieces: Iterable[tuple[str, bool]]) -> Text:
    """Make a text for a table in which some pieces stand out, where the terminal can show it."""
    from rich.text import Text

    return Text.assemble(*((harmless(piece), "bold red" if doubtful else "") for piece, doubtful in pieces))


def notice(message: str) -> None:
    """Print one line on stderr."""
    typer.echo(harmless(message), err=True)


def warn(message: str) -> None:
    """Print a warning on stderr."""
    typer.echo(typer.style("warning: ", fg="yellow") + harmless(message), err=True)


def warn_each(what: str, problems: Sequence[str], count: int | None = None, limit: int = 5) -> None:
    """Warn of ``count`` problems, naming the first few; silent if there are none."""
    count = len(problems) if count is None else count
    if count:
        warn(f"{count} {what}")
        for problem in problems[:limit]:
            notice(f"  {problem}")
        if count > limit:
            notice(f"  … and {count - limit} more")


@contextmanager
def show_progress(description: str, unit: str = "lines") -> Iterator[Callable[[int, int | None], None]]:
    """Give a workflow the plain function ``report(done, total)`` that moves a progress bar.

    It stands on stderr with count, rate and time left, and is invisible where that is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from ocrcc.cli.bars import progress

    with progress(_console("err"), unit) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)

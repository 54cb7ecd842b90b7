"""An evaluation as one HTML page that loads nothing: what is wrong, how it looks, and how it was before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocrcc import __version__, packaged
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError
from ocrcc.evaluation.confusions import PairConfusion
from ocrcc.evaluation.evaluate import Readings
from ocrcc.evaluation.line_log import LineLog, WrongRead
from ocrcc.evaluation.metrics import expected_error
from ocrcc.evaluation.report import EvaluationResult
from ocrcc.places import marked, output
from ocrcc.projection.points import visible
from ocrcc.reports.gallery import contact_sheets, line_picture

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = marked("report", b"<title>ocrcc eval</title>")
_WORST, _CHANGED = 20, 10
"""Lines that are shown: the worst; those that were fixed, and those that were broken."""
_GROUPS, _PAIRS = 12, 30
"""Rows of the tables of groups and of pairs."""


def check_installed() -> None:
    """Make sure, before long work, that a page can be made.

    Raises:
        ConfigError: The extra ``report`` is missing.
    """
    _environment()


def write_page(path: Path, readings: Readings) -> None:
    """Write the page of an evaluation.

    Args:
        path: HTML file; it appears whole or not at all.
        readings: What was read.

    Raises:
        ConfigError: The extra ``report`` is missing, or something else is there.
        DataError: It cannot be written.
    """
    from ocrcc.reports import figures

    result, datasets, lookalikes = readings.result, readings.datasets, readings.lookalikes
    now, before = readings.logs[-1], readings.logs[0] if len(readings.logs) > 1 else None
    logs = (now,) if before is None else (before, now)
    drawn = {
        "By length": figures.accuracy_by_length(logs),
        "By width": figures.accuracy_by_width(logs),
        "By confidence": figures.accuracy_by_confidence(logs),
        "Reliability": figures.reliability(logs),
    }
    worst = sorted(now.wrong.values(), key=lambda line: (-line.badness, -line.edits, line.place))[:_WORST]
    sheets = contact_sheets(now.wrong.values(), datasets, readings.reader, lookalikes) if lookalikes else ()
    shown = (
        _environment()
        .get_template("eval.html")
        .render(
            version=__version__,
            result=result,
            models=[*result.compared, result],
            names=_names([one.name for one in result.datasets]),
            comparison=result.comparison(),
            colors=figures.COLORS,
            kinds=_kinds(result),
            pairs=_pairs(result),
            groups=_GROUPS,
            sheets=sheets,
            figures=drawn,
            errors=[expected_error(*log.characters) for log in logs],
            worst=[_shown(line, datasets, before) for line in worst],
            changed=[] if before is None else _changed(before, now, datasets),
        )
    )
    with output(path, PAGE) as aside:
        aside.write_text(shown, encoding="utf-8", errors="backslashreplace", newline="\n")


def _environment() -> Environment:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError:
        raise ConfigError("a report needs the package jinja2", "pip install 'ocrcc[report]'") from None
    made = Environment(
        loader=FileSystemLoader(packaged.ASSETS / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(visible=visible, percent=_percent, code=lambda char: f"U+{ord(char):04X}")
    return made


def _names(datasets: Sequence[str]) -> list[str]:
    """Name datasets shortly, if that still tells them apart."""
    short = [Path(name).stem for name in datasets]
    return short if len(set(short)) == len(short) else list(datasets)


def _percent(value: float | None, digits: int = 2) -> str:
    return f"{value:.{digits}%}" if value is not None and math.isfinite(value) else "–"


def _kinds(result: EvaluationResult) -> list[tuple[str, list[int]]]:
    """Name each kind of error that was made, and how often each model made it."""
    cards = [each.scorecard.kinds for each in (result.baseline, result) if each and each.scorecard]
    return [(kind, [card[kind] for card in cards]) for kind in cards[-1] if any(card[kind] for card in cards)]


def _pairs(result: EvaluationResult) -> list[tuple[PairConfusion, int | None]]:
    """Name the look-alikes that were confused most, now or before, and how often they were before."""

    def by_characters(pairs: Sequence[PairConfusion]) -> dict[tuple[str, str], PairConfusion]:
        return {(pair.first, pair.second): pair for pair in pairs}

    now = by_characters(result.total.lookalike_pairs)
    before = by_characters(result.baseline.total.lookalike_pairs) if result.baseline else {}
    gone = [
        PairConfusion(first=first, second=second, first_as_second=0, second_as_first=0)
        for first, second in before
        if (first, second) not in now
    ]
    rows = [
        (pair, getattr(before.get((pair.first, pair.second)), "count", 0) if result.baseline else None)
        for pair in (*now.values(), *gone)
    ]
    return sorted(rows, key=lambda row: -max(row[0].count, row[1] or 0))[:_PAIRS]


def _changed(before: LineLog, now: LineLog, datasets: Sequence[LmdbDataset]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Show lines that one of two models reads right, and the other one does not."""
    broken = [line for place, line in now.wrong.items() if place not in before.wrong]
    fixed = [line for place, line in before.wrong.items() if place not in now.wrong]
    return [
        ("Broken: right before, wrong now", [_shown(line, datasets, None) for line in _worst_of(broken)]),
        ("Fixed: wrong before, right now", [_shown(line, datasets, None) for line in _worst_of(fixed)]),
    ]


def _worst_of(lines: Sequence[WrongRead]) -> list[WrongRead]:
    return sorted(lines, key=lambda line: (-line.edits, line.place))[:_CHANGED]


def _shown(line: WrongRead, datasets: Sequence[LmdbDataset], before: LineLog | None) -> dict[str, Any]:
    """Bring a line's picture and its texts together, cut where they differ."""
    truth, read = line.parts()
    earlier = None
    if before is not None:
        earlier = before.wrong[line.place].read if line.place in before.wrong else line.truth
    return {
        "picture": line_picture(line, datasets),
        "truth": truth,
        "read": read,
        "before": earlier,
        "confidence": line.confidence,
        "source": line.source,
    }

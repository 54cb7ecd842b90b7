"""What a measured model's tables look like on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ocrcc.charset import MISSING_HINT, describe, lacks
from ocrcc.cli import render

if TYPE_CHECKING:
    from rich.table import Table

    from ocrcc.evaluation.intervals import Interval
    from ocrcc.evaluation.report import EvaluationResult, Metrics
    from ocrcc.evaluation.scorecard import Scorecard

_COLUMNS = ("lines", "lines right", "CER", "look-alikes right", "lines/s")
_NARROW = 16
"""Columns that a name gets in a table of six that fits 80."""


def show_scores(result: EvaluationResult, confusions: int, folded: bool) -> None:
    """Print what was measured: the scores, what is wrong by kind, and the confusions.

    Args:
        result: What was measured.
        confusions: How many of each list to show.
        folded: Whether scores ignore compatibility forms.
    """
    total, card = result.total, result.scorecard
    if card is not None and card.shift:
        render.warn(
            f"what is read stands {card.shift:+d} places off in the charset all along: the dictionary is shifted, or "
            "not this model's"
        )
    for title, rows in _tables(result, folded):
        _print(render.table(title, ("model", *_COLUMNS), rows))
    _show_comparisons(result)
    if card is not None:
        _show_card(card, confusions)
    if total.lookalike_pairs and confusions:
        twins = [
            (f"{pair.first} {pair.second}", pair.first_as_second, pair.second_as_first)
            for pair in total.lookalike_pairs[:confusions]
        ]
        title = f"{sum(pair.count for pair in total.lookalike_pairs)} look-alike confusions"
        _print(render.table(title, ("pair", "first as second", "second as first"), twins))
    if total.substitutions and confusions:
        rows = [
            (pair.truth, pair.predicted, pair.count, describe([pair.truth]), describe([pair.predicted]))
            for pair in total.substitutions[:confusions]
        ]
        title = f"most frequent of {sum(pair.count for pair in total.substitutions)} confusions"
        _print(render.table(title, ("truth", "read", "count", "truth is", "read is"), rows, left=2))
    for what, pairs in (("inserted", total.insertions), ("left out", total.deletions)):
        if pairs:
            named = ", ".join(f"{pair.truth or pair.predicted!s} {pair.count}×" for pair in pairs[:confusions])
            render.out.print(f"{what}: {sum(pair.count for pair in pairs)} characters: {render.harmless(named)}")
    if total.worst:
        lines = [(line.truth, line.read, line.edits, line.source) for line in total.worst]
        _print(render.table("worst lines", ("truth", "read", "edits", "source"), lines, left=2))
    if total.missing:
        count = sum(count for _, count in total.missing)
        render.warn(f"{lacks(result.charset, dict(total.missing))}; they make {count:,} of the errors")
        render.notice(f"  {MISSING_HINT}")


def _tables(result: EvaluationResult, folded: bool) -> list[tuple[str, list[tuple[object, ...]]]]:
    """Make a table of each dataset, and of all where there are several: a row for each model."""
    models = [*result.compared, result]
    names = _model_names(models)
    datasets = result.datasets if len(result.datasets) == 1 else (*result.datasets, result.total)
    titles = _short([one.name for one in datasets])
    tables = []
    for number, title in enumerate(titles):
        measured = [[*each.datasets, each.total][number] for each in models]
        rows = [(name, *_figures(one, folded)) for name, one in zip(names, measured, strict=True)]
        tables.append((f"{title} (folded)" if folded else title, rows))
    return tables


def _show_card(card: Scorecard, groups: int) -> None:
    """Show what is wrong by kind, where the ceiling is, and what to do."""
    kinds = [f"{kind} {count}" for kind, count in card.kinds.items() if count]
    if kinds:
        render.out.print(f"errors: {', '.join(kinds)}")
    if card.lines:
        share = f"{card.right / card.lines:.2%} of lines right{_interval(card.line_interval)}"
        ceiling = f"; {card.ceiling:.2%} if only look-alikes were mended" if card.lookalikes_only else ""
        render.out.print(share + ceiling)
    render.out.print(f"advice: {card.advice}")
    rows = [
        (group.characters, group.total, group.total - group.right, _percent(group.accuracy), _interval(group.interval))
        for group in card.groups
        if group.right < group.total
    ]
    if rows and groups:
        _print(
            render.table(
                f"look-alike groups with errors, {min(groups, len(rows))} of {len(rows)}",
                ("group", "characters", "lost", "right", "95 %"),
                rows[:groups],
            )
        )


def _interval(interval: Interval) -> str:
    """Write an interval for a reader."""
    return f" ({interval.low:.1%} to {interval.high:.1%})" if math.isfinite(interval.low) else ""


def _show_comparisons(result: EvaluationResult) -> None:
    from ocrcc.evaluation.report import compare

    *names, _ = _model_names([*result.compared, result])
    for name, other in zip(names, result.compared, strict=True):
        comparison = compare(result.total, other.total)
        render.out.print(
            f"against {render.harmless(name)}: {comparison.fixed} lines fixed, "
            f"{comparison.broken} broken (McNemar's p = {comparison.p_value:.3g})"
        )


def _print(table: Table) -> None:
    from rich.console import Console

    # Where there is no terminal there is no width to fit into, and a folded table cannot be searched.
    console = render.out if render.out.is_terminal else Console(width=10_000, highlight=False)
    console.print(table)


def _model_names(results: Sequence[EvaluationResult]) -> list[str]:
    """Name models shortly, and those that read beside them."""
    models = [(each.model, each.second_model) for each in results]
    known = dict.fromkeys(name for pair in models for name in pair if name)
    short = dict(zip(known, _short([*known]), strict=True))
    return [f"{short[model]} + {short[second]}" if second else short[model] for model, second in models]


def _short(names: list[str]) -> list[str]:
    """Name models and datasets shortly, if that still tells them apart: a run by its folder, a file by its stem."""
    short = []
    for name in names:
        path = Path(name)
        stem = path.stem if path.suffix in (".safetensors", ".onnx", ".lmdb") else path.name
        run = {"best": path.parent.name, "last": f"{path.parent.name} (last)"}
        short.append(run.get(stem) or stem if path.suffix == ".safetensors" else stem)
    short = short if len(set(short)) == len(set(names)) else names
    return _cut(short) if render.out.is_terminal else short


def _cut(names: list[str]) -> list[str]:
    """Cut names in the middle, if that still tells them apart: runs of one series often end or begin alike."""
    half = _NARROW // 2
    cut = [name if len(name) <= _NARROW else f"{name[: half - 1]}…{name[-half:]}" for name in names]
    return cut if len(set(cut)) == len(set(names)) else names


def _figures(metrics: Metrics, folded: bool) -> tuple[object, ...]:
    scores = metrics.folded if folded else metrics.strict
    alike = metrics.lookalike_accuracy
    return (
        metrics.lines,
        _percent(scores.line_accuracy),
        _percent(scores.cer),
        "-" if alike is None else f"{_percent(alike)} of {metrics.lookalike_chars}",
        f"{metrics.lines_per_second:.0f}" if math.isfinite(metrics.lines_per_second) else "-",
    )


def _percent(value: float) -> str:
    return f"{value:.2%}" if math.isfinite(value) else "-"

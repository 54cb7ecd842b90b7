"""``ocrcc eval``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrcc.charset import MISSING_HINT, describe, lacks
from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, DataOption, Device, JsonFile, ModelArgument, with_config_options
from ocrcc.config import EvaluateConfig
from ocrcc.config.setting import OUTPUT
from ocrcc.errors import ConfigError, OcrccError, SomeInputsFailedError

if TYPE_CHECKING:
    from rich.table import Table

    from ocrcc.evaluation.intervals import Interval
    from ocrcc.evaluation.report import EvaluationResult, Metrics
    from ocrcc.evaluation.scorecard import Scorecard

_COLUMNS = ("lines", "lines right", "CER", "look-alikes right", "lines/s")
_NARROW = 16
"""Columns that a name gets in a table of six that fits 80."""


@with_config_options()
def command(
    model: ModelArgument,
    data: DataOption,
    settings: EvaluateConfig,
    confusions: Annotated[
        int,
        typer.Option(
            min=0, metavar="INT", rich_help_panel=OUTPUT, help="How many of the most frequent confusions to show."
        ),
    ] = 10,
    folded: Annotated[
        bool,
        typer.Option(
            "--folded", rich_help_panel=OUTPUT, help="Show folded figures in place of strict ones in the table."
        ),
    ] = False,
    fail_if_worse: Annotated[
        bool,
        typer.Option(
            "--fail-if-worse",
            rich_help_panel=OUTPUT,
            help="Exit with 1 if lines right, CER or look-alikes right are worse than those of the first --compare.",
        ),
    ] = False,
    json: JsonFile = None,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            rich_help_panel=OUTPUT,
            help="Write a page that shows what is wrong, in pictures too.",
        ),
    ] = None,
    mended: Annotated[
        Path | None,
        typer.Option(
            "--mended",
            metavar="FILE.png",
            rich_help_panel=OUTPUT,
            help="Draw three of the lines that the first --compare misreads and this model reads right.",
        ),
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(
            "--failures",
            metavar="DIR",
            rich_help_panel=OUTPUT,
            help="Copy the images that were read wrongly into a new folder, with a list.",
        ),
    ] = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Measure what a model reads right, say what is wrong by kind, and what to do about it first.

    Strict figures count every character as the model's charset normalises labels; folded ones (--folded, and in
    --json) ignore white space and compatibility forms (NFKC), such as full-width letters.

    Examples:
        ocrcc eval ocrcc-zh-small -d test.lmdb
        ocrcc eval runs/finetune --compare ocrcc-zh-small -d test.lmdb --fail-if-worse
        ocrcc eval runs/finetune --compare ocrcc-zh-small --compare runs/control -d test.lmdb --mended mended.png
        ocrcc eval runs/finetune -d test.lmdb --report wrong.html --failures wrong
    """
    if fail_if_worse and not settings.compare:
        raise ConfigError("--fail-if-worse: worse than what?", "name the other model: --compare MODEL")
    if mended is not None and not settings.compare:
        raise ConfigError("--mended: misread by what?", "name the other model: --compare MODEL")
    from ocrcc.evaluation.evaluate import Readings, evaluate
    from ocrcc.evaluation.report import REPORT
    from ocrcc.places import PICTURE, check_file
    from ocrcc.reports import page
    from ocrcc.reports.failures import check_failures, write_failures
    from ocrcc.reports.mended import write_mended

    if json is not None:
        check_file(json, REPORT)
    if report is not None:
        page.check_installed()
        check_file(report, page.PAGE)
    if mended is not None:
        check_file(mended, PICTURE)
    if failures is not None:
        check_failures(failures)

    def write(readings: Readings) -> None:
        if failures is not None:
            write_failures(failures, readings.logs[-1].wrong.values(), readings.datasets)
        if report is not None:
            page.write_page(report, readings)
        if mended is not None:
            write_mended(mended, readings)

    with render.show_progress("eval") as progress:
        then = write if any((report, failures, mended)) else None
        result = evaluate(model, data, settings, device=device, then=then, report=progress, say=render.warn)
    if json is not None:
        result.write_json(json)
    _show(result, confusions, folded)
    if report is not None:
        render.notice(f"{report}: open it in a browser")
    if mended is not None and (comparison := result.comparison()):
        render.notice(f"{mended}: up to three of the {comparison.fixed} mended lines")
    if failures is not None:
        wrong = result.total.lines - result.total.strict.correct
        render.notice(f"{failures}: the images of {wrong} lines, and failures.tsv, which build-lmdb takes as labels")
    if fail_if_worse and (worse := result.worse()):
        raise OcrccError(f"worse than {settings.compare[0]}: {'; '.join(worse)}")
    unreadable = result.total.unreadable
    if unreadable:
        render.warn_each("lines could not be read", result.total.unreadable_named, unreadable)
        raise SomeInputsFailedError(
            f"{unreadable} of {unreadable + result.total.lines} lines could not be read and are in no figure",
            "ocrcc inspect names them all",
        )


def _show(result: EvaluationResult, confusions: int, folded: bool) -> None:
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
    names = _short([each.model for each in models])
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

    *names, _ = _short([each.model for each in (*result.compared, result)])
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


def _short(names: list[str]) -> list[str]:
    """Name models and datasets shortly, if that still tells them apart: a run by its folder, a file by its stem."""
    short = []
    for name in names:
        path = Path(name)
        stem = path.stem if path.suffix in (".safetensors", ".onnx", ".lmdb") else path.name
        run = {"best": path.parent.name, "last": f"{path.parent.name} (last)"}
        short.append(run.get(stem) or stem if path.suffix == ".safetensors" else stem)
    short = short if len(set(short)) == len(names) else names
    return [name if len(name) <= _NARROW else f"…{name[1 - _NARROW :]}" for name in short]


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

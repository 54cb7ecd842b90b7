"""``ocrcc eval``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrcc.charset import describe
from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, DataOption, Device, JsonFile, ModelArgument, with_config_options
from ocrcc.config import EvaluateConfig
from ocrcc.errors import SomeInputsFailedError

if TYPE_CHECKING:
    from rich.table import Table

    from ocrcc.evaluation.report import EvaluationResult, Metrics

_COLUMNS = ("dataset", "lines", "line acc", "CER", "1-NED", "folded acc", "folded CER", "folded 1-NED", "lines/s")
_LOOKALIKE_COLUMNS = ("look-alikes", "look-alike acc")


@with_config_options()
def command(
    model: ModelArgument,
    data: DataOption,
    settings: EvaluateConfig,
    confusions: Annotated[int, typer.Option(min=0, help="How many of the most frequent confusions to show.")] = 10,
    json: JsonFile = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Measure what a model reads right: line accuracy, CER and 1-NED, and what it confuses.

    Strict figures count every character as the model's charset normalises labels; folded ones ignore white
    space and compatibility forms (NFKC), such as full-width letters.
    """
    from ocrcc.evaluation.evaluate import evaluate
    from ocrcc.evaluation.report import REPORT
    from ocrcc.places import check_file

    if json is not None:
        check_file(json, REPORT)

    with render.show_progress("eval") as report:
        result = evaluate(model, data, settings, device=device, report=report, say=render.warn)
    if json is not None:
        result.write_json(json)
    _show(result, confusions)
    unreadable = result.total.unreadable
    if unreadable:
        render.warn_each("lines could not be read", result.total.unreadable_named, unreadable)
        raise SomeInputsFailedError(
            f"{unreadable} of {unreadable + result.total.lines} lines could not be read and are in no figure",
            "ocrcc inspect names them all",
        )


def _show(result: EvaluationResult, confusions: int) -> None:
    total = result.total
    columns = [*_COLUMNS, *(_LOOKALIKE_COLUMNS if total.lookalike_chars is not None else ())]
    if result.baseline is None:
        _print(render.table("", columns, ((name, *_figures(one)) for name, one in _named(result))))
    else:
        _print(render.table("", ("model", *columns), _side_by_side(result.baseline, result), left=2))
        _show_comparison(result)
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
        render.warn(
            f"charset {result.charset!r} lacks {len(total.missing)} characters of the labels, which makes "
            f"{count} errors: {describe(char for char, _ in total.missing)}"
        )
        render.notice("  a model with a longer charset: ocrcc pretrain --init-from MODEL --charset FILE")


def _named(result: EvaluationResult) -> list[tuple[str, Metrics]]:
    """Give each dataset's metrics its short name; the total comes last where there are several."""
    metrics = result.datasets if len(result.datasets) == 1 else (*result.datasets, result.total)
    return list(zip(_short([one.name for one in metrics]), metrics, strict=True))


def _side_by_side(before: EvaluationResult, after: EvaluationResult) -> list[tuple[object, ...]]:
    """Give two rows a dataset: the baseline's and the model's."""
    models = _short([before.model, after.model])
    return [
        (model, name, *_figures(one))
        for rows in zip(_named(before), _named(after), strict=True)
        for model, (name, one) in zip(models, rows, strict=True)
    ]


def _show_comparison(result: EvaluationResult) -> None:
    comparison = result.comparison()
    if comparison is not None and result.baseline is not None:
        render.out.print(
            f"against {render.harmless(result.baseline.model)}: {comparison.fixed} lines fixed, "
            f"{comparison.broken} broken (McNemar's p = {comparison.p_value:.3g})"
        )


def _print(table: Table) -> None:
    from rich.console import Console

    # Where there is no terminal there is no width to fit into, and a folded table cannot be searched.
    console = render.out if render.out.is_terminal else Console(width=10_000, highlight=False)
    console.print(table)


def _short(names: list[str]) -> list[str]:
    """Cut paths to their last part, if that still tells them apart."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(names) else names


def _figures(metrics: Metrics) -> tuple[object, ...]:
    return (
        metrics.lines,
        *(
            _percent(value)
            for scores in (metrics.strict, metrics.folded)
            for value in (scores.line_accuracy, scores.cer, scores.one_minus_ned)
        ),
        f"{metrics.lines_per_second:.0f}" if math.isfinite(metrics.lines_per_second) else "-",
        *(
            ()
            if metrics.lookalike_accuracy is None
            else (metrics.lookalike_chars, _percent(metrics.lookalike_accuracy))
        ),
    )


def _percent(value: float) -> str:
    return f"{value:.2%}" if math.isfinite(value) else "-"

"""``ocrcc eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, DataOption, Device, JsonFile, ModelArgument, with_config_options
from ocrcc.cli.scores import show_scores
from ocrcc.config import EvaluateConfig
from ocrcc.config.setting import OUTPUT
from ocrcc.errors import ConfigError, OcrccError, SomeInputsFailedError


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
    show_scores(result, confusions, folded)
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

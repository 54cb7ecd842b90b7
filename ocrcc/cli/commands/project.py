"""``ocrcc project``."""

from __future__ import annotations

import shlex
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrcc.charset import MISSING_HINT
from ocrcc.cli import render
from ocrcc.cli.completion import completion
from ocrcc.cli.options import MODEL_KINDS, ConfigFile, Device, with_config_options
from ocrcc.config import ProjectConfig
from ocrcc.config.setting import INPUT, OUTPUT
from ocrcc.errors import SomeInputsFailedError

if TYPE_CHECKING:
    from ocrcc.space.project import ProjectResult
    from ocrcc.space.suspects import SuspectsResult

_SUSPECTS_SHOWN = 10


@with_config_options()
def command(
    settings: ProjectConfig,
    logdir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder for TensorBoard's embedding projector."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            envvar="OCRCC_MODEL",
            rich_help_panel=INPUT,
            autocompletion=completion("MODEL"),
            help=f"{MODEL_KINDS}; repeat it to compare, such as before and "
            "after. The first one cuts out the characters, and judges labels.",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="LMDB",
            rich_help_panel=INPUT,
            help="Dataset; repeat it for several. By default the lines that ship with ocrcc.",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Draw a picture: a row for each group, a column for each model.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="Write a page of the same points that tells about each."
        ),
    ] = None,
    disputed: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Write a TSV list of characters that model and label disagree on, from all of the data: one of them "
            "is wrong. ocrcc review takes it.",
        ),
    ] = None,
    suspects: Annotated[Path | None, typer.Option(metavar="FILE", hidden=True)] = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Show where models put characters: features with their crops, in TensorBoard, as a picture or a page.

    Each character of a label is aligned to its frames; its feature, its crop and what the model reads there
    become a point. Class centers are points of their own.

    Examples:
        ocrcc project -m ocrcc-zh-small -m runs/finetune -d test.lmdb --logdir runs/projector
        ocrcc project --chars 己已巳 -d test.lmdb --png lookalikes.png
        ocrcc project -m runs/finetune -d train.lmdb --disputed disputed.tsv
    """
    from ocrcc.reading.reader import default_model
    from ocrcc.space.project import Outputs, project

    with render.show_progress("project") as report:
        result = project(
            model or [default_model()],
            data or [],
            settings,
            outputs=Outputs(logdir=logdir, png=png, html=html, suspects=disputed or suspects),
            device=device,
            report=report,
        )
    _show(result)
    for path in result.written:
        render.notice(f"wrote {path}")
    if logdir is not None:
        render.notice(f"look: tensorboard --logdir {shlex.quote(str(logdir))}, then PROJECTOR in its menu")
    unreadable = max(result.skipped.unreadable, result.suspects_skipped.unreadable)
    if unreadable:
        raise SomeInputsFailedError(f"{unreadable} lines could not be read", "ocrcc inspect names them all")


def _show(result: ProjectResult) -> None:
    if result.panels:
        columns = ("group", "points", *(f"{name}: nearest own" for name in result.models))
        rows = [
            (
                " ".join(f"{'␣' if char == ' ' else char} {count}" for char, count in counts.items()),
                sum(counts.values()),
                *(_percent(result.nearest[name].get(panel)) for name in result.models),
            )
            for panel, counts in result.panels.items()
        ]
        render.out.print(render.table("", columns, rows))
    for problem in result.absent:
        render.warn(problem)
    for skipped in (result.skipped, result.suspects_skipped):
        for kind, count, what in (
            ("unreadable", skipped.unreadable, "lines could not be read"),
            ("unwritable", skipped.unwritable, "lines left out, whose characters the charset lacks"),
            (
                "unaligned",
                skipped.unaligned,
                "lines could not be aligned: their label needs more frames than they have",
            ),
        ):
            render.warn_each(what, skipped.named.get(kind, ()), count)
    if result.lacking or result.skipped.unwritable or result.suspects_skipped.unwritable:
        render.notice(f"  {MISSING_HINT}")
    if result.not_in_all:
        render.warn(f"{result.not_in_all} characters left out, which not every model could align")
    if result.suspects is not None:
        _show_suspects(result.suspects)


def _show_suspects(found: SuspectsResult) -> None:
    rows = [
        (
            one.source,
            one.position,
            one.char,
            one.suggested,
            f"{one.posterior:.3f}",
            f"{one.margin:.2f}" if isfinite(one.margin) else "",
        )
        for one in found.suspects[:_SUSPECTS_SHOWN]
    ]
    total = len(found.suspects) + found.left_out
    title = f"{total} labels that the model disputes, among {found.checked} characters that have look-alikes"
    render.out.print(
        render.table(title, ("source", "position", "label", "suggested", "posterior", "margin"), rows)
        if rows
        else render.harmless(title)
    )
    if found.own_means:
        render.notice("the model has no centers; the means of the data's classes took their place")
    if found.left_out:
        render.warn(f"{found.left_out} more are not in the list, whose posteriors are lower")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"

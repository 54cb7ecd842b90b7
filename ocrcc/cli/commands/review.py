"""``ocrcc review``."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated, Any

import typer

from ocrcc.cli import render
from ocrcc.cli.completion import completion
from ocrcc.cli.options import ConfigFile, Device, with_config_options
from ocrcc.config import ReviewConfig
from ocrcc.config.setting import INPUT, OUTPUT
from ocrcc.errors import DataError


@with_config_options()
def command(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="What ocrcc predict --format json or ocrcc project --disputed wrote; or images, to be read now.",
        ),
    ],
    settings: ReviewConfig,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", rich_help_panel=OUTPUT, help="Folder of corrections, new or begun."),
    ] = Path("corrections"),
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            envvar="OCRCC_MODEL",
            rich_help_panel=INPUT,
            autocompletion=completion("MODEL"),
            help="What reads images.",
        ),
    ] = None,
    device: Device = "auto",
    open_page: Annotated[
        bool, typer.Option("--open", rich_help_panel=OUTPUT, help="Open the page in this machine's browser.")
    ] = False,
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Mend what was read, on a page in your browser: the doubtful characters alone, the worst first.

    Every decision is on the disk before the next is asked for. To go on later, give the same command. Lines whose
    doubts are all decided come out as labels that ocrcc build-lmdb and ocrcc finetune --train take.

    The page is for this machine alone: its address, with a secret in it, is printed. From a remote machine, forward
    --port with ssh -L.

    Examples:
        ocrcc review readings.jsonl -o corrections
        ocrcc review scans -m runs/finetune --unsure 0.95
    """
    from ocrcc.review.log import opened
    from ocrcc.review.server import bound, check_installed, serve
    from ocrcc.review.session import Session
    from ocrcc.review.sources import find_lines

    check_installed()
    with bound(settings.port) as listening, opened(out) as log:
        problems: list[str] = []
        with render.show_progress("read") as report:
            lines = find_lines(paths, settings, model=model, device=device, complain=problems.append, report=report)
        render.warn_each("lines left out", problems)
        session = Session(lines, log)
        asked = session.progress()
        if not lines and problems:
            raise DataError("no line is left to review", "give the images where they were when they were read")
        if not asked["left"]:
            kind = "is decided already" if lines else f"was read less surely than {settings.unsure:g}"
            render.notice(f"nothing to do: {'every doubt' if lines else 'no character'} {kind}")
        else:
            render.notice(f"{asked['left']} doubtful characters on {len(lines)} lines")
            serve(session, listening=listening, on_ready=lambda address: _ready(address, open_page))
        _summary(session.progress(), session.broken, out)


def _ready(address: str, open_page: bool) -> None:
    render.notice(f"open {address}  (Ctrl-C ends it)")
    if open_page:
        webbrowser.open(address)


def _summary(progress: dict[str, Any], broken: list[str], out: Path) -> None:
    render.warn_each("lines passed over", broken)
    if progress["trouble"]:
        render.warn(progress["trouble"])
    left = f"; {progress['left']} characters are left, and the same command goes on" if progress["left"] else ""
    render.notice(f"{out} holds {progress['step']} decisions and {progress['labels']} finished lines{left}")
    if progress["labels"]:
        render.notice(f"train on them: ocrcc finetune --train {out}")

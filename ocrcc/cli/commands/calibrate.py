"""``ocrcc calibrate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from ocrcc.charset import MISSING_HINT, lacks
from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, DataOption, Device, ModelArgument, with_config_options
from ocrcc.config import CalibrateConfig
from ocrcc.config.setting import OUTPUT


@with_config_options()
def command(
    model: ModelArgument,
    data: DataOption,
    settings: CalibrateConfig,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Write the calibrated model there; else into the model.",
        ),
    ] = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Teach a model how far to trust itself, so that predict --review lists what is worth a look.

    From labelled lines of the kind that will be read it learns how likely each character is right, is its look-alike,
    or has lost the one after it: from posterior, margin, the agreement of its looks, and the ink and gaps around it.
    That is stored in the model, whose weights stay as they are.

    Examples:
        ocrcc calibrate runs/finetune -d held-out.lmdb
        ocrcc calibrate ocrcc-zh-small -d held-out.lmdb -o mine.safetensors
    """
    from ocrcc.calibration.calibrate import calibrate

    with render.show_progress("calibrate") as report:
        found = calibrate(model, data, settings, out=out, device=device, report=report, say=render.warn)
    render.out.print(
        f"{render.harmless(str(found.path))}: calibrated on {found.characters} characters of {found.lines} lines, "
        f"{found.wrong} of them wrong"
    )
    if found.missing:
        render.warn(f"{lacks(found.charset, found.missing)}; nothing is learned from them")
        render.notice(f"  {MISSING_HINT}")
    rows = [("calibration error (ECE)", f"{found.posterior_error:.2%}", f"{found.error:.2%}")]
    for number, what in enumerate((f"{found.lookalikes} look-alikes", f"{found.dropped} missing characters")):
        shares = (found.posterior_held[number], found.held[number])
        if all(map(math.isfinite, shares)):
            before, now = (f"{share:.0%}" for share in shares)
            rows.append((f"{what}: among the first 2 %", before, now))
    render.out.print(render.table("held out", ("", "posterior alone", "calibrated"), rows))
    if found.left is not None:
        render.warn(
            f"{found.left} was exported from this model and has another calibration still; "
            f"make it anew: ocrcc export {found.path} {found.left}"
        )

"""``ocrcc synth``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from ocrcc.cli import render
from ocrcc.cli.completion import completion
from ocrcc.cli.on_cluster import Ray, ray_pool
from ocrcc.cli.options import ConfigFile, with_config_options
from ocrcc.config import SynthConfig
from ocrcc.config.setting import INPUT, OUTPUT, SPEED
from ocrcc.errors import ConfigError


def _shard(text: str) -> tuple[int, int]:
    written = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
    if not (written and 1 <= int(written[1]) <= int(written[2])):
        raise ConfigError(f"--shard {text}: not I/N with I from 1 to N", "for instance --shard 2/8")
    return int(written[1]), int(written[2])


@with_config_options("texts", "font_weights", "effects", "height", changes=SynthConfig)
def command(
    output: Annotated[Path, typer.Argument(metavar="OUT.lmdb", help="Dataset to write.")],
    changes: dict[str, Any],
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, metavar="INT", rich_help_panel=OUTPUT, help="Lines of the whole set.")
    ] = 10_000,
    preset: Annotated[
        str,
        typer.Option(
            metavar="PRESET",
            rich_help_panel=INPUT,
            autocompletion=completion("PRESET"),
            help="What lines look like: documents, clean, lookalikes, or a TOML file.",
        ),
    ] = "documents",
    charset: Annotated[
        str,
        typer.Option(
            metavar="CHARSET",
            rich_help_panel=INPUT,
            autocompletion=completion("CHARSET"),
            help="What labels can say: a name or a file.",
        ),
    ] = "gb2312",
    misread_by: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            rich_help_panel=INPUT,
            autocompletion=completion("MODEL"),
            help="Keep only lines that this model misreads, beside what it took them for; it learns most from these.",
        ),
    ] = "",
    seed: Annotated[
        int, typer.Option(min=0, metavar="INT", rich_help_panel=INPUT, help="The same seed gives the same lines.")
    ] = 0,
    shard: Annotated[
        str, typer.Option(metavar="I/N", rich_help_panel=OUTPUT, help="Make only the I-th of N parts.")
    ] = "1/1",
    workers: Annotated[
        int,
        typer.Option(
            "--workers", "-j", min=0, metavar="INT", rich_help_panel=SPEED, help="Processes; 0 means one per core."
        ),
    ] = 0,
    ray: Ray = None,
    preview: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", rich_help_panel=OUTPUT, help="Draw the first lines on a sheet too."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace a dataset that is there.")
    ] = False,
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Render labelled lines that look like scanned documents into a dataset.

    Lines depend on the seed alone, not on the number of workers or shards, given the same fonts and texts. What the
    options below say takes the place of what the preset says.

    With --ray (pip install 'ocrcc[ray]' here and on every worker) a cluster renders them; fonts and texts must lie
    under the same names on all of its machines.

    Examples:
        ocrcc synth train.lmdb -n 100000
        ocrcc synth pairs.lmdb -n 20000 --preset lookalikes --corpus book.txt --preview look.png
        ocrcc synth hard.lmdb -n 20000 --misread-by runs/mine
    """
    part = _shard(shard)
    if preview is not None and not preview.absolute().parent.is_dir():
        raise ConfigError(f"{preview}: there is no folder {preview.parent}", "make it first")
    from ocrcc.charset import load_charset
    from ocrcc.datasets.synthesize import synthesise, write_preview
    from ocrcc.synth.source import load_source

    source = load_source(preset, load_charset(charset), seed=seed, **changes)
    if preview is not None:
        write_preview(source, preview, misread_by)
        render.notice(f"wrote {preview}")
    with ray_pool(ray, workers) as pool, render.show_progress("synth") as report:
        result = synthesise(
            source,
            output,
            count,
            misread_by=misread_by,
            shard=part,
            workers=workers,
            overwrite=force,
            pool=pool,
            report=report,
        )
    chosen = f" that {misread_by} misreads or takes others for, of {result.rendered} rendered," if misread_by else ""
    render.out.print(
        f"{result.path}: {result.lines} lines{chosen} in {result.fonts} fonts, {result.seconds:.1f} s, "
        f"{result.lines_per_second:.0f} lines/s"
    )

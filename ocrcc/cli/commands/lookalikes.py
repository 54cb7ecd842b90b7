"""``ocrcc lookalikes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocrcc.charset import describe
from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, with_config_options
from ocrcc.config import LookalikesConfig
from ocrcc.config.setting import OUTPUT


@with_config_options()
def command(
    settings: LookalikesConfig,
    output: Annotated[
        Path | None,
        typer.Argument(metavar="OUT.tsv", help="File of groups to write; without it, only pairs are shown."),
    ] = None,
    show: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="INT",
            rich_help_panel=OUTPUT,
            help="How many of the most alike pairs to show; 0 for none.",
        ),
    ] = 30,
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Find out which characters look alike: by their glyphs, a model's centers, confusions, and lists.

    The file can be edited: group, characters (written together), score, source, between tabs. Give it to
    synth, finetune and eval with --lookalikes.

    Examples:
        ocrcc lookalikes --charset gb2312 groups.tsv
        ocrcc lookalikes -m runs/finetune --confusions errors.json groups.tsv
    """
    from ocrcc import lookalikes
    from ocrcc.places import check_file

    if output is not None:
        check_file(output, lookalikes.FILE)
    from ocrcc.glyphs.lookalikes import find_lookalikes

    with render.show_progress("lookalikes", "glyphs") as report:
        result = find_lookalikes(settings, report)
    training = result.groups.for_training()
    pairs = training.pairs()
    if show and pairs:
        rows = [
            (first + second, f"{score:.3f}", describe([first]), describe([second]))
            for first, second, score in pairs[:show]
        ]
        render.out.print(render.table(f"most alike of {len(pairs)} pairs", ("pair", "score", "first", "second"), rows))
    named = ", ".join(f"{count} by {source}" for source, count in result.sources.items())
    apart = len(result.groups.groups) - len(training.groups)
    render.notice(
        f"pairs: {named}; {len(training.groups)} groups of {len(training.characters())} characters, "
        f"and {apart} groups of twins in width, case or punctuation"
    )
    if output is not None:
        lookalikes.write(output, result.groups, result.provenance)
        render.notice(f"wrote {output}")

"""``ocrcc build-lmdb``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocrcc.cli import render
from ocrcc.cli.completion import completion
from ocrcc.cli.on_cluster import Ray, ray_pool
from ocrcc.cli.options import ConfigFile, with_config_options
from ocrcc.config import BuildConfig
from ocrcc.config.setting import INPUT, OUTPUT
from ocrcc.errors import SomeInputsFailedError


@with_config_options()
def command(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Label files, or folders of them, of pages, or of x.png and x.gt.txt."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Dataset to write, such as train.lmdb.")],
    settings: BuildConfig,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=INPUT,
            help="What the paths in labels are relative to; else their own file's folder.",
        ),
    ] = None,
    merge: Annotated[
        bool, typer.Option("--merge", rich_help_panel=INPUT, help="The sources are datasets: put them together.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace a dataset that is there.")
    ] = False,
    charset: Annotated[
        str,
        typer.Option(
            metavar="CHARSET",
            rich_help_panel=OUTPUT,
            autocompletion=completion("CHARSET"),
            help="Name or file of a charset to compare with; else the shipped one that has most.",
        ),
    ] = "",
    ray: Ray = None,
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Make a dataset of labelled line images, and report what it holds.

    Label formats, told apart by content: path<TAB>text, path text, CSV or TSV with a header (EasyOCR's too), JSON
    Lines (file_name, text), JSON of docTR and MMOCR, path, "text" as in ICDAR, pairs of x.png and x.gt.txt, MJSynth,
    Parquet, Arrow, WebDataset. Pages are cut into their lines: PPOCRLabel's Label.txt, PAGE XML, ALTO, hOCR, what
    LabelMe, X-AnyLabeling, Label Studio, CVAT and VIA export, COCO-Text, and ICDAR's boxes. Line images are stored as
    they are. What cannot be used is left out, counted and named, and the exit code is 1.

    With --val-fraction 0.1 a tenth of the lines goes to a second dataset beside OUT: train-val.lmdb for
    train.lmdb. Equal images never get into both.

    With --ray (pip install 'ocrcc[ray]' here and on every worker) a cluster opens the images, which must lie under the
    same names on all of its machines.

    Examples:
        ocrcc build-lmdb labels.txt train.lmdb
        ocrcc build-lmdb project/Label.txt train.lmdb --val-fraction 0.1
        ocrcc build-lmdb labels.csv train.lmdb --images scans
        ocrcc build-lmdb --merge a.lmdb b.lmdb all.lmdb
    """
    from ocrcc.cli.datasets import show_dataset
    from ocrcc.datasets.build import build_lmdb

    with ray_pool(ray, settings.workers) as pool, render.show_progress("build-lmdb") as report:
        result = build_lmdb(
            sources, out, settings, images=images, merge=merge, force=force, charset=charset, pool=pool, report=report
        )
    for source in result.sources[:10]:
        render.notice(source)
    if len(result.sources) > 10:
        render.notice(f"… and {len(result.sources) - 10} more")
    reports = [result.train] + ([result.val] if result.val else [])
    for made in reports:
        show_dataset(made)
    skipped, kept = sum(result.skipped.values()), sum(made.lines for made in reports)
    if skipped:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in result.skipped.items())
        render.warn_each(f"left out: {reasons}", result.skipped_lines, skipped)
        raise SomeInputsFailedError(
            f"{skipped:,} of {skipped + kept:,} lines were left out", "the dataset has all the others"
        )

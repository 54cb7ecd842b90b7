"""``ocrcc unpack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ocrcc.cli import render
from ocrcc.config.setting import OUTPUT
from ocrcc.errors import SomeInputsFailedError


def command(
    dataset: Annotated[Path, typer.Argument(metavar="LMDB", help="Dataset to read.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    format: Annotated[  # noqa: A002 - the option's name
        Literal["tab", "csv", "jsonl", "pairs", "parquet", "tar"],
        typer.Option(
            "--format",
            "-f",
            rich_help_panel=OUTPUT,
            help="How labels are written: labels.txt, labels.csv, metadata.jsonl, x.gt.txt, or with images.",
        ),
    ] = "tab",
    limit: Annotated[
        int, typer.Option(min=0, metavar="INT", rich_help_panel=OUTPUT, help="Only so many lines; 0 for all.")
    ] = 0,
) -> None:
    """Write a dataset's images and labels into a folder, to look at, to correct, or for another tool.

    tab writes images and labels.txt (path<TAB>text, as PaddleOCR and PPOCRLabel have it), csv labels.csv, jsonl
    Hugging Face's metadata.jsonl, pairs x.gt.txt beside each image (tesstrain, kraken, Calamari), parquet one file
    for Hugging Face's datasets, tar one for WebDataset. ocrcc build-lmdb DIR OUT.lmdb turns each of them into a
    dataset again. Lines that are damaged are named and left out, and the exit code is 1.

    Examples:
        ocrcc unpack train.lmdb lines --limit 100
        ocrcc unpack train.lmdb lines -f jsonl
    """
    from ocrcc.data.lmdb_store import LmdbDataset
    from ocrcc.datasets.unpack import unpack

    with render.show_progress("unpack") as report:
        result = unpack(LmdbDataset(dataset), out, format=format, limit=limit, report=report)
    render.out.print(f"{render.harmless(str(out))}: {result.lines} lines", markup=False)
    if result.skipped:
        render.warn_each("lines left out", result.skipped)
        raise SomeInputsFailedError(f"{len(result.skipped)} lines could not be unpacked", "all the others are there")

"""``ocrcc unpack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ocrcc.cli import render


def command(
    dataset: Annotated[Path, typer.Argument(metavar="LMDB", help="Dataset to read.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    limit: Annotated[int, typer.Option(min=0, help="Only so many lines; 0 for all.")] = 0,
) -> None:
    """Write a dataset's images and a labels.txt into a folder, to look at or to correct.

    ocrcc build-lmdb DIR OUT.lmdb turns it into a dataset again.
    """
    from ocrcc.data.lmdb_store import LmdbDataset
    from ocrcc.datasets.unpack import unpack

    with render.show_progress("unpack") as report:
        count = unpack(LmdbDataset(dataset), out, limit=limit, report=report)
    render.out.print(f"{render.harmless(str(out))}: {count} lines", markup=False)

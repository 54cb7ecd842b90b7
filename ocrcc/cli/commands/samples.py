"""``ocrcc samples``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from ocrcc import packaged
from ocrcc.cli import render
from ocrcc.places import new_folder


def command(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")] = Path("samples"),
) -> None:
    """Write the sample lines that ship with the package: images, and labels.txt that says what they show.

    They are serial numbers, amounts and dates as a dot-matrix printer and a scanner make them, to try the other
    commands on: ocrcc predict samples/images/000001.png, or ocrcc build-lmdb samples/labels.txt train.lmdb.

    Examples:
        ocrcc samples
        ocrcc samples elsewhere
    """
    shipped = packaged.ASSETS / "samples"
    with new_folder(out) as aside:
        for path in sorted(shipped.rglob("*")):
            place = aside / path.relative_to(shipped)
            # The contents alone: what is installed may be read-only.
            place.mkdir() if path.is_dir() else shutil.copyfile(path, place)
    count = len((shipped / "labels.txt").read_text(encoding="utf-8").splitlines())
    render.out.print(f"{render.harmless(str(out))}: {count} lines with labels.txt", markup=False)

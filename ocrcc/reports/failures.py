"""The images of the lines that were read wrongly, copied with a list of what was read: to look at, and to correct."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.unpack import suffix_of
from ocrcc.errors import ConfigError, DataError
from ocrcc.evaluation.line_log import WrongRead
from ocrcc.files import new_aside
from ocrcc.places import claimed, remove
from ocrcc.projection.points import visible

LIST = "failures.tsv"
HEADER = ("image", "text", "read", "edits", "confidence", "source")
"""With ``image`` and ``text``, build-lmdb takes the list as labels."""
_BREAKS = re.compile("[\t\n\r]")


def check_failures(out: Path) -> None:
    """Make sure, before long work, that a folder can be made.

    Raises:
        ConfigError: It exists, and may hold what somebody has corrected; or the folder above is not there.
    """
    if os.path.lexists(out):
        raise ConfigError(f"{out} exists", "choose another folder")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {out.parent}", "make it first")


def write_failures(out: Path, wrong: Iterable[WrongRead], datasets: Sequence[LmdbDataset]) -> int:
    """Copy the images, as they are stored, and write the list, the worst lines first.

    Args:
        out: A new folder; it appears whole or not at all.
        wrong: The lines.
        datasets: That they are from.

    Returns:
        How many lines.

    Raises:
        ConfigError: The folder exists.
        DataError: It cannot be written.
    """
    with claimed(out):
        check_failures(out)
        aside = new_aside(out)
        lines = sorted(wrong, key=lambda line: (-line.badness, -line.edits, line.place))
        try:
            (aside / "images").mkdir(parents=True)
            with (aside / LIST).open("w", encoding="utf-8", newline="") as file:
                # As text of tables: what build-lmdb would read otherwise than it stands here is quoted.
                rows = csv.writer(file, delimiter="\t", lineterminator="\n")
                rows.writerow(HEADER)
                for number, line in enumerate(lines, start=1):
                    dataset = datasets[line.dataset]
                    raw = dataset.image_bytes(line.index)
                    name = f"images/{number:06d}.{suffix_of(raw)}"
                    (aside / name).write_bytes(raw)
                    # The label goes back into a dataset as it is, joiners and all; only columns and lines have to stay.
                    label = _BREAKS.sub(" ", dataset.label(line.index))
                    read = visible(line.read) if line.read.strip() else line.read
                    rows.writerow((name, label, read, line.edits, f"{line.confidence:.4f}", visible(line.source)))
            aside.rename(out)
        except OSError as error:
            raise DataError(f"{out}: cannot be written: {error.strerror or error}") from None
        finally:
            remove(aside)
    return len(lines)

"""Lists of ``ocrcc project --disputed``: label characters that a model reads as another, with their lines."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ocrcc.bidi import has_right_to_left
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import DataError
from ocrcc.files import read_small
from ocrcc.review.lines import DoubtfulLine, Place, Unsure, View
from ocrcc.space.suspects import HEADER

_SOURCE = re.compile(r"(.+?)#(\d{1,9})(?: \(.*\))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class _Row:
    position: int
    char: str
    suggested: str
    posterior: float
    place: Place


def disputed_lines(path: Path, complain: Callable[[str], None]) -> Iterator[DoubtfulLine]:
    """Find the lines of a list in their datasets.

    Args:
        path: The list.
        complain: Told of lines that are not there any more, or have another label.

    Raises:
        DataError: The list is damaged.
    """
    rows: defaultdict[str, list[_Row]] = defaultdict(list)
    header, *lines = read_small(path).decode("utf-8", "replace").split("\n")
    if header != "\t".join(HEADER):
        raise DataError(f"{path}: not a list of this version of ocrcc", "make it anew: ocrcc project --disputed FILE")
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        try:
            cells = dict(zip(HEADER, line.split("\t"), strict=True))
            left, right = map(float, cells["place"].split("-"))
            posterior = float(cells["posterior"])
            if not (0 <= posterior <= 1 and 0 <= left < right <= 1):
                raise ValueError
            row = _Row(
                position=int(cells["position"]) - 1,
                char=cells["character"],
                suggested=cells["suggested"],
                posterior=posterior,
                place=(left, right),
            )
        except ValueError:
            raise DataError(f"{path}:{number}: damaged, or changed by hand") from None
        rows[cells["source"]].append(row)
    datasets: dict[str, tuple[LmdbDataset, dict[int, int]]] = {}
    for source, found in rows.items():
        try:
            yield _line(path, source, sorted(found, key=lambda row: row.position), datasets)
        except DataError as error:
            complain(error.message)


def _line(
    path: Path, source: str, rows: list[_Row], datasets: dict[str, tuple[LmdbDataset, dict[int, int]]]
) -> DoubtfulLine:
    named = _SOURCE.fullmatch(source)
    if not named:
        raise DataError(f"{source}: names no line of a dataset")
    if named[1] not in datasets:
        folders = [folder for folder in (Path(named[1]), path.parent / named[1]) if folder.is_dir()]
        if not folders:
            raise DataError(f"{source}: there is no such dataset")
        dataset = LmdbDataset(folders[0])
        datasets[named[1]] = dataset, {dataset.number(index): index for index in range(len(dataset))}
    dataset, indices = datasets[named[1]]
    if int(named[2]) not in indices:
        raise DataError(f"{source}: the dataset has no such line")
    index = indices[int(named[2])]
    label = dataset.label(index)
    if has_right_to_left(label):
        raise DataError(f"{source}: runs from right to left, where the list's positions are not the label's")
    for row in rows:
        if not 0 <= row.position < len(label) or not _same(label[row.position], row.char):
            raise DataError(f"{source}: has another label than when the list was made")
    encoded = dataset.image_bytes(index)
    return DoubtfulLine(
        key=hashlib.sha256(encoded).hexdigest()[:20],
        name=source,
        read=tuple(label),
        doubts=tuple(Unsure(position=row.position, sure=1 - row.posterior, choices=(row.suggested,)) for row in rows),
        view=partial(_view, dataset, index, {row.position: row.place for row in rows}),
    )


def _same(own: str, listed: str) -> bool:
    """Compare a label's character with the list's, which is as the model's charset normalises it."""
    return unicodedata.normalize("NFKC", own) == unicodedata.normalize("NFKC", listed)


def _view(dataset: LmdbDataset, index: int, places: dict[int, Place]) -> View:
    return View(image=dataset.line(index).image, places=places)

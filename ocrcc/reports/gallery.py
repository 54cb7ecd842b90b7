"""Pictures for a report: the glyphs that were taken for their look-alikes, and the lines that were read wrongly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from rapidfuzz.distance import Levenshtein

from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.evaluation.kinds import kind_of
from ocrcc.evaluation.line_log import WrongRead
from ocrcc.lookalikes import Lookalikes
from ocrcc.projection.tiles import data_uri
from ocrcc.reading.reader import LineReader

_PAIRS, _CROPS = 12, 8
"""Pairs that are shown, those with most confusions, and glyphs of each, those that were read most surely."""
_GLYPH, _LINE = (64, 96), (44, 900)
"""Height and greatest width of a picture of a glyph, and of a line."""
_AROUND = 0.12
"""Of the line's height, shown on either side of a glyph."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A glyph that was taken for its look-alike.

    Attributes:
        truth: What the label says.
        read: What was read.
        confidence: Of that.
        source: Where its line came from.
        picture: Its image, as a data URI.
    """

    truth: str
    read: str
    confidence: float
    source: str
    picture: str


@dataclass(frozen=True, kw_only=True)
class PairSheet:
    """The worst glyphs of two look-alikes.

    Attributes:
        first: A character.
        second: Its look-alike.
        crops: Those that were read most surely first.
    """

    first: str
    second: str
    crops: tuple[Crop, ...]


def contact_sheets(
    wrong: Iterable[WrongRead], datasets: Sequence[LmdbDataset], reader: LineReader, lookalikes: Lookalikes
) -> tuple[PairSheet, ...]:
    """Cut out the glyphs of the pairs that were confused most, at the boxes that prediction gives them.

    The lines are read once more for that; those that come out otherwise then, as some of several parts do, are left
    out, since their glyphs are not known.

    Args:
        wrong: The lines that were read wrongly.
        datasets: That they are from.
        reader: Of the same model.
        lookalikes: Who looks like whom.
    """
    found: defaultdict[tuple[str, str], list[tuple[WrongRead, int, str]]] = defaultdict(list)
    for line in wrong:
        for edit in Levenshtein.editops(line.truth, line.read):
            if edit.tag != "replace":
                continue
            truth, read = line.truth[edit.src_pos], line.read[edit.dest_pos]
            if kind_of(truth, read, lookalikes) == "look-alike":
                first, second = sorted((truth, read))
                found[first, second].append((line, edit.dest_pos, truth))
    ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))[:_PAIRS]
    sheets = []
    for (first, second), errors in ranked:
        # Twice as many are looked at as are shown: of an unsure line only one character is, and it may be another.
        chosen = sorted(errors, key=lambda error: -error[0].confidence)[: 2 * _CROPS]
        crops = sorted(_cut(chosen, datasets, reader), key=lambda crop: -crop.confidence)[:_CROPS]
        sheets.append(PairSheet(first=first, second=second, crops=tuple(crops)))
    return tuple(sheets)


def _cut(
    errors: Sequence[tuple[WrongRead, int, str]], datasets: Sequence[LmdbDataset], reader: LineReader
) -> list[Crop]:
    images = [datasets[line.dataset].line(line.index).image for line, _, _ in errors]
    crops = []
    for (line, place, truth), image, reading in zip(errors, images, reader.recognize(images), strict=True):
        if reading.text != line.read:
            continue
        char = reading.chars[place]
        around = round(_AROUND * image.height)
        glyph = image.crop((max(0, char.left - around), 0, min(image.width, char.right + around), image.height))
        crops.append(
            Crop(
                truth=truth,
                read=char.char,
                confidence=char.confidence,
                source=line.source,
                picture=_picture(glyph, *_GLYPH),
            )
        )
    return crops


def line_picture(line: WrongRead, datasets: Sequence[LmdbDataset]) -> str:
    """Return a line's image as a data URI."""
    return _picture(datasets[line.dataset].line(line.index).image, *_LINE)


def _picture(image: Image.Image, height: int, most: int) -> str:
    scale = min(height / image.height, most / image.width)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return data_uri(np.asarray(image.resize(size, Image.Resampling.LANCZOS)))

"""Lines with doubtful characters: which those are, what else they could be, and where they stand on the line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
from PIL import Image

from ocrcc.config.reading import DPI
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import is_file, page_of
from ocrcc.images.cutting import cut_out
from ocrcc.pages.documents import Document
from ocrcc.types import Page, PageLine, Recognition, RecognizedChar

_CHOICES = 9
"""As many alternatives have a key, 1 to 9."""
_ROOM = 0.15
"""Times its height is added around a page's line: its box ends where its ink does, and lines are read with a margin."""
Place = tuple[float, float]
"""Where a character starts and ends, as shares of its line's width."""


@dataclass(frozen=True, kw_only=True)
class Unsure:
    """A character that a person should look at.

    Attributes:
        position: Its place among the line's characters, from 0.
        sure: How sure it is, 0..1.
        choices: What else it could be, the likeliest first.
    """

    position: int
    sure: float
    choices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """A line as it is shown.

    Attributes:
        image: The line, upright.
        places: Where its characters stand, by position; those of which it is known.
    """

    image: Image.Image
    places: Mapping[int, Place]


@dataclass(frozen=True, kw_only=True)
class DoubtfulLine:
    """A line with at least one doubt.

    Attributes:
        key: The same for the same line of the same image, wherever that lies and whatever it is called.
        name: What to call it.
        read: What was read: a string for each character.
        doubts: In the order of the line.
        view: Opens its image.
    """

    key: str
    name: str
    read: tuple[str, ...]
    doubts: tuple[Unsure, ...]
    view: Callable[[], View] = field(compare=False)

    @property
    def sure(self) -> float:
        """How sure its doubts are on average: the less, the more errors go with each answer."""
        return fmean(doubt.sure for doubt in self.doubts)


@dataclass
class Source:
    """Where readings are of: files, found from the working directory or from beside the results; each hashed once.

    Attributes:
        beside: The folder of the results file; None if the images were read just now.
        dpi: At which resolution the pages of a PDF are drawn.
    """

    beside: Path | None = None
    dpi: int = DPI
    _digests: dict[str, bytes] = field(default_factory=dict)

    def find(self, path: str) -> tuple[str, str]:
        """Return the file that a reading is of, and the number of the page in it; empty if it is the whole file.

        Raises:
            DataError: It is not there.
        """
        for folder in [Path()] if self.beside is None else [Path(), self.beside]:
            place = folder / path
            if is_file(place):
                return str(place), ""
            if page := page_of(place):
                return str(page[0]), str(page[1] + 1)
        raise DataError(f"{path}: no such image")

    def digest(self, file: str) -> bytes:
        """Return what tells a file's content from all others'."""
        if file not in self._digests:
            with open(file, "rb") as opened:
                self._digests[file] = hashlib.file_digest(opened, "sha256").digest()
        return self._digests[file]

    def key(self, file: str, *rest: object) -> str:
        """Name a line: by its file's content, and where in it the line is."""
        return hashlib.sha256(self.digest(file) + repr(rest).encode()).hexdigest()[:20]

    def open(self, file: str, page: str) -> Image.Image:
        """Open the image, or the page of a file, that `find` found.

        Raises:
            DataError: It cannot be.
        """
        return Document(file, dpi=self.dpi).page(int(page or 1) - 1)


def doubtful_lines(
    results: Iterable[Recognition | Page], source: Source, *, unsure: float, complain: Callable[[str], None]
) -> Iterator[DoubtfulLine]:
    """Find the lines with characters that are read less surely than a share.

    Args:
        results: What was read.
        source: Opens what it was read on.
        unsure: 0..1.
        complain: Told of lines whose image is not there, or is another, or whose text was changed.
    """
    for result in results:
        lines: Sequence[Recognition | PageLine] = [result] if isinstance(result, Recognition) else result.lines
        found = [(number, line, doubts) for number, line in enumerate(lines, 1) if (doubts := _doubts(line, unsure))]
        if not found:
            continue
        try:
            file, sheet = source.find(result.path)
            image = _Image(partial(source.open, file, sheet))
            for number, line, doubts in found:
                if isinstance(line, Recognition):
                    key, name, view = source.key(file, sheet), result.path, partial(_view_line, image, line)
                else:
                    assert isinstance(result, Page)
                    key, name = source.key(file, sheet, line.box), f"{result.path}, line {number}"
                    view = partial(_view_page_line, image, result, line)
                read = tuple(char.char for char in line.chars)
                if "".join(read) != line.text:
                    complain(f"{name}: its text was changed by hand, and is not what its characters say")
                    continue
                yield DoubtfulLine(key=key, name=name, read=read, doubts=doubts, view=view)
        except OSError as error:
            complain(f"{result.path}: {error.strerror or error}")
        except DataError as error:
            complain(error.message)


class _Image:
    """An image that several lines share; the last one that was opened is kept."""

    _kept: tuple[object, Image.Image] | None = None

    def __init__(self, load: Callable[[], Image.Image]) -> None:
        self._load = load

    def __call__(self) -> Image.Image:
        if _Image._kept is None or _Image._kept[0] is not self:
            try:
                _Image._kept = self, self._load()
            except ConfigError as error:
                raise DataError(error.message, error.hint) from None
        return _Image._kept[1]


def _doubts(line: Recognition | PageLine, unsure: float) -> tuple[Unsure, ...]:
    """Return a line's doubts.

    One on which nothing was read is a doubt as a whole; one that matches no pattern or check digit has at least one.
    """
    if not line.chars:
        return (Unsure(position=0, sure=line.confidence, choices=()),) if line.confidence < unsure else ()
    sure = [_sure(char) for char in line.chars]
    return tuple(
        Unsure(position=position, sure=sure[position], choices=_choices(char))
        for position, char in enumerate(line.chars)
        if sure[position] < unsure or (line.unmatched and sure[position] == min(sure))
    )


def _sure(char: RecognizedChar) -> float:
    """Return how sure a character is: by the model's calibration, where it has one, else its posterior."""
    return char.confidence if char.doubt is None else 1 - char.doubt.wrong


def _choices(char: RecognizedChar) -> tuple[str, ...]:
    others = sorted(char.alternatives, key=lambda other: -other.confidence)
    return tuple(dict.fromkeys(other.char for other in others if other.char != char.char))[:_CHOICES]


def _view_line(image: Callable[[], Image.Image], line: Recognition) -> View:
    opened = image()
    width = opened.width
    if any(char.right > width for char in line.chars):
        raise DataError(f"{line.path}: was read on another image: it is only {width} pixels wide")
    columns = [(char.left, char.right) for char in line.chars]
    if line.upside_down:
        opened = opened.transpose(Image.Transpose.ROTATE_180)
        columns = [(width - right, width - left) for left, right in columns]
    return View(image=opened, places={at: (left / width, right / width) for at, (left, right) in enumerate(columns)})


def _view_page_line(image: Callable[[], Image.Image], page: Page, line: PageLine) -> View:
    opened = image()
    if opened.size != (page.width, page.height):
        raise DataError(
            f"{page.path}: was read on another image: of {page.width} x {page.height} pixels, not {opened.width} x "
            f"{opened.height}"
        )
    quad = np.array(line.box, np.float64)
    cut, pad = cut_out(opened, quad.astype(np.float32), _ROOM)
    along = quad[1] - quad[0]
    length = max(float(along @ along), 1e-9)
    inner = max(cut.width - 2 * pad, 1)

    def column(x: float, y: float) -> float:
        share = float((np.array((x, y)) - quad[0]) @ along) / length
        return min(max((pad + share * inner) / cut.width, 0.0), 1.0)

    return View(
        image=cut,
        places={at: (column(*char.box[0]), column(*char.box[1])) for at, char in enumerate(line.chars)},
    )

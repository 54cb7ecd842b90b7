"""Read images that may be lines or pages, and documents of several: find a page's lines, cut them out, read them.

`LineReader` reads the lines, in its batches and its order; a page's lines make a batch of their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from statistics import fmean
from threading import Lock
from typing import Literal

import numpy as np
from PIL import Image

from ocrcc.errors import ConfigError, DataError
from ocrcc.images.cutting import PADDING, cut_out, stands
from ocrcc.pages.columns import Laid, lay_out
from ocrcc.pages.detect import Detector, load_detector
from ocrcc.pages.documents import Frame, open_frames
from ocrcc.pages.layout import LOWEST_PAGE, find_layout
from ocrcc.pages.order import reading_order
from ocrcc.reading.placing import inked
from ocrcc.reading.reader import LineReader, Unreadable
from ocrcc.types import Box, Page, PageChar, PageLine, Recognition

Layout = Literal["auto", "line", "page"]
Hint = Callable[[str, str], None]

_LOST = 0.5
"""A page whose lines are read less surely than this on average is upside down if that way they are surer."""

_SURE = 0.9
"""A line from top to bottom that is read as surely as this when it is turned has its characters lying too."""

_TURNED = ("", "runs from top to bottom", "is upside down", "runs from bottom to top")
"""What is said of an image that was turned clockwise by so many quarters."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    path: str
    source: str | Image.Image


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    path: str
    image: Image.Image
    whole: bool  # one line, to be given as a page
    vertical: bool = False


class PageReader:
    """Reads lines and pages.

    Args:
        lines: Reads the lines; its config says what else to do.
        detector: Finds the lines of a page; by default that of the extra ``page``, once there is a page. That one
            leaves a margin around lines, with which they are read best, and without which their boxes are given.
        padding: Times a line's height is added around it when it is cut out.
        lines_as_pages: Give a line image as a page of one line, for formats that know only pages.
        on_hint: Told of images that are likely read wrongly, and why.
    """

    def __init__(
        self,
        lines: LineReader,
        *,
        detector: Detector | None = None,
        padding: float = PADDING,
        lines_as_pages: bool = False,
        on_hint: Hint = lambda _path, _hint: None,
    ) -> None:
        self._lines = lines
        self._config = lines.config
        self._detector = detector
        self._trim = detector is None
        self._padding = padding
        self._lines_as_pages = lines_as_pages
        self._on_hint = on_hint
        self._lock = Lock()

    def stream(
        self, paths: Iterable[str], *, layout: Layout | None = None
    ) -> Generator[Recognition | Page | Unreadable, None, None]:
        """Read files as they come: results in order, one for each line image and each page, in bounded memory.

        Args:
            paths: Images, TIFF files of several pages, PDF files; may be endless.
            layout: What they hold; the config's by default.
        """
        for is_line, run in groupby(
            self._look_at(paths, layout or self._config.layout), key=lambda item: isinstance(item, _Line)
        ):
            if is_line:
                yield from self._read_lines(item for item in run if isinstance(item, _Line))
                continue
            for item in run:
                yield self._read_sheet(item) if isinstance(item, _Sheet) else item  # type: ignore[misc]

    def read_page(self, image: Image.Image, path: str = "page") -> Page:
        """Read one page.

        Args:
            image: Upright, mode ``L`` or ``RGB``, as `open_image` gives it.
            path: What to call it.

        Raises:
            ConfigError: No detector was given and the extra ``page`` is not installed.
        """
        with self._lock:
            if self._detector is None:
                self._detector = load_detector(self._config.threads, self._config.find_side)
            quads = self._detector(image)  # RapidOCR keeps what it works on in itself
        if not quads:
            self._on_hint(path, "no lines were found on this page; --layout line reads it as one")
        quarters = int(2 * sum(map(stands, quads)) > len(quads))
        page, sure = self._read_turned(image, path, quads, quarters)
        if sure < _LOST:
            other, other_sure = self._read_turned(image, path, quads, quarters + 2)
            if other_sure >= _LOST:
                page, quarters = other, quarters + 2
        if quarters:
            self._on_hint(path, f"{_TURNED[quarters]}, and was read so")
        return page

    def _read_turned(self, image: Image.Image, path: str, quads: list[np.ndarray], quarters: int) -> tuple[Page, float]:
        """Read a page that was turned clockwise, and tell how sure that is, as `_read_quads` does."""
        quads = [np.roll(quad, -quarters, axis=0) for quad in quads]
        upright = [_turn_back(quad, quarters, image.size) for quad in quads]
        ordered = [np.roll(quads[at], -int(stands(upright[at])), axis=0) for at in reading_order(upright)]
        return self._read_quads(image, path, ordered, trim=self._trim)

    def _read_quads(
        self, image: Image.Image, path: str, quads: list[np.ndarray], *, trim: bool = False
    ) -> tuple[Page, float]:
        """Read lines, and tell the mean of their confidences; upside down counts as not at all, no lines as all."""
        cuts = [cut_out(image, quad, self._padding) for quad in quads]
        readings = self._lines.recognize([cut for cut, _ in cuts])
        self._read_columns(quads, [cut for cut, _ in cuts], readings)
        lines = [
            _place(reading, quad, cut, pad, image.size, trim=trim)
            for reading, quad, (cut, pad) in zip(readings, quads, cuts, strict=True)
        ]
        page = Page(path=path, width=image.width, height=image.height, lines=tuple(lines))
        return page, fmean(0.0 if reading.upside_down else reading.confidence for reading in readings) if quads else 1.0

    def _read_columns(self, quads: list[np.ndarray], cuts: list[Image.Image], readings: list[Recognition]) -> None:
        """Read lines from top to bottom with their characters laid side by side too; what is surer counts."""
        laid: dict[int, Laid] = {}
        for index, (quad, cut) in enumerate(zip(quads, cuts, strict=True)):
            along = quad[1] - quad[0]
            if along[1] <= abs(along[0]) or _sureness(readings[index]) >= _SURE:
                continue
            if (found := lay_out(cut.transpose(Image.Transpose.ROTATE_270))) is not None:
                laid[index] = found
        for (index, column), reading in zip(
            laid.items(), self._lines.recognize([each.image for each in laid.values()]), strict=True
        ):
            if _sureness(reading) > _sureness(readings[index]) and not reading.upside_down:
                chars = []
                for char in reading.chars:
                    top, bottom = column.rows(char.left, char.right)
                    chars.append(replace(char, left=int(top), right=max(int(top) + 1, round(bottom))))
                readings[index] = replace(reading, chars=tuple(chars))

    def _read_lines(self, run: Iterator[_Line]) -> Iterator[Recognition | Unreadable]:
        names: deque[str] = deque()

        def sources() -> Iterator[str | Image.Image]:
            for line in run:
                names.append(line.path)
                yield line.source

        with closing(self._lines.stream(sources())) as results:
            for result in results:
                path = names.popleft()
                if isinstance(result, Recognition) and result.upside_down:
                    self._on_hint(path, f"{_TURNED[2]}, and was read so")
                yield replace(result, path=path)

    def _read_sheet(self, sheet: _Sheet) -> Page | Unreadable:
        if sheet.whole:
            width, height = sheet.image.size
            corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
            if sheet.vertical:
                corners = np.roll(corners, -1, axis=0)
            return self._read_quads(sheet.image, sheet.path, [corners])[0]
        try:
            return self.read_page(sheet.image, sheet.path)
        except ConfigError as error:
            message = f"{sheet.path}: this is a page, not a line; {error.message}: {error.hint}"
            return Unreadable(path=sheet.path, message=message + "  (or --layout line, if it is one)")

    def _look_at(self, paths: Iterable[str], layout: Layout) -> Iterator[_Line | _Sheet | Unreadable]:
        for path in paths:
            try:
                with closing(open_frames(path, dpi=self._config.dpi, max_pixels=self._config.max_pixels)) as frames:  # type: ignore[type-var]
                    for frame in frames:
                        yield self._look_at_one(frame, layout)
            except (DataError, ConfigError) as error:
                hint = f"; {error.hint}" if error.hint else ""
                yield Unreadable(path=path, message=error.message + hint)

    def _look_at_one(self, frame: Frame, layout: Layout) -> _Line | _Sheet | Unreadable:
        low = frame.size is not None and frame.size[1] < LOWEST_PAGE
        if frame.alone and not self._lines_as_pages and (layout == "line" or (layout == "auto" and low)):
            return _Line(path=frame.path, source=frame.path)  # opened by the reader's threads
        try:
            image = frame.load()
        except DataError as error:
            return Unreadable(path=frame.path, message=error.message)
        found = find_layout(image) if layout == "auto" else layout
        if found == "page":
            return _Sheet(path=frame.path, image=image, whole=False)
        if found == "vertical":
            self._on_hint(frame.path, f"{_TURNED[1]}, and was read so; --layout line reads it from left to right")
            return _Sheet(path=frame.path, image=image, whole=True, vertical=True)
        if self._lines_as_pages:
            return _Sheet(path=frame.path, image=image, whole=True)
        return _Line(path=frame.path, source=image)


def _sureness(reading: Recognition) -> float:
    """Return how sure a reading is on the whole; nothing read is not sure at all."""
    return fmean([char.confidence for char in reading.chars] or [0.0])


def _turn_back(points: np.ndarray, quarters: int, size: tuple[int, int]) -> np.ndarray:
    """Return where points (x, y) lie once a page of this size is turned back by so many quarters."""
    width, height = size
    x, y = points[:, 0], points[:, 1]
    return np.stack(((x, y), (y, width - x), (width - x, height - y), (height - y, x))[quarters], axis=1)


def _place(
    reading: Recognition, quad: np.ndarray, cut: Image.Image, pad: float, page: tuple[int, int], *, trim: bool
) -> PageLine:
    """Bring a line that was cut out back to its page.

    Args:
        reading: Of the cut line.
        quad: Where the line stands.
        cut: The cut line.
        pad: Columns and rows of it on every side that lie outside the quad.
        page: The page's width and height.
        trim: Whether the quad has a margin, which is to be left out.
    """
    width, ends = cut.width, (0.0, 1.0)
    if trim:
        grey = np.asarray(cut.convert("L"))
        ends = _inked(grey, pad)
        quad = np.roll(_part(np.roll(quad, -1, axis=0), *_inked(grey.T, pad)), 1, axis=0)
    if reading.upside_down:
        quad, ends = np.roll(quad, -2, axis=0), (1 - ends[1], 1 - ends[0])
    chars = []
    for char in reading.chars:
        columns = (width - char.right, width - char.left) if reading.upside_down else (char.left, char.right)
        start, end = ((column - pad) / max(width - 2 * pad, 1) for column in columns)
        start, end = min(max(start, 0.0), 1.0), min(max(end, 0.0), 1.0)
        ends = min(ends[0], start), max(ends[1], end)  # what is read there is ink, however pale
        corners = _part(quad, start, end)
        box = _box(corners, page)
        left = min(min(x for x, _ in box), page[0] - 1)
        right = max(left + 1, max(x for x, _ in box))
        chars.append(PageChar(**(vars(char) | {"left": left, "right": right}), box=box))
    return PageLine(
        text=reading.text,
        confidence=reading.confidence,
        chars=tuple(chars),
        box=_box(_part(quad, *ends), page),
        unmatched=reading.unmatched,
        second=reading.second,
    )


def _inked(pixels: np.ndarray, pad: float) -> tuple[float, float]:
    """Return the stretch of a line's quad, 0..1 along its rows of pixels, outside of which no ink is."""
    start, end = ((column - pad) / max(pixels.shape[1] - 2 * pad, 1) for column in inked(pixels))
    return min(max(start, 0.0), 1.0), min(max(end, 0.0), 1.0)


def _part(quad: np.ndarray, start: float, end: float) -> np.ndarray:
    """Return the corners of a stretch of a line."""
    top, bottom = quad[1] - quad[0], quad[2] - quad[3]
    return np.stack([quad[0] + start * top, quad[0] + end * top, quad[3] + end * bottom, quad[3] + start * bottom])


def _box(quad: np.ndarray, page: tuple[int, int]) -> Box:
    a, b, c, d = ((min(max(round(float(x)), 0), page[0]), min(max(round(float(y)), 0), page[1])) for x, y in quad)
    return a, b, c, d

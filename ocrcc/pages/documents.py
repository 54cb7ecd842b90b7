"""The pages of a file: one of most images, several of a TIFF or PDF, opened one by one as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from PIL import Image

from ocrcc.config import PredictConfig
from ocrcc.errors import ConfigError, DataError, OcrccError
from ocrcc.files import check_regular, page_of
from ocrcc.images.opening import identify, open_image
from ocrcc.pages.detect import INSTALL_PAGE
from ocrcc.types import Page, Recognition

Result = TypeVar("Result", Recognition, Page, Recognition | Page)

_PDFIUM = Lock()
"""PDFium works for one thread at a time."""
_PAGES_AT_ONCE = 32
"""Then a PDF is opened anew, as PDFium keeps what it has read of a document until that is closed."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One page of a file, not decoded yet.

    Attributes:
        path: The file, and ``#2`` for the second page of several; those of a PDF are always counted.
        size: Width and height in pixels, before EXIF turns the image; None for a PDF's.
        alone: Whether the file is this one image, so that opening the file gives the same.
        load: Decodes it, until the next frame is asked for; a DataError if it cannot be.
        pdf_page: Which page of a PDF it is, from 0; None if the file is none.
    """

    path: str
    size: tuple[int, int] | None
    alone: bool
    load: Callable[[], Image.Image]
    pdf_page: int | None = None


def open_frames(path: str, *, dpi: int, max_pixels: int = PredictConfig.max_pixels) -> Iterator[Frame]:
    """Give the pages of a file.

    Args:
        path: An image, a TIFF of any number of pages, or a PDF.
        dpi: At which resolution the pages of a PDF are drawn.
        max_pixels: Larger pages are refused.

    Raises:
        DataError: The file is missing, damaged, encrypted, or no image.
        ConfigError: It is a PDF, and the extra ``page`` is not installed.
    """
    if _is_pdf(path):
        yield from _pdf_frames(path, dpi, max_pixels)
        return
    image, count = identify(path)
    with image:
        if image.format != "TIFF" or count == 1:
            # The image, not the path, so that its header is read once.
            load = partial(open_image, image, name=path, max_pixels=max_pixels)
            yield Frame(path=path, size=image.size, alone=True, load=load)
            return
        for index in range(count):
            name = f"{path}#{index + 1}"
            load = partial(open_image, image, name=name, frame=index, max_pixels=max_pixels)
            yield Frame(path=name, size=None, alone=False, load=load)


class Document:
    """A file whose pages are opened by number; while the numbers rise, it is gone through once.

    Args:
        path: As for `open_frames`.
        dpi: As for `open_frames`.
        max_pixels: As for `open_frames`.
    """

    def __init__(self, path: str, *, dpi: int, max_pixels: int = PredictConfig.max_pixels) -> None:
        self.path = path
        self._open = partial(open_frames, path, dpi=dpi, max_pixels=max_pixels)
        self._begin()

    def _begin(self) -> None:
        self._frames, self._passed = self._open(), 0

    def page(self, number: int) -> Image.Image:
        """Open a page, from 0.

        Raises:
            DataError: The file is damaged, encrypted, or no image, or has fewer pages.
            ConfigError: It is a PDF, and the extra ``page`` is not installed.
        """
        frame = self.frame(number)
        if frame is None:
            pages = f"{self._passed} page{'s' if self._passed != 1 else ''}"
            raise DataError(f"{self.path}#{number + 1}: the file has {pages}")
        return frame.load()

    def frame(self, number: int) -> Frame | None:
        """Find a page, from 0; None where the file has fewer. Errors are those of `page`."""
        if number < self._passed:
            self._begin()
        try:
            for frame in self._frames:
                self._passed += 1
                if self._passed > number:
                    return frame
        except OcrccError:
            self._begin()  # or there would seem to be no pages, whatever is asked for next
            raise
        return None


def open_again(results: Iterable[Result], *, dpi: int, max_pixels: int) -> Iterator[tuple[Result, Frame]]:
    """Give readings, in the order of the pages of their files, with what each was read on.

    Args:
        results: Lines and pages.
        dpi: As for `open_frames`.
        max_pixels: As for `open_frames`.

    Raises:
        DataError: A page is no longer there.
    """
    document: Document | None = None
    for result in results:
        page = page_of(Path(result.path))
        file, number = (result.path.rpartition("#")[0], page[1]) if page else (result.path, 0)
        if document is None or document.path != file:
            document = Document(file, dpi=dpi, max_pixels=max_pixels)
        frame = document.frame(number)
        if frame is None or frame.path != result.path:
            raise DataError(f"{result.path}: no longer there", "did another program change the file meanwhile?")
        yield result, frame


def has_text(frame: Frame) -> bool:
    """Tell whether a page of a PDF has text of its own."""
    if frame.pdf_page is None:
        return False
    with (
        _opened_pdf(frame.path.rpartition("#")[0]) as document,
        _PDFIUM,
        closing(document[frame.pdf_page]) as page,
        closing(page.get_textpage()) as text,
    ):
        return bool(text.get_text_bounded().strip())


def _is_pdf(path: str) -> bool:
    if Path(path).suffix.lower() == ".pdf":
        return True
    try:
        check_regular(Path(path))
        with open(path, "rb") as file:
            return file.read(1024).lstrip().startswith(b"%PDF-")
    except (DataError, OSError):
        return False  # whoever opens it as an image says what is wrong


def _pdf_frames(path: str, dpi: int, max_pixels: int) -> Iterator[Frame]:
    start, count = 0, 1
    while start < count:
        with _opened_pdf(path) as document:
            with _PDFIUM:
                count = len(document)
            if not count:
                raise DataError(f"{path}: this PDF has no pages")
            for index in range(start, min(start + _PAGES_AT_ONCE, count)):
                name = f"{path}#{index + 1}"
                load = partial(_draw, document, index, name, dpi, max_pixels)
                yield Frame(path=name, size=None, alone=False, load=load, pdf_page=index)
        start += _PAGES_AT_ONCE


@contextmanager
def _opened_pdf(path: str) -> Iterator[Any]:
    with _PDFIUM:
        document = _open_pdf(path)
    try:
        yield document
    finally:
        with _PDFIUM:
            document.close()


def _open_pdf(path: str) -> Any:
    try:
        import pypdfium2
    except ImportError:
        raise ConfigError(f"{path}: reading PDF needs the package pypdfium2", INSTALL_PAGE) from None
    try:
        check_regular(Path(path))
        # An open file, as PDFium itself takes no names that are not UTF-8.
        document = pypdfium2.PdfDocument(open(path, "rb"), autoclose=True)  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except (pypdfium2.PdfiumError, ValueError) as error:
        if "password" in str(error).lower():
            raise DataError(f"{path}: encrypted: it opens with a password only", "save it without one") from None
        raise DataError(f"{path}: damaged, or no PDF: {error}") from None
    document.init_forms()  # or what was filled into a form would not be drawn
    return document


def _draw(document: Any, index: int, name: str, dpi: int, max_pixels: int) -> Image.Image:
    """Draw one page of a PDF."""
    import pypdfium2

    try:
        with _PDFIUM, closing(document[index]) as page:
            width, height = (round(points * dpi / 72) for points in page.get_size())
            if width * height > max_pixels:
                raise DataError(f"{name}: {width} x {height} pixels are too many to draw; lower --dpi")
            if not width * height:
                raise DataError(f"{name}: the page is empty")
            with closing(page.render(scale=dpi / 72)) as bitmap:
                return bitmap.to_pil().convert("RGB").copy()
    except (pypdfium2.PdfiumError, ValueError, OverflowError, MemoryError) as error:
        raise DataError(f"{name}: damaged page: {error}") from None

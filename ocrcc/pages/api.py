"""Reading from Python: lines and pages, one or many, whatever holds their pixels."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import overload

import numpy as np
from PIL import Image

from ocrcc.charset import Charset
from ocrcc.config import PredictConfig
from ocrcc.errors import OcrccWarning
from ocrcc.images.opening import open_image
from ocrcc.pages.layout import find_layout
from ocrcc.pages.reader import PageReader
from ocrcc.reading.image_inputs import ONE_IMAGE, ImageInput, as_source, name_of
from ocrcc.reading.reader import LineReader, Unreadable
from ocrcc.types import Page, Recognition


class Reader:
    """A model that is ready to read. It may be used from several threads at once.

    Args:
        lines: Reads the lines.
    """

    def __init__(self, lines: LineReader) -> None:
        self._lines = lines
        self._pages: PageReader | None = None
        self._lock = Lock()
        lines.on_open = _warn_of_pages

    @classmethod
    def load(cls, model: str | Path, *, device: str = "auto", config: PredictConfig | None = None) -> Reader:
        """Load a model; see `LineReader.load`."""
        return cls(LineReader.load(model, device=device, config=config))

    @property
    def charset(self) -> Charset:
        """What the model can read."""
        return self._lines.charset

    @property
    def config(self) -> PredictConfig:
        """How it reads."""
        return self._lines.config

    @overload
    def recognize(self, images: ImageInput, *, alternatives: int | None = None, bgr: bool = False) -> Recognition: ...  # type: ignore[overload-overlap]
    @overload
    def recognize(
        self, images: Iterable[ImageInput], *, alternatives: int | None = None, bgr: bool = False
    ) -> list[Recognition]: ...
    def recognize(
        self, images: ImageInput | Iterable[ImageInput], *, alternatives: int | None = None, bgr: bool = False
    ) -> Recognition | list[Recognition]:
        """Read images of lines.

        Args:
            images: One image or many: paths, encoded bytes, open files, PIL images, uint8 arrays (H, W), (H, W, 3) or
                (H, W, 4).
            alternatives: How many other characters to name for each character; the config's by default.
            bgr: Whether the arrays' colours are in OpenCV's order, as ``cv2.imread`` gives them.

        Returns:
            One reading for one image, and a list for many, in their order.

        Raises:
            DataError: An image cannot be opened. `stream` goes on with the others instead.
        """
        if images is None or isinstance(images, ONE_IMAGE):
            return self._lines.recognize(_turned([images], bgr), alternatives=alternatives)[0]
        return self._lines.recognize(_turned(images, bgr), alternatives=alternatives)

    def stream(
        self, images: Iterable[ImageInput], *, alternatives: int | None = None, bgr: bool = False
    ) -> Generator[Recognition | Unreadable, None, None]:
        """Read images of lines as they come, in their order, past those that cannot be opened.

        Args:
            images: As for `recognize`; may be endless.
            alternatives: As for `recognize`.
            bgr: As for `recognize`.
        """
        return self._lines.stream(_turned(images, bgr), alternatives=alternatives)

    def read_page(self, image: ImageInput, *, bgr: bool = False) -> Page:
        """Find and read the lines of a page: a scan, a screenshot, a photograph; needs the extra ``page``.

        Args:
            image: As for `recognize`.
            bgr: As for `recognize`.

        Returns:
            Its lines in reading order, with their corners, and their characters with theirs.

        Raises:
            ConfigError: The extra is not installed.
            DataError: The image cannot be opened.
        """
        (source,) = _turned([image], bgr)
        name = name_of(source, 0)
        opened = open_image(as_source(source), name=name, max_pixels=self._lines.config.max_pixels)
        return self._page_reader().read_page(opened, name)

    def read_pages(self, path: str | Path) -> Iterator[Page | Unreadable]:
        """Read the pages of a file one by one: a PDF, a TIFF, or the one of an image; needs the extra ``page``."""
        with closing(self._page_reader().stream([str(path)], layout="page")) as pages:
            for page in pages:
                assert not isinstance(page, Recognition)
                yield page

    def _page_reader(self) -> PageReader:
        with self._lock:
            if self._pages is None:
                self._pages = PageReader(
                    self._lines, on_hint=lambda name, hint: warnings.warn(f"{name}: {hint}", OcrccWarning, stacklevel=2)
                )
            return self._pages


def _turned(images: Iterable[ImageInput], bgr: bool) -> Iterable[ImageInput]:
    """Bring arrays from OpenCV's order of colours to that of everybody else."""
    if isinstance(images, ONE_IMAGE):
        raise TypeError("images must be a list of images, not one image; use [image]")
    if not bgr:
        return images
    return (
        image[..., [2, 1, 0, *range(3, image.shape[2])]]
        if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] >= 3
        else image
        for image in images
    )


def _warn_of_pages(name: str, image: Image.Image) -> None:
    if find_layout(image) == "page":
        warnings.warn(
            f"{name}: looks like a page, and was read as one line; Reader.read_page reads its lines",
            OcrccWarning,
            stacklevel=2,
        )

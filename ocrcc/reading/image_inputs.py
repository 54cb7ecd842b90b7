"""What callers hand over as an image."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from ocrcc.errors import DataError

ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | io.IOBase | Image.Image | np.ndarray
"""A path, an encoded image, or pixels: uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA; uint16 or bool (H, W)."""
ONE_IMAGE = (str, os.PathLike, bytes, bytearray, memoryview, io.IOBase, Image.Image, np.ndarray)
"""What is one image and not many, though some of it can be gone through."""


def name_of(image: ImageInput, index: int) -> str:
    """Return an image's path; a number, from 1, where it has none."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    name = getattr(image, "filename", "") or getattr(image, "name", "")
    return name if name and isinstance(name, str) else f"image {index + 1}"


def as_source(image: ImageInput) -> bytes | str | Path | Image.Image:
    """Return what `open_image` takes.

    Raises:
        DataError: It is no image.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if image is None:
        raise DataError("None is no image: what should have opened it, such as cv2.imread, found none")
    if isinstance(image, io.IOBase):
        return _read(image)
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if not isinstance(image, str | os.PathLike | bytes | Image.Image):
        raise DataError(f"{type(image).__name__} is no image: give a path, encoded bytes, a PIL image or an array")
    return Path(image) if isinstance(image, os.PathLike) else image


def _read(file: io.IOBase) -> bytes:
    """Read what was uploaded, or is open already."""
    try:
        content = file.read()  # type: ignore[attr-defined]
    except (OSError, ValueError) as error:  # ValueError: it was closed
        raise DataError(f"an open file that cannot be read: {error}") from None
    if not isinstance(content, bytes):
        raise DataError("an open file of text is no image: open it with 'rb'")
    return content


def _from_array(pixels: np.ndarray) -> Image.Image:
    channels = pixels.shape[2:] if pixels.ndim == 3 else ()
    fits = channels in ((), (1,), (3,), (4,)) if pixels.dtype == np.uint8 else channels in ((), (1,))
    if pixels.dtype not in (np.uint8, np.uint16, np.bool_) or pixels.ndim not in (2, 3) or not fits:
        raise DataError(
            f"an array {pixels.shape} of {pixels.dtype} is no image: give uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA"
        )
    if not pixels.size:
        raise DataError(f"an array {pixels.shape} has no pixels")
    grey = pixels[..., 0] if channels == (1,) else pixels
    return Image.fromarray(grey * np.uint8(255) if grey.dtype == np.bool_ else grey)

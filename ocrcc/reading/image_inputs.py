"""What callers hand over as an image."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from ocrcc.errors import DataError

ImageInput = str | os.PathLike[str] | bytes | Image.Image | np.ndarray
"""A path, an encoded image, or pixels: uint8 (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA."""


def name_of(image: ImageInput, index: int) -> str:
    """Return an image's path; a number, from 1, where it has none."""
    if isinstance(image, (str, os.PathLike)):
        return os.fspath(image)
    return str(getattr(image, "filename", "")) or f"image {index + 1}"


def as_source(image: ImageInput) -> bytes | str | Path | Image.Image:
    """Return what `open_image` takes.

    Raises:
        DataError: It is no image.
    """
    if isinstance(image, np.ndarray):
        return _from_array(image)
    if image is None:
        raise DataError("None is no image: what should have opened it, such as cv2.imread, found none")
    if not isinstance(image, str | os.PathLike | bytes | Image.Image):
        raise DataError(f"{type(image).__name__} is no image: give a path, encoded bytes, a PIL image or an array")
    return Path(image) if isinstance(image, os.PathLike) else image


def _from_array(pixels: np.ndarray) -> Image.Image:
    channels = pixels.shape[2:] if pixels.ndim == 3 else ()
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or channels not in ((), (1,), (3,), (4,)):
        raise DataError(
            f"an array {pixels.shape} of {pixels.dtype} is no image: give uint8 (H, W), (H, W, 3) RGB or (H, W, 4) RGBA"
        )
    if not pixels.size:
        raise DataError(f"an array {pixels.shape} has no pixels")
    return Image.fromarray(pixels[..., 0] if channels == (1,) else pixels)

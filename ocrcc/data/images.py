"""The one door for images: from any file or bytes to an upright picture in grey or RGB, or one sentence why not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ocrcc.config import BuildConfig
from ocrcc.errors import DataError


def open_image(
    source: bytes | str | Path | Image.Image,
    *,
    name: str = "",
    max_pixels: int = BuildConfig.max_pixels,
    frame: int | None = None,
) -> Image.Image:
    """Open an image of any kind as an upright one in grey or RGB.

    Transparent parts become white; 16-bit and floating-point greys are brought to 0..255; what EXIF says of
    the camera's position is carried out.

    Args:
        source: Encoded bytes, a path, or an image that Pillow opened.
        name: What to call it in messages; a path is its own name.
        max_pixels: Larger images are refused before they are decoded.
        frame: Which of several pages, from 0; without it an image of several is refused.

    Returns:
        Mode ``L`` or ``RGB``, fully loaded.

    Raises:
        DataError: There is no such file, it is no image, truncated, empty, or too large.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "image")
    with _data_errors(name):
        image = _open(source)
        if frame is not None:
            image.seek(frame)
        width, height = image.size
        if width * height > max_pixels:
            raise DataError(
                f"{name}: {width} x {height} pixels are more than {max_pixels}", "cut it into lines, or --max-pixels"
            )
        if not width * height:
            raise DataError(f"{name}: the image is empty")
        if frame is None and (pages := getattr(image, "n_frames", 1)) > 1:
            raise DataError(f"{name}: has {pages} pages or frames, and a line has one", "save each as its own image")
        image.load()
        return _plain(ImageOps.exif_transpose(image), name)


def identify(source: str | Path, *, name: str = "") -> tuple[Image.Image, int]:
    """Open an image file without decoding it, to learn its size and format; whoever calls this closes it.

    Returns:
        Pillow's image, which `open_image` takes too, and how many pages or frames it has.

    Raises:
        DataError: There is no such file, it is no image, or damaged.
    """
    with _data_errors(name or str(source)):
        image = _open(source)
        return image, getattr(image, "n_frames", 1)


@contextmanager
def _data_errors(name: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # Pillow's own limit only warns up to twice its size; ours is checked before decoding.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image that can be read") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        # Pillow's plugins have no common error; all of these mean that the file is damaged.
        raise DataError(f"{name}: damaged image: {error}") from None


# Every kind of file that Pillow itself decodes; EPS and its like would start another program.
_COMMON = ("PNG", "JPEG", "BMP", "GIF", "PPM", "DIB")
"""Those that Pillow knows before it has imported all of its plugins, which takes as long as to read a line."""
_FORMATS = (*_COMMON, "TIFF", "WEBP", "JPEG2000", "AVIF", "ICO", "TGA", "PCX", "SGI")


def _open(source: bytes | str | Path | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    Image.preinit()
    try:
        return _identify(source, _COMMON)
    except UnidentifiedImageError:
        Image.init()
        return _identify(source, _FORMATS)


def _identify(source: bytes | str | Path, formats: Sequence[str]) -> Image.Image:
    known = [name for name in formats if name in Image.OPEN]  # one that this Pillow lacks would be an error
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=known)


def _plain(image: Image.Image, name: str) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_bytes(np.asarray(image, dtype=np.float64), image.mode, name))
    return image.convert("L" if image.mode == "1" else "RGB")


def _to_bytes(values: np.ndarray, mode: str, name: str) -> np.ndarray:
    """Scale wide pixels to 0..255: integers by their range, floats outside 0..255 from their lowest to highest."""
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise DataError(f"{name}: some pixels are not numbers")
    if low >= 0 and high <= 255 and not (mode.startswith("F") and high <= 1):
        low, high = 0.0, 255.0
    elif low >= 0:
        low, high = 0.0, 1.0 if high <= 1 else 65535.0  # Pillow holds 16-bit greys in 32 bits too
    return np.clip((values - low) * (255 / max(high - low, 1e-9)), 0, 255).round().astype(np.uint8)

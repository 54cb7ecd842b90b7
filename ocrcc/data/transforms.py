"""From any image file to a recogniser's input, the same way in training, evaluation, prediction and export.

Pillow and numpy only: reading with an exported model needs no torch.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ocrcc.config import BuildConfig, Preprocessing
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


def prepare(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Turn an image that `open_image` gave into a recogniser's input, without padding.

    Args:
        image: Mode ``L`` or ``RGB``.
        preprocessing: Of the model.

    Returns:
        (K, H, W) float32 with W = ``preprocessing.scaled_width(...)``.
    """
    image = image.convert("L" if preprocessing.channels == 1 else "RGB")
    size = (preprocessing.scaled_width(*image.size), preprocessing.height)
    # BICUBIC averages over all source pixels when it shrinks, so thin strokes do not vanish.
    pixels: np.ndarray = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    if preprocessing.polarity == "dark-on-light" and is_light_on_dark(pixels):
        pixels = 255 - pixels
    pixels = (pixels / 255 - preprocessing.mean) / preprocessing.std
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


_LEAST_CONTRAST = 1 / 16
"""Between the darkest and the lightest of a line, 0..1, for anything to be told from it."""


def is_light_on_dark(pixels: np.ndarray) -> bool:
    """Tell whether a line's background is darker than its text.

    Most of a line is background, and so is most of its border. Each alone can be wrong: dense strokes fill a
    line, a rule runs along its edge. So both medians are weighed together against the darkest and lightest.

    Args:
        pixels: (H, W) or (H, W, 3), 0..255.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    low, middle, high = _quantiles(grey[::2, ::2], 0.02, 0.5, 0.98)
    (edge,) = _quantiles(border, 0.5)
    # Not a bare comparison with 0: a wrong inversion costs more than a missed one, which training has seen.
    return high - low > 255 * _LEAST_CONTRAST and (middle + edge - low - high) / (high - low) < -0.1


def _quantiles(values: np.ndarray, *shares: float) -> list[float]:
    """Return what numpy.quantile does, which takes longer for so few values, and imports numpy.ma."""
    ordered = np.sort(values, axis=None)
    places = [share * (len(ordered) - 1) for share in shares]
    return [
        float(ordered[int(at)]) + (at - int(at)) * float(ordered[math.ceil(at)] - ordered[int(at)]) for at in places
    ]


_FAINTEST_ROW = 0.25
"""A row is blank if nothing in it differs from the paper by this share of the contrast."""
_MOST_INK, _LEAST_INK = 0.85, 0.3
"""Of the height, 0..1. A line with more has no margin to lose; one with less is a dash or a point, which a closer look
would make a block of."""


def closer(line: np.ndarray, preprocessing: Preprocessing) -> np.ndarray | None:
    """Cut the blank rows off a prepared line and enlarge what is left, aspect kept; None if there are few of them.

    Args:
        line: (K, H, W).
        preprocessing: Of the model.
    """
    grey = line.mean(axis=0)
    contrast = np.abs(grey - np.median(grey))
    # One faint speck is no ink: what counts is by how much the most differing two hundredth of a row does.
    strongest = np.sort(contrast, axis=1)[:, -max(2, grey.shape[1] // 200) :].mean(axis=1)
    rows = np.flatnonzero(strongest > _FAINTEST_ROW * _quantiles(contrast, 0.99)[0])
    if not len(rows) or np.ptp(grey) * preprocessing.std < _LEAST_CONTRAST:
        return None
    first, last = max(0, int(rows[0]) - 1), min(len(grey), int(rows[-1]) + 2)
    if not _LEAST_INK <= (last - first) / len(grey) <= _MOST_INK:
        return None
    size = (min(round(line.shape[2] * len(grey) / (last - first)), preprocessing.max_width), len(grey))
    return _resize(line[:, first:last], size, Image.Resampling.BICUBIC)


def widen(line: np.ndarray, factor: float, preprocessing: Preprocessing) -> np.ndarray:
    """Stretch a prepared line, at most to the width that its model takes.

    Args:
        line: (K, H, W).
        factor: To how many times its width.
        preprocessing: Of the model.
    """
    _, height, width = line.shape
    size = (min(round(width * factor), preprocessing.max_width), height)
    return _resize(line, size, Image.Resampling.BILINEAR)


def _resize(line: np.ndarray, size: tuple[int, int], kernel: Image.Resampling) -> np.ndarray:
    """Bring a prepared line (K, H, W) to a size (W, H)."""
    return np.stack([np.asarray(Image.fromarray(channel).resize(size, kernel)) for channel in line])


def pad(lines: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Stack prepared lines, with zeros on the right up to ``width``.

    Args:
        lines: (K, H, W) each, W at most ``width``.
        width: Pixels.

    Returns:
        (N, K, H, width) float32.

    Raises:
        ValueError: A line is wider.
    """
    if (widest := max(line.shape[2] for line in lines)) > width:
        raise ValueError(f"a line of {widest} pixels does not go into {width}")
    batch = np.zeros((len(lines), *lines[0].shape[:2], width), dtype=np.float32)
    for row, line in zip(batch, lines, strict=True):
        row[:, :, : line.shape[2]] = line
    return batch

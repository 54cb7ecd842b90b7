"""From any image file to a recogniser's input, the same way in training, evaluation, prediction and export.

Pillow and numpy only: reading with an exported model needs no torch.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ocrcc.config import BuildConfig, Preprocessing
from ocrcc.errors import DataError


def open_image(
    source: bytes | str | Path | Image.Image, *, name: str = "", max_pixels: int = BuildConfig.max_pixels
) -> Image.Image:
    """Open an image of any kind as an upright one in grey or RGB.

    Transparent parts become white; 16-bit and floating-point greys are brought to 0..255; what EXIF says of
    the camera's position is carried out.

    Args:
        source: Encoded bytes, a path, or an image that Pillow opened.
        name: What to call it in messages; a path is its own name.
        max_pixels: Larger images are refused before they are decoded.

    Returns:
        Mode ``L`` or ``RGB``, fully loaded.

    Raises:
        DataError: There is no such file, it is no image, truncated, empty, or too large.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "image")
    try:
        with warnings.catch_warnings():
            # Pillow's own limit only warns up to twice its size; ours is checked below, before decoding.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = _open(source)
        width, height = image.size
        if width * height > max_pixels:
            raise DataError(
                f"{name}: {width} x {height} pixels are more than {max_pixels}", "cut it into lines, or --max-pixels"
            )
        if not width * height:
            raise DataError(f"{name}: the image is empty")
        image.load()
        return _plain(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image that can be read") from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, OverflowError) as error:
        # Pillow's plugins have no common error; all of these mean that the file is damaged.
        raise DataError(f"{name}: damaged image: {error}") from None


def _open(source: bytes | str | Path | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "RGB"):
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_bytes(np.asarray(image, dtype=np.float64), image.mode))
    if image.mode == "1":
        return image.convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _to_bytes(values: np.ndarray, mode: str) -> np.ndarray:
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    highest = float(values.max())
    # Pillow holds 16-bit greys in 32 bits too; floats are 0..1 or 0..255.
    full = 1.0 if mode.startswith("F") and highest <= 1 else 65535.0 if highest > 255 else 255.0
    return np.clip(values * (255 / full), 0, 255).round().astype(np.uint8)


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


def is_light_on_dark(pixels: np.ndarray) -> bool:
    """Tell whether a line's background is darker than its text.

    Most pixels of a line are background, and so is most of its border; both must be on the dark side of the
    line's own middle grey. A page full of black strokes, or a black rule along an edge, passes only one.

    Args:
        pixels: (H, W) or (H, W, 3), 0..255.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    low, high = np.percentile(grey[::2, ::2], (2, 98))
    middle = (low + high) / 2
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    # 0.6, not one half: a wrong inversion costs more than a missed one, which training has seen.
    return bool((grey < middle).mean() > 0.6 and (border < middle).mean() > 0.6)


def pad(lines: Sequence[np.ndarray], width: int) -> np.ndarray:
    """Stack prepared lines, with zeros on the right up to ``width``.

    Args:
        lines: (K, H, W) each, W at most ``width``.
        width: Pixels.

    Returns:
        (N, K, H, width) float32.
    """
    batch = np.zeros((len(lines), *lines[0].shape[:2], width), dtype=np.float32)
    for row, line in zip(batch, lines, strict=True):
        row[:, :, : line.shape[2]] = line
    return batch

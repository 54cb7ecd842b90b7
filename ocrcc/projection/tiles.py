"""Crops of characters as square tiles, and sheets of them."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ocrcc.places import SOFTWARE
from ocrcc.projection.points import TILE

_PAPER = 255


def tile(crop: np.ndarray, size: int = TILE) -> np.ndarray:
    """Fit a crop (H, w) or (H, w, 3) uint8 into the middle of a white square, whole and undistorted."""
    scale = size / max(crop.shape[:2])
    wide, high = (max(1, round(length * scale)) for length in (crop.shape[1], crop.shape[0]))
    image = Image.fromarray(crop)
    if image.size != (wide, high):
        image = image.resize((wide, high), Image.Resampling.BICUBIC)
    square = np.full((size, size, *crop.shape[2:]), _PAPER, dtype=np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    square[top : top + high, left : left + wide] = np.asarray(image)
    return square


def shrink(tiles: np.ndarray, size: int) -> np.ndarray:
    """Make tiles (M, S, S) or (M, S, S, 3) smaller."""
    if tiles.shape[1] <= size:
        return tiles
    return np.stack([np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BOX)) for one in tiles])


def center_tile(tiles: np.ndarray) -> np.ndarray:
    """Average tiles (M, S, S) or (M, S, S, 3) of one class, dark and framed: what its center looks like."""
    mean = tiles.mean(axis=0)
    framed = (_PAPER - mean).round().astype(np.uint8)  # light on dark, so that centers stand out among characters
    framed[[0, -1], :] = framed[:, [0, -1]] = _PAPER
    return framed


def sheet(tiles: np.ndarray) -> np.ndarray:
    """Lay tiles out row by row in the smallest square of tiles that holds them; the rest is black."""
    size = tiles.shape[1]
    across = math.ceil(math.sqrt(len(tiles)))
    laid = np.zeros((across * size, across * size, *tiles.shape[3:]), dtype=np.uint8)
    for number, one in enumerate(tiles):
        top, left = divmod(number, across)
        laid[top * size : (top + 1) * size, left * size : (left + 1) * size] = one
    return laid


def png(pixels: np.ndarray) -> bytes:
    """Encode pixels (H, W) or (H, W, 3) uint8."""
    file = io.BytesIO()
    made = PngInfo()
    made.add_text("Software", SOFTWARE)
    Image.fromarray(pixels).save(file, "PNG", pnginfo=made)
    return file.getvalue()


def data_uri(pixels: np.ndarray) -> str:
    """Encode pixels for a page that loads nothing."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")

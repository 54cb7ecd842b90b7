"""From an opened image to a recogniser's input, the same way in training, evaluation, prediction and export.

Pillow and numpy only: reading with an exported model needs no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ocrcc.config import Preprocessing
from ocrcc.quantiles import quantiles
from ocrcc.resizing import between_four


def prepare(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Turn an image that `open_image` gave into a recogniser's input, without padding.

    Args:
        image: Mode ``L`` or ``RGB``.
        preprocessing: Of the model.

    Returns:
        (K, H, W) float32 with W = ``preprocessing.scaled_width(...)``, padded to its ``min_width``.
    """
    image = image.convert("L" if preprocessing.channels == 1 else "RGB")
    size = (preprocessing.scaled_width(*image.size), preprocessing.height)
    if preprocessing.resize == "paddle":
        pixels: np.ndarray = between_four(np.asarray(image), size).astype(np.float32)
    elif preprocessing.resize == "triangle":
        bands = [band.convert("F").resize(size, Image.Resampling.BILINEAR) for band in image.split()]
        pixels = np.stack([np.asarray(band) for band in bands], axis=2)
        pixels = pixels[..., 0] if len(bands) == 1 else pixels
    else:
        # BICUBIC averages over all source pixels when it shrinks, so thin strokes do not vanish.
        pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)
    if preprocessing.polarity == "dark-on-light":
        pixels = _dark_on_light(pixels)
    if preprocessing.colour_order == "bgr" and pixels.ndim == 3:
        pixels = pixels[..., ::-1]
    mean, std = (
        np.array(values, np.float32) if isinstance(values, tuple) else values
        for values in (preprocessing.mean, preprocessing.std)
    )
    pixels = (pixels / 255 - mean) / std
    line = pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if (missing := preprocessing.min_width - line.shape[2]) > 0:
        line = np.pad(line, ((0, 0), (0, 0), (0, missing)), constant_values=preprocessing.padding)
    return line


_LEAST_CONTRAST = 1 / 16
"""Between the darkest and the lightest of a line, 0..1, for anything to be told from it."""


def _dark_on_light(pixels: np.ndarray) -> np.ndarray:
    """Invert a line whose text is lighter than its background; what is around a dark cell becomes paper too."""
    cell = _dark_cell(pixels if pixels.ndim == 2 else pixels.mean(axis=2))
    if cell is None:
        return 255 - pixels if is_light_on_dark(pixels) else pixels
    inside = 255 - pixels[cell]
    turned = np.empty_like(pixels)
    turned[:] = np.median(inside.reshape(-1, *pixels.shape[2:]), axis=0)
    turned[cell] = inside
    return turned


_RING = 0.9
"""Of the ring that a dark cell ends with is dark; of what encloses letters, or a frame, this or the inside is not."""


def _dark_cell(grey: np.ndarray) -> tuple[slice, slice] | None:
    """Find the dark cell with light text that a line is but for a light margin, as the cells of tables are cut."""
    low, high = quantiles(grey[::2, ::2], 0.02, 0.98)
    if high - low <= 255 * _LEAST_CONTRAST:
        return None
    dark = grey < (low + high) / 2
    rows = np.flatnonzero(dark.mean(axis=1) > 0.5)
    if len(rows) < len(grey) / 2:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(dark[top:bottom].mean(axis=0) > 0.8)
    if not len(columns):
        return None
    left, right = int(columns[0]), int(columns[-1]) + 1
    if (bottom - top, right - left) == grey.shape:  # no margin: the whole line is judged
        return None
    if right - left < max(grey.shape[1] / 2, 1.5 * len(grey)):  # one bold character may be as dark
        return None
    for cut in range(len(grey) // 8 + 1):  # more than the margin, where the cell lies askew
        inside = dark[top + cut : bottom - cut, left:right]
        if len(inside) < len(grey) / 2:
            return None
        ring = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
        if ring.mean() >= _RING:
            dense = inside[2:-2, 2:-2].mean() >= 0.5
            return (slice(top + cut, bottom - cut), slice(left, right)) if dense else None
    return None


def is_light_on_dark(pixels: np.ndarray) -> bool:
    """Tell whether a line's background is darker than its text.

    Most of a line is background, and so is most of its border. Each alone can be wrong: dense strokes fill a
    line, a rule runs along its edge. So both medians are weighed together against the darkest and lightest.

    Args:
        pixels: (H, W) or (H, W, 3), 0..255.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    low, middle, high = quantiles(grey[::2, ::2], 0.02, 0.5, 0.98)
    (edge,) = quantiles(border, 0.5)
    # Not a bare comparison with 0: a wrong inversion costs more than a missed one, which training has seen.
    return high - low > 255 * _LEAST_CONTRAST and (middle + edge - low - high) / (high - low) < -0.1


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
    rows = np.flatnonzero(_strongest(contrast) > _FAINTEST_ROW * quantiles(contrast, 0.99)[0])
    if not len(rows) or np.ptp(grey) * np.mean(preprocessing.std) < _LEAST_CONTRAST:
        return None
    first, last = max(0, int(rows[0]) - 1), min(len(grey), int(rows[-1]) + 2)
    if not _LEAST_INK <= (last - first) / len(grey) <= _MOST_INK:
        return None
    size = (min(round(line.shape[2] * len(grey) / (last - first)), preprocessing.max_width), len(grey))
    return _resize(line[:, first:last], size, Image.Resampling.BICUBIC)


def may_be_loose(line: np.ndarray) -> bool:
    """Tell quickly whether a prepared line (K, H, W) may be blank in half of its rows: then a quarter at one end is."""
    sample = np.sort(line[:, ::4, ::4].mean(axis=0), axis=None)
    paper = sample[len(sample) // 2]
    faintest = _FAINTEST_ROW * np.sort(np.abs(sample - paper))[int(0.99 * len(sample))]
    quarter = line.shape[1] // 4
    contrast = np.abs(line[:, quarter - 1 :: line.shape[1] - 2 * quarter + 1].mean(axis=0)[:2] - paper)
    return bool(_strongest(contrast).min() <= faintest)


def _strongest(contrast: np.ndarray) -> np.ndarray:
    """Return (H,) by how much the most differing two hundredth of each row (H, W) does: one faint speck is no ink."""
    counted = max(2, contrast.shape[1] // 200)
    return np.partition(contrast, -counted, axis=1)[:, -counted:].mean(axis=1)


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


def pad(lines: Sequence[np.ndarray], width: int, value: float = 0.0) -> np.ndarray:
    """Stack prepared lines, padded on the right up to ``width``.

    Args:
        lines: (K, H, W) each, W at most ``width``.
        width: Pixels.
        value: What is padded with.

    Returns:
        (N, K, H, width) float32.

    Raises:
        ValueError: A line is wider.
    """
    if (widest := max(line.shape[2] for line in lines)) > width:
        raise ValueError(f"a line of {widest} pixels does not go into {width}")
    batch = np.full((len(lines), *lines[0].shape[:2], width), value, dtype=np.float32)
    for row, line in zip(batch, lines, strict=True):
        row[:, :, : line.shape[2]] = line
    return batch

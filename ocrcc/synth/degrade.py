"""Makes the ink of a line look like a scanned document: frame, geometry, tone, and what scanners do to it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from ocrcc.config import SynthConfig
from ocrcc.dice import Dice
from ocrcc.errors import ConfigError
from ocrcc.glyphs.cache import EM, pixel_of
from ocrcc.synth.framing import frame
from ocrcc.synth.seals import SIZE as SEAL_SIZE

EFFECTS: dict[str, float] = {
    # strokes; hinted type is drawn at the size that it is shown at, as screens do it
    "hinted": 0.0, "bold": 0.2, "thin": 0.1, "broken": 0.1, "dots": 0.03,
    # what stands around and over the text
    "border": 0.2, "underline": 0.05, "crossing": 0.02, "neighbours": 0.14, "tight": 0.35, "loose": 0.06,
    "cut": 0.08, "stamp": 0.04,
    # geometry
    "condensed": 0.22, "stretched": 0.08, "slanted": 0.05, "rotated": 0.15, "low_resolution": 0.3,
    # tone
    "tinted": 0.13, "dim": 0.05, "faint": 0.12, "coloured": 0.08, "light_on_dark": 0.04, "shading": 0.08,
    "texture": 0.12,
    # scanner, fax and file
    "blur": 0.22, "threshold": 0.25, "noise": 0.22, "specks": 0.08, "rescaled": 0.5, "jpeg": 0.3,
}  # fmt: skip
"""The probability of every effect where the configuration does not say otherwise."""
JPEG_BYTES = "jpeg_bytes"
"""Key of `PIL.Image.Image.info` under which an image that ended as a JPEG keeps its file."""
_POOL = (256, 4096)
_STRENGTHS = 8
_STRIDE = 4
_HEIGHT_FOR_FRAMES = 32
_NARROWEST = 8.5
"""Pixels of the scan to an ideograph's width; below that nobody could read one."""
_HURTING = (
    "broken",
    "dots",
    "condensed",
    "low_resolution",
    "faint",
    "blur",
    "threshold",
    "noise",
    "texture",
    "specks",
    "thin",
)
_MOST_HURTING = 3
_HINTED = (11, 21)
"""Pixels to the em of hinted type, from and to: hints move strokes from one size to the next."""
_AS_SHOWN = 0.6
"""Of hinted lines are cut out of their screen as they are; others were scaled, squeezed or turned."""
_CURVES = [np.linspace(0, 1, 256) ** gamma for gamma in (1.0, 0.7, 0.85, 1.15, 1.3)]
_INKS = ((20, 30, 120), (150, 20, 30), (30, 90, 40), (90, 60, 20), (70, 40, 110), (60, 60, 70), (60, 110, 190))
_PAPERS = ((255, 250, 235), (235, 245, 255), (250, 235, 235), (240, 250, 235), (180, 235, 130), (255, 255, 255))


class Degrader:
    """Draws the look of lines.

    Args:
        config: Strength, probabilities and heights.
        seals: (SIZE, SIZE) uint8 each.

    Raises:
        ConfigError: An effect has no such name.
    """

    def __init__(self, config: SynthConfig, seals: Sequence[np.ndarray]) -> None:
        if unknown := set(config.effects) - set(EFFECTS):
            raise ConfigError(f"synth: no effect named {', '.join(sorted(unknown))}", f"effects: {', '.join(EFFECTS)}")
        self._chances = {name: chance * config.appearance for name, chance in (EFFECTS | dict(config.effects)).items()}
        self._hinted = self._chances.pop("hinted")  # that is drawn before the ink is set
        self._strength = config.appearance
        self._heights = config.height
        self._seals = seals

    def size(self, dice: Dice) -> int:
        """Draw the pixels to the em that a line's glyphs are drawn at: `EM`, or few if it is hinted."""
        return dice.between(*_HINTED) if self._hinted and dice.chance(self._hinted) else EM

    def appear(self, ink: np.ndarray, frames: int, dice: Dice, size: int = EM) -> Image.Image:
        """Turn ink into a line image.

        Args:
            ink: (HEIGHT, width) uint8, as `ocrcc.synth.typeset.typeset` sets it.
            frames: Frames of 4 columns at 32 rows that a recogniser needs for the text; the line is made no
                narrower.
            dice: Draws everything.
            size: As the ink was set.
        """
        on = self._choose(dice)
        canvas = frame(_strokes(ink, on, dice), on, dice)
        as_shown = size < EM and dice.chance(_AS_SHOWN)
        shrunk = _as_shown(canvas, pixel_of(size)) if as_shown else _shrink(canvas, on, dice, frames, self._heights)
        image = _tone(shrunk, on, dice, self._strength)
        stamp = self._stamp(image.size, dice) if on["stamp"] and self._seals else None
        coloured = on["coloured"] or (stamp is not None and dice.chance(0.5))
        if stamp is not None and not coloured:
            faded = stamp.point([round(255 - level * 0.5) for level in range(256)])
            image, stamp = ImageChops.multiply(image, faded), None
        image = _scan(image, on, dice)
        if on["rescaled"] or not self._heights[0] <= image.height <= self._heights[1]:
            image = _rescale(image, dice, self._heights)
        if on["light_on_dark"]:
            image = ImageChops.invert(image)
        if coloured:
            image = _colour(image, stamp, on["coloured"], dice)
        return _jpeg(image, dice) if on["jpeg"] else image

    def _choose(self, dice: Dice) -> dict[str, bool]:
        """Draw which effects a line gets; what hurts is limited, so that a person could still read it."""
        on = {name: dice.chance(chance) for name, chance in self._chances.items()}
        # together these would leave nothing of hairlines
        on["thin"] &= not on["threshold"]
        hurting = [name for name in _HURTING if on[name]]
        while len(hurting) > _MOST_HURTING:
            on[hurting.pop(dice.below(len(hurting)))] = False
        return on

    def _stamp(self, size: tuple[int, int], dice: Dice) -> Image.Image:
        """Lay a part of a seal over the line; the amount of red."""
        width, height = size
        side = height * dice.uniform(2.0, 6.0)
        seal = dice.pick(self._seals)
        unit = SEAL_SIZE / side
        left = dice.uniform(-0.8 * side, max(width - 0.2 * side, 0))
        top = dice.uniform(-0.9 * side + height, -0.1 * side)
        box = (-left * unit, -top * unit, (width - left) * unit, (height - top) * unit)
        return Image.fromarray(seal).transform(size, Image.Transform.EXTENT, box, Image.Resampling.BILINEAR)


def _strokes(ink: np.ndarray, on: Mapping[str, bool], dice: Dice) -> np.ndarray:
    if on["bold"]:
        wide = ink.copy()
        np.maximum(wide[:, 1:], ink[:, :-1], out=wide[:, 1:])
        if dice.chance(0.5):
            np.maximum(wide[1:], ink[:-1], out=wide[1:])
        if dice.chance(0.35):
            np.maximum(wide[:, :-1], ink[:, 1:], out=wide[:, :-1])
        ink = wide
    elif on["thin"]:
        slim = ink.copy()
        np.minimum(slim[:, 1:], ink[:, :-1], out=slim[:, 1:])
        ink = slim if dice.chance(0.3) else (slim >> 1) + (ink >> 1)
    if on["broken"]:
        gaps = np.asarray(_patch("grain", _STRENGTHS - 1, (ink.shape[1], ink.shape[0]), dice)) > dice.between(174, 200)
        ink = np.where(gaps, ink // 4, ink)
    if on["dots"]:
        pitch = dice.between(3, 4)
        ink = ink.copy()
        ink[::pitch] //= 3
        ink[:, ::pitch] //= 3
    return ink


def _shrink(
    canvas: np.ndarray, on: Mapping[str, bool], dice: Dice, frames: int, heights: tuple[int, int]
) -> Image.Image:
    """Bring the canvas to the resolution of the scan, squeezed, stretched or turned a little."""
    height, width = canvas.shape
    if on["low_resolution"]:
        em = dice.uniform(9.5, 16)
    else:
        em = dice.uniform(16, 30) if dice.chance(0.9) else dice.uniform(30, 52)
    aspect = dice.uniform(0.95, 1.06)
    if on["condensed"]:
        aspect = max(dice.uniform(0.36, 0.8) if dice.chance(0.6) else dice.uniform(0.7, 0.92), _NARROWEST / em)
    elif on["stretched"]:
        aspect = 1.08 + 1.1 * dice.random() ** 2
    high = min(max(round(height * em / EM), 8), 2 * heights[1])
    wide = round(high * max(width / height * aspect, frames * _STRIDE * 1.1 / _HEIGHT_FOR_FRAMES))
    image = Image.fromarray(canvas)
    if on["rotated"] or on["slanted"]:
        image = _turn(image, on, dice)
    kernel = Image.Resampling.BOX if dice.chance(0.4) else Image.Resampling.BILINEAR
    return image.resize((max(wide, 4), high), kernel)


def _as_shown(canvas: np.ndarray, pixel: int) -> Image.Image:
    """Give a screen its pixels back; where they begin, most strokes do."""
    missing = []
    for axis in (0, 1):
        edges = np.abs(np.diff(canvas.astype(np.int16), axis=axis, prepend=0)).sum(axis=1 - axis)
        begins = int(np.argmax([edges[first::pixel].sum() for first in range(pixel)]))
        missing.append((-begins % pixel, (begins - canvas.shape[axis]) % pixel))
    return Image.fromarray(np.pad(canvas, missing)).reduce(pixel)


def _turn(image: Image.Image, on: Mapping[str, bool], dice: Dice) -> Image.Image:
    """Rotate and slant about the centre; a long line turns less, so that it stays within its frame."""
    width, height = image.size
    most = min(0.06, 0.25 * height / width) if dice.chance(0.25) else min(0.03, 0.12 * height / width)
    slope = dice.uniform(-most, most) if on["rotated"] else 0.0
    slant = dice.uniform(-0.2, 0.3) if on["slanted"] else dice.uniform(-0.03, 0.03)
    matrix = (1.0, slant, -slant * height / 2, slope, 1.0, -slope * width / 2)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)


def _tone(ink: Image.Image, on: Mapping[str, bool], dice: Dice, strength: float) -> Image.Image:
    """Give ink and paper their greys."""
    paper = dice.uniform(190, 248) if on["tinted"] else dice.uniform(247, 255)
    dark = dice.uniform(0, 90) * strength
    if on["dim"]:  # a photograph without enough light
        paper = dice.uniform(100, 190)
        dark *= paper / 255
    if on["faint"]:
        dark = paper - dice.uniform(70, 130) * paper / 255
    curve = _CURVES[dice.below(len(_CURVES))] if strength else _CURVES[0]
    grey = ink.point((paper - curve * (paper - dark)).astype(np.uint8).tolist())
    if on["texture"]:
        grey = _add(grey, "grain", dice.uniform(0.1, 0.45), dice)
    if on["shading"]:
        slope = Image.fromarray(np.array([[dice.between(178, 255), dice.between(178, 255)]], np.uint8))
        if dice.chance(0.3):
            slope = slope.transpose(Image.Transpose.ROTATE_90)
        grey = ImageChops.multiply(grey, slope.resize(grey.size, Image.Resampling.BILINEAR))
    return grey


def _scan(grey: Image.Image, on: Mapping[str, bool], dice: Dice) -> Image.Image:
    """Do what optics, sensors and fax machines do."""
    if on["blur"]:
        # coarse scans are blurred by their pixels already
        grey = grey.filter(ImageFilter.GaussianBlur(dice.uniform(0.3, 1.0) * min(1.0, (grey.height / 24) ** 0.5)))
    if on["noise"]:
        grey = _add(grey, "noise" if dice.chance(0.6) else "grain", dice.uniform(0.1, 0.8), dice)
    if on["threshold"]:
        grey = _binarise(grey, dice)
    if on["specks"]:
        field = _patch("noise", _STRENGTHS - 1, grey.size, dice)
        limit = dice.between(72, 100)
        dark = dice.between(0, 90)
        spots = field.point([dark if level < 128 - limit else 255 for level in range(256)])
        grey = ImageChops.darker(grey, spots)
        if dice.chance(0.5):
            grey = ImageChops.lighter(grey, field.point([255 if level > 128 + limit else 0 for level in range(256)]))
    return grey


def _binarise(grey: Image.Image, dice: Dice) -> Image.Image:
    """Fax: black or white, with ragged edges where sensor noise decides."""
    low, high = cast(tuple[float, float], grey.getextrema())
    level = low + (high - low) * dice.uniform(0.48, 0.76)
    rough = dice.uniform(0, 0.8) if dice.chance(0.6) else 0.0
    edge = _add(grey, "noise", rough, dice) if rough else grey
    sharp = edge.point([255 if value > level else 0 for value in range(256)])
    # some scanners only sharpen: grey remains at the edges
    return Image.blend(sharp, grey, dice.uniform(0.2, 0.6)) if dice.chance(0.4) else sharp


def _rescale(image: Image.Image, dice: Dice, heights: tuple[int, int]) -> Image.Image:
    low, high = heights
    wanted = dice.between(max(low, min(28, high)), max(low, min(48, high))) if dice.chance(0.6) else 32
    wanted = min(max(wanted, low), high)
    kernels = (Image.Resampling.BILINEAR, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    kernel = Image.Resampling.NEAREST if dice.chance(0.03) else dice.pick(kernels)
    return image.resize((max(4, round(image.width * wanted / image.height)), wanted), kernel)


def _colour(image: Image.Image, stamp: Image.Image | None, inks: bool, dice: Dice) -> Image.Image:
    drawn = dice.pick(_INKS), dice.pick(_PAPERS)
    ink, paper = drawn if inks else ((0, 0, 0), (255, 255, 255))
    bands = [image.point(_ramp(dark, light)) for dark, light in zip(ink, paper, strict=True)]
    if stamp is not None:
        stamp = stamp.resize(image.size, Image.Resampling.BILINEAR)
        depth = dice.uniform(0.5, 0.9)
        for band, share in enumerate((0.15, 0.85, 0.75)):
            bands[band] = ImageChops.multiply(bands[band], stamp.point(_ramp(255, round(255 - 255 * share * depth))))
    return Image.merge("RGB", bands)


def _ramp(first: int, last: int) -> list[int]:
    return [first + (last - first) * level // 255 for level in range(256)]


def _jpeg(image: Image.Image, dice: Dice) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=dice.between(22, 85))
    result = Image.open(io.BytesIO(buffer.getvalue()))
    result.load()
    result.info[JPEG_BYTES] = buffer.getvalue()
    return result


def _add(grey: Image.Image, kind: str, strength: float, dice: Dice) -> Image.Image:
    """Add a field of noise, as strong as 0..1 of a standard deviation of 24 grey levels."""
    field = _patch(kind, min(int(strength * _STRENGTHS), _STRENGTHS - 1), grey.size, dice)
    return ImageChops.add(grey, field, 1, -128)


@lru_cache(maxsize=1)
def _pools() -> dict[str, list[Image.Image]]:
    """Make the fields that noise is cut from, in rising strength, around 128: fine noise and smoother grain."""
    generator = np.random.Generator(np.random.PCG64(20200))
    noise = generator.standard_normal(_POOL, dtype=np.float32) * 24
    soft = Image.fromarray(noise * 2.2).resize((_POOL[1] // 2, _POOL[0] // 2), Image.Resampling.BOX)
    grain = np.asarray(soft.resize((_POOL[1], _POOL[0]), Image.Resampling.BICUBIC))
    return {
        name: [
            Image.fromarray(np.clip(field * ((step + 1) / _STRENGTHS) + 128, 0, 255).astype(np.uint8))
            for step in range(_STRENGTHS)
        ]
        for name, field in (("noise", noise), ("grain", grain))
    }


def _patch(kind: str, step: int, size: tuple[int, int], dice: Dice) -> Image.Image:
    """Cut a piece out of a field at a random place; the field repeats beyond its edges."""
    pool = _pools()[kind][step]
    width, height = size
    # the place does not depend on the size, so that both lines of a minimal pair get the same noise
    x, y = dice.below(pool.width // 2), dice.below(pool.height // 2)
    x, y = min(x, max(pool.width - width, 0)), min(y, max(pool.height - height, 0))
    if width <= pool.width and height <= pool.height:
        return pool.crop((x, y, x + width, y + height))
    across, down = -(-width // pool.width), -(-height // pool.height)
    return Image.fromarray(np.tile(np.asarray(pool), (down, across))[:height, :width])

"""Random defects for real line images in training, from one generator so that a resumed run repeats them.

Rendered lines do not pass here: they come with the defects that `ocrcc.synth` gave them.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter
from torchvision.transforms.v2 import functional as F


def augment(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    """Return a slightly worse picture of the same line.

    What a scanner, a camera or a careless crop does, each with its own chance: stretch, crop, rotation and
    shear, perspective, thickness of strokes, blur, resolution, brightness and contrast, noise, JPEG.

    Args:
        image: Mode ``L`` or ``RGB``; any size.
        rng: All randomness comes from here.
        strength: 0 returns the image as it is; 1 is as bad as documents usually get.
    """
    if strength == 0 or min(image.size) < 8:
        return image
    for chance, worsen in _DEFECTS:
        if rng.random() < chance * strength:
            image = worsen(image, rng, strength)
    return image


def _paper(image: Image.Image) -> list[float]:
    """Return the colour of the edge, to fill with."""
    edge = np.asarray(image)
    edge = np.concatenate([edge[0], edge[-1], edge[:, 0], edge[:, -1]])
    return [float(value) for value in np.atleast_1d(np.median(edge, axis=0))]


def _stretch(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    factor = np.exp(rng.uniform(-0.25, 0.25) * strength)
    return image.resize((max(4, round(image.width * factor)), image.height), Image.Resampling.BILINEAR)


def _crop(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    """Cut or add a margin at each side; never more than a tenth of the height is cut."""
    most = image.height * strength
    left, top, right, bottom = (int(side) for side in np.round(rng.uniform(-0.10, 0.2, size=4) * most))
    left, right = max(left, -image.height // 16), max(right, -image.height // 16)
    return F.pad(image, [left, top, right, bottom], fill=_paper(image))


def _rotate(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    # A long line may rise no more than an eighth of its height, or its ends leave the picture.
    steepest = min(3.0, np.degrees(0.25 * image.height / max(image.width, image.height)))
    return F.affine(
        image,
        angle=float(rng.uniform(-steepest, steepest) * strength),
        translate=[0, 0],
        scale=1.0,
        shear=[float(rng.uniform(-12, 12) * strength), 0.0],
        interpolation=F.InterpolationMode.BILINEAR,
        fill=_paper(image),
    )


def _perspective(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    width, height = image.size
    corners = [[0, 0], [width, 0], [width, height], [0, height]]
    moved = [[x + rng.uniform(-0.1, 0.1) * height * strength, y + rng.uniform(-0.1, 0.1) * height * strength]
             for x, y in corners]  # fmt: skip
    return F.perspective(image, corners, moved, interpolation=F.InterpolationMode.BILINEAR, fill=_paper(image))


def _thickness(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    changed = image.filter(ImageFilter.MinFilter(3) if rng.random() < 0.5 else ImageFilter.MaxFilter(3))
    return Image.blend(image, changed, float(rng.uniform(0.2, 0.7) * strength))


def _blur(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2) * strength * image.height / 32)))


def _resolution(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    height = max(12, round(min(image.height, 32) * (1 - rng.uniform(0.1, 0.5) * strength)))
    small = image.resize((max(4, round(image.width * height / image.height)), height), Image.Resampling.BILINEAR)
    return small.resize(image.size, Image.Resampling.BILINEAR)


def _light(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    image = F.adjust_contrast(image, float(np.exp(rng.uniform(-0.6, 0.3) * strength)))
    return F.adjust_gamma(image, float(np.exp(rng.uniform(-0.5, 0.5) * strength)))


def _noise(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    pixels = np.asarray(image, dtype=np.float32)
    pixels = pixels + rng.standard_normal(pixels.shape, dtype=np.float32) * rng.uniform(2, 16) * strength
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), image.mode)


def _jpeg(image: Image.Image, rng: Generator, strength: float) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=round(95 - rng.uniform(10, 65) * strength))
    return Image.open(file)


_DEFECTS = (
    (0.5, _stretch),
    (0.5, _crop),
    (0.4, _rotate),
    (0.3, _perspective),
    (0.3, _thickness),
    (0.3, _blur),
    (0.3, _resolution),
    (0.5, _light),
    (0.3, _noise),
    (0.3, _jpeg),
)

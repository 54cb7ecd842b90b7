"""Red seals, as they are stamped over the text of documents."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from ocrcc.dice import Dice

SIZE = 240
"""Pixels of a seal's side."""
_COUNT = 10
_STREAM = 0x5EA1
"""Seeds the seals: they are the same for every set of lines."""


def make_seals(glyph: Callable[[Dice], np.ndarray]) -> list[np.ndarray]:
    """Make the seals that lines are stamped with.

    Args:
        glyph: Draws the ink (h, w) of a random character.

    Returns:
        (SIZE, SIZE) uint8 each, the amount of red.
    """
    return [_seal(Dice(_STREAM, number), number % 3 == 2, glyph) for number in range(_COUNT)]


def _seal(dice: Dice, square: bool, glyph: Callable[[Dice], np.ndarray]) -> np.ndarray:
    image = Image.new("L", (SIZE, SIZE))
    draw = ImageDraw.Draw(image)
    width = dice.between(4, 9)
    if square:
        draw.rectangle((4, 4, SIZE - 5, SIZE - 5), outline=255, width=width)
        for row in range(2):
            for column in range(2):
                part = Image.fromarray(glyph(dice)).resize((SIZE // 2 - 26, SIZE // 2 - 26))
                image.paste(part, (18 + column * (SIZE // 2 - 10), 18 + row * (SIZE // 2 - 10)))
    else:
        draw.ellipse((4, 4, SIZE - 5, SIZE - 5), outline=255, width=width)
        _write_round(image, dice, glyph)
        if dice.chance(0.7):
            draw.polygon(_star(SIZE / 2, SIZE / 2, dice.uniform(22, 36)), fill=255)
        for at in range(dice.between(0, 6)):
            part = Image.fromarray(glyph(dice)).resize((22, 26))
            image.paste(part, (44 + at * 26, SIZE - 80))
    wear = np.random.Generator(np.random.PCG64(dice.below(1 << 30))).random((SIZE // 4, SIZE // 4))
    worn = Image.fromarray((wear * 255).astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    keep = np.clip(np.asarray(worn, np.float32) * 2.2 - 60, 90, 255) / 255
    return (np.asarray(image) * keep).astype(np.uint8)


def _write_round(image: Image.Image, dice: Dice, glyph: Callable[[Dice], np.ndarray]) -> None:
    count = dice.between(8, 15)
    for at in range(count):
        angle = math.radians(-135 + 270 * at / (count - 1))
        side = 34
        part = Image.fromarray(glyph(dice)).resize((side - 8, side))
        turned = part.rotate(-math.degrees(angle), expand=True, resample=Image.Resampling.BILINEAR)
        radius = SIZE / 2 - 34
        x = SIZE / 2 + radius * math.sin(angle) - turned.width / 2
        y = SIZE / 2 - radius * math.cos(angle) - turned.height / 2
        image.paste(255, (round(x), round(y)), turned)


def _star(x: float, y: float, radius: float) -> list[tuple[float, float]]:
    points = []
    for at in range(10):
        length = radius if at % 2 == 0 else radius * 0.38
        angle = math.pi * at / 5
        points.append((x + length * math.sin(angle), y - length * math.cos(angle)))
    return points

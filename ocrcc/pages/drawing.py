"""Show what was read where: the image with its lines framed, and beside or below it their texts in the same places."""

from __future__ import annotations

from collections.abc import Callable

from PIL import Image, ImageDraw
from PIL.ImageFont import FreeTypeFont, ImageFont

from ocrcc.images.cutting import lengths
from ocrcc.types import Box, Page, Recognition

Font = Callable[[int], FreeTypeFont | ImageFont]
"""From a size in pixels to a font that has the characters to be drawn."""

_FRAME, _INK = (200, 30, 30), (20, 20, 20)


def draw(image: Image.Image, result: Recognition | Page, font: Font) -> Image.Image:
    """Draw a reading beside its image; a line's below it.

    Args:
        image: What was read, upright.
        result: What was read on it.
        font: Draws the texts.

    Returns:
        Mode ``RGB``.
    """
    width, height = image.size
    page = isinstance(result, Page)
    both = Image.new("RGB", (2 * width, height) if page else (width, 2 * height), "white")
    both.paste(image.convert("RGB"))
    pen = ImageDraw.Draw(both)
    if isinstance(result, Page):
        for line in result.lines:
            for char in line.chars:
                pen.polygon([*char.box], outline=(150, 190, 230))
            pen.polygon([*line.box], outline=_FRAME, width=max(1, height // 800))
            _write(both, line.text, line.box, width, font)
    else:
        for mark in result.chars:
            pen.rectangle((mark.left, 0, mark.right - 1, height - 1), outline=(150, 190, 230))
        whole = ((0, height), (width, height), (width, 2 * height), (0, 2 * height))
        _write(both, result.text, whole, 0, font)
    return both


def _write(picture: Image.Image, text: str, box: Box, shift: int, font: Font) -> None:
    """Draw a text into a box, as large as it fits, turned as the box is by quarters."""
    import numpy as np

    corners = np.array(box, dtype=float)
    width, height = lengths(corners)
    shown = text.replace("\n", " ")
    face = font(max(6, int(0.8 * height)))
    left, top, right, bottom = face.getbbox(shown or " ")
    strip = Image.new("L", (max(1, int(right - left)), max(1, int(bottom - top))), 0)
    ImageDraw.Draw(strip).text((-left, -top), shown, fill=255, font=face)
    scale = min(1.0, width / strip.width, height / strip.height)
    strip = strip.resize((max(1, int(strip.width * scale)), max(1, int(strip.height * scale))))
    along = corners[1] - corners[0]
    quarters = round(float(np.degrees(np.arctan2(along[1], along[0]))) / 90) % 4
    strip = strip.rotate(-90 * quarters, expand=True)
    low = corners.min(axis=0).round().astype(int)
    picture.paste(_INK, (int(low[0]) + shift, int(low[1])), strip)

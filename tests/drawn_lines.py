"""Lines drawn with Pillow's own font, which is there on every machine."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont


def draw_line(text: str, height: int = 32) -> Image.Image:
    """Draw a text in Pillow's built-in font, dark on light."""
    font = ImageFont.load_default(size=height * 0.75)
    width = max(8, round(font.getlength(text)) + 8)
    image = Image.new("L", (width, height), 235)
    ImageDraw.Draw(image).text((4, height * 0.1), text, fill=20, font=font)
    return image


def draw_small(text: str = "0O1lI", size: tuple[int, int] = (90, 20), paper: int = 255, ink: int = 0) -> Image.Image:
    """Draw a text as small as Pillow does by itself, on paper of any size and grey."""
    image = Image.new("L", size, paper)
    ImageDraw.Draw(image).text((4, 3), text, fill=ink)
    return image


def png(image: Image.Image) -> bytes:
    """Encode an image."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()

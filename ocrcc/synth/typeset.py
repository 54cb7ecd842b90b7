"""Sets a text in a font: from glyphs to the ink of a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocrcc.dice import Dice
from ocrcc.glyphs.cache import ASCENT, EM, HEIGHT, Glyph, GlyphCache, pixel_of
from ocrcc.glyphs.faces import FontChoice, FontSet

_LOW_LEFT = ".,;:"


@dataclass(frozen=True)
class Setting:
    """How a line is set.

    Attributes:
        spacing: Ems between characters, beyond their advance.
        gap: Ems between ASCII and other characters.
        words: Spaces are so many times as wide as the font has them: justified lines stretch them.
        jitter: Pixels at `EM` by which characters stand off the baseline.
        half_cells: Give every ASCII character half an em, as the Song faces of office software do: digits stand in
            the middle of their cells, and a full stop at the left of its own, close to the digit before it.
        inset: How far from the left of its half cell such a full stop stands, in em; below 0 it touches the digit.
        size: Pixels to the em that glyphs are drawn at; few for type as a screen shows it.
    """

    spacing: float = 0.0
    gap: float = 0.0
    words: float = 1.0
    jitter: float = 0.0
    half_cells: bool = False
    inset: float = 0.08
    size: int = EM


def typeset(
    text: str, choice: FontChoice, fonts: FontSet, glyphs: GlyphCache, setting: Setting, dice: Dice
) -> np.ndarray | None:
    """Set a text on one line.

    Args:
        text: The text.
        choice: Its fonts.
        fonts: The fonts behind the numbers.
        glyphs: Glyphs drawn so far.
        setting: Spacing and unevenness.
        dice: Draws the unevenness.

    Returns:
        (HEIGHT, width) uint8 ink with the baseline at row ASCENT, cut to the ink at both sides; None if one
        of the characters has no glyph of its own.
    """
    placed: list[tuple[Glyph, int, int]] = []
    pixel = pixel_of(setting.size)
    pen = float(EM)
    narrow = False
    for at, char in enumerate(text):
        if char == " ":
            space = EM / 2 if setting.half_cells else glyphs.space(fonts.face_of(choice, char))
            pen += space * setting.words + setting.spacing * EM
            continue
        face = fonts.face_of(choice, char)
        glyph = glyphs.glyph(face, char, setting.size)
        if glyph is None:
            return None
        was_narrow, narrow = narrow, char.isascii()
        if at and setting.gap and was_narrow != narrow:
            pen += setting.gap * EM
        shift = round(dice.uniform(-setting.jitter, setting.jitter)) if setting.jitter else 0
        left, advance = glyph.left, glyph.advance
        if narrow and setting.half_cells:
            left, advance = _half_cell(glyph, char, setting.inset)
        x = round((round(pen) + left) / pixel) * pixel
        placed.append((glyph, x, ASCENT + glyph.top + shift))
        pen += max(advance + setting.spacing * EM, 0.35 * advance)
    left = min(x for _, x, _ in placed)
    right = max(x + glyph.mask.shape[1] for glyph, x, _ in placed)
    ink = np.zeros((HEIGHT, right - left), np.uint8)
    for glyph, x, y in placed:
        height, width = glyph.mask.shape
        y = min(max(y, 0), HEIGHT - height)
        part = ink[y : y + height, x - left : x - left + width]
        np.maximum(part, glyph.mask, out=part)
    return ink


def _half_cell(glyph: Glyph, char: str, inset: float) -> tuple[int, float]:
    """Place a glyph in half an em: where it starts, and how far the pen moves; a wider one takes what it needs."""
    cell, width = EM / 2, glyph.mask.shape[1]
    if width > cell:
        return 0, width + 1
    return round(inset * EM if char in _LOW_LEFT else (cell - width) / 2), cell

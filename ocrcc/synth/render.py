"""Sets a text in a font: from glyphs, kept as small arrays, to the ink of a line."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocrcc.charset import Charset, describe
from ocrcc.config import SynthConfig
from ocrcc.errors import DataError
from ocrcc.synth.dice import Dice, running_sum
from ocrcc.synth.fonts import INSTALL_HINT, Face, coverage, find_faces

EM = 36
"""Pixels to the em at which glyphs are drawn; lines are scaled from there."""
ASCENT = int(1.15 * EM)
"""Rows above the baseline on the canvas of a line."""
HEIGHT = int(1.6 * EM)
"""Rows of that canvas; accents and descenders of any sane font fit."""
_CACHE_BYTES = 32 << 20
_OVERHEAD = 500
"""Bytes of a glyph beside its pixels."""
_MAIN_SHARE = 0.6
"""A font is a main one if it has this share of the charset's characters."""
_UNMAPPED = "\U0010fffe"
_TRIES = 10
_LOW_LEFT = ".,;:"
_NARROWEST_SPACE = 0.2
"""Ems; a narrower one could not be told from the gap between two letters."""


class Glyph(NamedTuple):
    """One character of one face at `EM`.

    Attributes:
        mask: (h, w) uint8 ink.
        left: Columns from the pen to the mask.
        top: Rows from the baseline to the mask, negative above.
        advance: Columns that the pen moves.
    """

    mask: np.ndarray
    left: int
    top: int
    advance: float


class GlyphCache:
    """Glyphs drawn so far, the oldest dropped once they take too much memory.

    Args:
        faces: The faces, by number.
    """

    def __init__(self, faces: Sequence[Face]) -> None:
        self._faces = faces
        self._fonts: dict[int, ImageFont.FreeTypeFont] = {}
        self._spaces: dict[int, float] = {}
        self._missing: dict[int, Glyph] = {}
        self._glyphs: dict[tuple[int, str], Glyph] = {}
        self._order: deque[tuple[int, str]] = deque()
        self._unshown: set[tuple[int, str]] = set()
        self._bytes = 0

    def glyph(self, face: int, char: str) -> Glyph | None:
        """Return a glyph, drawn now or earlier; None if the face draws nothing, or its box for missing ones."""
        key = (face, char)
        found = self._glyphs.get(key)
        if found is None and key not in self._unshown:
            found = self._draw(face, char)
            missing = self._missing.get(face)
            if missing is None:
                missing = self._missing[face] = self._draw(face, _UNMAPPED)
            if not found.mask.size or np.array_equal(found.mask, missing.mask):
                self._unshown.add(key)
                return None
            self._glyphs[key] = found
            self._order.append(key)
            self._bytes += found.mask.size + _OVERHEAD
            while self._bytes > _CACHE_BYTES:
                self._bytes -= self._glyphs.pop(self._order.popleft()).mask.size + _OVERHEAD
        return found

    def space(self, face: int) -> float:
        """Return the columns that a face leaves between two words."""
        if face not in self._spaces:
            self._spaces[face] = max(self._font(face).getlength(" "), _NARROWEST_SPACE * EM)
        return self._spaces[face]

    def _font(self, face: int) -> ImageFont.FreeTypeFont:
        font = self._fonts.get(face)
        if font is None:
            where = self._faces[face]
            try:
                font = ImageFont.truetype(where.path, EM, where.index, layout_engine=ImageFont.Layout.BASIC)
            except OSError as error:
                raise DataError(f"{where.path}: not a font that loads: {error}") from None
            self._fonts[face] = font
        return font

    def _draw(self, face: int, char: str) -> Glyph:
        font = self._font(face)
        image = Image.new("L", (3 * EM, HEIGHT))
        ImageDraw.Draw(image).text((EM, ASCENT), char, fill=255, font=font, anchor="ls")
        advance = font.getlength(char)
        box = image.getbbox()
        if box is None:
            return Glyph(np.zeros((0, 0), np.uint8), 0, 0, advance)
        return Glyph(np.array(image.crop(box)), box[0] - EM, box[1] - ASCENT, advance)


@dataclass(frozen=True)
class FontChoice:
    """The fonts of one line.

    Attributes:
        main: Number of the face.
        latin: Number of the face for ASCII; None where the main one draws it.
    """

    main: int
    latin: int | None


class FontSet:
    """The fonts that lines are set in, and what each covers.

    Args:
        config: Where fonts are and which are left out.
        charset: What they should cover.

    Raises:
        DataError: No font covers enough of the charset.
    """

    def __init__(self, config: SynthConfig, charset: Charset) -> None:
        wanted = {char for symbol in charset for char in (symbol, *_wider(symbol, charset))} - {" "}
        ascii_wanted = {char for char in wanted if char.isascii()}
        found = find_faces(config.fonts, config.exclude)
        codes = {ord(char) for char in wanted}
        self.faces: list[Face] = []
        self.covered: list[frozenset[str]] = []
        known: dict[frozenset[str], frozenset[str]] = {}
        main: list[int] = []
        latin: list[int] = []
        for face in found:
            chars = frozenset(map(chr, codes.intersection(coverage(face).tolist())))
            if not chars:
                continue
            is_main = len(chars) >= _MAIN_SHARE * len(wanted)
            is_latin = not is_main and bool(ascii_wanted) and len(chars & ascii_wanted) >= 0.98 * len(ascii_wanted)
            if is_main or is_latin:
                (main if is_main else latin).append(len(self.faces))
                self.faces.append(face)
                self.covered.append(known.setdefault(chars, chars))
        if not main:
            raise DataError(
                f"none of {len(found)} fonts covers {_MAIN_SHARE:.0%} of the charset {charset.name!r}, "
                f"which has {describe(sorted(wanted, reverse=True), 3)}",
                INSTALL_HINT,
            )
        self.main, self.latin = main, latin
        self._main_weights = self._weights(main, config)
        self._latin_weights = self._weights(latin, config)
        self._latin_share = config.latin

    def _weights(self, numbers: Sequence[int], config: SynthConfig) -> list[float]:
        """Weigh families alike, however many weights and styles each comes in."""
        families = [self.faces[number].family for number in numbers]
        weights = []
        for number, family in zip(numbers, families, strict=True):
            face = self.faces[number]
            factor = 0.25 if face.slanted else 1.0
            for pattern, weight in config.font_weights.items():
                if fnmatch(face.file.lower(), pattern.lower()) or fnmatch(face.name.lower(), pattern.lower()):
                    factor *= weight
            weights.append(factor / families.count(family))
        if weights and not sum(weights) > 0:
            raise DataError("font_weights leave no font", "give at least one family a weight over 0")
        return running_sum(weights)

    def choose(self, text: str, dice: Dice) -> tuple[FontChoice, str]:
        """Choose fonts for a text; return it too, without what the last font tried lacks, if none had all."""
        needed = set(text) - {" "}
        all_ascii = text.isascii()
        latin = None
        if self.latin and dice.chance(0.6 if all_ascii else self._latin_share):
            latin = dice.weighted(self.latin, self._latin_weights)
        for _ in range(_TRIES):
            main = dice.weighted(self.main, self._main_weights)
            covered = self.covered[main]
            if needed <= covered or (latin is not None and needed <= covered | self.covered[latin]):
                return FontChoice(main, latin), text
        return FontChoice(main, None), "".join(char for char in text if char in covered or char == " ").strip()

    def face_of(self, choice: FontChoice, char: str) -> int:
        """Return the number of the face that draws a character of a line; the Latin one, if any, parts the words."""
        if char == " " and choice.latin is not None:
            return choice.latin
        if choice.latin is None or (not char.isascii() and char in self.covered[choice.main]):
            return choice.main
        return choice.latin if char in self.covered[choice.latin] else choice.main


def _wider(symbol: str, charset: Charset) -> tuple[str, ...]:
    """Return the full-width form of a symbol, where the charset reads it as the symbol itself."""
    wide = chr(ord(symbol) + 0xFEE0) if "!" <= symbol <= "~" else ""
    return (wide,) if wide and wide not in charset and charset.normalise(wide) in charset else ()


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
    """

    spacing: float = 0.0
    gap: float = 0.0
    words: float = 1.0
    jitter: float = 0.0
    half_cells: bool = False
    inset: float = 0.08


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
    pen = float(EM)
    narrow = False
    for at, char in enumerate(text):
        if char == " ":
            space = EM / 2 if setting.half_cells else glyphs.space(fonts.face_of(choice, char))
            pen += space * setting.words + setting.spacing * EM
            continue
        face = fonts.face_of(choice, char)
        glyph = glyphs.glyph(face, char)
        if glyph is None:
            return None
        was_narrow, narrow = narrow, char.isascii()
        if at and setting.gap and was_narrow != narrow:
            pen += setting.gap * EM
        shift = round(dice.uniform(-setting.jitter, setting.jitter)) if setting.jitter else 0
        left, advance = glyph.left, glyph.advance
        if narrow and setting.half_cells:
            left, advance = _half_cell(glyph, char, setting.inset)
        placed.append((glyph, round(pen) + left, ASCENT + glyph.top + shift))
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

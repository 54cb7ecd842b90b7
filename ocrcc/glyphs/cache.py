"""Glyphs drawn from fonts, kept as small arrays."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocrcc.errors import DataError
from ocrcc.glyphs.fonts import Face

EM = 36
"""Pixels to the em at which glyphs are drawn; lines are scaled from there."""
ASCENT = int(1.15 * EM)
"""Rows above the baseline on the canvas of a line."""
HEIGHT = int(1.6 * EM)
"""Rows of that canvas; accents and descenders of any sane font fit."""
_CACHE_BYTES = 32 << 20
_OVERHEAD = 500
"""Bytes of a glyph beside its pixels."""
_MOST_FONTS = 200
"""Open ones, of a face and a size; each takes up to four megabytes, and up to three milliseconds to open."""
_UNMAPPED = "\U0010fffe"
_NARROWEST_SPACE = 0.2
"""Ems; a narrower one could not be told from the gap between two letters."""


def pixel_of(size: int) -> int:
    """Return the rows and columns of a line's canvas that a pixel fills of type drawn at so many to the em.

    So the em has about `EM` of them, 30 to 42 from 10 pixels on.
    """
    return max(1, round(EM / size))


class Glyph(NamedTuple):
    """One character of one face.

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
        self._fonts: dict[tuple[int, int], ImageFont.FreeTypeFont] = {}
        self._spaces: dict[int, float] = {}
        self._missing: dict[tuple[int, int], Glyph] = {}
        self._glyphs: dict[tuple[int, str, int], Glyph] = {}
        self._order: deque[tuple[int, str, int]] = deque()
        self._unshown: set[tuple[int, str, int]] = set()
        self._bytes = 0

    def glyph(self, face: int, char: str, size: int = EM) -> Glyph | None:
        """Return a glyph, drawn now or earlier; None if the face draws nothing, or its box for missing ones.

        At a ``size`` of few pixels to the em a font's hints or bitmaps put its strokes on whole pixels, and each of
        these fills a square of `pixel_of` it.
        """
        key = (face, char, size)
        found = self._glyphs.get(key)
        if found is None and key not in self._unshown:
            found = self._draw(face, char, size)
            missing = self._missing.get((face, size))
            if missing is None:
                missing = self._missing[face, size] = self._draw(face, _UNMAPPED, size)
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

    def _font(self, face: int, size: int = EM) -> ImageFont.FreeTypeFont:
        font = self._fonts.pop((face, size), None)
        if font is None:
            where = self._faces[face]
            try:
                font = ImageFont.truetype(where.path, size, where.index, layout_engine=ImageFont.Layout.BASIC)
            except OSError as error:
                raise DataError(f"{where.path}: not a font that loads: {error}") from None
        self._fonts[face, size] = font  # the last used comes last
        if len(self._fonts) > _MOST_FONTS:
            del self._fonts[next(iter(self._fonts))]
        return font

    def _draw(self, face: int, char: str, size: int) -> Glyph:
        font, pixel = self._font(face, size), pixel_of(size)
        image = Image.new("L", (3 * EM, HEIGHT))
        try:
            ImageDraw.Draw(image).text((EM, ASCENT), char, fill=255, font=font, anchor="ls")
            advance = pixel * font.getlength(char)
        except OSError as error:  # of FreeType, whose programs of hints a font may have damaged
            where = self._faces[face]
            raise DataError(
                f"{where.path}: cannot draw {char!r}: {error}", f"leave it out: --exclude {where.file}"
            ) from None
        box = image.getbbox()
        if box is None:
            return Glyph(np.zeros((0, 0), np.uint8), 0, 0, advance)
        mask = np.array(image.crop(box)).repeat(pixel, axis=0).repeat(pixel, axis=1)
        return Glyph(mask, pixel * (box[0] - EM), pixel * (box[1] - ASCENT), advance)

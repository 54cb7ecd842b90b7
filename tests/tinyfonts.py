"""Fonts of a few glyphs, made on the spot, for tests that must not depend on the system's fonts."""

from __future__ import annotations

from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

CHARACTERS = "己已巳未末日曰天夫大太0123456789Ol,.-/abxyz，。：（）"
"""What `build_font` covers where it is not told otherwise; each character looks its own."""


def build_font(path: Path, characters: str = CHARACTERS, *, empty: str = "", missing: str = "", bold: int = 0) -> Path:
    """Write a TrueType font whose glyphs are bar codes of their code points.

    Args:
        path: Where.
        characters: What it draws.
        empty: Characters that it maps to a glyph without an outline.
        missing: Characters that it maps to the very box it draws for unknown ones.
        bold: Units by which bars are thicker, so that several fonts differ.
    """
    names = [".notdef", "space", *(f"u{ord(char):04X}" for char in characters + empty + missing)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({32: "space"} | {ord(char): f"u{ord(char):04X}" for char in characters + empty + missing})
    glyphs = {".notdef": _box(), "space": TTGlyphPen(None).glyph()}
    glyphs |= {f"u{ord(char):04X}": _bars(ord(char), 500 if char.isascii() else 1000, bold) for char in characters}
    glyphs |= {f"u{ord(char):04X}": TTGlyphPen(None).glyph() for char in empty}
    glyphs |= {f"u{ord(char):04X}": _box() for char in missing}
    builder.setupGlyf(glyphs)
    widths = {name: 500 if len(name) == 5 and int(name[1:], 16) < 128 else 1000 for name in names if name[0] == "u"}
    builder.setupHorizontalMetrics({name: (widths.get(name, 500), 0) for name in names})
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=880, sTypoDescender=-120)
    builder.setupPost()
    builder.save(path)
    return path


def _box():
    pen = TTGlyphPen(None)
    _rectangle(pen, 50, 0, 450, 700)
    return pen.glyph()


def _bars(code: int, width: int, bold: int):
    pen = TTGlyphPen(None)
    _rectangle(pen, 40, -60, width - 40, 20 + bold)
    for bit in range(16):
        if code >> bit & 1:
            left = 40 + bit % 4 * (width - 80) // 4
            bottom = 80 + bit // 4 * 190
            _rectangle(pen, left, bottom, left + (width - 80) // 5 + bold, bottom + 130)
    return pen.glyph()


def _rectangle(pen: TTGlyphPen, left: int, bottom: int, right: int, top: int) -> None:
    pen.moveTo((left, bottom))
    pen.lineTo((left, top))
    pen.lineTo((right, top))
    pen.lineTo((right, bottom))
    pen.closePath()

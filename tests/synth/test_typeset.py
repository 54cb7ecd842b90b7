from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont
from tinyfonts import CHARACTERS

from ocrcc.charset import Charset
from ocrcc.config import SynthConfig
from ocrcc.dice import Dice
from ocrcc.glyphs.cache import ASCENT, EM, HEIGHT, Glyph, GlyphCache
from ocrcc.glyphs.faces import FontSet
from ocrcc.synth.typeset import Setting, typeset

CHARSET = Charset(CHARACTERS + " ", name="tiny")


def test_typeset_places_ink_on_the_baseline_and_spaces_between(fonts):
    chosen = FontSet(SynthConfig(fonts=fonts, latin=0.0), CHARSET)
    glyphs = GlyphCache(chosen.faces)
    choice, _ = chosen.choose("己已", Dice(0, 0))
    tight = typeset("己已", choice, chosen, glyphs, Setting(), Dice(0, 0))
    apart = typeset("己 已", choice, chosen, glyphs, Setting(), Dice(0, 0))
    assert tight.shape[0] == HEIGHT
    assert apart.shape[1] - tight.shape[1] == EM // 2
    rows = np.flatnonzero(tight.any(axis=1))
    assert rows[0] < ASCENT <= rows[-1] + 4
    columns = np.flatnonzero(tight.any(axis=0))
    assert columns[0] == 0
    assert columns[-1] == tight.shape[1] - 1


def test_spaces_are_as_wide_as_the_face_of_ascii_has_them_and_as_justified_lines_make_them(fonts, monkeypatch):
    chosen = FontSet(SynthConfig(fonts=fonts, latin=1.0), CHARSET)
    glyphs = GlyphCache(chosen.faces)
    choice, _ = chosen.choose("己已", Dice(0, 0))
    assert choice.latin != choice.main
    monkeypatch.setattr(glyphs, "space", {choice.latin: 9.0}.__getitem__)

    def gap(**setting):
        widths = [
            typeset(text, choice, chosen, glyphs, Setting(**setting), Dice(0, 0)).shape[1] for text in ("己 已", "己已")
        ]
        return widths[0] - widths[1]

    assert (gap(), gap(words=2.0), gap(half_cells=True)) == (9, 18, EM // 2)


def test_half_cells_give_ascii_half_an_em_and_keep_dots_at_the_left():
    def glyph(width, advance):
        return Glyph(np.full((4, width), 255, np.uint8), 3, -4, advance)

    class Drawn:
        def glyph(self, face, char, size):
            return {".": glyph(3, 9.0), "0": glyph(12, 20.0), "W": glyph(30, 34.0), "己": glyph(32, 36.0)}[char]

        def face_of(self, choice, char):
            return 0

    def columns(text, half_cells):
        ink = typeset(text, None, Drawn(), Drawn(), Setting(half_cells=half_cells), Dice(0, 0))
        edges = np.diff(np.pad((ink > 0).any(axis=0).astype(int), 1))
        return [(int(a), int(b)) for a, b in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True)]

    assert columns("0.0", False) == [(0, 12), (20, 23), (29, 41)]
    assert columns("0.0", True) == [(0, 12), (18, 21), (36, 48)]  # 3 + 18 + 3 and 3 + 36: the dot is off its middle
    assert columns("0己", True) == [(0, 12), (18, 50)]
    assert columns("W0", True)[1][0] >= 31  # what is wider than its cell is not drawn over


@pytest.mark.parametrize(("size", "pixel"), [(18, 2), (12, 3), (13, 3), (16, 2), (21, 2)])
def test_hinted_type_stands_on_whole_pixels_of_its_screen(fonts, size, pixel):
    chosen = FontSet(SynthConfig(fonts=fonts, latin=0.0), CHARSET)
    choice, _ = chosen.choose("己已", Dice(0, 0))
    setting = Setting(spacing=0.03, size=size)
    ink = typeset("己0 已", choice, chosen, GlyphCache(chosen.faces), setting, Dice(0, 0))
    on_grid = np.pad(ink[ASCENT % pixel :], ((0, -(HEIGHT - ASCENT) % pixel), (0, -ink.shape[1] % pixel)))
    small = on_grid[::pixel, ::pixel]
    assert np.array_equal(on_grid, small.repeat(pixel, axis=0).repeat(pixel, axis=1))
    face = ImageFont.truetype(chosen.faces[choice.main].path, size, layout_engine=ImageFont.Layout.BASIC)
    _, top, _, bottom = face.getbbox("己", anchor="ls")
    rows = np.flatnonzero(small[:, : size // 2].any(axis=1)) - ASCENT // pixel
    assert (rows[0], rows[-1] + 1) == (top, bottom)

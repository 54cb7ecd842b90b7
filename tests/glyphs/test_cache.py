from __future__ import annotations

import numpy as np
import pytest
from tinyfonts import build_font

from ocrcc.glyphs.cache import GlyphCache
from ocrcc.glyphs.fonts import find_faces


@pytest.fixture
def faces(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build_font(tmp_path / "One.ttf")
    return find_faces(str(tmp_path))


def test_glyphs_stay_within_their_bound(faces, monkeypatch):
    monkeypatch.setattr("ocrcc.glyphs.cache._CACHE_BYTES", 5_000)
    glyphs = GlyphCache(faces)
    first = glyphs.glyph(0, "己").mask.copy()
    for char in "已巳未末日曰天夫0123456789":
        glyphs.glyph(0, char)
    assert glyphs._bytes <= 5_000
    assert len(glyphs._glyphs) < 10
    assert np.array_equal(glyphs.glyph(0, "己").mask, first)


def test_few_fonts_stay_open_and_those_that_were_used_last(faces, monkeypatch):
    monkeypatch.setattr("ocrcc.glyphs.cache._MOST_FONTS", 3)
    glyphs, others = GlyphCache(faces), GlyphCache(faces)
    for size, char in zip((12, 13, 14, 12, 15, 16, 13), "己已巳未末日曰", strict=True):
        assert np.array_equal(glyphs.glyph(0, char, size).mask, others.glyph(0, char, size).mask)
    assert [size for _, size in glyphs._fonts] == [15, 16, 13]

from __future__ import annotations

import numpy as np
import pytest
from tinyfonts import CHARACTERS, build_font

from ocrcc.charset import Charset
from ocrcc.config import SynthConfig
from ocrcc.glyphs.faces import FontSet
from ocrcc.glyphs.similarity import _search, compare_glyphs, representative_faces

CHARSET = Charset("0123456789己已巳未末日曰天夫大太")


@pytest.fixture
def fonts(tmp_path, monkeypatch) -> FontSet:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build_font(tmp_path / "One-Regular.ttf")
    build_font(tmp_path / "One-Bold.ttf", bold=30)
    build_font(tmp_path / "Two.ttf", characters=CHARACTERS.replace("末", ""), bold=15)
    return FontSet(SynthConfig(fonts=str(tmp_path)), CHARSET)


def test_one_regular_face_stands_for_a_family(fonts):
    faces = [fonts.faces[number] for number in representative_faces(fonts)]
    assert sorted(face.family for face in faces) == ["One", "Two"]


def test_neighbours_share_most_of_their_look(fonts):
    near = compare_glyphs(CHARSET.symbols, fonts, representative_faces(fonts), 3)
    # the glyphs are bar codes: 天 (0101100100101001) is nearest to a code that differs in few bars
    row = near.characters.index("日")
    bits = [bin(ord("日") ^ ord(near.characters[column])).count("1") for column in near.indices[row]]
    others = [bin(ord("日") ^ ord(char)).count("1") for char in CHARSET.symbols if char != "日" and not char.isascii()]
    assert bits[0] <= sorted(others)[1]
    assert row not in near.indices[row]
    assert np.all(np.diff(near.scores, axis=1) <= 1e-6)
    assert near.scores.max() <= 1.0001


def test_pairs_are_symmetric_and_over_the_threshold(fonts):
    near = compare_glyphs(CHARSET.symbols, fonts, representative_faces(fonts), 4)
    pairs = near.pairs(0.3)
    assert pairs
    assert all(first < second and score >= 0.3 for (first, second), score in pairs.items())
    assert near.pairs(1.1) == {}


def test_a_character_that_one_font_lacks_is_compared_in_the_others(fonts):
    near = compare_glyphs(CHARSET.symbols, fonts, representative_faces(fonts), 3)
    assert near.scores[near.characters.index("末")].max() > 0


def test_blocks_give_what_the_whole_table_gives(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2, 90, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    present = np.ones((2, 90), bool)
    monkeypatch.setattr("ocrcc.glyphs.similarity._BLOCK", 16)
    monkeypatch.setattr("ocrcc.glyphs.similarity._CANDIDATES", 89)
    indices, scores = _search(vectors, present, 5)
    table = np.einsum("fad,fbd->ab", vectors, vectors) / 2
    np.fill_diagonal(table, -9)
    assert np.array_equal(indices, np.argsort(-table, axis=1)[:, :5])
    assert np.allclose(scores, -np.sort(-table, axis=1)[:, :5], atol=1e-6)

from __future__ import annotations

import numpy as np
import pytest
from drawn_lines import draw_line

from ocrcc.decoding.boxes import INK, _centred, _least_ink, glyph_boxes, ink_columns


def boxes_of(middles, text, pixels):
    spans = np.stack((np.array(middles) - 0.5, np.array(middles) + 0.5), axis=1)
    return glyph_boxes(spans, text, ink_columns(pixels), pixels.shape[-2])


def bars(*ends, width=100, paper=1.0, ink=-1.0):
    pixels = np.full((1, 32, width), paper, dtype=np.float32)
    for left, right in ends:
        pixels[:, 8:24, left:right] = ink
    return pixels


@pytest.mark.parametrize("colours", [{}, {"paper": -1.0, "ink": 1.0}])
@pytest.mark.parametrize("shift", [-5, 0, 5])
def test_boxes_are_the_ink_wherever_a_model_peaks(shift, colours):
    """Early, in the middle or late in its glyphs; 川 has gaps of its own, which are no boundaries."""
    ends = [(10, 18), (22, 26), (30, 34), (38, 42), (46, 54), (56, 58)]
    middles = np.array([14, 32, 50, 57]) + shift
    found = boxes_of(middles, "1川11", bars(*ends, **colours))
    assert found.tolist() == [[10, 18], [22, 42], [46, 54], [56, 58]]


def test_boxes_are_no_wider_than_characters_and_never_empty():
    blank = np.ones((1, 32, 200), dtype=np.float32)
    (wide,), (narrow,) = (boxes_of([100.0], char, blank) for char in "己1")
    assert wide.tolist() == [82, 118]
    assert narrow.tolist() == [88, 112]
    crowded = boxes_of([2.0, 2.0, 198.0, 199.0], "abcd", blank)
    assert (crowded[:, 1] > crowded[:, 0]).all()
    assert crowded.min() >= 0
    assert crowded.max() <= 200


def test_boxes_at_the_very_ends_are_a_column_at_least():
    ink = np.zeros(40)
    ink[[0, 39]] = 1
    spans = np.array([[0.0, 0.0], [39.0, 39.0]])
    assert glyph_boxes(spans, "ab", ink, 32).tolist() == [[0, 1], [39, 40]]
    assert glyph_boxes(np.array([[45.0, 50.0]]), "a", np.zeros(40), 2).tolist() == [[39, 40]]


def test_what_was_not_read_moves_boxes_by_half_a_height_at_most():
    found = boxes_of([25.0, 45.0], "ab", bars((20, 30), (40, 50), (190, 192), width=200))
    assert abs(found.mean(axis=1) - [25, 45]).max() <= 16 + 0.35 * 32


def test_peaks_are_moved_to_the_middle_of_the_ink():
    ink = np.zeros(60)
    ink[10:30] = 1
    ink[[9, 30]] = INK  # no more than paper has
    assert _centred(np.array([12.0, 22.0]), np.array([0.5, 0.5]), ink, 32).tolist() == [15, 25]
    three = _centred(np.array([16.0, 22.0, 25.0]), np.array([1.0, 0.5, 0.5]), ink, 32)
    assert three.tolist() == [16.75, 22.75, 25.75]  # leads of 6 and 5 where glyphs of 10 and 5 have 5 and 2.5
    assert _centred(np.array([4.0, 22.0]), np.array([0.5, 0.5]), ink, 32).tolist() == [4, 22]  # ink of somebody else's
    assert _centred(np.array([5.0, 22.0]), np.array([0.5, 0.5]), ink, 32).tolist() == [11.5, 28.5]
    assert _centred(np.array([12.0, 22.0]), np.array([0.5, 0.5]), np.zeros(60), 32).tolist() == [12, 22]


@pytest.mark.parametrize(("blank", "cut"), [(3, 20), (4, 4), (30, 30), (36, 36), (37, 20)])
def test_a_cut_is_where_least_ink_is_between_two_middles(blank, cut):
    ink = np.ones(60)
    ink[blank] = 0
    assert _least_ink(ink, 0, 40, 0.5) == cut
    assert _least_ink(ink[::-1], 20 - 1, 60 - 1, 0.5) == 59 - cut


def test_in_doubt_a_cut_is_at_its_share_of_the_way():
    assert [_least_ink(np.ones(60), 0, 30, share) for share in (1 / 3, 0.5, 2 / 3)] == [10, 15, 20]
    ink = np.ones(60)
    ink[10] = 0.9  # less ink than that counts for two fifths of the way
    assert [_least_ink(ink, 0, 30, share) for share in (0.5, 2 / 3, 0.8)] == [10, 10, 24]


def test_a_cut_is_within_the_line():
    assert _least_ink(np.ones(10), 8, 10.2, 0.5) == 9
    assert _least_ink(np.ones(10), 10.1, 12, 0.5) == 10


def test_without_characters_there_are_no_boxes():
    assert glyph_boxes(np.zeros((0, 2)), "", np.zeros(10), 32).shape == (0, 2)


def test_ink_is_seen_on_any_paper():
    grey = np.asarray(draw_line("11").convert("L"))
    assert np.allclose(ink_columns(grey), ink_columns(255 - grey), atol=0.02)
    assert ink_columns(np.full((8, 5), 200, np.uint8)).tolist() == [0] * 5


def test_of_few_rows_all_are_looked_at():
    """A stroke on every second row of a line of eight would else be missed, or taken for paper."""
    pixels = np.full((8, 12), 200, np.uint8)
    pixels[1::2, 4:6] = 10
    assert np.flatnonzero(ink_columns(pixels)).tolist() == [4, 5]
    every = np.full((8, 2), 200, np.uint8)
    every[1::2] = 10
    assert ink_columns(every).tolist() == [1, 1]

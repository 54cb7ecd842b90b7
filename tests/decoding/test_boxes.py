from __future__ import annotations

import numpy as np
import pytest
from drawn_lines import draw_line

from ocrcc.decoding.boxes import _least_ink, glyph_boxes, ink_columns


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


def test_what_was_not_read_moves_boxes_by_half_a_height_at_most():
    found = boxes_of([25.0, 45.0], "ab", bars((20, 30), (40, 50), (190, 192), width=200))
    assert abs(found.mean(axis=1) - [25, 45]).max() <= 16 + 0.35 * 32


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

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocrcc.decoding.boxes import glyph_boxes, ink_columns
from ocrcc.decoding.calibration import BLANK, OUTCOMES, Calibration, parse_calibration
from ocrcc.decoding.evidence import FEATURES, assemble, from_ink, from_logits
from ocrcc.errors import ModelError

SIBLINGS = np.array([[0], [2], [1], [0]])  # 1 and 2 look alike


def line_of(*islands, height=40, width=120):
    """A line with ink at these columns."""
    pixels = np.full((height, width), 240, np.uint8)
    for first, end in islands:
        pixels[10:30, first:end] = 10
    return ink_columns(pixels)


def test_scores_by_hand():
    logits = np.full((6, 4), -5.0)
    logits[:, 0] = 5
    logits[1] = [0, 6, 4, 1]
    logits[2] = [0, 5, 4.5, 1]
    logits[3] = [5, 4.9, 3, 4.9]  # between them 2 falls short of the blank by 2; 1 and 3 are what is read beside it
    logits[4] = [0, 1, 2, 7]
    found = from_logits(logits, np.array([1, 3]), np.array([1, 4]), np.array([3, 5]), SIBLINGS)
    assert found[0].tolist() == [2, 2, 2, 2]
    assert found[1].tolist() == [5, 30, 1, 10]  # it has no look-alikes


def test_each_frame_between_is_compared_with_its_own_blank():
    logits = np.full((4, 4), -9.0)
    logits[0, 1] = logits[3, 3] = 5
    logits[1, [0, 2]] = 5, 4  # a blank by 1
    logits[2, [0, 2]] = 2, -5  # by 7
    found = from_logits(logits, np.array([1, 3]), np.array([0, 3]), np.array([1, 4]), SIBLINGS)
    assert found[0, 3] == 1


def test_before_the_first_character_counts_as_its_own():
    logits = np.full((4, 4), -5.0)
    logits[:, 0] = 5
    logits[0] = [5, -5, 4, -5]
    logits[2] = [0, 6, 1, 1]
    found = from_logits(logits, np.array([1]), np.array([2]), np.array([3]), SIBLINGS)
    assert found[0, 3] == 1


def test_a_point_between_two_letters_is_ink_that_nobody_read():
    with_point = line_of((10, 30), (36, 40), (46, 66))
    without = line_of((10, 30), (46, 66))
    spans = np.array([[18, 22], [54, 58]])
    for ink, stray in ((with_point, 4 / 40), (without, 0)):
        boxes = glyph_boxes(spans, "44", ink, 40)
        assert from_ink(boxes, "44", ink, 40)[0, :2].tolist() == pytest.approx([stray, 0])


def test_ink_at_the_ends_and_gaps():
    ink = line_of((2, 6), (20, 40), (70, 90), (110, 114))
    found = from_ink(np.array([[20, 40], [70, 90]]), "44", ink, 40)
    assert found[0, 0] == pytest.approx(4 / 40)
    assert found[0, 2] == pytest.approx(30 / 40)
    assert found[1, 0] == pytest.approx(4 / 40)
    assert found[1, 2] == 0
    assert found[:, 3:].tolist() == [[20 / 40, 0], [20 / 40, 0]]
    pieces = line_of((20, 23), (28, 31), (37, 40))
    assert from_ink(np.array([[20, 40]]), "川", pieces, 40)[0, 0] == 0, "hanzi come in pieces"
    assert from_ink(np.array([[20, 40]]), "川", pieces, 40)[0, 3:].tolist() == [20 / 40, 1]


def test_nothing_read_says_nothing():
    assert from_logits(np.zeros((3, 4)), *np.zeros((3, 0), int), SIBLINGS).shape == (0, 4)
    assert from_ink(np.zeros((0, 2), int), "", line_of(), 40).shape == (0, 5)


def test_evidence_is_numbers_whatever_comes():
    found = assemble(
        np.array([0.0, 1.0]),
        np.array([[-30.0, -30, 1, -30], [30, 30, 9, 30]]),
        np.full((2, 5), 1.0),
        np.array([np.nan, 2.0]),
        np.array([0.5, 1]),
        2,
    )
    assert found.shape == (2, len(FEATURES))
    assert np.isfinite(found).all()
    assert found[:, FEATURES.index("has lookalikes")].tolist() == [1, 0]
    assert found[:, FEATURES.index("margin known")].tolist() == [0, 1]
    for name, values in {
        "lead": [-2, 20], "lookalike lead": [-2, 20], "missed": [-2, 15], "frames": [0, np.log(9)],
        "stray ink": [0.5, 0.5], "gap": [1, 1], "disagreement": [0.5, 0], "margin": [0, 2], "read again": [1, 1],
    }.items():  # fmt: skip
        assert found[:, FEATURES.index(name)] == pytest.approx(values), name


def test_what_lies_beside_a_wide_character_may_be_a_piece_of_it():
    ink = line_of((10, 30), (36, 40), (46, 66), (72, 76), (82, 118))
    boxes = np.array([[10, 30], [46, 66], [82, 118]])
    found = from_ink(boxes, "44川", ink, 40)
    assert found[:2, :2].tolist() == [pytest.approx([4 / 40, 0]), pytest.approx([0, 4 / 40])]


def test_every_column_of_the_evidence_by_hand():
    confidences = np.array([0.8, 1.0])
    scores = np.array([[3.0, 2.0, 4.0, 7.0], [-9.0, -8.0, 0.0, -9.0]])  # lead, that over look-alikes, frames, missed
    ink = np.array(
        [[0.2, 0.0, 0.3, 0.6, 0.0], [0.0, 0.7, 2.0, 0.9, 1.0]]
    )  # stray, stray of wide ones, gap, width, wide
    found = assemble(confidences, scores, ink, np.array([1.5, np.nan]), np.array([1.0, 0.25]), 1)
    columns = dict(zip(FEATURES, found.T.tolist(), strict=True))
    assert columns == {
        "odds": pytest.approx([np.log(4), np.log((1 - 1e-6) / 1e-6)]),
        "lead": [3, -2], "lookalike lead": [2, -2],
        "lookalike mass": pytest.approx([np.log(1e-7 + 0.8 * np.exp(-2)), np.log(1e-7 + (1 - 1e-6) * np.exp(5))]),
        "frames": pytest.approx([np.log(4), 0]), "missed": [7, -2], "stray ink": [0.2, 0], "stray ink, wide": [0, 0.5],
        "gap": [0.3, 1], "width, narrow": [0.6, 0], "width, wide": [0, 0.9], "wide": [0, 1],
        "disagreement": [0, 0.75], "read again": [0, 0], "margin": [1.5, 0], "margin known": [1, 0],
        "has lookalikes": [1, 1],
    }  # fmt: skip


def test_what_lies_between_is_compared_with_what_neither_neighbour_is():
    logits = np.full((3, 6), -9.0)
    logits[0, 1] = logits[2, 3] = 5
    logits[1] = [4, 8, 2, 8, 3, 1]  # 1 and 3 are read on either side; 4 comes next
    found = from_logits(logits, np.array([1, 3]), np.array([0, 2]), np.array([1, 3]), np.zeros((6, 1), int))
    assert found[:, 3].tolist() == [1, 30]
    third = np.vstack([logits, logits[1], np.full(6, -9.0)])
    third[4, 4] = 5
    found = from_logits(third, np.array([1, 3, 4]), np.array([0, 2, 4]), np.array([1, 3, 5]), np.zeros((6, 1), int))
    assert found[:, 3].tolist() == [1, -4, 30]  # between 3 and 4 a 1 would be news


def test_chances_are_logistic():
    weights = np.zeros_like(BLANK.weights)
    weights[:, 0] = 0, 1, -1
    weights[0, 1] = 2
    evidence = np.zeros((2, len(FEATURES)))
    evidence[1, 0] = 3
    found = Calibration(weights=weights).chances(evidence)
    half, sure, unsure = (1 / (1 + np.exp(-score)) for score in (0, 1, -1))
    assert found[0].tolist() == pytest.approx([half, sure, unsure])
    assert found[1].tolist() == pytest.approx([1 / (1 + np.exp(-6)), sure, unsure])


def test_a_calibration_comes_back_as_it_was_stored():
    weights = np.random.default_rng(0).normal(size=BLANK.weights.shape)
    stored = Calibration(weights=weights, characters=9, error=0.01).described()
    found = parse_calibration(stored, Path("m"))
    assert (found.characters, found.error) == (9, 0.01)
    assert np.array_equal(found.weights, weights)
    assert parse_calibration(None, Path("m")) is None
    assert parse_calibration(stored | {"features": ["another"]}, Path("m")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {}},
        {"weights": dict.fromkeys(OUTCOMES, [1.0])},
        {"weights": dict.fromkeys(OUTCOMES, ["x"] * (len(FEATURES) + 1))},
        {"weights": dict.fromkeys(OUTCOMES, [float("nan")] * (len(FEATURES) + 1))},
        {"weights": dict.fromkeys(OUTCOMES, [1.0] * len(FEATURES) + [float("inf")])},
        {"error": "none"},
        {"characters": None},
    ],
)
def test_a_damaged_one_is_said(change):
    with pytest.raises(ModelError, match="m.safetensors: its calibration is damaged"):
        parse_calibration(BLANK.described() | change, Path("m.safetensors"))


def test_something_else_in_its_place_is_said():
    for stored in ([], "text", 7, {}):
        with pytest.raises(ModelError, match="damaged"):
            parse_calibration(stored, Path("m"))

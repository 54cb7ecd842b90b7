from __future__ import annotations

import itertools
import math
import random

import numpy as np
import pytest

from ocrcc.evaluation.metrics import ScoreCounter, expected_error, fold


def scores(pairs):
    counter = ScoreCounter()
    for truth, read in pairs:
        counter.update(truth, read)
    return counter.summary()


def naive_distance(truth, read):
    row = list(range(len(read) + 1))
    for i, expected in enumerate(truth, start=1):
        diagonal, row[0] = row[0], i
        for j, got in enumerate(read, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (expected != got))
    return row[-1]


@pytest.mark.parametrize(
    ("pairs", "accuracy", "cer", "one_minus_ned"),
    [
        ([("abc", "abc")], 1, 0, 1),
        ([("abcd", "abxd")], 0, 1 / 4, 3 / 4),
        ([("ab", "")], 0, 1, 0),
        ([("a", "abcd")], 0, 3, 1 / 4),  # an error rate has no upper bound, 1-NED has
        ([("", "")], 1, math.nan, 1),  # nothing to read, rightly read as nothing
        ([("", "ab")], 0, math.nan, 0),  # no reference characters to divide by
        ([("", "x"), ("ab", "ab")], 1 / 2, 1 / 2, 1 / 2),
        ([("己", "已"), ("巳", "巳")], 1 / 2, 1 / 2, 1 / 2),
        ([("𠮷野家", "吉野家")], 0, 1 / 3, 2 / 3),  # a character beyond the BMP is one character
        ([], math.nan, math.nan, math.nan),
    ],
)
def test_scores_by_hand(pairs, accuracy, cer, one_minus_ned):
    found = scores(pairs)
    assert (found.line_accuracy, found.cer, found.one_minus_ned) == pytest.approx(
        (accuracy, cer, one_minus_ned), nan_ok=True
    )
    assert found.lines == len(pairs)
    assert found.characters == sum(len(truth) for truth, _ in pairs)


def test_cer_is_over_the_set_and_ned_over_lines():
    found = scores([("a", "b"), ("abcdefghi", "abcdefghi")])
    assert found.cer == pytest.approx(1 / 10)
    assert found.one_minus_ned == pytest.approx(1 / 2)


def test_edits_are_those_of_the_textbook():
    rng = random.Random(0)
    for _ in range(200):
        truth, read = ("".join(rng.choices("ab己已 ", k=rng.randrange(9))) for _ in range(2))
        counter = ScoreCounter()
        assert counter.update(truth, read) == naive_distance(truth, read)
        assert counter.summary().edits == naive_distance(truth, read)


def test_neither_order_nor_parts_change_a_digit():
    rng = random.Random(1)
    pairs = [tuple("".join(rng.choices("abc", k=rng.randrange(1, 12))) for _ in range(2)) for _ in range(300)]
    whole = scores(pairs)
    for cuts in ((0, 1, 300), (0, 7, 8, 150, 300), tuple(range(301))):
        merged = ScoreCounter()
        for start, end in itertools.pairwise(cuts):
            part = ScoreCounter()
            for truth, read in reversed(pairs[start:end]):
                part.update(truth, read)
            merged.merge(part)
        assert merged.summary() == whole


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＡＢ　１", "AB1"),
        ("a b\tc\u00a0d\u2003e", "abcde"),
        ("，。：", ",。:"),
        ("ﬁ ①㎏", "fi1kg"),
        ("e\u0301", "é"),
        (" \u3000", ""),
        ("己已巳", "己已巳"),
    ],
)
def test_folding(text, folded):
    assert fold(text) == folded
    assert fold(folded) == folded


def test_expected_error_by_hand():
    sure, right = np.array([0.9, 0.9, 0.9, 0.1]), np.array([1, 1, 0, 0])
    assert expected_error(sure, right) == pytest.approx((0.7 + 0.1) / 4)
    sure, right = np.array([0.9, 0.9, 0.9, 0.1]), np.array([1, 1, 1, 0])  # a bin each, or they would cancel out
    assert expected_error(sure, right) == pytest.approx((0.3 + 0.1) / 4)
    assert expected_error(np.array([0.87, 0.93]), np.array([1, 0])) == pytest.approx((0.93 - 0.13) / 2)  # one of 15
    assert expected_error(np.array([1.0, 0.0]), np.array([0, 1])) == 1  # the last bin has its upper end
    assert np.isnan(expected_error(np.zeros(0), np.zeros(0)))

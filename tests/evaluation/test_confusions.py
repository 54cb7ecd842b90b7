from __future__ import annotations

import random

import pytest

from ocrcc.evaluation.confusions import ConfusionCounter
from ocrcc.lookalikes import Group, Lookalikes


def counted(*pairs):
    counter = ConfusionCounter()
    for truth, read in pairs:
        counter.update(truth, read)
    return counter


def listed(confusions):
    return [(pair.truth, pair.predicted, pair.count) for pair in confusions]


@pytest.mark.parametrize(
    ("truth", "read", "substitutions", "insertions", "deletions"),
    [
        ("自己", "自己", [], [], []),
        ("自己", "自已", [("己", "已", 1)], [], []),
        ("abc", "abbc", [], [("", "b", 1)], []),
        ("B8", "B88", [], [("", "8", 1)], []),
        ("0870011", "08701", [], [], [("0", "", 1), ("1", "", 1)]),
        ("", "xy", [], [("", "x", 1), ("", "y", 1)], []),
        ("xy", "", [], [], [("x", "", 1), ("y", "", 1)]),
        ("a\u0000b", "ab", [], [], [("\u0000", "", 1)]),
    ],
)
def test_one_line(truth, read, substitutions, insertions, deletions):
    counter = counted((truth, read))
    assert listed(counter.substitutions()) == substitutions
    assert listed(counter.insertions()) == insertions
    assert listed(counter.deletions()) == deletions


def test_the_most_frequent_come_first_and_ties_by_code_point():
    counter = counted(("ab", "xy"), ("ab", "xz"), ("己", "已"), ("己", "已"), ("0", "O"))
    assert listed(counter.substitutions()) == [
        ("a", "x", 2),
        ("己", "已", 2),
        ("0", "O", 1),
        ("b", "y", 1),
        ("b", "z", 1),
    ]


def test_directions_are_told_apart():
    assert listed(counted(("0", "O"), ("O", "0"), ("O", "0")).substitutions()) == [("O", "0", 2), ("0", "O", 1)]


def test_lookalikes_are_counted_both_ways_and_others_not():
    groups = Lookalikes((Group("己已巳", 0.9, "list"), Group("0O", 0.9, "list")))
    counter = counted(("己巳0O", "已巳00"), ("a已", "a己"), ("己x", "已y"), ("Oz", "0"))
    found = [(pair.first, pair.second, pair.first_as_second, pair.second_as_first) for pair in counter.between(groups)]
    assert found == [("己", "已", 2, 1), ("0", "O", 0, 2)]
    assert [pair.count for pair in counter.between(groups)] == [3, 2]


def test_merged_parts_count_like_the_whole():
    rng = random.Random(0)
    pairs = [tuple("".join(rng.choices("己已巳0O", k=rng.randrange(6))) for _ in range(2)) for _ in range(100)]
    whole, merged = counted(*pairs), counted(*pairs[:37])
    merged.merge(counted(*pairs[37:]))
    for kind in ("substitutions", "insertions", "deletions"):
        assert getattr(merged, kind)() == getattr(whole, kind)()
        assert getattr(whole, kind)()

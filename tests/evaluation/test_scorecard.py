from __future__ import annotations

import math
import random

import numpy as np
import pytest

from ocrcc.charset import Charset
from ocrcc.evaluation.intervals import bootstrap, wilson
from ocrcc.evaluation.kinds import KINDS, kind_of
from ocrcc.evaluation.metrics import ScoreCounter
from ocrcc.evaluation.scorecard import ScorecardCounter
from ocrcc.lookalikes import Group, Lookalikes

CHARSET = Charset("0123456789OIl己已巳abc, .，")
ALIKE = Lookalikes((Group("0O", 0.9, "list"), Group("己已巳", 0.9, "list"), Group("1Il", 0.8, "list")))


def card(*lines, charset=CHARSET, lookalikes=ALIKE):
    counter = ScorecardCounter(charset, lookalikes)
    for truth, read in lines:
        counter.update(truth, read)
    return counter.summary()


@pytest.mark.parametrize(
    ("truth", "read", "kind"),
    [
        ("0", "O", "look-alike"), ("，", ",", "width"), ("１", "1", "width"), ("c", "C", "case"), ("Ｃ", "c", "case"),
        ("", " ", "space"), (" ", "", "space"), ("\u3000", " ", "space"), (" ", "a", "space"),
        (".", ";", "punctuation"), ("a", "4", "other"), ("", "a", "inserted"), ("a", "", "left out"),
    ],
)  # fmt: skip
def test_every_edit_has_one_kind(truth, read, kind):
    assert kind_of(truth, read, ALIKE) == kind


def test_the_ceiling_counts_lines_that_look_alikes_alone_made_wrong():
    found = card(("10", "1O"), ("己已", "已已"), ("10a", "1Ob"), ("ab", "ab"), ("abc", "ac"))
    assert (found.lines, found.right, found.lookalikes_only) == (5, 1, 2)
    assert found.ceiling == pytest.approx(3 / 5)
    assert found.kinds == {**dict.fromkeys(KINDS, 0), "look-alike": 3, "other": 1, "left out": 1}
    assert "2 of 4 wrong lines are wrong by look-alikes alone" in found.advice
    assert "pays" in found.advice
    groups = {group.characters: (group.total, group.right) for group in found.groups}
    assert groups == {"0O": (2, 0), "己已巳": (2, 1), "1Il": (2, 2)}
    assert [group.accuracy for group in found.groups] == [0, 0.5, 1]
    assert [group.characters for group in found.groups] == ["0O", "己已巳", "1Il"]
    assert found.to_json()["groups"][1]["interval"][0] <= 0.5 <= found.to_json()["groups"][1]["interval"][1]


def test_without_look_alikes_no_ceiling_is_told():
    found = card(("10", "1O"), lookalikes=None)
    assert found.lookalikes_only is None
    assert (found.lines, found.right, found.groups) == (1, 0, ())
    assert card(("0", "0")).lookalikes_only == 0


def test_the_advice_names_what_is_wrong_most():
    assert "spaces" in card(*[("a b", "ab")] * 9, ("0", "O")).advice
    assert "no line is wrong" in card(("0", "0")).advice
    assert "no lines" in card().advice
    assert math.isnan(card().ceiling)


def test_a_shifted_dictionary_is_told():
    dice = random.Random(1)
    symbols = CHARSET.symbols
    lines = ["".join(dice.choices(symbols[:-1], k=8)) for _ in range(20)]
    shifted = [(line, "".join(symbols[symbols.index(char) + 1] for char in line)) for line in lines]
    assert card(*shifted).shift == 1
    assert "shifted by +1" in card(*shifted).advice
    assert card(*((line, "".join(dice.choices(symbols, k=8))) for line in lines)).shift == 0
    # one look-alike taken for its neighbour in the charset is no shift, however often
    assert card(*[("己己己", "已已已")] * 30).shift == 0


def test_twenty_substitutions_are_enough_to_tell_a_shift():
    symbols = CHARSET.symbols
    line = symbols[0:10:2]
    read = "".join(symbols[symbols.index(char) + 1] for char in line)
    assert card(*[(line, read)] * 4).shift == 1
    assert card(*[(line, read)] * 3, (line[:4], read[:4])).shift == 0
    assert card(*[(line[:4] * 5, read[:4] * 5)]).shift == 0  # four different ones may be a habit


def test_the_advice_goes_by_what_is_wrong_beside_look_alikes():
    assert "spaces" in card(*[("0", "O")] * 2, *[("a b", "ab")] * 9).advice
    assert "pays" in card(*[("0", "O")] * 9, ("a b", "ab")).advice
    one = card(("0", "O"), *[("a b", "ab")] * 9).advice
    assert one.startswith("1 of 10 wrong lines is wrong by look-alikes alone: tuning on look-alikes gains little here")
    unknown = card(("0", "O"), ("a b", "ab"), lookalikes=None).advice
    assert unknown.startswith("2 lines are wrong: first, ")


def test_intervals_hold_the_share_they_were_drawn_around():
    """Of 200 sets with a known error rate of 10 %, about 190 must have it in their interval."""
    dice = np.random.default_rng(0)
    held = 0
    for number in range(200):
        interval = bootstrap(dice.binomial(10, 0.1, 100), np.full(100, 10), seed=number)
        held += interval.low <= 0.1 <= interval.high
    assert 180 <= held <= 199


def test_lines_are_drawn_whole():
    """Errors that come ten on a line make the interval as wide as that of a tenth of the characters."""
    clustered = np.array([10] * 10 + [0] * 90)
    spread = np.array([1] * 100)
    whole, apart = bootstrap(clustered, np.full(100, 10)), bootstrap(spread, np.full(100, 10))
    assert whole.high - whole.low > 0.1
    assert apart.high - apart.low < 1e-9


def test_a_line_of_one_character_counts_and_one_of_none_does_by_its_errors():
    one_wrong = bootstrap(np.array([1, 0, 0, 0]), np.ones(4))
    assert (one_wrong.low, one_wrong.high) == (0.0, 0.75)
    assert bootstrap(np.array([1, 0, 0, 0, 0]), np.array([1, 1, 1, 1, 0])) == one_wrong
    inserted = bootstrap(np.array([1, 1, 0, 0]), np.array([0, 2, 2, 2]))
    assert inserted.high > bootstrap(np.array([0, 1, 0, 0]), np.array([0, 2, 2, 2])).high


def test_the_interval_of_look_alikes_is_that_of_their_characters():
    lines = [("0a", "Oa"), ("a0", "b0"), ("00", "00"), ("ab", "xb")]
    lost, alike = np.array([1, 0, 0, 0]), np.array([1, 1, 2, 0])
    assert card(*lines).lookalike_interval == bootstrap(alike - lost, alike)


def test_without_a_single_error_the_interval_is_no_point():
    interval = bootstrap(np.ones(20), np.ones(20))
    assert interval == wilson(20, 20)
    assert interval.low == pytest.approx(0.8389, abs=1e-4)
    assert math.isnan(bootstrap(np.zeros(3), np.zeros(3)).low)


def random_pairs(count):
    dice = random.Random(7)
    letters = "ab己已𠮷😀 ，,e\u0301"
    pairs = []
    for _ in range(count):
        truth = "".join(dice.choices(letters, k=dice.randrange(12)))
        read = "".join(char for char in truth if dice.random() > 0.1)
        read = "".join(dice.choice(letters) if dice.random() < 0.2 else char for char in read)
        pairs.append((truth, read if dice.random() > 0.05 else ""))
    return pairs


def test_the_error_rate_is_that_of_torchmetrics_and_jiwer():
    pairs = random_pairs(10_000)
    assert any(not truth for truth, _ in pairs)
    counter = ScoreCounter()
    for truth, read in pairs:
        counter.update(truth, read)
    theirs = pytest.importorskip("torchmetrics.functional.text")
    measured = theirs.char_error_rate([read for _, read in pairs], [truth for truth, _ in pairs])
    assert counter.summary().cer == pytest.approx(float(measured), abs=1e-7)  # theirs is a float32
    jiwer = pytest.importorskip("jiwer")
    as_is = jiwer.Compose([jiwer.ReduceToListOfListOfChars()])
    told = [(truth, read) for truth, read in pairs if truth]  # jiwer refuses empty references
    counter = ScoreCounter()
    for truth, read in told:
        counter.update(truth, read)
    measured = jiwer.cer(
        [truth for truth, _ in told], [read for _, read in told], reference_transform=as_is, hypothesis_transform=as_is
    )
    assert counter.summary().cer == measured

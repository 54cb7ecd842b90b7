from __future__ import annotations

import itertools
import math

import pytest

from ocrcc.evaluation import significance
from ocrcc.evaluation.significance import mcnemar


@pytest.mark.parametrize(("fixed", "broken"), list(itertools.product(range(8), repeat=2)))
def test_the_exact_test_counts_all_outcomes_of_so_many_tosses(fixed, broken):
    tosses = list(itertools.product((0, 1), repeat=fixed + broken))
    as_uneven = sum(abs(2 * sum(toss) - len(toss)) >= abs(fixed - broken) for toss in tosses)
    assert mcnemar(fixed, broken) == pytest.approx(as_uneven / len(tosses))


def test_the_normal_limit_agrees_with_the_exact_sum(monkeypatch):
    pairs = [(520, 480), (500, 500), (560, 440), (450, 550)]
    exact = [mcnemar(*pair) for pair in pairs]
    monkeypatch.setattr(significance, "_EXACT", 0)
    assert [mcnemar(*pair) for pair in pairs] == pytest.approx(exact, rel=0.02)


def test_up_to_a_thousand_lines_the_sum_is_exact():
    exact = sum(math.comb(1000, count) for count in range(481)) * 2 / 2**1000
    assert mcnemar(480, 520) == pytest.approx(exact, rel=1e-12)
    assert mcnemar(480, 520) != pytest.approx(math.erfc(39 / math.sqrt(2000)), rel=1e-6)


def test_millions_of_lines_take_no_time():
    assert mcnemar(1_000_000, 1_000_000) == 1
    assert mcnemar(600_000, 500_000) < 1e-100
    assert math.isfinite(mcnemar(10**9, 0))

from __future__ import annotations

import numpy as np
import pytest

from ocrcc.calibration.calibrate import Observed, compare, fit, held_out, share_held
from ocrcc.charset import Charset
from ocrcc.decoding.calibration import Calibration
from ocrcc.evaluation.metrics import expected_error
from ocrcc.lookalikes import Group, Lookalikes

CHARSET = Charset("0123456789.O")
ALIKE = Lookalikes((Group("0O", 1.0, "list"),))


def outcomes(truth, read):
    return [
        "".join(name for name, on in zip("rld", row, strict=True) if on)
        for row in compare(truth, read, CHARSET, ALIKE).tolist()
    ]


def test_what_became_of_each_character():
    assert outcomes("123", "123") == ["r", "r", "r"]
    assert outcomes("102", "1O2") == ["r", "l", "r"]
    assert outcomes("152", "132") == ["r", "", "r"]
    assert outcomes("4.4", "44") == ["d", "r"]
    assert outcomes(".44", "44") == ["d", "r"]
    assert outcomes("12", "132") == ["r", "", "r"]
    assert outcomes("1己2", "12") == ["r", "r"], "what the charset lacks cannot be foretold"
    assert outcomes("12", "") == []


def draw(count, seed=0):
    """Evidence, and outcomes that follow from it by known weights."""
    dice = np.random.default_rng(seed)
    evidence = dice.normal(size=(count, 2)) * [1, 40] + [0, 100]
    true = np.array([[2.0, 1.0, 0.0], [-5.0, 0.0, 0.03], [-60.0, 0.0, 0.0]])
    chances = Calibration(weights=true).chances(evidence)
    return evidence, dice.random((count, 3)) < chances, chances


def test_known_weights_are_found_again_and_what_never_came_stays_finite():
    evidence, seen, chances = draw(20_000)
    assert not seen[:, 2].any()
    weights = fit(evidence, seen)
    assert np.isfinite(weights).all()
    assert np.abs(Calibration(weights=weights).chances(evidence) - chances).max(axis=0) == pytest.approx(0, abs=0.03)


def test_evidence_that_tells_all_or_never_differs_breaks_nothing():
    evidence = np.stack([np.repeat([0.0, 1.0], 50), np.ones(100)], axis=1)
    found = Calibration(weights=fit(evidence, evidence[:, :1] > 0)).weights
    assert np.isfinite(found).all()
    assert ((found[:, :1] + evidence @ found[:, 1:].T)[:, 0] > 0).tolist() == (evidence[:, 0] > 0).tolist()


def test_what_is_held_out_is_judged_by_others():
    evidence, seen, _ = draw(4000)
    observed = Observed(
        evidence=evidence, confidences=np.ones(4000), outcomes=seen, lines=np.repeat(np.arange(400), 10)
    )
    chances = held_out(observed)
    assert expected_error(chances[:, 0], seen[:, 0]) < 0.02
    fold = observed.lines % 5 == 2
    expected = Calibration(weights=fit(evidence[~fold], seen[~fold])).chances(evidence[fold])
    assert np.array_equal(chances[fold], expected)


def test_each_fold_has_lines_whatever_their_numbers():
    evidence, seen, _ = draw(400)
    numbers = np.repeat(np.arange(0, 50, 5), 40)  # on all others nothing was read
    chances = held_out(Observed(evidence=evidence, confidences=np.ones(400), outcomes=seen, lines=numbers))
    assert (chances[:, 0] > 0).all()


def test_share_held_by_hand():
    worths, those = np.arange(100.0), np.zeros(100, bool)
    those[[99, 98, 3, 0]] = True
    assert share_held(worths, those, 0.02) == 0.5
    assert np.isnan(share_held(worths, np.zeros(100, bool)))

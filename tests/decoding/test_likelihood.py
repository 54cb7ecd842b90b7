from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ocrcc.decoding.likelihood import log_likelihoods, log_softmax


def lines(seed, count=12, classes=7):
    rng = np.random.default_rng(seed)
    logits = [rng.normal(0, 3, (rng.integers(1, 40), classes)) for _ in range(count)]
    targets = [rng.integers(1, classes, rng.integers(0, 9)).tolist() for _ in range(count)]
    return logits, targets


@pytest.mark.parametrize("seed", range(4))
def test_likelihoods_are_those_of_the_loss(seed):
    logits, targets = lines(seed)
    found = log_likelihoods([log_softmax(each) for each in logits], targets)
    for each, target, likelihood in zip(logits, targets, found, strict=True):
        wanted = -F.ctc_loss(
            torch.log_softmax(torch.from_numpy(each), -1)[:, None],
            torch.tensor([target], dtype=torch.int64),
            torch.tensor([len(each)]),
            torch.tensor([len(target)]),
            reduction="none",
        ).item()
        assert likelihood == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_posteriors_of_some_classes_are_those_of_all_of_them():
    logits = np.random.default_rng(5).normal(0, 6, (41, 7000)).astype(np.float32)  # more frames than are taken at once
    whole = log_softmax(logits)
    np.testing.assert_allclose(whole, torch.from_numpy(logits).log_softmax(-1).numpy(), rtol=1e-5, atol=1e-5)
    few = [0, 6999, 12, 5]
    assert (log_softmax(logits, few) == whole[:, few]).all()


def test_scores_of_any_size_have_posteriors():
    logits = np.array([[1000.0, 999.0], [-1000.0, -1001.0]])
    assert np.exp(log_softmax(logits)) == pytest.approx(np.array([[0.7310586, 0.2689414]] * 2), rel=1e-5)


def test_repeated_characters_need_a_frame_between_them():
    sure = log_softmax(np.zeros((2, 3)))
    found = log_likelihoods([sure, sure, sure], [[1, 1], [1, 2], []])
    assert found[0] == -np.inf
    np.testing.assert_allclose(np.exp(found[1:]), 1 / 9, rtol=1e-6)


def test_a_blank_may_be_left_out_between_other_characters_alone():
    """Seven states, of which the fifth and the seventh may be reached over a blank, or not."""
    posteriors = log_softmax(np.random.default_rng(1).normal(size=(3, 4)))
    for text in ([1, 2, 3], [1, 2, 1], [3, 2, 2], [1, 1, 2]):
        there = text[0] != text[1] and text[1] != text[2]
        wanted = sum(posteriors[frame, char] for frame, char in enumerate(text)) if there else -np.inf
        assert log_likelihoods([posteriors], [text])[0] == pytest.approx(wanted, rel=1e-5)


def test_all_texts_of_a_short_line_are_likely_together():
    posteriors = log_softmax(np.random.default_rng(0).normal(size=(2, 3)))
    texts = [[], [1], [2], [1, 2], [2, 1], [1, 1], [2, 2]]
    assert np.exp(log_likelihoods([posteriors] * len(texts), texts)).sum() == pytest.approx(1, abs=1e-5)


def test_long_lines_do_not_underflow():
    logits = np.full((3000, 5), 0.0)
    assert np.isfinite(log_likelihoods([log_softmax(logits)], [[1, 2, 3, 4] * 50])).all()


def test_nothing():
    assert log_likelihoods([], []).shape == (0,)

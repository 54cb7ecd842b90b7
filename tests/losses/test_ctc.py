from __future__ import annotations

import itertools

import pytest
import torch

from ocrcc.losses.ctc import ctc_terms, frames_needed


def naive_likelihood(log_probs: torch.Tensor, target: list[int]) -> torch.Tensor:
    """Sum over every path of T frames that collapses to the target."""
    total = torch.tensor(-torch.inf)
    for path in itertools.product(range(log_probs.shape[1]), repeat=log_probs.shape[0]):
        collapsed = [c for c, _ in itertools.groupby(path) if c]
        if collapsed == target:
            total = torch.logaddexp(total, sum(log_probs[t, c] for t, c in enumerate(path)))
    return total


@pytest.mark.parametrize("target", [[1], [1, 2], [1, 1], [2, 2, 1], [1, 2, 1, 2, 1]])
def test_loss_is_the_mean_over_all_paths(target):
    logits = torch.randn(1, 5, 3)
    terms = ctc_terms(logits, torch.tensor([5]), torch.tensor([target]), torch.tensor([len(target)]))
    expected = -naive_likelihood(logits[0].log_softmax(-1), target) / len(target)
    torch.testing.assert_close(terms.loss, expected)


@pytest.mark.parametrize(
    ("target", "length", "needed"),
    [([1, 2, 3], 3, 3), ([1, 1, 1], 3, 5), ([1, 1, 0], 2, 3), ([0, 0, 0], 0, 0), ([2, 1, 1], 2, 2)],
)
def test_frames_needed(target, length, needed):
    assert frames_needed(torch.tensor([target]), torch.tensor([length])).tolist() == [needed]


def test_lines_that_cannot_fit_take_no_part():
    logits = torch.randn(2, 4, 3, requires_grad=True)
    targets = torch.tensor([[1, 1, 1], [1, 2, 0]])
    terms = ctc_terms(logits, torch.tensor([4, 4]), targets, torch.tensor([3, 2]))
    assert terms.fits.tolist() == [False, True]
    alone = ctc_terms(logits[1:], torch.tensor([4]), targets[1:], torch.tensor([2]))
    torch.testing.assert_close(terms.loss, alone.loss)
    terms.loss.backward()
    assert logits.grad[0].abs().sum() == 0
    assert logits.grad[1].abs().sum() > 0


def test_padding_frames_do_not_count():
    logits = torch.randn(1, 6, 4)
    targets, lengths = torch.tensor([[1, 3]]), torch.tensor([2])
    longer = torch.cat([logits, torch.randn(1, 5, 4)], dim=1)
    torch.testing.assert_close(
        ctc_terms(logits, torch.tensor([6]), targets, lengths).loss,
        ctc_terms(longer, torch.tensor([6]), targets, lengths).loss,
    )


def test_an_unfit_batch_has_a_zero_loss():
    logits = torch.randn(1, 2, 3, requires_grad=True)
    terms = ctc_terms(logits, torch.tensor([2]), torch.tensor([[1, 1]]), torch.tensor([2]))
    terms.loss.backward()
    assert terms.loss == 0
    assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_give_a_float32_loss():
    logits = torch.randn(1, 8, 5).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = ctc_terms(logits, torch.tensor([8]), torch.tensor([[1, 2]]), torch.tensor([2]))
    assert terms.loss.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_are_those_of_torchs_loss_over_all_classes(dtype):
    torch.manual_seed(3)
    logits = (3 * torch.randn(6, 12, 9, dtype=dtype)).requires_grad_()
    frames = torch.tensor([12, 12, 9, 7, 12, 3])
    targets = torch.tensor([[1, 2, 1, 1], [5, 5, 5, 0], [8, 7, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0], [4, 4, 4, 0]])
    lengths = torch.tensor([4, 3, 2, 1, 0, 3])  # the fifth label is empty, the sixth does not fit
    terms = ctc_terms(logits, frames, targets, lengths)
    (gradient,) = torch.autograd.grad(terms.loss, logits)
    log_probs = logits.log_softmax(-1).transpose(0, 1)
    losses = torch.nn.functional.ctc_loss(log_probs, targets, frames, lengths, 0, "none", zero_infinity=True)
    expected = (losses / lengths.clamp(min=1) * terms.fits).sum() / terms.fits.sum()
    (expected_gradient,) = torch.autograd.grad(expected, logits)
    assert terms.fits.tolist() == [True, True, True, True, True, False]
    torch.testing.assert_close(terms.loss.to(dtype), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-6)

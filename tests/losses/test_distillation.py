import math

import pytest
import torch

from ocrcc.losses.distillation import divergence


def test_the_loss_is_what_is_computed_on_paper():
    """A batch of a line of two frames, of which one counts, and of one of one frame and three characters."""
    now = torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.2, 0.8], [0.5, 0.5]]]).log() + 3  # logits, not posteriors
    before = torch.tensor([[[0.8, 0.2], [0.1, 0.9]], [[0.4, 0.6], [0.9, 0.1]]]).log() - 1
    first = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    second = 0.4 * math.log(0.4 / 0.2) + 0.6 * math.log(0.6 / 0.8)
    loss = divergence(now, before, torch.tensor([1, 1]), torch.tensor([1, 3]))
    assert loss.item() == pytest.approx((first + second / 3) / 2, rel=1e-5)


def test_a_line_without_characters_counts_as_one_of_one():
    now, before = torch.tensor([[[0.5, 0.5]]]).log(), torch.tensor([[[0.8, 0.2]]]).log()
    empty, one = (divergence(now, before, torch.tensor([1]), torch.tensor([count])) for count in (0, 1))
    assert empty == one > 0


def test_what_says_the_same_as_before_costs_nothing():
    logits = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    assert divergence(logits, logits + 2, torch.tensor([5, 3]), torch.tensor([2, 1])).abs() < 1e-6

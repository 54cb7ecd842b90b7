"""What the terms beside CTC weigh, and when."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn

from ocrcc.config import FinetuneConfig
from ocrcc.losses.center import Centers
from ocrcc.training.objective import CenterObjective
from ocrcc.types import Batch, RecognizerOutput

TWINS = torch.tensor([[0], [2], [1], [4], [3]])


def lines() -> Batch:
    return Batch(
        images=torch.zeros(2, 1, 32, 40),
        widths=torch.tensor([40, 36]),
        frames=torch.tensor([10, 9]),
        targets=torch.tensor([[1, 3], [2, 4]]),
        target_lengths=torch.tensor([2, 2]),
        labels=("01", "Ol"),
        sources=("a", "b"),
    )


def of_random_features(**settings: float) -> tuple[CenterObjective, RecognizerOutput]:
    torch.manual_seed(0)
    head = nn.Linear(6, 5)
    config = FinetuneConfig(pretrained="x", train=("y",), **settings)
    features = torch.randn(2, 10, 6)
    output = RecognizerOutput(features=features, logits=head(features))
    return CenterObjective(config, head, TWINS, Centers(5, 6)), output


def test_the_terms_rise_from_nothing_to_their_weight():
    objective, output = of_random_features(center_weight=2.0, twin_weight=3.0, term_warmup=4)
    assert objective.place(lines(), output) == 4
    shares = []
    for _ in range(6):
        found = objective(lines(), output)
        terms = found.scalars["center"] + found.scalars["twin"]
        shares.append(float((found.total.detach() - found.scalars["ctc"]) / terms))
    assert shares == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1], abs=1e-4)


def test_without_warm_up_the_terms_weigh_all_from_the_second_step():
    objective, output = of_random_features(center_weight=0.0, twin_weight=3.0, term_warmup=0)
    found = [objective(lines(), output) for _ in range(2)]
    first, second = (float(each.total.detach() - each.scalars["ctc"]) for each in found)
    assert first == 0
    assert second == pytest.approx(float(found[1].scalars["twin"]), rel=1e-5)


def test_a_batch_of_replayed_lines_alone_is_a_step_too(monkeypatch):
    """Each process sums its centers with those of the others, whatever its own lines are."""
    objective, output = of_random_features()
    objective.place(lines(), output)
    monkeypatch.setattr(objective, "_kept", lambda batch, output: output.logits.sum() * 0)
    seen = []
    monkeypatch.setattr(objective.moving, "update", lambda features, classes: seen.append(len(classes)))
    for replayed in ((True, True), (False, True), (False, False)):
        objective(dataclasses.replace(lines(), replayed=torch.tensor(replayed)), output)
    assert seen == [0, 2, 4]
    assert int(objective.steps) == 3


def test_features_that_are_no_numbers_are_not_among_the_findings():
    objective, output = of_random_features()
    objective.place(lines(), output)
    lost = RecognizerOutput(features=output.features * float("nan"), logits=output.logits)
    objective(lines(), lost)
    assert objective.findings().scalars == {}
    objective(lines(), lost)
    objective(lines(), output)
    found = objective.findings()
    assert math.isfinite(found.scalars["margin_confidence_correlation"])
    assert bool(objective.centers.isfinite().all())


def test_a_character_nearer_to_its_look_alikes_center_is_not_pulled_to_its_own():
    """Label 0 on the first line and O on the second; both look like a 0."""
    config = FinetuneConfig(pretrained="x", train=("y",), center_weight=2.0, twin_weight=0.0, term_warmup=0)
    head = nn.Linear(6, 5)
    objective = CenterObjective(config, head, TWINS, Centers(5, 6, alpha=0.0))
    objective.centers.copy_(10 * torch.eye(6)[:5])
    objective.center_counts.fill_(3)
    features = torch.zeros(2, 10, 6)
    zero, twin = 1, int(TWINS[1, 0])
    features[:, :, zero] = 9.0
    features.requires_grad_()
    logits = torch.zeros(2, 10, 5)
    batch = dataclasses.replace(
        lines(), targets=torch.tensor([[zero], [twin]]), target_lengths=torch.tensor([1, 1]), labels=("0", "O")
    )
    objective.steps.fill_(9)
    found = objective(batch, RecognizerOutput(features=features, logits=logits))
    # Half the squared distance of 1 to the own center, of the first line alone: the mean is over both characters.
    assert float(found.scalars["center"]) == pytest.approx(2.0 * 0.5 / 2 / 6)
    (gradient,) = torch.autograd.grad(found.total, features)
    assert gradient[0].abs().sum() > 0
    assert not gradient[1].any()

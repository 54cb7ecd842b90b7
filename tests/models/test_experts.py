"""An expert reads lines of its kind; every other line is read by the weights that always read it."""

from __future__ import annotations

import pytest
import torch

from ocrcc.errors import ModelError
from ocrcc.models.experts import (
    ExpertEncoder,
    Gate,
    can_have_an_expert,
    kind_of,
    one_encoder,
    parsed,
    with_expert,
    with_expert_name,
)
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import create_model

ARCH = "tinynet_plain"


def made(seed: int) -> Recognizer:
    torch.manual_seed(seed)
    return create_model(ARCH, 5).eval()


def apart(first: torch.Tensor, second: torch.Tensor) -> Gate:
    """A gate that takes the first of two descriptions (1, 2 D) and not the second."""
    gate = Gate(first.shape[1] // 2)
    gate.weight.copy_((first - second).T)
    gate.bias.copy_(-((first + second) / 2 @ gate.weight)[0])
    return gate


@pytest.fixture
def lines() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 1, 32, 64)


def test_each_line_is_read_by_the_weights_of_its_kind(lines):
    old = made(0)
    tuned = one_encoder(old)
    with torch.no_grad():
        for weight in tuned.encoder.parameters():
            weight.add_(0.1)
        kinds = kind_of(old.backbone(lines))
        both = with_expert(old, tuned, apart(kinds[:1], kinds[1:]))
        read, before, after = both(lines), old(lines), tuned(lines)
    assert torch.equal(read.logits[0], after.logits[0])
    assert torch.equal(read.logits[1], before.logits[1])  # bit for bit
    assert not torch.equal(read.logits[0], before.logits[0])
    assert both.encoder.chosen(old.backbone(lines)).tolist() == [0, -1]
    assert torch.equal(one_encoder(both)(lines).logits, before.logits)
    assert torch.equal(one_encoder(both, 0)(lines).logits, after.logits)


def test_experts_are_added_and_the_last_one_reads_first(lines):
    old = made(0)
    kinds = kind_of(old.backbone(lines))
    always = Gate(kinds.shape[1] // 2)
    always.bias.fill_(1.0)
    with torch.no_grad():
        first, second = one_encoder(old), one_encoder(old)
        for tuned, change in ((first, 0.1), (second, 0.2)):
            for weight in tuned.encoder.parameters():
                weight.add_(change)
        one = with_expert(old, first, always)
        two = with_expert(one, second, apart(kinds[:1], kinds[1:]))
    assert two.encoder.chosen(old.backbone(lines)).tolist() == [1, 0]
    assert len(one.encoder.experts) == 1  # what was there is not changed
    again = create_model(with_expert_name(with_expert_name(ARCH)), 5)
    again.load_state_dict(two.state_dict())
    assert torch.equal(again.eval()(lines).logits, two(lines).logits)


def test_padding_does_not_change_the_kind(lines):
    recognizer = made(0)
    line = torch.cat([lines[:1], torch.zeros(1, 1, 32, 32)], dim=3)  # with an empty margin of its own
    padded = torch.cat([line, torch.zeros(1, 1, 32, 160)], dim=3)
    with torch.no_grad():
        alone, beside = kind_of(recognizer.backbone(line)), kind_of(recognizer.backbone(padded))
        other = kind_of(recognizer.backbone(torch.cat([lines[1:], torch.zeros(1, 1, 32, 32)], dim=3)))
    assert (alone - beside).norm() < 0.25 * (alone - other).norm()


def test_a_line_without_any_change_has_a_kind():
    assert kind_of(torch.ones(2, 7, 3)).isfinite().all()
    assert kind_of(torch.ones(2, 1, 3)).isfinite().all()


def test_names():
    assert parsed("timm/lcnet_050+bilstm+experts3") == ("timm/lcnet_050+bilstm", 3)
    assert parsed("crnn") == ("crnn", 0)
    assert with_expert_name("crnn") == "crnn+experts1"
    assert with_expert_name("crnn+experts1") == "crnn+experts2"
    assert isinstance(create_model("timm/lcnet_050+none+experts1", 5).encoder, ExpertEncoder)
    with pytest.raises(ModelError, match="no model named"):
        create_model("crnn+experts0", 5)
    with pytest.raises(ModelError, match="no model named"):
        create_model("crnn+experts10", 5)


def test_a_backbone_alone_has_nothing_to_make_an_expert_of():
    from ocrcc.models.encoders import Through

    recognizer = made(0)
    assert can_have_an_expert(recognizer)
    assert can_have_an_expert(create_model(f"{ARCH}+experts8", 5))
    assert not can_have_an_expert(create_model(f"{ARCH}+experts9", 5))
    recognizer.encoder = Through(8)
    assert not can_have_an_expert(recognizer)

from __future__ import annotations

import pytest
import torch

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.errors import ModelError
from ocrcc.losses.ctc import ctc_terms
from ocrcc.models.checkpoint import load_model, save_model
from ocrcc.models.registry import MODELS, create_model, register

CHARSET = Charset("己已巳未末0O1lI")


def test_there_is_a_choice_of_models():
    assert len(MODELS) >= 10
    assert {"crnn", "hgnetv2_b0", "mobilenetv3_small", "lcnet_100", "fasternet_t0", "convnext_atto"} <= set(MODELS)
    assert all(spec.description.endswith(".") for spec in MODELS.values())


@pytest.mark.parametrize("name", [*MODELS, "timm/resnet10t+none", "timm/mobilenetv4_conv_small"])
def test_model_trains_a_step_saves_and_loads_bit_equal(name, tmp_path):
    torch.manual_seed(0)
    model = create_model(name, CHARSET.num_classes)
    images = torch.randn(2, 1, 32, 96)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    output = model(images)
    assert output.features.shape == (2, 96 // model.width_stride, model.feature_width)
    assert output.logits.shape == (2, 96 // model.width_stride, CHARSET.num_classes)
    targets, lengths = torch.tensor([[1, 2, 2], [4, 5, 0]]), torch.tensor([3, 2])
    loss = ctc_terms(output.logits, torch.tensor([24, 20]), targets, lengths).loss
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert any(not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))

    path = tmp_path / "model.safetensors"
    save_model(
        path,
        recognizer_state=model.state_dict(),
        arch=name,
        charset=CHARSET,
        preprocessing=Preprocessing(),
        info={"step": 1, "metrics": {}, "config": {}},
    )
    loaded = load_model(path, device="cpu")
    state = model.state_dict()
    assert loaded.recognizer.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in loaded.recognizer.state_dict().items())
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(images).logits, loaded.recognizer(images).logits)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("width", [32, 160])
def test_frames_are_width_over_stride(name, width):
    model = create_model(name, 5).eval()
    with torch.no_grad():
        assert model.forward_features(torch.zeros(1, 1, 32, width)).shape[:2] == (1, width // 4)


@pytest.mark.parametrize("height", [24, 48, 64])
def test_other_heights_and_colour(height):
    model = create_model("lcnet_050", 5, Preprocessing(height=height, channels=3)).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, height, 64)).logits.shape == (2, 16, 5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crn", "did you mean crnn"),
        ("timm/nothing_here", "timm has no model"),
        ("timm/vit_tiny_patch16_224", "vit_tiny"),
        ("timm/resnet18+gru", "timm/NAME"),
    ],
)
def test_what_cannot_be_made_says_why(name, words):
    with pytest.raises(ModelError) as error:
        create_model(name, 5)
    assert words in f"{error.value.message} {error.value.hint}"


def test_a_name_is_taken_once():
    def crnn(p):
        """Another."""

    with pytest.raises(ValueError, match="crnn"):
        register(crnn)

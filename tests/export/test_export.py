from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exports import LINES, QUICK, save_again, texts
from wild import save_wild_model

from ocrcc.config import ExportConfig
from ocrcc.errors import ConfigError, ModelError
from ocrcc.images.transforms import prepare
from ocrcc.models.checkpoint import load_model
from ocrcc.models.contract import fingerprint
from ocrcc.reading.onnx_engine import load_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from ocrcc.export import graph as onnx_graph  # noqa: E402
from ocrcc.export.export import export  # noqa: E402
from ocrcc.export.parity import compare  # noqa: E402


@pytest.mark.parametrize("arch", ["hgnetv2_b0", "lcnet_050", "timm/lcnet_050+bilstm", "mobilenetv3_small"])
def test_the_exported_model_reads_what_torch_reads(arch, tmp_path):
    path = tmp_path / "wild.safetensors"
    save_wild_model(path, arch)
    result = export(path, tmp_path / "out.onnx", QUICK)
    assert result.parity.lines == 17
    assert result.parity.same == 17
    assert result.parity.difference < 1e-4 * result.parity.largest
    assert (result.precision, result.rendered, result.evaluation) == ("float32", 0, None)
    assert result.size == result.path.stat().st_size
    wanted = texts(path)
    assert len(set(wanted)) == len(LINES)
    assert texts(result.path) == wanted
    assert texts(result.path, batch_size=1, threads=1) == wanted
    assert texts(result.path, batch_size=5, threads=2) == wanted


def test_affine_layers_of_either_sign_are_merged_into_convolutions(tmp_path):
    save_wild_model(tmp_path / "wild.safetensors", "hgnetv2_b0")

    def change(recognizer):
        layers = [
            module for name, module in recognizer.named_modules() if name.endswith(".lab") and hasattr(module, "scale")
        ]
        for number, layer in enumerate(layers):
            layer.scale.fill_((-1) ** number * (0.8 + 0.01 * number))
            layer.bias.fill_(0.3 - 0.05 * number)

    path = save_again(tmp_path / "wild.safetensors", tmp_path / "signs.safetensors", change=change)
    loaded = load_model(path, device="cpu")
    graph = onnx_graph.trace(loaded.recognizer, loaded.arch, loaded.preprocessing)
    before = sum(node.op_type == "Relu" for node in graph.graph.node)
    assert onnx_graph.fold_affines(graph) == before > 20
    onnx.checker.check_model(graph)
    assert not [node for node in graph.graph.node if node.op_type == "Relu"]
    parity = export(path, tmp_path / "out.onnx", QUICK).parity
    assert parity.difference < 1e-4 * max(1, parity.largest)


def test_interface_of_the_file(exported, model):
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    loaded = load_model(model, device="cpu")
    classes, width = loaded.charset.num_classes, loaded.recognizer.feature_width
    assert [(each.name, each.type, each.shape) for each in session.get_inputs()] == [
        ("images", "tensor(float)", ["lines", 1, 32, "width"])
    ]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [
        ("features", ["lines", "frames", width]),
        ("logits", ["lines", "frames", classes]),
        ("centers", [classes, width]),
        ("center_counts", [classes]),
    ]
    for shape in ((1, 1, 32, 32), (3, 1, 32, 320), (2, 1, 32, 1600)):
        images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        features, logits = session.run(["features", "logits"], {"images": images})
        with torch.inference_mode():
            output = loaded.recognizer(torch.from_numpy(images))
        np.testing.assert_allclose(features, output.features.numpy(), atol=1e-4)
        np.testing.assert_allclose(logits, output.logits.numpy(), atol=5e-3)  # they reach 80


def test_metadata_says_what_reading_needs_and_nothing_of_the_machine(exported, model):
    found, loaded = load_onnx(exported), load_model(model, device="cpu")
    assert found.arch == loaded.arch
    assert found.charset == loaded.charset
    assert found.charset.normalisation == loaded.charset.normalisation
    assert found.preprocessing == loaded.preprocessing
    assert found.width_stride == loaded.recognizer.width_stride
    assert found.info == {
        "step": 7,
        "metrics": {"cer": 0.5},
        "source": fingerprint(model),
        "calibration": None,
    }
    content = exported.read_bytes()
    for place in (b"/secret", os.fsencode(model.parent), os.fsencode(Path(torch.__file__).parent), b".py"):
        assert place not in content


def test_half_weights_take_half_the_space(model, exported, folder):
    half = export(model, folder / "half.onnx", ExportConfig(samples=16, rendered=0, half=True, agreement=0))
    assert half.precision == "float16"
    assert half.size < 0.65 * exported.stat().st_size
    assert 0 < half.parity.difference < 0.1 * half.parity.largest
    np.testing.assert_allclose(load_onnx(half.path).centers, load_onnx(exported).centers, atol=2e-3)


def test_int8_is_smaller_and_close(folder, capfd):
    # Random weights are harder to round than trained ones; those of an early ResNet survive it best.
    save_wild_model(folder / "resnet.safetensors", "timm/resnet10t+none")
    model = save_again(folder / "resnet.safetensors", folder / "resnet-centers.safetensors", centers=True)
    result = export(model, folder / "int8.onnx", replace(QUICK, int8=True, agreement=0))
    assert result.precision == "int8"
    assert result.size < 0.4 * model.stat().st_size
    assert result.parity.difference > 0
    loaded, exported = load_model(model, device="cpu"), load_onnx(result.path)
    images = np.stack([prepare(line, loaded.preprocessing)[..., :32] for line in LINES if line.width >= 40])
    with torch.inference_mode():
        wanted = loaded.recognizer.forward_features(torch.from_numpy(images)).numpy()
    features, logits = exported.engine(images)
    assert np.corrcoef(wanted.ravel(), features.ravel())[0, 1] > 0.99
    assert len(np.unique(logits)) > 256  # scores that decide are not rounded to 8 bits themselves
    np.testing.assert_array_equal(exported.centers, loaded.centers.numpy())
    assert capfd.readouterr().err == ""


def test_int8_takes_half_the_space_once_more_with_half(model, folder):
    plain, half = (
        export(model, folder / f"{name}.onnx", replace(QUICK, int8=True, half=name == "halved", agreement=0))
        for name in ("whole", "halved")
    )
    assert half.size < 0.75 * plain.size
    assert half.precision == "int8"


def test_what_reads_something_else_leaves_no_file_and_no_harm(model, folder):
    out = folder / "harmed.onnx"
    before_that = b"\x08\x08\x12\x05ocrcc what was there before"
    out.write_bytes(before_that)
    before = sorted(path.name for path in folder.iterdir())
    changed = save_again(model, folder / "big.safetensors", change=lambda recognizer: recognizer.head.weight.mul_(1e7))
    with pytest.raises(ModelError):  # weights that half precision does not hold
        export(changed, out, ExportConfig(samples=4, rendered=0, half=True))
    with pytest.raises(ModelError, match=r"reads \d+ of 17 lines differently") as caught:
        export(model, out, ExportConfig(samples=16, rendered=0, int8=True, agreement=1))
    assert re.search(r"--agreement 0\.\d\d$", caught.value.hint)
    assert out.read_bytes() == before_that
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "big.safetensors"])


def test_parity_counts_what_differs(model):
    loaded = load_model(model, device="cpu")
    lines = [np.random.default_rng(seed).normal(size=(1, 32, 40)).astype(np.float32) for seed in range(7)]
    frames, classes, seen = 10, loaded.charset.num_classes, []

    def reference(images):
        seen.append(len(images))
        logits = np.zeros((len(images), 16, classes), np.float32)
        logits[:, 2, 5] = 3
        logits[:, frames:, 7] = 100  # padding is not compared
        return logits[..., :4], logits

    def other(images):
        features, logits = reference(images)
        if len(images) == 2:
            logits[1, 4, 6] = 2.5
            logits[1, frames:, 8] = 1000
        return features, logits

    parity = compare(reference, other, lines, loaded)
    assert (parity.lines, parity.same, parity.difference, parity.largest) == (7, 6, 2.5, 3)
    assert sorted(set(seen)) == [1, 2, 4]


def test_messages_name_the_file_that_was_asked_for(model, folder, monkeypatch):
    def refuse(path):
        raise ModelError(f"{path}: does not run")

    monkeypatch.setattr("ocrcc.export.export.load_onnx", refuse)
    with pytest.raises(ModelError) as caught:
        export(model, folder / "refused.onnx", QUICK)
    assert caught.value.message == str(caught.value) == f"{folder / 'refused.onnx'}: does not run"


def test_it_needs_a_proper_name_and_place(model, tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        export(model, tmp_path / "out.bin", QUICK)
    with pytest.raises(ConfigError, match="no folder"):
        export(model, tmp_path / "gone" / "out.onnx", QUICK)
    (tmp_path / "taken.onnx").mkdir()
    with pytest.raises(ConfigError, match=r"taken\.onnx exists and is no exported model"):
        export(model, tmp_path / "taken.onnx", QUICK)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.onnx"]


def test_accuracy_of_both_is_measured_on_request(model, digits_lmdb, tmp_path):
    result = export(model, tmp_path / "out.onnx", QUICK, data=[digits_lmdb])
    assert result.evaluation.total.strict == result.evaluation.baseline.total.strict
    assert result.evaluation.total.lines == 40


def test_a_model_file_without_its_history(model, folder):
    plain = export(model, folder / "plain.safetensors", QUICK)
    assert plain.parity.difference == 0
    assert texts(plain.path) == texts(model)
    # Readings of random weights turn easily.
    half = export(model, folder / "half.safetensors", replace(QUICK, half=True, agreement=0.3))
    assert half.size < 0.6 * plain.size
    assert 0.3 <= half.parity.same / half.parity.lines <= 1
    for path in (plain.path, half.path):
        assert b"secret" not in path.read_bytes()
        loaded, before = load_model(path, device="cpu"), load_model(model, device="cpu")
        assert loaded.info["step"] == 7
        assert loaded.info["metrics"] == {"cer": 0.5}
        assert loaded.charset == before.charset
        assert torch.equal(loaded.center_counts, before.center_counts)
        assert torch.allclose(loaded.centers, before.centers, atol=0.01)
    with pytest.raises(ConfigError, match="int8 is for ONNX"):
        export(model, folder / "int8.safetensors", replace(QUICK, int8=True))
    with pytest.raises(ConfigError, match="ends in"):
        export(model, folder / "model.pt", QUICK)

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.errors import ModelError
from ocrcc.models.checkpoint import load_model, pick_device, save_model
from ocrcc.models.contract import read_metadata, resolve
from ocrcc.models.registry import create_model
from ocrcc.training.transfer import transfer

CHARSET = Charset("abcd", "nfkc", "four")


def save(path, charset=CHARSET, arch="lcnet_050", **more):
    torch.manual_seed(1)
    model = create_model(arch, charset.num_classes)
    save_model(
        path,
        recognizer_state=model.state_dict(),
        arch=arch,
        charset=charset,
        preprocessing=Preprocessing(polarity="keep"),
        info={"step": 7, "metrics": {"cer": 0.5}, "config": {"seed": 1}},
        **more,
    )
    return model


def rewrite(path, change):
    """Change a model's metadata behind its back."""
    metadata = read_metadata(path)
    change(metadata)
    save_file(load_file(path), path, metadata={"ocrcc": json.dumps(metadata)})


def test_everything_comes_back(tmp_path):
    path = tmp_path / "m.safetensors"
    centers, counts = torch.randn(5, 192), torch.arange(5)
    save(path, centers=centers, center_counts=counts)
    loaded = load_model(path)
    assert loaded.charset == CHARSET
    assert loaded.preprocessing == Preprocessing(polarity="keep")
    assert (loaded.info["step"], loaded.info["metrics"], loaded.arch) == (7, {"cer": 0.5}, "lcnet_050")
    assert torch.equal(loaded.centers, centers)
    assert torch.equal(loaded.center_counts, counts.float())
    assert not loaded.recognizer.training
    assert list(tmp_path.iterdir()) == [path]


def test_half_precision_halves_the_file(tmp_path):
    save(tmp_path / "full.safetensors")
    save(tmp_path / "half.safetensors", half=True)
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.55 * sizes[1]
    assert next(load_model(tmp_path / "half.safetensors").recognizer.parameters()).dtype == torch.float32


def test_a_run_folder_means_its_best(tmp_path):
    with pytest.raises(ModelError, match=r"no best\.safetensors"):
        resolve(tmp_path)
    (tmp_path / "last.safetensors").touch()
    assert resolve(tmp_path).name == "last.safetensors"
    (tmp_path / "best.safetensors").touch()
    assert resolve(tmp_path).name == "best.safetensors"
    with pytest.raises(ModelError, match="no such model"):
        resolve("nothing-of-the-kind")


def test_a_file_in_a_folder_named_rapidocr_is_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rapidocr").mkdir()
    (tmp_path / "rapidocr" / "mine.onnx").touch()
    assert resolve("rapidocr/mine.onnx") == Path("rapidocr/mine.onnx")
    with pytest.raises(ModelError, match="no installed RapidOCR carries it"):
        resolve("rapidocr/yours.onnx")


@pytest.mark.parametrize("content", [b"", b"\x80\x04cposix\nsystem\n", b"{}", b"\xff" * 100])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"m\.safetensors"):
        load_model(path)


def test_a_truncated_model_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a readable"):
        load_model(path)


def test_somebody_elses_safetensors_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="not a model of ocrcc"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format=99), "newer"),
        (lambda m: m.pop("format"), "damaged"),
        (lambda m: m.pop("charset"), "its charset is damaged"),
        (lambda m: m["charset"].update(symbols="aabb"), "its charset is damaged"),
        (lambda m: m["charset"].update(symbols="abc"), "do not fit"),
        (lambda m: m["preprocessing"].update(height=-1), "its preprocessing is damaged"),
        (lambda m: m["preprocessing"].update(colour="red"), "its preprocessing is damaged"),
        (lambda m: m.update(arch=5), "its arch is damaged"),
        (lambda m: m.update(arch="nothing"), "no model named"),
        (lambda m: m.update(arch="mobilenetv3_small"), "do not fit"),
    ],
)
def test_damaged_metadata_is_named(tmp_path, change, words):
    path = tmp_path / "m.safetensors"
    save(path)
    rewrite(path, change)
    with pytest.raises(ModelError, match=words):
        load_model(path)


def test_centers_of_another_width_are_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save(path, centers=torch.zeros(5, 3), center_counts=torch.zeros(5))
    with pytest.raises(ModelError, match="centers"):
        load_model(path)


def test_devices():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") in ("cpu", "cuda")
    with pytest.raises(ModelError, match="device"):
        pick_device("nonsense")


def test_transfer_keeps_rows_and_centers_by_character(tmp_path):
    path = tmp_path / "m.safetensors"
    centers = torch.arange(5.0)[:, None].expand(5, 192)
    save(path, centers=centers, center_counts=torch.arange(5))
    source = load_model(path)
    charset = Charset("xdba")
    fresh = create_model("lcnet_050", charset.num_classes)
    done = transfer(source, fresh, charset)
    assert (done.kept, done.new, done.dropped) == ("dba", "x", "c")
    for char in "dba":
        assert torch.equal(fresh.head.weight[charset.id(char)], source.recognizer.head.weight[CHARSET.id(char)])
        assert done.centers[charset.id(char), 0] == CHARSET.id(char)
    assert torch.equal(fresh.head.weight[0], source.recognizer.head.weight[0])
    assert done.center_counts[charset.id("x")] == 0
    images = torch.randn(1, 1, 32, 64)
    with torch.no_grad():
        fresh.eval()
        assert torch.equal(fresh.forward_features(images), source.recognizer.forward_features(images))


def test_transfer_between_architectures_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    save(path)
    with pytest.raises(ModelError, match="do not fit"):
        transfer(load_model(path), create_model("mobilenetv3_small", 5), CHARSET)

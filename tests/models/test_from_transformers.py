"""Recognisers that Transformers saved: in, through training, and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_lines import draw_line
from PIL import Image

pytest.importorskip("transformers")

from saved_by_transformers import CHARS, KINDS, save  # noqa: E402

from ocrcc.config import ExportConfig, ImportConfig, PredictConfig  # noqa: E402
from ocrcc.errors import CharsetError, ConfigError, ModelError  # noqa: E402
from ocrcc.export.export import export  # noqa: E402
from ocrcc.export.importing import import_foreign  # noqa: E402
from ocrcc.images.transforms import prepare  # noqa: E402
from ocrcc.models.checkpoint import load_model, save_model  # noqa: E402
from ocrcc.models.registry import create_model  # noqa: E402
from ocrcc.reading.reader import LineReader  # noqa: E402
from ocrcc.training.transfer import transfer  # noqa: E402

LINES = [draw_line(text) for text in ("1", "31415", "0987654321" * 3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("saved") / "rec")


def read_by_transformers(folder: Path, images: list[Image.Image]) -> list[str]:
    """Read lines one by one as Transformers' own documentation does it."""
    import transformers

    model = transformers.AutoModelForTextRecognition.from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    texts = []
    for image in images:
        with torch.no_grad():
            found = model(**processor(images=image.convert("RGB"), return_tensors="pt"))
        texts.append(processor.post_process_text_recognition(found)[0]["text"])
    return texts


def test_what_the_folder_says_itself_is_not_given_beside(folder, tmp_path):
    with pytest.raises(ConfigError, match="says its height itself"):
        import_foreign(folder, tmp_path / "m.safetensors", ImportConfig(height=32))


@pytest.mark.parametrize(("kind", "shades"), [("pp_ocrv5_mobile_rec", 0.01), ("pp_ocrv6_tiny_rec", 1.001)])
def test_it_is_given_the_pixels_that_transformers_gives(kind, shades, tmp_path):
    """Those of v6 are whole shades, which OpenCV's rounding makes one more or less of, on a quarter of pure noise."""
    import transformers

    folder = save(tmp_path / kind, kind)
    noise = np.random.default_rng(3).integers(0, 256, (31, 200, 3), dtype=np.uint8)
    preprocessing = load_model(folder, device="cpu").preprocessing
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    for image in (Image.fromarray(noise), LINES[2].convert("RGB")):
        found = prepare(image, preprocessing)
        wanted = processor(images=image, return_tensors="np")["pixel_values"][0]
        assert found.shape == wanted.shape
        difference = np.abs(found - wanted) * 127.5
        assert difference.max() <= shades
        assert difference.mean() < 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_as_transformers_does(kind, tmp_path):
    folder = save(tmp_path / kind, kind)
    rng = np.random.default_rng(3)
    noisy = [Image.fromarray(rng.integers(0, 256, (31, 200, 3), dtype=np.uint8)), *LINES][kind.startswith("pp_ocrv6") :]
    reader = LineReader.load(folder, device="cpu", config=PredictConfig(second_look=0))
    found = [reading.text for reading in reader.recognize(noisy)]
    assert found == read_by_transformers(folder, noisy)
    assert all(found)


def test_features_and_head_are_the_models_own(folder):
    import transformers

    loaded = load_model(folder, device="cpu")
    recognizer = loaded.recognizer
    assert (loaded.charset.symbols, recognizer.width_stride, recognizer.feature_width) == (CHARS + " ", 8, 24)
    original = transformers.AutoModelForTextRecognition.from_pretrained(folder).eval()
    pixels = torch.from_numpy(np.stack([prepare(line, loaded.preprocessing) for line in LINES[:2]]))
    with torch.no_grad():
        features = recognizer.forward_features(pixels)
        found = recognizer.forward_head(features).softmax(-1)
        wanted = original(pixels).last_hidden_state
    assert features.shape == (2, 40, 24)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)


def test_imported_saved_trained_and_given_back(folder, tmp_path, digits_lmdb):
    result = import_foreign(folder, tmp_path / "model.safetensors", data=[digits_lmdb])
    assert result.parity.same == result.parity.lines == 41
    assert result.original == "Transformers"
    loaded = load_model(result.path, device="cpu")
    images = torch.from_numpy(prepare(LINES[2], loaded.preprocessing)[None])
    loaded.recognizer.train()(images).logits.square().mean().backward()
    assert all(weight.grad is not None for weight in loaded.recognizer.parameters())
    with torch.no_grad():
        for weight in loaded.recognizer.parameters():
            weight += 0.01 * weight.grad.sign()
    charset = loaded.charset.merge("AB")
    grown = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
    transfer(loaded, grown, charset)
    mended = tmp_path / "mended.safetensors"
    save_model(
        mended, recognizer_state=grown.state_dict(), arch=loaded.arch, charset=charset,
        preprocessing=loaded.preprocessing, info={"step": 1, "metrics": {}},
    )  # fmt: skip
    back = export(mended, tmp_path / "back", ExportConfig(samples=8, rendered=0)).path
    reader = LineReader.load(mended, device="cpu", config=PredictConfig(second_look=0))
    texts = [reading.text for reading in reader.recognize(LINES)]
    assert read_by_transformers(back, LINES) == texts != read_by_transformers(folder, LINES)
    kept = json.loads((back / "preprocessor_config.json").read_text())
    assert kept["character_list"] == ["blank", *CHARS, " ", "A", "B"]
    assert load_model(back, device="cpu").charset.symbols == CHARS + " AB"


def change(folder: Path, file: str, **values: object) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("file", "values", "kind", "message"),
    [
        ("config.json", {"model_type": "pp_ocrv5_server_det"}, ModelError, "no CTC recogniser of text lines"),
        ("config.json", {"model_type": "trocr"}, ModelError, "trocr"),
        ("config.json", {"depth": 10**9}, ModelError, "depth is more than"),
        ("config.json", {"hidden_size": 10**9}, ModelError, "larger than"),
        ("config.json", {"backbone_config": {"model_type": "timm_backbone"}}, ModelError, "backbone is none of"),
        ("config.json", {"hidden_size": 32}, ModelError, "cannot be loaded"),
        ("config.json", {"quantization_config": {"bits": 4}}, ModelError, "quantised"),
        ("preprocessor_config.json", {"image_processor_type": "pipeline"}, ModelError, "of the kind 'pipeline'"),
        ("preprocessor_config.json", {"character_list": ["blank", *CHARS]}, CharsetError, "12 classes, and 10"),
        ("preprocessor_config.json", {"character_list": []}, CharsetError, "no character_list"),
        ("preprocessor_config.json", {"size": {"height": 10**6, "width": 320}}, ModelError, "height is"),
    ],
)
def test_what_does_not_fit_is_named(file, values, kind, message, tmp_path):
    folder = save(tmp_path / "rec")
    change(folder, file, **values)
    with pytest.raises(kind, match=message):
        load_model(folder, device="cpu")


def test_a_file_is_missing(tmp_path):
    folder = save(tmp_path / "rec")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"preprocessor_config\.json"):
        load_model(folder, device="cpu")
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match="no best.safetensors"):
        load_model(folder, device="cpu")


def test_the_hub_gives_what_lies_beside_the_weights(folder, monkeypatch):
    import huggingface_hub

    asked = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert load_model("hf://someone/rec", device="cpu").charset.symbols == CHARS + " "
    wanted = ("model.safetensors", "config.json", "preprocessor_config.json")
    assert asked == [("someone/rec", name) for name in wanted]

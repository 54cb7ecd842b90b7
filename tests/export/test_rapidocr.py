"""PP-OCR's own recogniser, mended and put back where it came from: RapidOCR reads with it what we read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

rapidocr = pytest.importorskip("rapidocr")
pytest.importorskip("onnxruntime")

from ocrcc import packaged  # noqa: E402
from ocrcc.config import ExportConfig, PredictConfig  # noqa: E402
from ocrcc.export.export import export  # noqa: E402
from ocrcc.models.checkpoint import load_model, save_model  # noqa: E402
from ocrcc.models.contract import resolve  # noqa: E402
from ocrcc.reading.reader import LineReader  # noqa: E402

NAME = "rapidocr/ppocr-v6-small"
FILES = sorted((packaged.ASSETS / "samples" / "images").iterdir())[:6]


def read_by_rapidocr(path) -> list[str]:
    import cv2
    from rapidocr.ch_ppocr_rec.typings import TextRecInput

    engine = rapidocr.RapidOCR(params={"Rec.model_path": str(path), "Global.log_level": "error"})
    engine._load_rec_model()
    return [engine.text_rec(TextRecInput(img=cv2.imread(str(file)))).txts[0] for file in FILES]


def read_by_us(model, engine: str) -> list[str]:
    reader = LineReader.load(model, device="cpu", config=PredictConfig(engine=engine, threads=1))
    return [reading.text for reading in reader.recognize(FILES)]


def test_the_mended_file_runs_inside_rapidocr(tmp_path):
    """Every weight is changed a little, and the classes of 0 and O change places, which every text must show."""
    loaded = load_model(NAME, device="cpu")
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in loaded.recognizer.named_parameters():
            if name.startswith("backbone."):
                weight.mul_(1 + 0.002 * torch.randn_like(weight))
        zero, letter = (loaded.charset.id(char) for char in "0O")
        for weight in loaded.recognizer.head.parameters():
            weight[[zero, letter]] = weight[[letter, zero]]
    mended = tmp_path / "mended.safetensors"
    save_model(
        mended, recognizer_state=loaded.recognizer.state_dict(), arch=loaded.arch, charset=loaded.charset,
        preprocessing=loaded.preprocessing, info={"step": 1, "metrics": {}},
    )  # fmt: skip
    back = export(mended, tmp_path / "mended.onnx", ExportConfig(samples=2, rendered=0)).path
    before, after = read_by_rapidocr(resolve(NAME)), read_by_rapidocr(back)
    assert read_by_us(NAME, "onnx") == before
    assert any("0" in text for text in before)
    assert after == [text.translate(str.maketrans("0O", "O0")) for text in before]
    assert read_by_us(mended, "torch") == read_by_us(back, "onnx") == after


def test_the_real_weights_in_transformers_architecture(tmp_path):
    pytest.importorskip("transformers")
    from ppocr_weights import save_as_transformers

    from ocrcc.images.opening import open_image
    from ocrcc.images.transforms import prepare

    folder = save_as_transformers(resolve(NAME), tmp_path / "v6")
    here, there = load_model(folder, device="cpu"), load_model(NAME, device="cpu")
    assert here.charset.symbols == there.charset.symbols
    assert replace(here.preprocessing, max_width=there.preprocessing.max_width) == there.preprocessing
    for file in FILES[:2]:
        pixels = torch.from_numpy(prepare(open_image(file), here.preprocessing)[None])
        with torch.no_grad():
            one, two = here.recognizer(pixels), there.recognizer(pixels)
        torch.testing.assert_close(one.features, two.features, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(one.logits, two.logits, atol=1e-2, rtol=1e-3)
    assert read_by_us(folder, "torch") == read_by_rapidocr(resolve(NAME))

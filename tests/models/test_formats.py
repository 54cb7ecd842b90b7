"""A small model file of each format version there ever was, as it was written then: each still reads the same text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ocrcc.charset import Charset
from ocrcc.config import PredictConfig, Preprocessing
from ocrcc.models.checkpoint import load_model, save_model
from ocrcc.models.contract import FORMAT, read_metadata
from ocrcc.reading.reader import LineReader

KEPT = {1: "4843404070460874739386"}
"""What the file of each version reads on `squares`."""


def squares() -> Image.Image:
    """Grey squares: no font that could change has a hand in it."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12), dtype=np.uint8)
    return Image.fromarray(np.kron(pixels, np.ones((8, 10), np.uint8)))


def file(version: int) -> Path:
    return Path(__file__).with_name(f"format-{version}.safetensors")


def test_every_version_has_its_file():
    assert sorted(KEPT) == list(range(1, FORMAT + 1))


@pytest.mark.parametrize("version", sorted(KEPT))
def test_old_models_still_read(version, tmp_path):
    assert read_metadata(file(version))["format"] == version
    config = PredictConfig(engine="torch", second_look=0)
    (found,) = LineReader.load(file(version), device="cpu", config=config).recognize([squares()])
    assert found.text == KEPT[version]
    loaded = load_model(file(version), device="cpu")
    assert loaded.charset == Charset("0123456789", "nfkc", "digits")
    assert loaded.preprocessing == Preprocessing()
    assert (loaded.info["step"], loaded.info["metrics"], loaded.info["config"]) == (7, {"cer": 0.5}, {"seed": 1})
    assert loaded.center_counts.tolist() == list(range(11))
    save_model(
        tmp_path / "again.safetensors",
        recognizer_state=loaded.recognizer.state_dict(),
        arch=loaded.arch,
        charset=loaded.charset,
        preprocessing=loaded.preprocessing,
        info=loaded.info,
        centers=loaded.centers,
        center_counts=loaded.center_counts,
    )
    again = load_model(tmp_path / "again.safetensors", device="cpu")
    assert read_metadata(again.path)["format"] == FORMAT
    assert torch.equal(again.centers, loaded.centers)
    assert LineReader.load(again.path, device="cpu", config=config).recognize([squares()])[0].text == KEPT[version]

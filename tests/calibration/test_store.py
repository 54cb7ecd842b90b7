from __future__ import annotations

import hashlib

import numpy as np
import pytest
from safetensors.numpy import load_file

from ocrcc.calibration.store import store_calibration
from ocrcc.config import ExportConfig
from ocrcc.decoding.calibration import BLANK
from ocrcc.errors import ConfigError, ModelError
from ocrcc.export.export import export
from ocrcc.models.checkpoint import load_model
from ocrcc.models.contract import read_metadata
from ocrcc.reading.onnx_engine import load_onnx

STORED = BLANK.described() | {"characters": 7}


def test_weights_stay_as_they_are(model, tmp_path):
    before = hashlib.sha256(model.read_bytes()).hexdigest()
    out = tmp_path / "calibrated.safetensors"
    store_calibration(model, out, STORED)
    assert hashlib.sha256(model.read_bytes()).hexdigest() == before
    one, other = load_file(model), load_file(out)
    assert list(one) == list(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert read_metadata(out) == {**read_metadata(model), "calibration": STORED}
    assert load_model(out, device="cpu").info["calibration"] == STORED
    assert load_model(model, device="cpu").info["calibration"] is None
    store_calibration(out, out, STORED | {"characters": 8})
    assert load_model(out, device="cpu").info["calibration"]["characters"] == 8


def test_an_exported_model_takes_it_and_exports_hand_it_on(model, exported, tmp_path):
    out = tmp_path / "calibrated.onnx"
    store_calibration(exported, out, STORED)
    assert load_onnx(out).info["calibration"] == STORED
    image = np.zeros((1, load_onnx(out).preprocessing.channels, load_onnx(out).preprocessing.height, 64), np.float32)
    assert np.array_equal(load_onnx(out).engine(image)[1], load_onnx(exported).engine(image)[1])
    ours = tmp_path / "calibrated.safetensors"
    store_calibration(model, ours, STORED)
    quick = ExportConfig(samples=4, rendered=0)
    assert load_onnx(export(ours, tmp_path / "a.onnx", quick).path).info["calibration"] == STORED
    again = export(ours, tmp_path / "b.safetensors", quick).path
    assert load_model(again, device="cpu").info["calibration"] == STORED


def test_what_is_not_ours_stays(model, tmp_path):
    thesis = tmp_path / "thesis.safetensors"
    thesis.write_text("years of work")
    with pytest.raises(ConfigError, match="no model that ocrcc made"):
        store_calibration(model, thesis, STORED)
    assert thesis.read_text() == "years of work"
    with pytest.raises(ModelError, match="another make"):
        store_calibration(thesis, tmp_path / "new.safetensors", STORED)
    with pytest.raises(ConfigError, match="is a .safetensors file"):
        store_calibration(model, tmp_path / "new.onnx", STORED)

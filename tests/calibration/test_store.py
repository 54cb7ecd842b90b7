from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from ocrcc.calibration.store import left_behind, store_calibration
from ocrcc.config import ExportConfig
from ocrcc.decoding.calibration import BLANK
from ocrcc.errors import ConfigError, ModelError
from ocrcc.export.export import export
from ocrcc.models.checkpoint import load_model
from ocrcc.models.contract import KEY, fingerprint, made_from, read_metadata
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


def test_the_fingerprint_is_of_what_decides_the_reading(model, tmp_path):
    out = tmp_path / "calibrated.safetensors"
    store_calibration(model, out, STORED)
    assert out.read_bytes() != model.read_bytes()
    assert fingerprint(out) == fingerprint(model)
    raw = model.read_bytes()
    changed = {"a weight": raw[:-1] + bytes([raw[-1] ^ 1])}
    for said, other in (("symbols", b"symbolz"), ("height", b"heighs")):
        assert raw.count(said.encode()) >= 1
        changed[said] = raw.replace(said.encode(), other, 1)
    for what, content in changed.items():
        out.write_bytes(content)
        assert fingerprint(out) != fingerprint(model), what
    out.write_bytes(raw.replace(b'step\\": 7', b'step\\": 8', 1))
    assert read_metadata(out)["step"] == 8
    assert fingerprint(out) == fingerprint(model)


def with_source(exported, out, source):
    """Copy an exported model as if it had been made of another file."""
    import onnx

    graph = onnx.load(str(exported))
    (stored,) = graph.metadata_props
    onnx.helper.set_model_props(graph, {KEY: json.dumps({**json.loads(stored.value), "source": source})})
    onnx.save(graph, str(out))


def test_an_export_that_was_left_behind_is_named(model, exported, tmp_path):
    ours, beside = tmp_path / "mine.safetensors", tmp_path / "mine.onnx"
    assert left_behind(model, ours, STORED) is None
    beside.write_bytes(exported.read_bytes())
    assert left_behind(model, ours, STORED) == beside
    store_calibration(model, ours, STORED)
    assert left_behind(ours, ours, STORED) == beside
    store_calibration(exported, beside, STORED)
    assert left_behind(ours, ours, STORED) is None
    assert left_behind(ours, ours, STORED | {"characters": 8}) == beside
    with_source(exported, beside, hashlib.sha256(ours.read_bytes()).hexdigest())  # as earlier versions named it
    assert left_behind(ours, ours, STORED) == beside
    with_source(exported, beside, "another's")
    assert left_behind(ours, ours, STORED) is None
    assert not made_from(None, ours)
    beside.write_bytes(exported.read_bytes()[:5000])
    assert left_behind(ours, ours, STORED) is None


def test_an_export_that_cannot_be_opened_loses_no_calibration(model, exported, tmp_path, monkeypatch):
    import onnx

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("not yours")

    (tmp_path / "mine.onnx").write_bytes(exported.read_bytes())
    monkeypatch.setattr(onnx, "load", refuse)
    assert left_behind(model, tmp_path / "mine.safetensors", STORED) is None


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

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from exports import LINES, QUICK, texts

from ocrcc import packaged
from ocrcc.config import EvaluateConfig, PredictConfig
from ocrcc.errors import ConfigError, ModelError
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.models.checkpoint import load_model
from ocrcc.models.contract import KEY, made_from
from ocrcc.reading.onnx_engine import load_onnx
from ocrcc.reading.reader import LineReader

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from ocrcc.export.export import export  # noqa: E402


def test_centers_travel_and_give_the_same_margins(exported, model):
    loaded, found = load_model(model, device="cpu"), load_onnx(exported)
    np.testing.assert_array_equal(found.centers, loaded.centers.numpy())
    np.testing.assert_array_equal(found.center_counts, loaded.center_counts.numpy())
    margins = []
    for path in (model, exported):
        readings = LineReader.load(path, config=PredictConfig(lookalikes="well-known")).recognize(LINES)
        margins.append([char.margin for reading in readings for char in reading.chars])
    known = [pair for pair in zip(*margins, strict=True) if None not in pair]
    assert len(known) > 20
    assert [one is None for one in margins[0]] == [two is None for two in margins[1]]
    for one, two in known:
        assert one == pytest.approx(two, abs=1e-2)


def test_a_model_without_centers_has_no_margins(wild_model, folder):
    path = export(wild_model, folder / "plain.onnx", QUICK).path
    assert load_onnx(path).centers is None
    readings = LineReader.load(path).recognize(LINES[:3])
    assert {char.margin for reading in readings for char in reading.chars} == {None}


def test_eval_measures_exported_models(model, exported, digits_lmdb):
    results = [
        evaluate(path, [digits_lmdb], EvaluateConfig(batch_size=7, workers=0), device="cpu")
        for path in (model, exported)
    ]
    one, two = (result.to_json() for result in results)
    assert two["lines"] == 40
    assert two["cer"] > 0
    for key in ("cer", "line_accuracy", "confusions", "charset"):
        assert one[key] == two[key]
    assert two["model"] == str(exported)


def test_reading_imports_no_torch(exported, tmp_path):
    LINES[3].save(tmp_path / "one.png")
    code = (
        "import sys; from ocrcc.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as exit: assert not exit.code, exit.code\n"
        "heavy = {'torch', 'timm', 'torchvision', 'accelerate', 'onnx', 'lmdb', 'tensorboard'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    command = [sys.executable, "-c", code, "predict", str(tmp_path / "one.png"), "--model", str(exported)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == texts(exported)[3]
    assert done.stderr == ""


@pytest.fixture
def without_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def test_without_onnx_runtime_the_hint_says_how_to_get_it(model, exported, tmp_path, without_onnxruntime):
    for call in (lambda: LineReader.load(exported), lambda: export(model, tmp_path / "out.onnx", QUICK)):
        with pytest.raises(ConfigError, match="onnxruntime|ONNX Runtime") as caught:
            call()
        assert "pip install" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_the_engine_must_fit_the_file(model, exported):
    with pytest.raises(ConfigError, match="not an ONNX file") as caught:
        LineReader.load(model, config=PredictConfig(engine="onnx"))
    assert "ocrcc export" in caught.value.hint
    with pytest.raises(ModelError, match="torch does not read"):
        LineReader.load(exported, config=PredictConfig(engine="torch"))
    with pytest.raises(ConfigError, match="CPU"):
        LineReader.load(exported, device="cuda")
    with pytest.raises(ModelError, match="no such model"):
        LineReader.load(exported.with_name("gone.onnx"))


@pytest.fixture
def shipped(model, exported, tmp_path, monkeypatch):
    """A shipped model whose safetensors file is damaged, so that only its export can be read."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "good.safetensors").write_bytes(b"damaged")
    (models / "good.onnx").write_bytes(exported.read_bytes())
    (tmp_path / "lookalikes").symlink_to(packaged.ASSETS / "lookalikes")
    monkeypatch.setattr(packaged, "ASSETS", tmp_path)
    return "good"


def test_a_shipped_model_is_read_by_its_export(shipped, exported):
    wanted = texts(exported)
    for engine in ("auto", "onnx"):
        assert texts(shipped, engine=engine) == wanted
    with pytest.raises(ModelError, match="safetensors"):
        texts(shipped, engine="torch")
    with pytest.raises(ModelError, match="safetensors"):
        LineReader.load(shipped, device="cuda")


def test_a_shipped_model_is_read_by_torch_without_onnx_runtime(shipped, without_onnxruntime):
    with pytest.raises(ModelError, match="safetensors"):
        texts(shipped)


def test_an_export_beside_a_model_of_ones_own_is_not_taken(model, exported):
    assert exported == model.with_suffix(".onnx")
    broken = exported.read_bytes()
    exported.write_bytes(b"damaged")
    try:
        assert len(set(texts(model))) == len(LINES)
    finally:
        exported.write_bytes(broken)


def damaged(content, kind):
    if kind == "empty":
        return b""
    if kind == "text":
        return b"no model at all"
    if kind == "cut":
        return content[: len(content) // 2]
    graph = onnx.load_from_string(content)
    metadata = json.loads(graph.metadata_props[0].value)
    if kind == "foreign":
        del graph.metadata_props[:]
        return graph.SerializeToString()
    if kind == "outputs":
        del graph.graph.output[0]
    change = {
        "newer": {"format": 99},
        "not JSON": None,
        "charset": {"charset": {**metadata["charset"], "symbols": metadata["charset"]["symbols"][:-1]}},
        "no charset": {"charset": {}},
        "height": {"preprocessing": {**metadata["preprocessing"], "height": 48}},
        "stride": {"width_stride": 0},
        "other stride": {"width_stride": 8},
    }.get(kind, {})
    graph.metadata_props[0].value = "{" if change is None else json.dumps({**metadata, **change})
    return graph.SerializeToString()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "not an ONNX file"),
        ("text", "not an ONNX file"),
        ("cut", "not an ONNX file"),
        ("foreign", "has . outputs"),
        ("outputs", "outputs are"),
        ("newer", "newer ocrcc"),
        ("not JSON", "metadata is damaged"),
        ("charset", "classes for a charset"),
        ("no charset", "charset is damaged"),
        ("height", "inputs are"),
        ("stride", "width_stride is damaged"),
        ("other stride", "logits for 32 pixels"),
    ],
)
def test_damaged_files_are_named(exported, tmp_path, kind, message, capfd):
    path = tmp_path / "broken.onnx"
    path.write_bytes(damaged(exported.read_bytes(), kind))
    with pytest.raises(ModelError, match=message) as caught:
        LineReader.load(path)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert capfd.readouterr().err == ""


def test_shipped_exports_are_of_the_shipped_models():
    pairs = list((packaged.ASSETS / "models").glob("*.onnx"))
    if not pairs:
        pytest.skip("no exported model is shipped")
    for path in pairs:
        source = path.with_suffix(".safetensors")
        assert made_from(load_onnx(path).info["source"], source)
        assert KEY in source.read_bytes().decode("utf-8", "replace")[:100_000]


def test_as_many_batches_as_threads_are_read_at_a_time(exported, monkeypatch):
    import onnxruntime

    given = []
    session = onnxruntime.InferenceSession

    def remember(file, options, **rest):
        given.append(options.intra_op_num_threads)
        return session(file, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", remember)
    assert LineReader.load(exported, config=PredictConfig(threads=3)).parallel == 3
    load_onnx(exported, threads=2)
    assert given == [1, 2]  # a thread a batch, or all for the one that is measured

"""Lines of the user's kind are told from others, an expert learns them, and nothing else is touched."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_lines import draw_line
from PIL import Image, ImageFilter
from safetensors.torch import load_file
from stored_lines import store

from ocrcc import load_recognizer
from ocrcc.charset import load_charset
from ocrcc.config import (
    EvaluateConfig,
    ExportConfig,
    FinetuneConfig,
    Preprocessing,
    TuneConfig,
)
from ocrcc.data.batching import MixedSource
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import SomeLines
from ocrcc.errors import DataError, ModelError
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.export.export import export
from ocrcc.models.checkpoint import load_model
from ocrcc.models.experts import ExpertEncoder
from ocrcc.models.registry import create_model
from ocrcc.tuning import kinds
from ocrcc.tuning.finetune import finetune
from ocrcc.tuning.kinds import FrameMemory, Looker, Remembering, Told, fit_gate, threshold_between
from ocrcc.types import Line

BASE = "ocrcc-zh-small"
BLUR = 2.5
QUICK = TuneConfig(steps=12, batch_size=8, workers=0, threads=1, seed=5, eval_every=6, augment=0, ema_decay=0)


def of_another_kind(image: Image.Image) -> Image.Image:
    """Blurred, and pale on grey."""
    blurred = image.convert("L").filter(ImageFilter.GaussianBlur(BLUR))
    return blurred.point(lambda grey: int(40 + 0.7 * grey))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Lines of plain digits, and of another kind, in datasets."""
    folder = tmp_path_factory.mktemp("kinds")
    rng = random.Random(4)
    texts = list(dict.fromkeys("".join(rng.choices("0123456789", k=6)) for _ in range(140)))
    plain = [(draw_line(text), text) for text in texts[:70]]
    other = [(of_another_kind(draw_line(text)), text) for text in texts[70:]]
    for name, lines in (
        ("replay", plain[:30]),
        ("retain", plain[30:50]),
        ("plain", plain[50:]),
        ("own", other[:40]),
        ("others", other[40:]),
    ):
        store(folder / f"{name}.lmdb", lines)
    return folder


def task(place: Path, **changes: object) -> FinetuneConfig:
    return replace(
        FinetuneConfig(
            pretrained=BASE,
            train=(str(place / "own.lmdb"),),
            replay=(str(place / "replay.lmdb"),),
            retain=(str(place / "retain.lmdb"),),
        ),
        **changes,
    )


@pytest.fixture(scope="module")
def tuned(place) -> Path:
    finetune(task(place), QUICK, place / "tuned", device="cpu")
    return place / "tuned"


def readings(model: Path, dataset: Path) -> list[str]:
    recognizer = load_recognizer(str(model))
    lines = LmdbDataset(dataset)
    return [one.text for one in recognizer.recognize([lines.line(index).image for index in range(len(lines))])]


def test_an_expert_learns_its_kind_and_other_lines_are_read_as_before(place, tuned):
    before, after = load_model(BASE, device="cpu"), load_model(tuned, device="cpu")
    assert after.arch == "hgnetv2_b0+experts1"
    assert isinstance(after.recognizer.encoder, ExpertEncoder)
    old, new = before.recognizer.state_dict(), after.recognizer.state_dict()
    for name, value in old.items():
        assert torch.equal(value, new[name.replace("encoder.", "encoder.encoder.", 1)]), name
    assert not torch.equal(old["encoder.norm.weight"], new["encoder.experts.0.norm.weight"])
    (own,) = evaluate(BASE, [place / "others.lmdb"], EvaluateConfig(second_look=0, workers=0)).datasets
    (mended,) = evaluate(tuned, [place / "others.lmdb"], EvaluateConfig(second_look=0, workers=0)).datasets
    assert mended.cer < 0.8 * own.cer
    assert readings(tuned, place / "plain.lmdb") == readings(BASE, place / "plain.lmdb")


def test_the_last_weights_are_a_recogniser_of_one_encoder(tuned):
    assert load_model(tuned / "last.safetensors", device="cpu").arch == "hgnetv2_b0"


def test_a_resumed_run_tunes_the_expert_that_it_began_and_ends_with_the_same(place, tuned, tmp_path):
    """As one that nobody ended and that was saved at other steps."""

    class Killed(BaseException):
        pass

    def kill(entry: object) -> None:
        if entry.step == 6:
            raise Killed

    saving, out = replace(QUICK, log_every=2, save_every=2), tmp_path / "cut"
    with pytest.raises(Killed):
        finetune(task(place), saving, out, device="cpu", on_log=kill)
    gate = out / "expert.safetensors"
    kept = gate.read_bytes()
    gate.write_bytes(kept[:40])
    with pytest.raises(ModelError, match=r"expert.safetensors: damaged, or of another model"):
        finetune(task(place), saving, out, resume=True, device="cpu")
    gate.write_bytes(kept)
    tensors = load_file(gate)
    result = finetune(task(place), saving, out, resume=True, device="cpu")
    assert result.verdict.share
    for name in ("last.safetensors", "best.safetensors"):
        cut, whole = (load_file(run / name) for run in (out, tuned))
        assert all(torch.equal(value, cut[key]) for key, value in whole.items())
    assert torch.equal(cut["model.encoder.gates.0.weight"], tensors["weight"])


def test_margins_of_lines_that_are_no_experts_stay(place, tuned):
    before, after = (load_model(model, device="cpu") for model in (BASE, tuned))
    known = before.center_counts > 0
    assert torch.equal(before.centers[known], after.centers[known])


def test_a_model_with_an_expert_can_have_another(place, tuned):
    notes = []
    finetune(
        task(place, pretrained=str(tuned), train=(str(place / "others.lmdb"),)),
        QUICK,
        place / "twice",
        device="cpu",
        on_start=lambda prepared: notes.extend(prepared.notes),
    )
    assert any("an expert is tuned for these" in note for note in notes)
    once, twice = load_model(tuned, device="cpu"), load_model(place / "twice", device="cpu")
    assert twice.arch == "hgnetv2_b0+experts2"
    weights = twice.recognizer.state_dict()
    for name, value in once.recognizer.state_dict().items():
        assert torch.equal(value, weights[name])


def test_lines_like_general_ones_get_no_expert(place):
    notes = []
    finetune(
        task(place, train=(str(place / "plain.lmdb"),)),
        replace(QUICK, steps=2),
        place / "alike",
        device="cpu",
        on_start=lambda prepared: notes.extend(prepared.notes),
    )
    assert any("too much alike for an expert of their own" in note for note in notes)
    assert load_model(place / "alike", device="cpu").arch == "hgnetv2_b0"


def test_without_experts_all_weights_are_tuned(place):
    finetune(task(place, experts=False), replace(QUICK, steps=2), place / "all", device="cpu")
    assert load_model(place / "all" / "best.safetensors", device="cpu").arch == "hgnetv2_b0"
    last = load_model(place / "all" / "last.safetensors", device="cpu").recognizer.state_dict()
    old = load_model(BASE, device="cpu").recognizer.state_dict()
    assert any(not torch.equal(value, last[name]) for name, value in old.items() if name.startswith("backbone."))


def test_an_export_has_its_experts(place, tuned, tmp_path):
    pytest.importorskip("onnx")
    path = export(tuned / "best.safetensors", tmp_path / "tuned.onnx", ExportConfig(samples=16, rendered=0)).path
    for dataset in ("others.lmdb", "plain.lmdb"):
        assert readings(path, place / dataset) == readings(tuned, place / dataset)


def test_in_8_bits_the_gate_stays_exact(place, tuned, tmp_path):
    onnx = pytest.importorskip("onnx")
    config = ExportConfig(int8=True, samples=8, rendered=0)
    path = export(tuned / "best.safetensors", tmp_path / "tuned.onnx", config, data=[place / "own.lmdb"]).path
    graph = onnx.load(path).graph
    (product,) = [node for node in graph.node if node.op_type == "MatMul" and "/gates." in node.name]
    (weight,) = [tensor for tensor in graph.initializer if tensor.name == product.input[1]]
    assert weight.data_type == onnx.TensorProto.FLOAT
    assert any(node.op_type == "QuantizeLinear" for node in graph.node)


class Gone:
    """A dataset of two lines whose images are lost."""

    name, size = "gone", 2
    widths = heights = np.array([32, 32])

    def __len__(self) -> int:
        return 2

    def line(self, index: int) -> Line:
        raise DataError(f"line {index}: no image")


def test_a_line_that_is_measured_again_is_looked_at_once():
    torch.manual_seed(0)
    recognizer = create_model("tinynet_plain", 11).eval()
    asked = []
    recognizer.backbone.register_forward_pre_hook(lambda _, inputs: asked.append(len(inputs[0])))
    memory = FrameMemory(recognizer.backbone)
    images = torch.rand(5, 1, 32, 64)
    with torch.no_grad():
        whole = recognizer(images)
        asked.clear()
        first = Remembering(recognizer, memory)(images[:3])
        some = Remembering(recognizer, memory)(images[1:])
        recognizer.head.weight.mul_(2)
        changed = Remembering(recognizer, memory)(images)
        wider = memory(torch.nn.functional.pad(images, (0, 32)))
    assert asked == [3, 2, 5]
    assert torch.equal(first.logits, whole.logits[:3])
    torch.testing.assert_close(some.logits, whole.logits[1:])
    torch.testing.assert_close(changed.features, whole.features)
    assert not torch.allclose(changed.logits, whole.logits)
    assert wider.shape[1] == 24


def test_frames_are_remembered_as_far_as_there_is_room(monkeypatch):
    backbone = create_model("tinynet_plain", 11).eval().backbone
    asked = []
    backbone.register_forward_pre_hook(lambda _, inputs: asked.append(len(inputs[0])))
    memory, images = FrameMemory(backbone), torch.rand(4, 1, 32, 64)
    with torch.no_grad():
        one = backbone(images[:1])
    asked.clear()
    monkeypatch.setattr(kinds, "_REMEMBERED", 2 * one.numel() * one.element_size())
    for _ in range(2):
        for number in range(4):
            assert memory(images[number : number + 1]).shape == one.shape
    assert asked == [1, 1, 1, 1, 1, 1]  # two are known again


def test_lines_that_cannot_be_read_are_named():
    looker = Looker(create_model("tinynet_plain", 11), load_charset("digits"), Preprocessing(), 8, 0, "cpu")
    with pytest.raises(DataError, match="gone: not one line can be read"):
        looker.describe([Gone()])


def test_of_very_many_sources_each_is_looked_at():
    looker = Looker(create_model("tinynet_plain", 11), load_charset("digits"), Preprocessing(), 8, 0, "cpu")
    source = SomeLines(Gone(), np.array([0, 1]))
    chosen = looker.some_of([MixedSource(source=source, weight=1.0)] * 900)
    assert [len(lines) for lines in chosen] == [1] * 900


def test_a_gate_tells_two_kinds():
    torch.manual_seed(0)
    own, general = torch.randn(60, 8) + 2 * torch.eye(8)[0], torch.randn(400, 8)
    gate = fit_gate(own, general)
    fresh = gate(torch.randn(500, 8) + 2 * torch.eye(8)[0])
    assert fresh.float().mean() > 0.75
    assert gate(torch.randn(500, 8)).float().mean() < 0.25
    assert gate.weight.abs().argmax() == 0


@pytest.mark.parametrize(
    ("own", "general", "threshold"),
    [
        pytest.param(3.0, -3.0, 0.0, id="as fitted"),
        pytest.param(-1.0, -3.0, -1.0, id="lower, for lines of the kind"),
        pytest.param(3.0, 1.0, 1.0, id="higher, as some general lines look like them"),
        pytest.param(-3.0, -1.0, -1.0, id="general lines are heeded"),
        pytest.param(-3.0, 1.0, 0.0, id="told by nothing"),
        pytest.param(1.0, 3.0, 1.0, id="never so high that lines of the kind are lost"),
    ],
)
def test_where_the_threshold_is(own, general, threshold):
    assert threshold_between(torch.full((20,), own), torch.full((20,), general)) == threshold


def test_how_well_a_kind_is_told_in_words():
    gate = fit_gate(torch.ones(2, 2), torch.zeros(2, 2))
    told = Told(gate=gate, own=torch.tensor([True, True, False, True]), general=torch.tensor([False] * 10))
    assert told.useful
    assert told.sentence() == (
        "3 of 4 held-back lines and 0 of 10 general ones are taken for the kind of the training lines: an expert is "
        "tuned for these, and all others are read by the old weights"
    )
    assert not replace(told, general=torch.tensor([True] * 2 + [False] * 8)).useful
    assert not replace(told, own=torch.tensor([True, False])).useful

"""Fine-tuning recognisers of other makes: all that ours can do, on one from ONNX and one from Transformers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from foreign import foreign
from safetensors.torch import load_file

from ocrcc.config import EvaluateConfig, ExportConfig, FinetuneConfig, ProjectConfig, TrainConfig
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.export.export import export
from ocrcc.models.checkpoint import load_model
from ocrcc.space.project import Outputs, project
from ocrcc.tuning.finetune import finetune, prepare

QUICK = TrainConfig(
    steps=4, batch_size=4, workers=0, threads=1, eval_every=0, save_every=2, log_every=1, augment=0, seed=5
)


@pytest.fixture(params=["onnx", "onnx with attention", "transformers"])
def original(request, tmp_path) -> Path:
    if request.param != "transformers":
        pytest.importorskip("onnxruntime")
        return foreign(tmp_path / "foreign.onnx", attention="attention" in request.param)
    pytest.importorskip("transformers")
    from saved_by_transformers import save

    return save(tmp_path / "saved")


@pytest.fixture
def task(original, digits_lmdb, tmp_path) -> FinetuneConfig:
    groups = tmp_path / "groups.tsv"
    groups.write_text("group\tcharacters\tscore\tsource\n1\t017\t0.9\tlist\n2\t38\t0.8\tlist\n", encoding="utf-8")
    return FinetuneConfig(
        pretrained=str(original),
        train=(str(digits_lmdb),),
        lookalikes=str(groups),
        init_lines=16,
        term_warmup=1,
        guard=False,
    )


class Killed(BaseException):
    pass


def kill(entry):
    if entry.step == 3:
        raise Killed


def test_a_resumed_run_ends_with_the_very_weights_and_all_else_works(task, original, digits_lmdb, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    finetune(task, QUICK, whole, device="cpu")
    with pytest.raises(Killed):
        finetune(task, QUICK, cut, device="cpu", on_log=kill)
    finetune(task, QUICK, cut, resume=True, device="cpu")
    one, two = (load_file(run / "last.safetensors") for run in (whole, cut))
    assert one.keys() == two.keys() >= {"graph", "centers", "center_counts"}
    assert all(torch.equal(one[name], two[name]) for name in one)
    before = load_model(original, device="cpu").recognizer.state_dict()
    assert any(not torch.equal(one[f"model.{name}"], value) for name, value in before.items())

    found = evaluate(whole, [digits_lmdb], EvaluateConfig(compare=(str(original),), workers=0), device="cpu")
    assert found.total.lines == found.baseline.total.lines == 40
    picture = Outputs(png=tmp_path / "space.png")
    project([original, whole], [digits_lmdb], ProjectConfig(workers=0), outputs=picture, device="cpu")
    assert (tmp_path / "space.png").stat().st_size
    suffix = ".onnx" if original.is_file() else ""
    back = export(whole, tmp_path / f"back{suffix}", ExportConfig(samples=4, rendered=0)).path
    again = evaluate(back, [digits_lmdb], EvaluateConfig(compare=(str(whole),), workers=0), device="cpu")
    assert again.total.strict == again.baseline.total.strict


def test_characters_are_added(task, tmp_path):
    # Few: with all of ASCII, hundreds of general lines would be rendered and read.
    (tmp_path / "few.txt").write_text("\n".join("0123456789Az"))
    task = replace(task, charset=str(tmp_path / "few.txt"), charset_policy="extend")
    finetune(task, QUICK, tmp_path / "run", device="cpu")
    loaded = load_model(tmp_path / "run", device="cpu")
    assert loaded.charset.symbols.startswith("0123456789 ")
    assert {"A", "z"} <= set(loaded.charset.symbols)
    assert loaded.centers.shape == (loaded.charset.num_classes, loaded.recognizer.feature_width)
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(row["aligned_lines"] > 0 for row in log)


@pytest.mark.parametrize(("experts", "attention"), [(True, True), (False, True), (True, False)])
def test_the_backbone_stays_where_the_graph_has_one(digits_lmdb, tmp_path, experts, attention):
    pytest.importorskip("onnxruntime")
    file, lines = foreign(tmp_path / "one.onnx", attention=attention), (str(digits_lmdb),)
    task = FinetuneConfig(pretrained=str(file), train=lines, experts=experts, replay=lines, retain=lines, init_lines=16)
    recognizer = prepare(task, QUICK, tmp_path / "run", False, print).trainee.recognizer
    assert all(weight.requires_grad for part in (recognizer.encoder, recognizer.head) for weight in part.parameters())
    moved = [weight.requires_grad for weight in recognizer.backbone.parameters()]
    stays = experts and attention
    assert moved == [not stays] * len(moved)
    finetune(task, QUICK, tmp_path / "run", device="cpu")
    before, after = (load_model(path, device="cpu").recognizer for path in (file, tmp_path / "run/last.safetensors"))
    pairs = zip(before.backbone.parameters(), after.backbone.parameters(), strict=True)
    assert [torch.equal(one, two) for one, two in pairs] == [stays] * len(moved)
    assert not torch.equal(before.head.weight, after.head.weight)


@pytest.mark.parametrize("added", ["", "Az"])
def test_a_last_layer_without_a_bias_learns_none_and_can_be_given_back(digits_lmdb, tmp_path, added):
    pytest.importorskip("onnxruntime")
    file, lines = foreign(tmp_path / "one.onnx", classes=11, bias=False), (str(digits_lmdb),)
    task = FinetuneConfig(pretrained=str(file), train=lines, init_lines=16, guard=False)
    if added:
        (tmp_path / "few.txt").write_text("\n".join("0123456789" + added))
        task = replace(task, charset=str(tmp_path / "few.txt"))
    finetune(task, QUICK, tmp_path / "run", device="cpu")
    before, after = (load_model(path, device="cpu").recognizer for path in (file, tmp_path / "run/last.safetensors"))
    assert not after.head.bias.any()
    assert not torch.equal(before.head.weight, after.head.weight[: len(before.head.weight)])
    back = export(tmp_path / "run", tmp_path / "back.onnx", ExportConfig(samples=4, rendered=0)).path
    again = evaluate(back, [digits_lmdb], EvaluateConfig(compare=(str(tmp_path / "run"),), workers=0), device="cpu")
    assert again.total.strict == again.baseline.total.strict

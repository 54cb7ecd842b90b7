from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn_lines import draw_line
from safetensors.torch import load_file, save_file
from stored_lines import store, store_drawn
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import FinetuneConfig, PretrainConfig, TrainConfig
from ocrcc.errors import CharsetError, ConfigError, DataError, ModelError
from ocrcc.lookalikes import Group, Lookalikes, sibling_table
from ocrcc.losses import separation
from ocrcc.losses.center import Centers
from ocrcc.models.checkpoint import load_model
from ocrcc.models.contract import read_metadata
from ocrcc.models.registry import create_model
from ocrcc.training.objective import CenterObjective, CtcObjective
from ocrcc.training.pretrain import pretrain
from ocrcc.tuning.finetune import finetune
from ocrcc.types import Batch, RecognizerOutput

QUICK = TrainConfig(
    steps=4, batch_size=4, workers=0, threads=1, eval_every=0, save_every=2, log_every=1, augment=0, seed=5
)


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    path = tmp_path / "groups.tsv"
    path.write_text("group\tcharacters\tscore\tsource\n1\t017\t0.9\tlist\n2\t38\t0.8\tlist\n", encoding="utf-8")
    return path


@pytest.fixture
def task(digits_lmdb, short_run, groups) -> FinetuneConfig:
    """The bare loop: what it learns is kept, whatever it is."""
    return FinetuneConfig(
        pretrained=str(short_run),
        train=(str(digits_lmdb),),
        lookalikes=str(groups),
        init_lines=64,
        term_warmup=1,
        guard=False,
    )


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_run_tracks_the_space_and_saves_its_centers(task, tmp_path):
    finetune(task, QUICK, tmp_path / "run", device="cpu")
    for row in rows(tmp_path / "run"):
        assert row["aligned_lines"] == 1
        assert row["distance_own"] > 0
        assert row["distance_between"] > 0
        assert row["distance_ratio"] == pytest.approx(row["distance_own"] / row["distance_sibling"], rel=0.5)
        ranked = [row[name] for name in ("worst_margins", "best_margins")]
        assert all(set(one) == {"char", "margin", "confidence"} for one in ranked[0] + ranked[1])
        assert all(one["char"] in "01738" and 0 <= one["confidence"] <= 1 for one in ranked[0] + ranked[1])
        assert ranked[0][0]["margin"] == min(one["margin"] for one in ranked[0] + ranked[1])
        assert ranked[1][0]["margin"] == max(one["margin"] for one in ranked[0] + ranked[1])
        assert -1 <= row["margin_confidence_correlation"] <= 1
        assert row["aligned_lines"] == row["aligned_chars"] == 1
    loaded = load_model(tmp_path / "run", device="cpu")
    assert loaded.centers.shape == (11, 192)
    assert (loaded.center_counts[1:] > 0).all()
    assert loaded.center_counts[0] == 0  # the blank has none


def test_weights_of_zero_are_the_ctc_control(task, digits_lmdb, tmp_path):
    """The very weights that plain CTC gives, from the same start, on the same lines."""
    none = replace(task, center_weight=0, twin_weight=0)
    finetune(none, QUICK, tmp_path / "control", device="cpu")
    again = PretrainConfig(train=(str(digits_lmdb),), arch="lcnet_050", init_from=task.pretrained)
    pretrain(again, QUICK, tmp_path / "plain", device="cpu")
    control, plain = (load_file(tmp_path / name / "last.safetensors") for name in ("control", "plain"))
    assert all(torch.equal(control[key], value) for key, value in plain.items())
    finetune(task, QUICK, tmp_path / "center", device="cpu")
    center = load_file(tmp_path / "center" / "last.safetensors")
    assert any(not torch.equal(center[key], value) for key, value in plain.items())


def test_a_resumed_run_ends_with_the_very_weights_and_centers(task, tmp_path):
    finetune(task, QUICK, tmp_path / "whole", device="cpu")

    class Killed(BaseException):
        pass

    def kill(entry):
        if entry.step == 3:
            raise Killed

    with pytest.raises(Killed):
        finetune(task, QUICK, tmp_path / "cut", device="cpu", on_log=kill)
    finetune(task, QUICK, tmp_path / "cut", resume=True, device="cpu")
    whole, cut = (load_file(tmp_path / name / "last.safetensors") for name in ("whole", "cut"))
    assert "centers" in whole
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


@pytest.mark.parametrize("known", [True, False])
def test_a_run_goes_on_from_the_model_that_it_began_with(task, tmp_path, known):
    base = tmp_path / "base.safetensors"
    shutil.copy(Path(task.pretrained) / "last.safetensors", base)
    config, out = replace(QUICK, steps=1), tmp_path / "run"
    finetune(replace(task, pretrained=str(base)), config, out, device="cpu")
    moved = replace(task, pretrained=str(base.rename(tmp_path / "moved.safetensors")))
    assert finetune(moved, replace(config, steps=2), out, device="cpu", resume=True).steps == 2
    if not known:  # as earlier versions left it
        tensors, metadata = load_file(out / "last.safetensors"), read_metadata(out / "last.safetensors")
        del metadata["lineage"]["pretrained"]
        save_file(tensors, out / "last.safetensors", {"ocrcc": json.dumps(metadata)})
    shutil.copy(out / "last.safetensors", moved.pretrained)
    if not known:
        assert finetune(moved, replace(config, steps=3), out, device="cpu", resume=True).steps == 3
        return
    with pytest.raises(ConfigError, match="pretrained is another model than it began with"):
        finetune(moved, replace(config, steps=3), out, device="cpu", resume=True)


def test_what_decides_which_lines_are_held_back_stays_as_it_was(task, tmp_path):
    finetune(task, replace(QUICK, steps=1), tmp_path / "run", device="cpu")
    other = replace(task, guard=True, replay_share=0.25, retain=task.train)
    words = "retain is .*, and was none; guard is True, and was False"
    with pytest.raises(ConfigError, match="replay_share is 0.25, and was 0.5; " + words):
        finetune(other, QUICK, tmp_path / "run", device="cpu", resume=True)


def test_each_term_adds_to_the_loss_and_gives_gradients():
    torch.manual_seed(0)
    charset = Charset("0O1l")
    table = sibling_table(Lookalikes((Group("0O", 1.0, "list"), Group("1l", 1.0, "list"))), charset)
    assert table == [[0], [2], [1], [4], [3]]
    head = nn.Linear(6, 5)
    batch = Batch(
        images=torch.zeros(3, 1, 32, 40),
        widths=4 * torch.tensor([10, 10, 10]),
        frames=torch.tensor([10, 10, 10]),
        targets=torch.tensor([[1, 3], [2, 4], [1, 4]]),
        target_lengths=torch.tensor([2, 2, 2]),
        labels=("01", "Ol", "0l"),
        sources=("a", "b", "c"),
    )
    features = torch.randn(3, 10, 6, requires_grad=True)

    def loss(**weights) -> torch.Tensor:
        off = {"center_weight": 0.0, "twin_weight": 0.0, "term_warmup": 0}
        config = FinetuneConfig(pretrained="x", train=("y",), **{**off, **weights})
        objective = CenterObjective(config, head, torch.tensor(table), Centers(5, 6))
        output = RecognizerOutput(features=features, logits=head(features))
        objective.place(batch, output)
        objective.steps += 1
        return objective(batch, output).total

    plain = CtcObjective()(batch, RecognizerOutput(features=features, logits=head(features))).total
    assert torch.equal(loss(), plain)
    for name in ("center_weight", "twin_weight"):
        once, twice = loss(**{name: 1.0}), loss(**{name: 2.0})
        assert (once - plain).item() > 0
        assert (twice - plain).item() == pytest.approx(2 * (once - plain).item(), rel=1e-3)
        (gradient,) = torch.autograd.grad(once, features)
        (without,) = torch.autograd.grad(loss(), features)
        assert not torch.equal(gradient, without)


@pytest.fixture
def letters_lmdb(tmp_path):
    return store_drawn(tmp_path / "letters.lmdb", ("12", "34", "5x"))


def test_charset_policies(task, letters_lmdb, tmp_path):
    task = replace(task, train=(str(letters_lmdb),), charset="from-data")
    with pytest.raises(CharsetError, match=r"lacks 'x' .*has 5 that it lacks"):
        finetune(replace(task, charset_policy="fail"), QUICK, tmp_path / "fail", device="cpu")
    for policy, symbols in (("extend", "0123456789x"), ("replace", "12345x")):
        prepared = []
        changed = replace(task, charset_policy=policy, init_lines=0)
        finetune(changed, replace(QUICK, steps=1), tmp_path / policy, device="cpu", on_start=prepared.append)
        assert load_model(tmp_path / policy, device="cpu").charset.symbols == symbols
        assert prepared[0].transfer.new == "x"


def test_a_dataset_without_an_alignable_line(task, tmp_path):
    path = store(tmp_path / "long.lmdb", [(draw_line("1"), "1" * 50)])
    with pytest.raises(DataError, match="not one line could be aligned"):
        finetune(replace(task, train=(str(path),)), QUICK, tmp_path / "run", device="cpu")


def test_a_run_whose_features_collapse_is_stopped(task, tmp_path, monkeypatch):
    monkeypatch.setattr(separation, "COLLAPSED", 100.0)  # any run then looks like one
    with pytest.raises(ModelError, match="the features collapse"):
        finetune(task, QUICK, tmp_path / "run", device="cpu")


def test_replayed_lines_are_mixed_in_by_their_share(task, letters_lmdb, tmp_path):
    prepared = []
    changed = replace(task, replay=(str(letters_lmdb),), replay_share=0.25)
    with pytest.raises(CharsetError, match="lacks 'x'"):
        finetune(changed, QUICK, tmp_path / "strict", device="cpu")
    finetune(changed, replace(QUICK, unknown="skip"), tmp_path / "run", device="cpu", on_start=prepared.append)
    first, second = prepared[0].sources.mixed
    assert (first.weight, second.weight) == (0.75, 0.25)
    assert second.size == 2  # of its three lines one has an x
    assert prepared[0].sources.skipped == {str(letters_lmdb): 1}


def test_the_first_centers_take_each_own_line_once_however_many_are_replayed(task, digits_lmdb, tmp_path, monkeypatch):
    read, place = [], CenterObjective.place

    def counted(objective, batch, output):
        read.append(len(batch.labels))
        return place(objective, batch, output)

    monkeypatch.setattr(CenterObjective, "place", counted)
    finetune(replace(task, replay=(str(digits_lmdb),)), replace(QUICK, steps=1), tmp_path / "run", device="cpu")
    assert 40 <= sum(read) < 40 + QUICK.batch_size


@pytest.mark.parametrize(("share", "epochs", "lines"), [(0.5, 1, 80), (0.75, 0.5, 80), (0, 0.5, 20)])
def test_an_epoch_is_one_of_own_lines_however_many_are_replayed(task, tmp_path, share, epochs, lines):
    """There are 40 own lines."""
    replay = store_drawn(tmp_path / "few.lmdb", ["123", "45", "6"])
    config = replace(QUICK, steps=0, epochs=epochs)
    finetune(replace(task, replay=(str(replay),), replay_share=share), config, tmp_path / "run", device="cpu")
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["processes"][0]["state"]
    assert lines <= state["lines"] < lines + QUICK.batch_size


def test_rendered_lines_have_no_epochs_and_that_is_told_first(task, tmp_path):
    for train in (("synth:nosuch",), (*task.train, "synth:documents")):
        with pytest.raises(ConfigError, match="rendered lines have no epochs"):
            finetune(replace(task, train=train), replace(QUICK, steps=0, epochs=1), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_own_lines_that_are_rendered_are_of_characters_that_texts_have(task, tmp_path, monkeypatch):
    """Of a charset of 18,000 all alike often would teach it that 別 is as common as 别."""
    asked = []

    def seen(specs, **how):
        asked.append((tuple(specs), how["balanced_over"]))
        raise DataError("seen")

    monkeypatch.setitem(finetune.__globals__, "open_sources", seen)
    with pytest.raises(DataError, match="seen"):
        finetune(task, QUICK, tmp_path / "run", device="cpu")
    assert asked == [(tuple(task.train), "texts")]


def test_a_frozen_backbone_stays_as_it_was_and_then_learns(task, tmp_path):
    before = load_file(Path(task.pretrained) / "last.safetensors")
    for steps, held in ((4, True), (2, False)):
        frozen = replace(QUICK, freeze_backbone=steps, ema_decay=0)
        finetune(task, frozen, tmp_path / str(steps), device="cpu")
        after = load_file(tmp_path / str(steps) / "last.safetensors")
        backbone = [key for key in before if key.startswith("model.backbone")]
        assert all(torch.equal(before[key], after[key]) for key in backbone) == held
        assert not torch.equal(before["model.head.weight"], after["model.head.weight"])


def test_on_replayed_lines_the_posteriors_are_kept_whatever_the_labels_say():
    torch.manual_seed(0)
    table = torch.tensor([[0], [2], [1], [0], [0]])

    class Pretrained(nn.Module):
        backbone = nn.Identity()

        def forward_frames(self, frames, width):
            return RecognizerOutput(features=frames, logits=self.logits)

    pretrained = Pretrained()
    pretrained.logits = 4 * torch.randn(1, 12, 5)
    config = FinetuneConfig(pretrained="x", train=("y",), center_weight=0, twin_weight=0)
    objective = CenterObjective(config, nn.Linear(6, 5), table, Centers(5, 6), pretrained)
    batch = Batch(
        images=torch.zeros(3, 1, 32, 48),
        widths=4 * torch.tensor([12, 9, 1]),
        frames=torch.tensor([12, 9, 1]),
        targets=torch.tensor([[3, 4], [1, 3], [2, 3]]),
        target_lengths=torch.tensor([2, 2, 2]),
        labels=("ab", "cd", "ef"),
        sources=("a", "b", "c"),
        replayed=torch.tensor([False, True, False]),
    )
    logits = torch.cat([torch.zeros(1, 12, 5), pretrained.logits, torch.zeros(1, 12, 5)]) + torch.randn(3, 12, 5)
    logits.requires_grad_()
    output = RecognizerOutput(features=torch.randn(3, 12, 6), logits=logits)
    terms = objective(batch, output)
    expected = 0.0
    for frame in range(9):
        p, q = pretrained.logits[0, frame].softmax(0), logits[1, frame].detach().softmax(0)
        expected += float((p * (p.log() - q.log())).sum()) / 2
    assert float(terms.scalars["kept"]) == pytest.approx(expected, rel=1e-4)
    own = torch.tensor([True, False, True])
    ctc = float(CtcObjective()(batch.where(own), output.where(own)).total)
    assert float(terms.total) == pytest.approx(2 / 3 * ctc + expected / 3, rel=1e-4)
    assert terms.fits.tolist() == [True, True, False]  # one frame is too few for two characters
    (gradient,) = torch.autograd.grad(terms.total, logits)
    assert gradient[1, 9:].abs().max() < 1e-6
    with torch.no_grad():
        logits[1] = pretrained.logits[0]
    alone = torch.tensor([False, True, False])
    untouched = objective(batch.where(alone), output.where(alone))
    assert float(untouched.total) == pytest.approx(0, abs=1e-6)
    assert "ctc" not in untouched.scalars  # there was no own line to learn from
    assert untouched.fits.tolist() == [True]


def test_replayed_lines_go_through_a_shared_backbone_once():
    """What is to be kept is the same, whether the pretrained recogniser looks at the images or takes the frames."""
    torch.manual_seed(0)
    pretrained = create_model("tinynet_plain", 5).eval().requires_grad_(False)
    tuned = copy.deepcopy(pretrained)
    with torch.no_grad():
        tuned.head.weight.mul_(1.5)
    asked = []
    pretrained.backbone.register_forward_pre_hook(lambda _, inputs: asked.append(len(inputs[0])))
    config = FinetuneConfig(pretrained="x", train=("y",))
    batch = Batch(
        images=torch.rand(2, 1, 32, 48),
        widths=torch.tensor([48, 40]),
        frames=torch.tensor([12, 10]),
        targets=torch.tensor([[3, 4], [1, 3]]),
        target_lengths=torch.tensor([2, 2]),
        labels=("ab", "cd"),
        sources=("a", "b"),
        replayed=torch.tensor([True, True]),
    )
    table, width = torch.zeros(5, 1, dtype=torch.int64), tuned.feature_width
    looked, shared = (
        CenterObjective(config, tuned.head, table, Centers(5, width), pretrained, same_frames=same)(
            batch, tuned(batch.images)
        ).total
        for same in (False, True)
    )
    assert asked == [2]
    assert float(looked) > 1e-4
    torch.testing.assert_close(looked, shared)

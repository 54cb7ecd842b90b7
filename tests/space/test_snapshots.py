from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_lines import draw_line
from safetensors.torch import load_file
from spaces import check_tensors
from wild import random_lines, save_wild_model

from ocrcc.charset import Charset
from ocrcc.config import FinetuneConfig, TrainConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import FirstLines
from ocrcc.errors import DataError
from ocrcc.lookalikes import Group, Lookalikes
from ocrcc.models.checkpoint import load_model
from ocrcc.space.characters import Viewer
from ocrcc.space.snapshots import Snapshots
from ocrcc.tuning.finetune import finetune
from ocrcc.types import Line

GROUPS = Lookalikes((Group("38", 0.9, "list"), Group("017", 0.8, "list"), Group("己已", 0.8, "list")))


class Endless:
    name, size = "endless", None

    def line(self, index):
        (text,) = random_lines(1, 8, seed=index)
        return Line(image=draw_line(text), label=text, source=f"endless#{index}")


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    path = tmp_path_factory.mktemp("wild") / "wild.safetensors"
    save_wild_model(path, charset=Charset("0123456789"))
    return Viewer.of(load_model(path, device="cpu"), GROUPS)


def test_the_same_characters_every_so_many_steps_and_nothing_else_changes(viewer, digits_lmdb, tmp_path):
    take = Snapshots(viewer, [Endless(), LmdbDataset(digits_lmdb)], GROUPS, 3, tmp_path)
    recognizer = viewer.recognizer.train()
    before = {name: value.clone() for name, value in recognizer.state_dict().items()}
    state = torch.get_rng_state()
    for step in range(5):
        if step == 3:
            recognizer.head.weight.data *= 2
            next(recognizer.backbone.parameters()).data *= -1
        take(step, lambda: recognizer)
    assert recognizer.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in recognizer.state_dict().items() if "running" in name)
    found = check_tensors(tmp_path)
    assert sorted(found) == ["training:00000", "training:00003"]
    start, later = (found[name] for name in sorted(found))
    fixed = [0, 1, 2, 7, 8]  # all but what the model makes of them
    assert [[row[column] for column in fixed] for row in start[1]] == [
        [row[column] for column in fixed] for row in later[1]
    ]
    assert {row[0] for row in start[1]} == set("38017")
    assert all(str(digits_lmdb) in row[8] for row in start[1] if row[1] == "character")
    assert start[2].size == later[2].size
    assert not np.allclose(start[0], later[0])


def test_a_resumed_run_goes_on_with_the_same_characters(viewer, digits_lmdb, tmp_path):
    viewer.recognizer.eval()
    for step in (0, 5):  # as two processes would
        Snapshots(viewer, [LmdbDataset(digits_lmdb)], GROUPS, 5, tmp_path)(step, lambda: viewer.recognizer)
    start, later = check_tensors(tmp_path).values()
    assert start[1] == later[1]
    assert np.array_equal(start[0], later[0])


def test_lines_of_a_renderer(viewer, tmp_path):
    Snapshots(viewer, [Endless()], GROUPS, 1, tmp_path)(0, lambda: viewer.recognizer)
    ((_, rows, _),) = check_tensors(tmp_path).values()
    assert rows[0][8].startswith("endless#")
    lines = FirstLines(Endless(), 5)
    assert (len(lines), lines.label(3)) == (5, Endless().line(3).label)
    assert lines.characters == {char: count for char, count in lines.characters.items() if count > 0}
    assert sum(lines.characters.values()) == sum(len(lines.label(number)) for number in range(5))


def test_data_without_lookalikes_is_an_error_before_training(viewer, digits_lmdb, tmp_path):
    with pytest.raises(DataError, match="nothing to project"):
        Snapshots(viewer, [LmdbDataset(digits_lmdb)], Lookalikes(GROUPS.groups[2:]), 5, tmp_path)


def test_fine_tuning_takes_them_and_learns_the_same(short_run, digits_lmdb, tmp_path):
    groups = tmp_path / "groups.tsv"
    groups.write_text("1\t017\t0.9\tlist\n2\t38\t0.8\tlist\n", encoding="utf-8")
    quick = TrainConfig(steps=4, batch_size=4, workers=0, threads=1, eval_every=0, save_every=2, log_every=1, augment=0)
    task = FinetuneConfig(
        pretrained=str(short_run), train=(str(digits_lmdb),), lookalikes=str(groups), init_lines=64, guard=False
    )
    finetune(task, quick, tmp_path / "plain", device="cpu")
    watched = replace(task, project_every=2)
    finetune(watched, quick, tmp_path / "run", device="cpu")
    found = check_tensors(tmp_path / "run" / "tensorboard")
    assert sorted(found) == ["training:00000", "training:00002", "training:00004"]
    kinds = {row[1] for _, rows, _ in found.values() for row in rows}
    assert kinds == {"character", "center"}
    plain, run = (load_file(tmp_path / name / "last.safetensors") for name in ("plain", "run"))
    assert all(torch.equal(plain[name], value) for name, value in run.items())

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from ocrcc.config import PretrainConfig, TrainConfig
from ocrcc.errors import ConfigError, DataError, ModelError
from ocrcc.models.checkpoint import pick_device
from ocrcc.runs.folder import write_settings
from ocrcc.runs.tracking import Tracker
from ocrcc.training.pretrain import pretrain

HOW = TrainConfig(steps=4, batch_size=4, workers=0, threads=1, log_every=1, save_every=2)


@pytest.fixture
def task(digits_lmdb) -> PretrainConfig:
    return PretrainConfig(train=(str(digits_lmdb),), arch="lcnet_050")


class StopHereError(Exception):
    """A crash."""


def crash_after(step: int):
    def crash(entry):
        if entry.step == step:
            raise StopHereError

    return crash


def test_a_torn_entry_is_dropped_and_said(task, tmp_path):
    straight, torn = tmp_path / "straight", tmp_path / "torn"
    pretrain(task, HOW, straight)
    with pytest.raises(StopHereError):
        pretrain(task, HOW, torn, on_log=crash_after(3))
    metrics = torn / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-7] + b"\xff")
    (torn / ".state.pt.0123abcd.tmp.pt").write_text("of a killed save")
    result = pretrain(task, HOW, torn, resume=True)
    assert result.torn_entries == 1
    assert [json.loads(line)["step"] for line in metrics.read_text().splitlines()] == [1, 2, 3, 4]
    one, other = (load_file(folder / "last.safetensors") for folder in (straight, torn))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not list(torn.glob("*.tmp*"))
    assert not list(torn.glob(".*"))


def test_models_without_their_state_have_one_way_on(task, tmp_path):
    out = tmp_path / "run"
    pretrain(task, HOW, out)
    (out / "state.pt").unlink()
    for resume, error in ((True, ModelError), (False, ConfigError)):
        with pytest.raises(error) as caught:
            pretrain(task, HOW, out, resume=resume)
        assert "another" in caught.value.hint
        assert "--resume" not in caught.value.hint
    again = replace(task, init_from=str(out))  # the way that the hint names
    assert pretrain(again, HOW, tmp_path / "next").steps == 4


@pytest.mark.parametrize("first", [True, False])
def test_a_model_and_its_state_get_their_names_together(task, tmp_path, monkeypatch, first):
    out, straight, save = tmp_path / "run", tmp_path / "straight", torch.save
    saves: list[str] = []

    def dies(state, file):
        save(state, file)
        saves.append(str(file))
        if len(saves) == (1 if first else 2):
            raise StopHereError

    pretrain(task, HOW, straight)
    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", dies)
        with pytest.raises(StopHereError):
            pretrain(task, HOW, out)
    assert (out / "last.safetensors").exists() == (out / "state.pt").exists() == (not first)
    pretrain(task, HOW, out, resume=not first)
    one, other = (load_file(folder / "last.safetensors") for folder in (straight, out))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_start_that_died_is_started_again(task, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(StopHereError):
        pretrain(task, HOW, out, on_log=crash_after(1))
    assert (out / "config.toml").is_file()
    assert pretrain(task, HOW, out).steps == 4
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_second_run_into_a_folder_is_refused(task, tmp_path):
    def second(entry):
        with pytest.raises(ConfigError, match="another ocrcc is writing there"):
            pretrain(task, HOW, tmp_path / "run")

    pretrain(task, HOW, tmp_path / "run", on_log=second)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 4


def test_a_full_disk_leaves_no_torn_entry(tmp_path):
    class Full:
        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            self.file.write(data[:5])
            raise OSError(28, "No space left on device")

    with Tracker(tmp_path) as tracker:
        tracker.entry(1, {"loss": 1.0}, {})
        real, tracker._file = tracker._file, Full(tracker._file)
        with pytest.raises(DataError, match="No space left") as caught:
            tracker.entry(2, {"loss": 1.0}, {})
        assert "--resume" in caught.value.hint
        tracker._file = real
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1]


@pytest.mark.parametrize("device", ["nonsense", "cuda:9", "meta", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(device, task, tmp_path):
    with pytest.raises(ModelError, match="cannot be used"):
        pick_device(device)
    with pytest.raises(ModelError, match="cannot be used"):
        pretrain(task, HOW, tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


def test_the_device_is_kept_for_resuming(task, tmp_path):
    pretrain(task, HOW, tmp_path / "run", device="cpu")
    assert 'device = "cpu"' in (tmp_path / "run" / "config.toml").read_text()


def test_settings_with_any_name_of_a_file_are_read_again(tmp_path):

    names = ("已/🏴.lmdb", 'a"b\\c', "del\x7f", "\x9b", os.fsdecode(b"latin-\xe9.lmdb"))
    write_settings(tmp_path, {"train": names, "steps": 3, "mix": (0.5, 1.0), "compile": False})
    read = tomllib.loads((tmp_path / "config.toml").read_bytes().decode(errors="surrogateescape"))
    assert read == {"train": [*names], "steps": 3, "mix": [0.5, 1.0], "compile": False}

from __future__ import annotations

import json
import math
import os
import signal
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from drawn_lines import draw_line
from lost_steps import LostFrom
from safetensors.torch import load_file
from stored_lines import store
from torch import nn

from ocrcc.config import PretrainConfig, TrainConfig
from ocrcc.data.batching import training_batches
from ocrcc.errors import CharsetError, ConfigError, ModelError, StoppedError
from ocrcc.models.checkpoint import load_model
from ocrcc.models.contract import read_metadata
from ocrcc.training.objective import CtcObjective
from ocrcc.training.pretrain import pretrain
from ocrcc.training.run import _compiled

QUICK = TrainConfig(
    steps=12, batch_size=4, workers=0, threads=1, eval_every=4, save_every=4, log_every=2, augment=0.2, seed=5
)


@pytest.fixture
def task(digits_lmdb: Path) -> PretrainConfig:
    return PretrainConfig(train=(str(digits_lmdb),), val=(str(digits_lmdb),), arch="lcnet_050")


def run(task, config, out, **options):
    return pretrain(task, config, out, device="cpu", **options)


def test_a_run_leaves_what_it_should(task, tmp_path):
    entries = []
    result = run(task, QUICK, tmp_path / "run", on_log=entries.append)
    assert result.steps == 12
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "best.safetensors", "last.safetensors", "state.pt", "config.toml", "metrics.jsonl", "tensorboard",
    }  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "val/cer" in row] == [4, 8, 12]
    assert all(row["gradient_norm"] > 0 for row in rows)
    assert [entry.step for entry in entries] == [1, 2, 4, 6, 8, 10, 12]
    assert entries[-1].progress == 1
    metadata = read_metadata(tmp_path / "run" / "best.safetensors")
    assert metadata["charset"]["symbols"] == "0123456789"
    assert metadata["step"] == result.best_step
    assert metadata["config"]["seed"] == 5
    assert metadata["metrics"] == result.best


def test_a_resumed_run_ends_with_the_very_weights(task, tmp_path):
    run(task, QUICK, tmp_path / "whole")

    def stop(entry):
        if entry.step == 6:  # the signal comes before the seventh step ends
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError, match="step 7") as stopped:
        run(task, QUICK, tmp_path / "cut", on_log=stop)
    assert str(tmp_path / "cut") in stopped.value.hint
    assert stopped.value.exit_code == 130
    run(task, QUICK, tmp_path / "cut", resume=True)
    for name in ("last.safetensors", "best.safetensors"):
        whole, cut = (load_file(tmp_path / folder / name) for folder in ("whole", "cut"))
        assert whole.keys() == cut.keys()
        assert all(torch.equal(whole[key], cut[key]) for key in whole), name
    rows = [[json.loads(line)["step"] for line in (tmp_path / folder / "metrics.jsonl").read_text().splitlines()]
            for folder in ("whole", "cut")]  # fmt: skip
    assert rows[0] == rows[1]


def test_a_killed_run_resumes_from_its_last_save(task, tmp_path):
    run(task, replace(QUICK, steps=12), tmp_path / "whole")
    out = tmp_path / "killed"

    class Killed(BaseException):
        pass

    def kill(entry):
        if entry.step == 10:  # saved at 8
            raise Killed

    with pytest.raises(Killed):
        run(task, QUICK, out, on_log=kill)
    run(task, QUICK, out, resume=True)
    whole, killed = (load_file(tmp_path / folder / "last.safetensors") for folder in ("whole", "killed"))
    assert all(torch.equal(whole[key], killed[key]) for key in whole)


def test_the_same_seed_gives_the_same_weights(task, tmp_path):
    short = replace(QUICK, steps=3)
    first, second, other = (
        run(task, replace(short, seed=seed), tmp_path / name) and load_file(tmp_path / name / "last.safetensors")
        for seed, name in ((1, "a"), (1, "b"), (2, "c"))
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_patience_stops_early(task, tmp_path):
    config = replace(QUICK, steps=1000, eval_every=1, patience=2, learning_rate=1e-12, ema_decay=0)
    result = run(task, config, tmp_path / "run")
    assert result.stopped_early
    assert result.steps < 20
    assert (tmp_path / "run" / "state.pt").exists()


def test_epochs_and_minutes_end_a_run(task, tmp_path):
    assert run(task, replace(QUICK, steps=0, epochs=0.5), tmp_path / "epochs").steps == 5
    assert run(task, replace(QUICK, steps=0, minutes=1e-4), tmp_path / "minutes").steps >= 1


def test_a_run_is_not_written_over(task, tmp_path):
    run(task, replace(QUICK, steps=1), tmp_path / "run")
    with pytest.raises(ConfigError, match="holds a run already"):
        run(task, QUICK, tmp_path / "run")


def test_nothing_to_resume(task, tmp_path):
    with pytest.raises(ModelError, match="nothing to go on with"):
        run(task, QUICK, tmp_path / "nothing", resume=True)


def test_a_damaged_state_is_named(task, tmp_path):
    run(task, replace(QUICK, steps=1), tmp_path / "run")
    (tmp_path / "run" / "state.pt").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ModelError, match=r"state\.pt: damaged"):
        run(task, QUICK, tmp_path / "run", resume=True)


def test_divergence_stops_with_the_last_good_model(task, tmp_path):
    config = replace(QUICK, steps=200, learning_rate=1e12, clip_norm=0, ema_decay=0, warmup=0, optimizer="sgd")
    with pytest.raises(ModelError, match="no longer finite"):
        run(task, config, tmp_path / "run")
    for path in (tmp_path / "run").glob("*.safetensors"):
        assert all(torch.isfinite(value.float()).all() for value in load_file(path).values())


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop", "adadelta", "lion"])
def test_optimizers_by_name(task, tmp_path, optimizer):
    assert run(task, replace(QUICK, steps=2, optimizer=optimizer), tmp_path / optimizer).steps == 2


def test_an_unknown_optimizer(task, tmp_path):
    with pytest.raises(ConfigError, match="nothing"):
        run(task, replace(QUICK, optimizer="nothing"), tmp_path / "run")


@pytest.fixture
def letters_lmdb(tmp_path):
    """Lines with a letter that digits lack, and one whose label cannot fit its image."""
    return store(tmp_path / "letters.lmdb", [(draw_line(text[:2]), text) for text in ("12", "34", "5x", "9" * 14)])


def test_channels_are_one_or_three(task, tmp_path):
    with pytest.raises(ConfigError, match="channels is 2, not 1 or 3"):
        run(replace(task, channels=2), QUICK, tmp_path / "run")


def test_missing_characters_stop_a_run_or_leave_their_lines_out(letters_lmdb, tmp_path):
    task = PretrainConfig(train=(str(letters_lmdb),), charset="digits", arch="lcnet_050")
    with pytest.raises(CharsetError, match=r"'x' \(U\+0078\) x 1, in 1 lines"):
        run(task, replace(QUICK, steps=2), tmp_path / "fail")
    prepared = []
    run(task, replace(QUICK, steps=2, unknown="skip"), tmp_path / "skip", on_start=prepared.append)
    assert prepared[0].sources.skipped == {str(letters_lmdb): 1}
    assert prepared[0].sources.lines == 3


def test_labels_longer_than_the_frames_are_counted_and_named(letters_lmdb, tmp_path):
    task = PretrainConfig(train=(str(letters_lmdb),), arch="lcnet_050")
    result = run(task, replace(QUICK, steps=4, augment=0), tmp_path / "run")
    assert result.unfit_lines > 0
    assert all("letters:3" in name for name in result.unfit_names)


def test_init_from_keeps_what_it_can(task, tmp_path, letters_lmdb):
    run(task, replace(QUICK, steps=1), tmp_path / "first")
    prepared = []
    again = replace(task, init_from=str(tmp_path / "first"), train=(str(letters_lmdb),), charset="from-data", val=())
    again = replace(again, height=48)
    run(again, replace(QUICK, steps=1), tmp_path / "second", on_start=prepared.append)
    assert prepared[0].transfer.kept == "123459"
    assert prepared[0].transfer.new == "x"
    assert prepared[0].notes[0].startswith("lines are 32 pixels high and grey, as ")
    assert load_model(tmp_path / "second").charset.symbols == "123459x"


def test_stop_requests_leave_other_threads_alone(task, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(task, replace(QUICK, steps=1), tmp_path / "run")))
    thread.start()
    thread.join()
    assert results[0].steps == 1


def test_lines_are_learned(digits_lmdb, tmp_path):
    """Digits in one font: the loss falls far, and reading begins."""
    task = PretrainConfig(train=(str(digits_lmdb),), val=(str(digits_lmdb),), arch="tinynet_plain")
    config = TrainConfig(
        steps=80, batch_size=8, workers=0, threads=1, eval_every=0, augment=0, learning_rate=5e-3, ema_decay=0.9
    )
    assert run(task, config, tmp_path / "run").best["cer"] < 0.3


@pytest.mark.slow
def test_compiled_steps_are_the_same_steps_and_few_programs_do_for_all_shapes(task, tmp_path, monkeypatch):
    programs = []

    def count(graph, inputs, **_options):
        programs.append(inputs)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=count))
    # So few steps, and no Adam, because both blow up rounding errors.
    config = replace(QUICK, steps=4, batch_size=3, ema_decay=0, optimizer="sgd")
    run(task, replace(config, compile=True), tmp_path / "compiled")
    assert 1 <= len(programs) <= 4  # batches of one line and of more have their own
    run(task, config, tmp_path / "plain")
    plain, compiled = (load_file(tmp_path / name / "last.safetensors") for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    for key, weight in plain.items():
        difference = (weight.float() - compiled[key].float()).abs().max()
        assert difference < 1e-3, f"{key}: {difference}"


@pytest.mark.slow
def test_what_the_real_compiler_makes_does_for_all_widths():
    """Its gradients of convolutions too: they are lowered by other rules than their values."""
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters["stats"]
    before = counters["unique_graphs"]

    class Net(nn.Sequential):
        @torch.autocast("cpu", torch.bfloat16)
        def forward(self, images):
            return super().forward(images)

    forward = _compiled(Net(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)))
    try:
        forward(torch.randn(4, 1, 16, 192))
    except ConfigError as error:
        pytest.skip(str(error))  # no compiler, or no headers of Python for it
    for width in (160, 224, 96, 320, 128):
        forward(torch.randn(4, 1, 16, width)).float().square().mean().backward()
    assert counters["unique_graphs"] - before <= 2


class NowAndThen(CtcObjective):
    """An objective whose loss is not a number in every third step."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, batch, output):
        self.asked += 1
        terms = super().forward(batch, output)
        return replace(terms, total=terms.total * (float("nan") if self.asked % 3 == 0 else 1.0))


def entries_of(out: Path) -> list[dict[str, float]]:
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    rows = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(row, parse_constant=refuse) for row in rows]


@pytest.mark.parametrize("log_every", [1, 2])
def test_a_step_without_a_finite_gradient_teaches_nothing(task, tmp_path, monkeypatch, log_every):
    monkeypatch.setattr("ocrcc.training.pretrain.CtcObjective", NowAndThen)
    result = run(task, replace(QUICK, steps=7, log_every=log_every), tmp_path / "run")
    assert (result.steps, result.lost_steps) == (7, 2)
    weights = load_file(tmp_path / "run" / "last.safetensors")
    assert all(torch.isfinite(value.float()).all() for value in weights.values())
    entries = entries_of(tmp_path / "run")
    assert [entry["step"] for entry in entries if "loss" not in entry] == ([3, 6] if log_every == 1 else [])


def test_images_that_are_no_numbers_leave_nothing_in_the_model(task, tmp_path, monkeypatch):
    def with_a_bad_one(*arguments, **options):
        for number, received in enumerate(training_batches(*arguments, **options)):
            if number == 2:
                received.batch.images[0, 0, 5, 5] = math.nan
            yield received

    monkeypatch.setattr("ocrcc.training.loop.training_batches", with_a_bad_one)
    result = run(task, replace(QUICK, steps=5, log_every=1, save_every=1), tmp_path / "run")
    assert (result.steps, result.lost_steps) == (5, 1)
    weights = load_file(tmp_path / "run" / "last.safetensors")
    assert all(torch.isfinite(value.float()).all() for value in weights.values())
    assert [entry["step"] for entry in entries_of(tmp_path / "run") if "loss" not in entry] == [3]


def test_a_stop_behind_a_first_step_that_was_lost_is_a_stop(task, tmp_path, monkeypatch):
    class Stopped(LostFrom):
        def forward(self, batch, output):
            os.kill(os.getpid(), signal.SIGTERM)
            return super().forward(batch, output)

    with monkeypatch.context() as lost:
        lost.setattr("ocrcc.training.pretrain.CtcObjective", lambda: Stopped(1, 1))
        with pytest.raises(StoppedError, match="stopped at step 1; everything is saved"):
            run(task, QUICK, tmp_path / "run")
    result = run(task, QUICK, tmp_path / "run", resume=True)
    assert (result.steps, result.lost_steps) == (12, 1)


def test_why_a_model_cannot_be_measured_is_told_behind_a_lost_step_too(task, tmp_path, monkeypatch):
    def fail(*_):
        raise ModelError("no class centers", "finetune makes them")

    monkeypatch.setattr("ocrcc.training.pretrain.CtcObjective", lambda: LostFrom(4, 1))
    monkeypatch.setattr("ocrcc.training.pretrain.measure", fail)
    with pytest.raises(ModelError, match=r"^no class centers; the loss is no longer finite at step 4") as raised:
        run(task, QUICK, tmp_path / "run")
    assert raised.value.hint == "finetune makes them"

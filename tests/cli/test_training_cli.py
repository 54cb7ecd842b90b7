"""pretrain, finetune and models as they are called."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest
from stored_lines import store_drawn
from typer.testing import CliRunner

from ocrcc.cli import app
from ocrcc.cli.options import _attribute_docs
from ocrcc.config import BuildConfig, EvaluateConfig, FinetuneConfig, PredictConfig, PretrainConfig, TrainConfig
from ocrcc.models.registry import MODELS

QUICK = ["--arch", "lcnet_050", "--batch-size", "4", "--workers", "0", "--threads", "1"]
QUICK += ["--eval-every", "2", "--log-every", "1"]


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    "config", [BuildConfig, EvaluateConfig, FinetuneConfig, PredictConfig, PretrainConfig, TrainConfig]
)
def test_every_setting_is_described(config):
    described = _attribute_docs(config)
    assert {field.name for field in fields(config)} == set(described)
    assert all(text.endswith(".") for text in described.values())


def test_models_lists_all_of_them():
    result = call("models")
    assert result.exit_code == 0
    assert len(MODELS) >= 10
    assert all(name[:12] in result.stdout for name in MODELS)
    assert "ocrcc-zh-small" in result.stdout


def test_pretrain_then_finetune(digits_lmdb, tmp_path, few_general_lines):
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    result = call("pretrain", "--train", digits_lmdb, "--val", digits_lmdb, "--steps", 2, "--out", base, *QUICK)
    assert result.exit_code == 0, result.stderr
    assert "2 steps in" in result.stdout
    assert "best at step 2: cer" in result.stdout
    assert "40 lines" in result.stderr
    rest = ["--train", digits_lmdb, "--steps", 2, "--out", tuned, "--init-lines", 10, *QUICK[2:]]
    result = call("finetune", "--pretrained", base, *rest)
    assert result.exit_code == 0, result.stderr
    assert "10 kept, 0 new, 0 dropped" in result.stderr
    assert (tuned / "last.safetensors").exists()


def test_a_run_that_trains_nothing_says_why_and_shows_no_figures(tmp_path, few_general_lines):
    few = store_drawn(tmp_path / "few.lmdb", ["0123"] * 3)
    result = call("finetune", "--train", few, "--out", tmp_path / "run", "--workers", 0, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "The pretrained model was kept: 1 line is too few" in " ".join(result.output.split())
    assert "before:" not in result.output


def test_a_runs_own_config_makes_another_run_and_flags_win(digits_lmdb, tmp_path):
    call("pretrain", "--train", digits_lmdb, "--steps", 1, "--seed", 7, "--out", tmp_path / "one", *QUICK)
    result = call("pretrain", "--config", tmp_path / "one" / "config.toml", "--out", tmp_path / "two", "--steps", 2)
    assert result.exit_code == 0, result.stderr
    settings = (tmp_path / "two" / "config.toml").read_text()
    assert "seed = 7" in settings
    assert "steps = 2" in settings


def test_resume_goes_on_with_the_runs_settings(digits_lmdb, tmp_path):
    call("pretrain", "--train", digits_lmdb, "--steps", 1, "--out", tmp_path / "run", *QUICK)
    result = call("pretrain", "--resume", tmp_path / "run", "--steps", 3)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("3 steps in")
    again = ["--resume", tmp_path / "run", "--train", digits_lmdb, "--steps", 4, *QUICK]
    assert call("pretrain", *again, "--seed", 0).stdout.startswith("4 steps in")
    result = call("pretrain", *again, "--seed", 5)
    assert result.exit_code == 2
    assert "seed is 5, and was 0" in " ".join(result.stderr.split())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_process_group_ends_a_run_with_everything_saved(digits_lmdb, tmp_path, number):
    """As a service manager or a terminal sends it: to the loading processes too."""
    run = subprocess.Popen(
        [sys.executable, "-m", "ocrcc", "pretrain", "--train", str(digits_lmdb), "--arch", "lcnet_050",
         "--out", str(tmp_path / "run"), "--minutes", "10", "--workers", "2", "--threads", "1", "--log-every", "1",
         "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    while run.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.2)
    os.killpg(run.pid, number)
    _, errors = run.communicate()
    assert run.returncode == 130, errors
    assert "everything is saved" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "run" / "last.safetensors").is_file()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("stepz = 3", "did you mean steps?"),
        ("zzzz = 3", "known: "),
        ("steps = ", "not TOML"),
        ('steps = "many"', "'--steps'"),
    ],
)
def test_a_wrong_config_is_a_usage_error(tmp_path, content, words):
    (tmp_path / "run.toml").write_text(content)
    result = call("pretrain", "--config", tmp_path / "run.toml", "--train", "x.lmdb")
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--steps", 1], 2, "nothing to train on"),
        (["--train", "nowhere.lmdb", "--steps", 1], 2, "no such dataset"),
        (["--train", "nowhere.lmdb"], 2, "exactly one of steps, epochs and minutes"),
        (["--train", "nowhere.lmdb", "--steps", 1, "--epochs", 1], 2, "exactly one of"),
        (["--train", "{data}", "--steps", 1, "--arch", "crn"], 4, "did you mean crnn?"),
        (["--train", "{data}", "--steps", 1, "--charset", "gb2313"], 3, "did you mean gb2312?"),
        (["--train", "{file}", "--steps", 1], 3, "no known label format"),
        (["--train", "{data}", "--steps", 1, "--mix", "0.5", "--mix", "0.5"], 2, "mix must give"),
        (["--train", "{data}", "--steps", 1, "--schedule", "nothing"], 2, "schedule"),
    ],
)
def test_mistakes_are_named_and_nothing_is_made(digits_lmdb, tmp_path, arguments, code, words):
    (tmp_path / "file").write_text("not a dataset")
    given = [str(argument).format(data=digits_lmdb, file=tmp_path / "file") for argument in arguments]
    result = call("pretrain", *given, "--out", tmp_path / "run", "--workers", 0)
    assert result.exit_code == code, result.stderr
    assert words in f"{result.stderr}"
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run" / "last.safetensors").exists()


def test_hostile_names_reach_the_terminal_harmless(tmp_path: Path):
    result = call("pretrain", "--train", "\x1b[31m[red]x.lmdb", "--steps", 1, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert "\\x1b[31m[red]x.lmdb" in result.stderr


@pytest.mark.parametrize(
    ("command", "start", "name"),
    [
        ("pretrain", "--init-from", "zh-small-1"),
        ("pretrain", "--init-from", "zh-small-2"),
        ("finetune", "--pretrained", "zh-small-3"),
        ("pretrain", "--init-from", "zh-small-4"),
        ("pretrain", "--init-from", "zh-small-5"),
        ("pretrain", "--init-from", "zh-small-6"),
        ("pretrain", "--init-from", "zh-small-7"),
        ("pretrain", "--init-from", "zh-small-8"),
        ("pretrain", "--init-from", "zh-small-9"),
        ("finetune", "--pretrained", "zh-small-10"),
    ],
)
def test_shipped_recipes_are_settings_of_their_command(command, start, name, tmp_path):
    """Up to the first thing that a bare machine lacks: every option is known and has its type."""
    result = call(command, "--config", name, start, tmp_path / "no-model", "--out", tmp_path / "run")
    assert result.exit_code == 4, result.stderr
    assert "no-model" in result.stderr


def test_what_holds_for_a_whole_recipe_holds_for_its_parts(tmp_path):
    result = call("pretrain", "--config", "zh-small-2", "--help")
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    for option, value in (("--batch-size", "64"), ("--minutes", "50"), ("--precision", "bf16"), ("--seed", "3")):
        assert re.search(rf"{option} [^\[]*\[default: {value}\]", said)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("zh-small", "zh-small-1, zh-small-2"),
        ("zh-small-99", "zh-small-1, zh-small-2"),
        ("zh-small-1-unknown", "TOML"),
        ("unknown-1", "TOML"),
    ],
)
def test_an_unknown_recipe_is_a_usage_error(name, words):
    result = call("pretrain", "--config", name)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seed", "-1"), ("--seed", "99999999999"), ("--learning-rate", "nan"), ("--mix", "nan"), ("--augment", "-1")],
)
def test_a_number_that_cannot_be_is_named_before_anything_is_made(digits_lmdb, tmp_path, option, value):
    result = call("pretrain", "--train", digits_lmdb, "--steps", 1, option, value, "--out", tmp_path / "run", *QUICK)
    assert result.exit_code == 2, result.output
    assert f"{option[2:].replace('-', '_')} is {float(value) if option != '--seed' else value}, not " in result.stderr
    assert not (tmp_path / "run").exists()

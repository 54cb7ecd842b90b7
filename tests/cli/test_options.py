from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ocrcc.cli import app, print_error
from ocrcc.errors import StoppedError


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(["pretrain", "--lr", "1e-3"], "--learning-rate"), (["predict", "x.png", "--bs=4"], "--batch-size")],
)
def test_initials_of_an_option_name_it(arguments, meant):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert f"no such option: {arguments[-1].partition('=')[0] if '=' in arguments[-1] else '--lr'}" in result.stderr
    assert f"did you mean {meant}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["synth", "x.lmdb", "--count"], "--count: count is 99999999999999999999, not 2147483647 or less"),
        (["synth", "x.lmdb", "-n", "1", "--seed"], "--seed: seed is 99999999999999999999, not 4294967295 or less"),
        (["unpack", "x.lmdb", "y", "--limit"], "--limit: limit is 99999999999999999999, not 2147483647 or less"),
        (["eval", "m", "-d", "x", "--workers"], "--workers: workers is 99999999999999999999, not 1024 or less"),
    ],
)
def test_a_whole_number_without_end_is_an_error_in_every_command(arguments, words):
    result = CliRunner().invoke(app, [*arguments, "9" * 20])
    assert (result.exit_code, result.stderr) == (2, f"error: {words}\n")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["predict", "--model", "", "a.png"], "--model"),
        (["finetune", "--train", "a.lmdb", "--pretrained", ""], "--pretrained"),
        (["eval", "a.safetensors", "-d", "a.lmdb", "--compare", ""], "--compare"),
        (["eval", "", "-d", "a.lmdb"], "MODEL"),
    ],
)
def test_a_model_whose_name_is_empty_is_not_the_default(arguments, option):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stderr == f"error: {option} is empty\nhint: is a variable of the shell not set?\n"


def test_what_stands_behind_two_dashes_is_no_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["build-lmdb", "--", "--bs", "out.lmdb"])
    assert "--bs: no such file" in result.stderr


def test_stopping_is_no_error(capsys):
    print_error(StoppedError("stopped at step 3", "go on: --resume run"))
    assert capsys.readouterr().err == "stopped at step 3\nhint: go on: --resume run\n"


@pytest.mark.parametrize("error", [AttributeError("half of a module"), ModuleNotFoundError(name="triton")])
def test_what_a_library_makes_of_ctrl_c_is_ctrl_c(monkeypatch, error):
    def interrupted():
        raise error

    monkeypatch.setattr("ocrcc.cli.commands.models.command", interrupted)
    monkeypatch.setattr("ocrcc.cli._interrupted", True)
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 130
    assert "error" not in result.stderr
    monkeypatch.setattr("ocrcc.cli._interrupted", False)
    assert CliRunner().invoke(app, ["models"]).exit_code in (1, 2)

"""What each command's help says, what is completed, and that both hold."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from typing import get_args

import pytest
import typer
from typer.testing import CliRunner

from ocrcc import packaged
from ocrcc.cli import _COMMANDS, app
from ocrcc.cli.command import group_of
from ocrcc.cli.completion import completion
from ocrcc.config.setting import GROUPS
from ocrcc.labels.lines import Format

SHORT = {
    "-o": "--out",
    "-m": "--model",
    "-d": "--data",
    "-t": "--train",
    "-f": "--format",
    "-b": "--batch-size",
    "-j": "--workers",
    "-n": "--count",
    "-c": "--config",
}


def command(name):
    """The command as the command line has it, once it is imported."""
    group = typer.main.get_command(app)
    context = typer.Context(group)
    return group.resolve_command(context, [name])[1]


def options(name):
    one = command(name)
    shown = one.get_params(typer.Context(one))
    return [param for param in shown if param.param_type_name == "option" and not param.hidden]


def helped(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", _COMMANDS)
def test_every_option_says_what_it_does_and_stands_in_a_group(name):
    text = helped(name)
    for option in options(name):
        assert option.help, option.opts
        assert group_of(option) in GROUPS, option.opts
        if option.opts != ["--help"]:
            assert getattr(option, "rich_help_panel", None), f"{option.opts}: in no group"
        assert option.opts[-1] in text.partition(f"\n{group_of(option)}:\n")[2].partition("\n\n")[0]


@pytest.mark.parametrize("name", _COMMANDS)
def test_values_have_names_that_say_what_they_are(name):
    text = helped(name).partition("Examples:")[0]
    assert not re.search(r"TEXT|INTEGER|FLOAT|<(?!TAB)[\w\[\]]+>", text), text
    assert "{" not in text.partition("\n\n")[0]


@pytest.mark.parametrize("name", _COMMANDS)
def test_a_short_option_means_the_same_in_all_commands(name):
    for option in options(name):
        long = next(opt for opt in option.opts if opt.startswith("--"))
        short = [opt for opt in option.opts if not opt.startswith("--") and opt != "-h"]
        assert short == [letter for letter, meant in SHORT.items() if meant == long]


@pytest.mark.parametrize("name", _COMMANDS)
def test_examples_are_shown_as_they_are_typed_and_can_be_typed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "base").mkdir(parents=True)
    (tmp_path / "runs" / "mine").mkdir()
    for run in ("base", "mine"):
        (tmp_path / "runs" / run / "config.toml").write_text("train = ['train.lmdb']\n")
    examples = helped(name).partition("\nExamples:\n")[2].splitlines()
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["ocrcc", name]
        one = command(name)
        with one.make_context(name, words[2:]) as context:
            assert not context.args


def test_a_setting_can_be_turned_off():
    one = command("finetune")
    for given, expected in (([], True), (["--guard"], True), (["--no-guard"], False)):
        assert one.make_context("finetune", given).params["guard"] is expected


def test_the_help_of_build_lmdb_names_every_format():
    said = " ".join(helped("build-lmdb").partition("--format FORMAT")[2].partition(" --")[0].split())
    for name in get_args(Format):
        assert re.search(rf"\b{name}\b", said), name


def completed(line, word=None):
    words = line.split(" ")
    environment = os.environ | {
        "_OCRCC_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = (
        "import sys; from ocrcc.cli import app\n"
        "try: app(prog_name='ocrcc')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'numpy', 'lmdb', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_names_without_anything_heavy():
    assert completed("ocrcc fine") == ["finetune"]
    assert completed("ocrcc pretrain --lear") == ["--learning-rate"]
    assert completed("ocrcc pretrain --arch lcnet_") == ["lcnet_050", "lcnet_100"]
    assert completed("ocrcc predict x.png -m ocr") == packaged.names("models", ".safetensors")
    assert completed("ocrcc eval ocr") == packaged.names("models", ".safetensors")
    assert completed("ocrcc pretrain --lr 3 --charset gb") == ["gb18030-l1", "gb2312"]
    assert completed("ocrcc build-lmdb -f lab") == ["labelme", "labelstudio"]
    assert "documents" in completed("ocrcc synth --preset ")


def test_what_completes_architectures_are_the_registered_ones():
    models = import_module("ocrcc.models.registry").MODELS
    shipped = {name: spec.description for name, spec in models.items() if not spec.graph}
    assert dict(completion("ARCH")("")) == shipped
    assert dict(completion("GROUPS")("")) == dict.fromkeys(packaged.names("lookalikes", ".tsv"), "")

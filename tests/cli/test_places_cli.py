"""No command replaces what it has not made, and each says so in a sentence."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ocrcc.cli import app

THESIS = "years of work\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["synth", "@", "--force", "--count", "2"],
        ["synth", "new.lmdb", "--count", "2", "--preview", "@"],
        ["charset", "ascii", "--out", "@"],
        ["lookalikes", "@"],
        ["eval", "ocrcc-zh-small", "--data", "d.lmdb", "--json", "@"],
        ["eval", "ocrcc-zh-small", "--data", "d.lmdb", "--report", "@"],
        ["eval", "ocrcc-zh-small", "--data", "d.lmdb", "--failures", "@"],
        ["calibrate", "ocrcc-zh-small", "--data", "d.lmdb", "--out", "@.safetensors"],
        ["predict", "line.png", "--review", "@"],
        ["export", "ocrcc-zh-small", "@.onnx"],
        ["export", "ocrcc-zh-small", "@.safetensors"],
        ["project", "--png", "@.png"],
        ["project", "--html", "@"],
        ["project", "--suspects", "@"],
        ["project", "--logdir", "@"],
        ["pretrain", "--train", "synth:clean", "--charset", "digits", "--steps", "1", "--out", "@"],
        ["unpack", "d.lmdb", "@"],
        ["demo", "--out", "@"],
        ["samples", "@"],
    ],
    ids=" ".join,
)
def test_a_thesis_stays(arguments, tmp_path, digits_lmdb, monkeypatch):
    tmp_path = tmp_path / "work"
    tmp_path.mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.lmdb").symlink_to(digits_lmdb)
    theses = [tmp_path / f"thesis{suffix}" for suffix in ("", ".onnx", ".safetensors", ".png")]
    for thesis in theses:
        thesis.write_text(THESIS)
    given = [word.replace("@", "thesis") for word in arguments]
    done = CliRunner().invoke(app, given)
    assert done.exit_code in (2, 3), done.stderr
    assert done.stderr.splitlines()[-2].startswith("error: thesis"), done.stderr
    assert [thesis.read_text() for thesis in theses] == [THESIS] * 4
    assert {path.name for path in tmp_path.iterdir()} - {"new.lmdb"} == {"d.lmdb", *(path.name for path in theses)}


@pytest.mark.parametrize("name", ["config.toml", "best.safetensors", "metrics.jsonl"])
def test_a_run_starts_beside_nobodys_files(name, tmp_path):
    (tmp_path / name).write_text(THESIS)
    command = ["pretrain", "--train", "synth:clean", "--charset", "digits", "--steps", "1", "--out", str(tmp_path)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == THESIS

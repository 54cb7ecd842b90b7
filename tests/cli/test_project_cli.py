from __future__ import annotations

import pytest
from drawn_lines import draw_line, png
from typer.testing import CliRunner
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.cli import app
from ocrcc.data.lmdb_writer import LmdbWriter


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_wild_model(tmp_path_factory.mktemp("model") / "wild.safetensors", charset=Charset("0123456789"))


def run(*arguments):
    return CliRunner().invoke(app, ["project", *map(str, arguments), "--workers", "0", "--threads", "1"])


def test_everything_at_once(model, digits_lmdb, tmp_path):
    result = run(
        *("--model", model, "--data", digits_lmdb, "--chars", "38", "--chars", "017", "--logdir", tmp_path / "log x"),
        *("--png", tmp_path / "p.png", "--html", tmp_path / "p.html", "--disputed", tmp_path / "s.tsv"),
        *("--suspect-posterior", "0", "--no-suspect-crops"),
    )
    assert result.exit_code == 0, result.stderr
    assert "3 " in result.stdout
    assert "wild: nearest own" in result.stdout
    assert "labels that the model disputes, among" in result.stdout
    assert f"tensorboard --logdir '{tmp_path / 'log x'}'" in result.stderr
    assert "the model has no centers" in result.stderr
    for name in ("log x/projector_config.pbtxt", "p.png", "p.html", "s.tsv"):
        assert (tmp_path / name).is_file()


def test_what_is_missing_is_named(model, digits_lmdb, tmp_path):
    result = run("--model", model, "--data", digits_lmdb, "--chars", "3己", "--logdir", tmp_path / "log")
    assert result.exit_code == 0
    assert "charset 'custom' lacks '己' (U+5DF1)" in result.stderr
    result = run("--model", model, "--data", digits_lmdb, "--chars", "己", "--logdir", tmp_path / "log")
    assert result.exit_code == 3


def test_unreadable_images_are_named_and_change_the_exit_code(model, tmp_path):
    path = tmp_path / "odd.lmdb"
    with LmdbWriter(path) as writer:
        writer.add(png(draw_line("35")), "35", source="fine", size=(60, 32))
        writer.add(b"broken", "35", source="[bold]\x1b[31mbroken", size=(60, 32))
    result = run("--model", model, "--data", path, "--logdir", tmp_path / "log")
    assert result.exit_code == 1
    assert "[bold]\\x1b[31mbroken" in result.stderr
    assert (tmp_path / "log" / "projector_config.pbtxt").is_file()


def test_wrong_use(model, digits_lmdb, tmp_path):
    assert run("--model", model, "--data", digits_lmdb).exit_code == 2
    assert run("--model", tmp_path / "none", "--data", digits_lmdb, "--logdir", tmp_path / "log").exit_code == 4
    result = run("--model", model, "--logdir", tmp_path / "log", "--max-points", "1")
    assert result.exit_code == 2
    assert "max_points" in result.stderr

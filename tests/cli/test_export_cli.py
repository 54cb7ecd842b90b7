from __future__ import annotations

import re

import pytest
from drawn_lines import draw_line
from typer.testing import CliRunner
from wild import random_lines

from ocrcc.cli import app

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_export_then_predict_and_eval(wild_model, tmp_path, digits_lmdb):
    out = tmp_path / "out.onnx"
    result = run("export", wild_model, out, "--samples", "8", "--rendered", "0", "--data", digits_lmdb)
    assert result.exit_code == 0, result.stderr
    assert "9 lines, 100.00%" in result.stdout
    assert "9 of the package, 0 rendered" in result.stdout
    assert re.search(r"model .* 40 ", result.stdout)
    assert re.search(r"file .* 40 ", result.stdout)
    (tmp_path / "lines").mkdir()
    for number, text in enumerate(random_lines(12)):
        draw_line(text).save(tmp_path / "lines" / f"{number:02d}.png")
    by_torch, by_onnx, by_default = (
        run("predict", tmp_path / "lines", "--model", path, *options)
        for path, options in (
            (wild_model, ["--engine", "torch"]),
            (out, ["--engine", "onnx", "--threads", "1"]),
            (out, []),
        )
    )
    assert by_torch.exit_code == 0
    assert by_torch.stdout.count("\n") == 12
    assert by_onnx.stdout == by_default.stdout == by_torch.stdout
    assert run("eval", out, "--data", digits_lmdb, "--workers", "0").exit_code == 0


def test_rendered_lines_join_the_check_where_there_are_fonts(wild_model, tmp_path):
    result = run("export", wild_model, tmp_path / "out.onnx", "--samples", "2", "--rendered", "3")
    assert result.exit_code == 0, result.stderr
    assert re.search(r"(6 lines: 3 of the package, 3|3 lines: 3 of the package, 0) rendered", result.stdout)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--agreement", "1", "--int8"], 4, "--agreement"),
        (["--samples", "0", "--rendered", "0"], 2, "samples"),
        (["--agreement", "2"], 2, "agreement"),
    ],
)
def test_failures_are_explained_and_leave_no_file(wild_model, tmp_path, options, code, message):
    result = run("export", wild_model, tmp_path / "out.onnx", "--rendered", "0", *options)
    assert result.exit_code == code
    assert "error: " in result.stderr
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_cannot_read_the_file_is_a_usage_error(wild_model, tmp_path):
    draw_line("1").save(tmp_path / "one.png")
    result = run("predict", tmp_path / "one.png", "--model", wild_model, "--engine", "onnx")
    assert result.exit_code == 2
    assert f"ocrcc export {wild_model}" in result.stderr

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ocrcc.cli import app

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from foreign import foreign  # noqa: E402


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_import_proves_itself_on_lines_and_then_reads(tmp_path, digits_lmdb):
    path, out = foreign(tmp_path / "foreign.onnx"), tmp_path / "model.safetensors"
    done = run("import", path, "--out", out, "--data", digits_lmdb)
    assert done.exit_code == 0, done.stderr
    assert "41 of 41 readings" in done.stdout
    assert "40 lines of digits.lmdb" in done.stdout
    assert f"{out} reads all of 41 lines as ONNX Runtime reads {path}." in done.stdout.replace("\n", " ")
    evaluated = run("eval", out, "--compare", path, "--data", digits_lmdb, "--workers", "0")
    assert evaluated.exit_code == 0, evaluated.stderr
    assert "0 lines fixed, 0 broken" in evaluated.stdout


def test_what_the_file_does_not_say_is_asked_for(tmp_path, digits_lmdb):
    (tmp_path / "chars.txt").write_text("\n".join("0123456789 "))
    path = foreign(tmp_path / "bare.onnx", character=False)
    out = tmp_path / "model.safetensors"
    refused = run("import", path, "--out", out, "--data", digits_lmdb)
    assert refused.exit_code == 3
    assert "--charset" in refused.stderr
    assert not out.exists()
    given = ["--charset", tmp_path / "chars.txt", "--colour", "rgb", "--mean", "0.4", "--mean", "0.5", "--mean", "0.6"]
    done = run("import", path, "--out", out, "--data", digits_lmdb, *given, "--std", "0.2", "--blank", "first")
    assert done.exit_code == 0, done.stderr
    from ocrcc.models.checkpoint import load_model

    found = load_model(out, device="cpu")
    assert found.charset.symbols == "0123456789 "
    assert (found.preprocessing.mean, found.preprocessing.std) == ((0.4, 0.5, 0.6), 0.2)
    assert found.preprocessing.colour_order == "rgb"


def test_what_the_file_says_itself_is_not_given_beside(tmp_path, digits_lmdb):
    given_back = tmp_path / "back.onnx"
    imported = run(
        "import", foreign(tmp_path / "foreign.onnx"), "--out", tmp_path / "in.safetensors", "-d", digits_lmdb
    )
    assert imported.exit_code == 0, imported.stderr
    assert run("export", tmp_path / "in.safetensors", given_back).exit_code == 0
    out = tmp_path / "model.safetensors"
    refused = run("import", given_back, "--out", out, "--charset", "ascii", "--min-width", "100")
    assert refused.exit_code == 2
    assert refused.stderr == (
        f"error: {given_back}: says its charset and min_width itself\nhint: leave --charset and --min-width out\n"
    )
    assert not out.exists()


@pytest.mark.parametrize(
    ("chars", "words"),
    [
        ("0\n1\n2\n2\n3\n4\n5\n6\n7\n8\n9\n", "line 4: '2' (U+0032) stands already in line 3"),
        ("0\n1\n\n2\n3\n4\n5\n6\n7\n8\n9\n", "line 3: empty"),
        ("0\n1\nab\n2\n3\n4\n5\n6\n7\n8\n9\n", "line 3: 'ab' is 2 characters"),
    ],
)
def test_no_class_is_left_out_of_a_charset_file(tmp_path, digits_lmdb, chars, words):
    """Ten are left of eleven, and with a space for the last class they would fit: all behind it named wrongly."""
    (tmp_path / "chars.txt").write_text(chars)
    path, out = foreign(tmp_path / "bare.onnx", character=False), tmp_path / "model.safetensors"
    refused = run("import", path, "--out", out, "--data", digits_lmdb, "--charset", tmp_path / "chars.txt")
    assert refused.exit_code == 3
    assert words in " ".join(refused.stderr.split())
    assert not out.exists()


def test_empty_lines_at_the_end_of_a_charset_file_are_no_classes(tmp_path, digits_lmdb):
    (tmp_path / "chars.txt").write_text("\n".join("0123456789 ") + "\r\n\n")
    path, out = foreign(tmp_path / "bare.onnx", character=False), tmp_path / "model.safetensors"
    done = run("import", path, "--out", out, "--data", digits_lmdb, "--charset", tmp_path / "chars.txt")
    assert done.exit_code == 0, done.stderr


def test_what_reads_otherwise_is_not_saved(tmp_path, digits_lmdb, monkeypatch):
    from ocrcc.graphs import operations

    path, out = foreign(tmp_path / "foreign.onnx"), tmp_path / "model.safetensors"
    monkeypatch.setitem(operations.OPERATIONS, "Relu", lambda _a, x: x.clamp(min=-0.05))
    refused = run("import", path, "--out", out, "--data", digits_lmdb)
    assert refused.exit_code == 4
    assert "not written, since its logits differ" in refused.stderr
    assert not out.exists()


def test_a_model_of_ours_and_a_wrong_name_are_refused(tmp_path):
    assert "a model of ocrcc already" in run("import", "ocrcc-zh-small", "--out", tmp_path / "m.safetensors").stderr
    assert "ends in .safetensors" in run("import", "ocrcc-zh-small", "--out", tmp_path / "m.onnx").stderr
    assert not list(Path(tmp_path).iterdir())


def test_without_transformers_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"model_type": "pp_ocrv6_small_rec", "head_out_channels": 12, '
                                          '"backbone_config": {"model_type": "pp_lcnet_v4"}}')  # fmt: skip
    import torch
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, str(tmp_path / "model.safetensors"))
    monkeypatch.setitem(sys.modules, "transformers", None)
    refused = run("import", tmp_path, "--out", tmp_path / "m.safetensors")
    assert refused.exit_code == 2
    assert 'pip install "ocrcc[transformers]"' in refused.stderr

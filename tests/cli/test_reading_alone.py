"""The small installation: what reading needs is in one list, and nothing else is asked for."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ocrcc.cli import app

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = {
    "fonttools": "fontTools",
    "huggingface-hub": "huggingface_hub",
    "pillow": "PIL",
    "python-bidi": "bidi",
}
"""How packages are imported that are not called so."""


def listed():
    lines = (ROOT / "requirements-reading.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["dependencies"], project["optional-dependencies"]["onnx"]


def test_the_list_asks_for_what_the_project_asks_for():
    needed, onnx = declared()
    assert set(listed()) <= {*needed, *onnx}


def test_lines_are_read_with_what_is_listed_alone(tmp_path):
    pytest.importorskip("onnxruntime")
    needed, onnx = declared()
    others = [one.partition(">")[0] for one in (*needed, *onnx) if one not in listed()]
    assert "torch" in others
    code = (
        "import sys; others, *arguments = sys.argv[1:]\n"
        "sys.modules |= dict.fromkeys(others.split(','))\n"
        "from ocrcc.cli import app; app(arguments)"
    )
    lines = ROOT / "assets" / "samples" / "images"
    image = next(path for path in sorted(lines.iterdir()) if path.suffix == ".png")
    blocked = ",".join(MODULES.get(one, one) for one in others)
    out = tmp_path / "read.json"
    command = [sys.executable, "-c", code, blocked, "predict", str(image), "--pattern", ".*", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"margin"' in out.read_text(encoding="utf-8")


def test_what_needs_torch_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("ocrcc.tuning")]:
        monkeypatch.delitem(sys.modules, name)
    result = CliRunner().invoke(app, ["finetune", "--train", "labels.txt"])
    assert result.exit_code == 2
    assert "error: finetune needs the package torch" in result.output
    assert "hint: pip install ocrcc" in result.output

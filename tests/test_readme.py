"""The README's commands, run as they stand, but for minutes of training that become a few steps."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(marker: str) -> list[str]:
    """Code blocks that follow a comment, with continued lines joined."""
    found = re.findall(rf"<!-- {marker} -->\n```bash\n(.*?)```", README, flags=re.DOTALL)
    return [block.replace("\\\n", " ") for block in found]


def run(command: str, folder: Path) -> str:
    """Run a line of shell with this Python's ocrcc."""
    command = re.sub(r"--minutes \S+", "--steps 3 --workers 0 --threads 1", command)
    command = re.sub(r"\bocrcc (?=[a-z])", f"{shlex.quote(sys.executable)} -m ocrcc ", command)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_two_set_up_commands_are_there():
    assert blocks("the main job") == ["pip install . && ocrcc demo\n"]
    assert blocks("the tests") == ['pip install ".[test]" && pytest\n']


def test_the_steps_run_one_after_the_other(tmp_path):
    lines = [line for block in blocks("run") for line in block.splitlines() if line.startswith(("ocrcc", "ls"))]
    assert len(lines) >= 9
    assert lines[0].split()[:2] == ["ocrcc", "samples"]  # so that all of them run from a bare install
    output = {line: run(line, tmp_path) for line in lines}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"base", "center", "control", "projector"}
    assert {"before.json", "lookalikes.png", "lookalikes.html", "disputed.tsv"} <= {
        path.name for path in tmp_path.iterdir()
    }
    predicted = next(text for line, text in output.items() if "--format json" in line)
    assert predicted.count("\n") > 100


def test_the_demo_runs(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "ocrcc", "demo", "--steps", "3"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("$ ocrcc ") == 6
    assert (tmp_path / "ocrcc-demo" / "run" / "best.safetensors").exists()
    assert (tmp_path / "ocrcc-demo" / "lookalikes.png").stat().st_size > 10_000

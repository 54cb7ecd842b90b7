"""The README's commands, run as they stand, but for minutes of training that become a few steps."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from benchmarks import figures
from typer.testing import CliRunner
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.cli import app
from ocrcc.cli.commands import demo

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


GUIDES = sorted((ROOT / "assets" / "guides").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *GUIDES]


def blocks(marker: str, text: str = README) -> list[str]:
    """Code blocks that follow a comment, with continued lines joined."""
    found = re.findall(rf"<!-- {marker} -->\n```bash\n(.*?)```", text, flags=re.DOTALL)
    return [block.replace("\\\n", " ") for block in found]


def commands(text: str) -> list[str]:
    """Lines of all code blocks of shell, without remarks."""
    shell = "".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))
    return [re.sub(r"\s+#.*", "", line) for line in shell.splitlines()]


def run(command: str) -> str:
    """Run a line with this Python's ocrcc: by a shell if it takes one, else here, where torch is imported already."""
    command = re.sub(r"--(minutes|steps) \S+", "--steps 2 --batch-size 8 --workers 0 --threads 1", command)
    words = shlex.split(command, comments=True)
    if words[0] == "ocrcc" and "|" not in words:
        told = CliRunner().invoke(app, words[1:])
        assert told.exit_code == 0, f"{command}\n{told.output}"
        return told.stdout
    command = re.sub(r"\bocrcc (?=[a-z])", f"{shlex.quote(sys.executable)} -m ocrcc ", command)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_two_set_up_commands_are_there():
    assert blocks("the main job") == ["pip install . && ocrcc demo\n"]
    assert blocks("the tests") == ['pip install ".[test]" && pytest -n auto --dist worksteal\n']


def test_both_languages_give_the_same_commands():
    assert commands((ROOT / "README.zh-CN.md").read_text(encoding="utf-8")) == commands(README)


@pytest.mark.parametrize("page", figures.PAGES, ids=lambda page: page.name)
def test_the_figures_beside_other_readers_are_those_that_were_measured(page):
    text = page.read_text(encoding="utf-8")
    assert "<!-- figures: " in text
    assert figures.filled(text) == text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = target.partition("#")
        linked = page.parent / name
        assert linked.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)", linked.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", said.lower()).replace(" ", "-") for said in headings}, target


def keep_some(samples: Path) -> str:
    """Leave 60 samples of 500: all commands are as they were, and have less to do. Returns their texts."""
    labels = samples / "labels.txt"
    rows = labels.read_text(encoding="utf-8").splitlines(keepends=True)
    for row in rows[60:]:
        (samples / row.partition("\t")[0]).unlink()
    labels.write_text("".join(rows[:60]), encoding="utf-8")
    return "".join(row.partition("\t")[2].rstrip("\n") for row in rows[:60])


@pytest.mark.slow
def test_the_steps_run_one_after_the_other(tmp_path, monkeypatch, few_general_lines):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OCRCC_MODEL", raising=False)
    texts = [README, *(guide.read_text(encoding="utf-8") for guide in GUIDES)]
    told = [block for text in texts for block in blocks("run", text)]
    lines = [line for block in told for line in block.splitlines() if line.startswith(("ocrcc", "ls"))]
    assert len(lines) >= 9
    assert lines[0].split()[:2] == ["ocrcc", "samples"]  # so that all of them run from a bare install
    output = {lines[0]: run(lines[0])}
    keep_some(tmp_path / "samples")
    output |= {line: run(line) for line in lines[1:]}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"base", "mine", "control", "projector"}
    assert {"before.json", "lookalikes.png", "lookalikes.html", "disputed.tsv"} <= {
        path.name for path in tmp_path.iterdir()
    }
    predicted = next(text for line, text in output.items() if "--format json" in line)
    assert predicted.count("\n") > 50


@pytest.mark.slow
def test_the_demo_runs(tmp_path, monkeypatch, few_general_lines):
    """With a small model: what these commands make of the shipped one is seen where those of the README run."""
    monkeypatch.chdir(tmp_path)
    samples = shutil.copytree(ROOT / "assets" / "samples", tmp_path / "assets" / "samples")
    small = save_wild_model(tmp_path / "small.safetensors", charset=Charset("".join(sorted(set(keep_some(samples))))))
    monkeypatch.setattr(demo, "packaged", SimpleNamespace(ASSETS=samples.parent))
    monkeypatch.setattr(demo, "DEFAULT_MODEL", str(small))
    done = CliRunner().invoke(app, ["demo", "--steps", "2"])
    assert done.exit_code == 0, done.stderr
    assert done.stderr.count("$ ocrcc ") == 6
    assert (tmp_path / "ocrcc-demo" / "run" / "best.safetensors").exists()
    assert (tmp_path / "ocrcc-demo" / "lookalikes.png").stat().st_size > 10_000
    assert (tmp_path / "ocrcc-demo" / "mended.png").stat().st_size > 1_000

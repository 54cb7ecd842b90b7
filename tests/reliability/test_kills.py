"""Commands that write are ended at random moments, alone or with their group: nothing lost, torn, hung or left running.

As a module, ``python test_kills.py 100 7`` ends so many with a seed and prints how.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from drawn_lines import draw_line, png
from long import times
from safetensors.torch import load_file
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.models.contract import read_metadata
from ocrcc.places import claimed
from ocrcc.processes import cores

LINES = 1100  # more than are verified without workers
TRAINING = ("--arch", "lcnet_050", "--steps", "30", "--save-every", "4", "--log-every", "1", "--batch-size", "4",
            "--workers", "2", "--threads", "1", "--seed", "5")  # fmt: skip
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="of Unix")


def make_place(folder: Path) -> Path:
    """A dataset that says old, and labels that say new."""
    folder.mkdir()
    image = png(draw_line("1"))
    with LmdbWriter(folder / "a.lmdb") as writer:
        for _ in range(30):
            writer.add(image, "old", source="x", size=draw_line("1").size)
    shutil.copytree(folder / "a.lmdb", folder / "in.lmdb")
    (folder / "labels").mkdir()
    for number in range(40):
        (folder / "labels" / f"{number}.png").write_bytes(png(draw_line(str(number))))
    save_wild_model(folder / "wild.safetensors", charset=Charset("0123456789"))
    rows = "".join(f"{number % 40}.png\tnew\n" for number in range(LINES))
    (folder / "labels" / "labels.txt").write_text(rows)
    return folder


def commands(place: Path) -> dict[str, list[str]]:
    out, labels = str(place / "a.lmdb"), str(place / "labels" / "labels.txt")
    found = {
        "build-lmdb": ["build-lmdb", labels, out, "--force", "--workers", "2"],
        "build-lmdb, two": ["build-lmdb", labels, out, "--force", "--workers", "2", "--val-fraction", "0.3"],
        "unpack": ["unpack", str(place / "in.lmdb"), str(place / "unpacked")],
    }
    if shutil.which("fc-list"):
        found["synth"] = ["synth", out, "--force", "--count", "300", "--workers", "2", "--charset", "digits"]
    found["pretrain"] = ["pretrain", "--train", str(place / "in.lmdb"), "--out", str(place / "run"), *TRAINING]
    model = str(place / "wild.safetensors")
    found["export"] = ["export", model, str(place / "m.safetensors"), "--rendered", "0"]
    if find_spec("onnxruntime") and find_spec("onnx"):
        found["export, ONNX"] = ["export", model, str(place / "m.onnx"), "--rendered", "0"]
    return found


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ocrcc", *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True, preexec_fn=_hear_ctrl_c,
    )  # fmt: skip


def _hear_ctrl_c() -> None:
    """Undo what shells do to programs in the background, which are deaf to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_whole(arguments: list[str]) -> float:
    """Let a command come to its end; say how long it took."""
    begun = time.monotonic()
    run = start(arguments)
    _, err = run.communicate(timeout=600)
    assert run.returncode == 0, err
    return time.monotonic() - begun


def end(run: subprocess.Popen[str], number: int, *, group: bool) -> str:
    """Send a signal; return what it says. Everybody is gone five seconds after it is."""
    with suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(run.pid, number)
    _, err = run.communicate(timeout=300)
    for _ in range(50):
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return err
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    raise AssertionError(f"a process is left after {signal.Signals(number).name}: {err}")


def check(place: Path, name: str, err: str, whole: Path) -> str:
    """Make sure that what was there stands, or what was to come; say which."""
    if "from ocrcc.cli import main" not in err:  # Ctrl-C while Python itself starts is Python's to tell
        assert "Traceback" not in err, err
    if name == "pretrain":
        return check_run(place, whole)
    if name.startswith("export"):
        return check_export(place / ("m.onnx" if "ONNX" in name else "m.safetensors"), whole)
    data = LmdbDataset(place / "a.lmdb")
    words = {data.label(index) for index in range(len(data))}
    data.line(len(data) - 1)
    assert len(data) == 30 if words == {"old"} else len(data) > 0 and "old" not in words, (name, len(data), words)
    unpacked = place / "unpacked"
    if unpacked.exists():
        assert len((unpacked / "labels.txt").read_text().splitlines()) == 30
        assert len(list((unpacked / "images").iterdir())) == 30
    with LmdbWriter(place / "a.lmdb", overwrite=True) as writer:  # whoever writes next clears up
        writer.add(png(draw_line("2")), "next", source="x", size=(8, 32))
    left = {path.name for path in place.iterdir() if path.name.startswith(".a.lmdb")}
    assert not left, (name, left)
    return "old" if words == {"old"} else "new"


def check_run(place: Path, whole: Path) -> str:
    """Go on with a run, by the way that is open; it ends with the very weights of one that nobody ended."""
    out = place / "run"
    begun = (out / "state.pt").exists()
    done = (out / "last.safetensors").exists() and _step_of(out) == 30
    run_whole(["pretrain", "--resume", str(out)] if begun else commands(place)["pretrain"])
    ours, straight = (load_file(folder / "run" / "last.safetensors") for folder in (place, whole))
    assert all(torch.equal(ours[name], straight[name]) for name in straight)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 31)]
    assert not list(out.glob(".*")), list(out.glob(".*"))
    return "done" if done else "resumed" if begun else "started again"


def _step_of(run: Path) -> int:
    return int(read_metadata(run / "last.safetensors")["step"])


def check_export(path: Path, whole: Path) -> str:
    """An export is there as a whole or not at all, and the next one clears up."""
    there = path.exists()
    if there:
        assert path.read_bytes() == (whole / path.name).read_bytes()
    with claimed(path):
        pass
    assert not [other.name for other in path.parent.iterdir() if other.name.startswith(f".{path.name}")]
    return "new" if there else "none"


def attack(folder: Path, count: int, seed: int) -> Counter[str]:
    """End commands at random moments of the time that they take."""
    dice, ended = random.Random(seed), Counter[str]()
    whole = make_place(folder / "whole")
    lasting = {name: run_whole(arguments) for name, arguments in commands(whole).items()}
    for number in range(count):
        place = make_place(folder / str(number))
        name = [*lasting][number % len(lasting)]
        sent, group = SIGNALS[number // 2 % 3], dice.random() < 0.5
        run = start(commands(place)[name])
        time.sleep(dice.random() * lasting[name])
        state = check(place, name, end(run, sent, group=group), whole)
        ended[f"{name}: {state}"] += 1
        shutil.rmtree(place)
    return ended


@pytest.mark.timeout(0)
def test_killed_commands_lose_nothing_and_leave_nobody(tmp_path):
    assert sum(attack(tmp_path, times(7), seed=1).values()) == times(7)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", ["build-lmdb", "build-lmdb, two", "synth"])
def test_a_group_that_is_told_to_end_is_soon_gone_and_clears_up_itself(tmp_path, name):
    """As service managers and terminals do it: workers are told too, at any moment from their start on."""
    whole = make_place(tmp_path / "whole")
    if name not in commands(whole):
        pytest.skip("no fonts")
    lasting, dice = run_whole(commands(whole)[name]), random.Random(name)
    for number in range(times(3)):
        place = make_place(tmp_path / str(number))
        run = start(commands(place)[name])
        time.sleep(dice.uniform(0.2, 1) * lasting)
        begun = time.monotonic()
        err = end(run, signal.SIGTERM, group=True)
        busy = max(1.0, os.getloadavg()[0] / cores())
        assert time.monotonic() - begun < 5 * busy, (number, err)
        assert "Traceback" not in err, err
        assert not list(place.glob(".a*")), err
        data = LmdbDataset(place / "a.lmdb")
        words = {data.label(index) for index in range(len(data))}
        if words == {"old"}:
            assert run.returncode != 0
        else:  # it may have been told once the dataset stood, while that was described
            assert words
            assert "old" not in words


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print("kills:", dict(attack(Path(name), int(sys.argv[1]), int(sys.argv[2]))))

"""Commands that write are ended at random moments: nothing lost, torn, hung or left running.

They are told or killed alone, with their group, or one of their workers is killed.

``python tests/reliability kills 200 7`` ends so many, of all commands.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from drawn_lines import draw_line, png
from long import times
from PIL import Image
from safetensors.torch import load_file
from stored_lines import store_drawn
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.models.contract import read_metadata
from ocrcc.places import claimed
from ocrcc.processes import cores
from ocrcc.review.log import opened

LINES = 1100
LARGE = 1200, 300
"""Pixels of each; so many are not verified without workers."""
STEPS = (
    "--save-every",
    "4",
    "--log-every",
    "1",
    "--batch-size",
    "4",
    "--workers",
    "2",
    "--threads",
    "1",
    "--seed",
    "5",
)
TRAINING = ("--arch", "lcnet_050", "--steps", "16", *STEPS)
FEW = ("--samples", "8", "--rendered", "0")
"""Lines that an export is compared on."""
SIGNALS = (signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
WHOM = ("alone", "group", "worker")
FAILED = "FAILED"
DATASETS = ("build-lmdb", "build-lmdb, two", "unpack", "synth")
"""Commands of whose outcome nothing is compared with that of one that nobody ended."""
PYTHON_STARTS = ("from ocrcc.cli import main", "preparation_data = reduction.pickle.load(from_parent)")
"""In what Python itself says of Ctrl-C while it starts, and a worker that starts when its parent is killed."""
LONG = {"review": 10.0, "demo": 60.0}
"""Seconds that commands are given which serve without an end, or are made of the others."""
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "killpg"), reason="of Unix")]


@cache
def wild_model() -> bytes:
    """A model for all places: it takes a second to make."""
    with TemporaryDirectory() as name:
        return save_wild_model(Path(name, "wild.safetensors"), charset=Charset("0123456789")).read_bytes()


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
        (folder / "labels" / f"{number}.png").write_bytes(png(draw_line(str(number)).resize(LARGE)))
    (folder / "wild.safetensors").write_bytes(wild_model())
    store_drawn(folder / "digits.lmdb", map(str, range(100, 140)))
    store_drawn(folder / "others.lmdb", map(str, range(200, 210)))
    char = {"char": "1", "confidence": 0.5, "left": 0, "right": 8}
    reading = {"path": "labels/1.png", "text": "1", "confidence": 0.5, "chars": [char]}
    (folder / "readings.jsonl").write_text(json.dumps(reading) + "\n")
    rows = "".join(f"{number % 40}.png\tnew\n" for number in range(LINES))
    (folder / "labels" / "labels.txt").write_text(rows)
    return folder


def commands(place: Path, *, every: bool = False) -> dict[str, list[str]]:
    """Name what is ended.

    Args:
        place: Of `make_place`.
        every: All commands that write, not only those with workers of their own.
    """
    out, labels = str(place / "a.lmdb"), str(place / "labels" / "labels.txt")
    fonts = shutil.which("fc-list")
    found = {
        "build-lmdb": ["build-lmdb", labels, out, "--force", "--workers", "2"],
        "build-lmdb, two": ["build-lmdb", labels, out, "--force", "--workers", "2", "--val-fraction", "0.3"],
        "unpack": ["unpack", str(place / "in.lmdb"), str(place / "unpacked")],
    }
    if fonts:
        found["synth"] = ["synth", out, "--force", "--count", "300", "--workers", "2", "--charset", "digits"]
    found["pretrain"] = ["pretrain", "--train", str(place / "in.lmdb"), "--out", str(place / "run"), *TRAINING]
    model = str(place / "wild.safetensors")
    found["export"] = ["export", model, str(place / "m.safetensors"), *FEW]
    if find_spec("onnxruntime") and find_spec("onnx"):
        found["export, ONNX"] = ["export", model, str(place / "m.onnx"), *FEW]
    if not every:
        return found
    digits = ["--data", str(place / "digits.lmdb"), "--threads", "1", "--workers", "0"]
    reading = ["predict", str(place / "labels"), "-m", model, "--threads", "1", "--second-look", "0"]
    found["finetune"] = [
        *("finetune", "--pretrained", model, "--train", digits[1], "--val", str(place / "others.lmdb"), "--no-guard"),
        *("--out", str(place / "run"), "--steps", "12", *STEPS),
    ]
    found["calibrate"] = ["calibrate", model, *digits[:2]]
    found["eval"] = ["eval", model, *digits, "--second-look", "0"]
    for option, name in (("--json", "new.json"), ("--report", "new.html"), ("--failures", "failures")):
        found["eval"] += [option, str(place / name)]
    found["predict"] = [*reading, "-f", "json", "-o", str(place / "new.jsonl"), "--visualize", str(place / "drawn")]
    found["project"] = ["project", "--model", model, *digits[:2], "--workers", "0"]
    for option, name in (("--logdir", "logs"), ("--png", "at.png"), ("--html", "at.html"), ("--disputed", "at.tsv")):
        found["project"] += [option, str(place / name)]
    found["samples"] = ["samples", str(place / "samples")]
    found["charset"] = ["charset", "gb18030-l1", "--out", str(place / "new.txt")]
    if fonts:
        found["lookalikes"] = ["lookalikes", str(place / "new.tsv"), "--charset", "ascii", "--show", "0"]
        found["synth --preview"] = [
            *("synth", str(place / "n.lmdb"), "--count", "50", "--charset", "digits"),
            *("--preview", str(place / "sheet.png")),
        ]
    found["review"] = ["review", str(place / "readings.jsonl"), "--out", str(place / "corrections")]
    found["demo"] = ["demo", "--out", str(place / "demo")]
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


@cache
def lasts(name: str) -> float:
    """Say how long a command takes that makes a dataset, or unpacks one."""
    with TemporaryDirectory() as folder:
        return run_whole(commands(make_place(Path(folder, "place")))[name])


def children(pid: int) -> list[int]:
    """Return the processes that a process has started, where the system says that."""
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def end(run: subprocess.Popen[str], number: int, *, whom: str) -> str:
    """Send a signal; return what it says. Everybody is gone five seconds after it is."""
    workers = children(run.pid) if whom == "worker" else []
    with suppress(ProcessLookupError):
        if workers:
            os.kill(workers[-1], signal.SIGKILL)
        else:
            (os.killpg if whom == "group" else os.kill)(run.pid, number)
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
    if not any(said in err for said in PYTHON_STARTS):
        assert "Traceback" not in err, err
    if name in ("pretrain", "finetune"):
        return check_run(place, name, whole)
    if name.startswith("export"):
        return check_export(place / ("m.onnx" if "ONNX" in name else "m.safetensors"), whole)
    if name == "review":
        with opened(place / "corrections") as log:
            assert not log.labels()
        return "begun"
    if name == "demo":
        made = [*(place / "demo").glob("*.lmdb")]
        assert all(len(LmdbDataset(path)) for path in made)
        return f"{len(made)} datasets"
    if name not in commands(place):
        return check_outputs(place, whole, commands(place, every=True)[name])
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


def check_run(place: Path, name: str, whole: Path) -> str:
    """Go on with a run, by the way that is open; it ends with the very weights of one that nobody ended."""
    out = place / "run"
    begun = (out / "state.pt").exists()
    straight_to = whole / f"run, {name}"
    done = (out / "last.safetensors").exists() and _step_of(out) == _step_of(straight_to)
    run_whole([name, "--resume", str(out)] if begun else commands(place, every=True)[name])
    ours, straight = (load_file(folder / "last.safetensors") for folder in (out, straight_to))
    assert all(torch.equal(ours[name], straight[name]) for name in straight)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, _step_of(straight_to) + 1)]
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


def check_outputs(place: Path, whole: Path, arguments: list[str]) -> str:
    """What a command writes is there as a whole or not at all; the next one that writes there clears up."""
    there = 0
    for path in [Path(each) for each in arguments[1:] if Path(each).parent == place]:
        if path.exists():
            there += 1
            assert shape(path) == shape(whole / path.name), path
        with claimed(path):
            pass
    left = [path.name for path in place.iterdir() if path.name.startswith(".")]
    assert not left, left
    return f"{there} there"


READ: dict[str, Callable[[Path], object]] = {
    ".safetensors": lambda path: {name: value.shape for name, value in load_file(path).items()},
    ".json": lambda path: [*json.loads(path.read_text())],
    ".jsonl": lambda path: [[*json.loads(line)] for line in path.read_text().splitlines()],
    ".html": lambda path: path.read_text().rstrip()[-20:],
    ".png": lambda path: Image.open(path).convert("L").size,
    ".lmdb": lambda path: len(LmdbDataset(path)),
}


def shape(path: Path) -> object:
    """Read what a command wrote, and say what is the same whenever it does."""
    if path.suffix in READ:
        return READ[path.suffix](path)
    if path.is_dir():
        events = "events.out.tfevents"  # named after machine and time
        return {each.name: shape(each) for each in sorted(path.iterdir()) if events not in each.name}
    return path.read_bytes().count(b"\n")


def attack(folder: Path, count: int, seed: int, *, every: bool = False) -> Iterator[tuple[str, str, str]]:
    """End commands at random moments of the time that they take.

    Yields:
        The command; how it was ended; what stood afterwards, or `FAILED` and what is lost, torn or left running.
    """
    dice = random.Random(seed)
    whole, lasting = make_place(folder / "whole"), dict(LONG)
    names = [*commands(whole, every=every)]
    for number in range(count):
        name = names[number % len(names)]
        if name in DATASETS:
            lasting[name] = lasts(name)
        elif name not in lasting:
            lasting[name] = run_whole(commands(whole, every=every)[name])
            if (whole / "run").exists():
                (whole / "run").rename(whole / f"run, {name}")
        place = make_place(folder / str(number))
        sent, whom, after = dice.choice(SIGNALS), dice.choice(WHOM), dice.random() * lasting[name]
        run = start(commands(place, every=every)[name])
        time.sleep(after)
        try:
            state = check(place, name, end(run, sent, whom=whom), whole)
        except Exception as error:
            state = f"{FAILED}: {error!r}"
        yield name, f"{sent.name} to {whom} after {after:.1f} s: {run.returncode}", state
        shutil.rmtree(place)


@pytest.mark.timeout(0)
def test_killed_commands_lose_nothing_and_leave_nobody(tmp_path):
    ended = [*attack(tmp_path, times(7), seed=1)]
    assert not [each for each in ended if FAILED in each[2]]


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
def test_a_killed_loader_is_told_and_the_other_does_not_stay(tmp_path, name):
    place = make_place(tmp_path / "place")
    run = start([*commands(place, every=True)[name], "--steps", "3000"])
    metrics = place / "run" / "metrics.jsonl"
    while not (metrics.exists() and metrics.read_text().count("\n") > 5):
        assert run.poll() is None, run.stderr.read()
        time.sleep(0.02)
    err = end(run, signal.SIGKILL, whom="worker")
    assert run.returncode == 3
    assert "error: a process that loads lines has died" in err
    assert "--resume" in err
    assert "Traceback" not in err, err


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", ["build-lmdb", "build-lmdb, two", "synth"])
def test_a_group_that_is_told_to_end_is_soon_gone_and_clears_up_itself(tmp_path, name):
    """As service managers and terminals do it: workers are told too, at any moment from their start on."""
    if name == "synth" and not shutil.which("fc-list"):
        pytest.skip("no fonts")
    lasting, dice = lasts(name), random.Random(name)
    for number in range(times(3)):
        place = make_place(tmp_path / str(number))
        run = start(commands(place)[name])
        time.sleep(dice.uniform(0.2, 1) * lasting)
        begun = time.monotonic()
        err = end(run, signal.SIGTERM, whom="group")
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

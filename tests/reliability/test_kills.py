"""Commands that write are ended at random moments, alone or with their group: nothing lost, torn, hung or left running.

As a module, ``python test_kills.py 100 7`` ends so many with a seed and prints how.
"""

from __future__ import annotations

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
from pathlib import Path

import pytest
from drawn_lines import draw_line, png
from long import times

from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter

LINES = 1100  # more than are verified without workers
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
    return found


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ocrcc", *arguments], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip


def end(run: subprocess.Popen[str], number: int, *, group: bool) -> str:
    """Send a signal; return what it says. Everybody is gone five seconds after it is."""
    with suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(run.pid, number)
    _, err = run.communicate(timeout=60)
    for _ in range(50):
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return err
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    raise AssertionError(f"a process is left after {signal.Signals(number).name}: {err}")


def check(place: Path, name: str, err: str) -> str:
    """Make sure that what was there stands, or what was to come; say which."""
    assert "Traceback" not in err, err
    data = LmdbDataset(place / "a.lmdb")
    words = {data.label(index) for index in range(len(data))}
    data.line(len(data) - 1)
    whole = len(data) == 30 if words == {"old"} else len(data) > 0 and "old" not in words
    assert whole, (name, len(data), words)
    unpacked = place / "unpacked"
    if unpacked.exists():
        assert len((unpacked / "labels.txt").read_text().splitlines()) == 30
        assert len(list((unpacked / "images").iterdir())) == 30
    return "old" if words == {"old"} else "new"


def attack(folder: Path, count: int, seed: int) -> Counter[str]:
    """End commands at random moments of the time that they take."""
    dice, ended = random.Random(seed), Counter[str]()
    whole = make_place(folder / "whole")
    lasting = {}
    for name, arguments in commands(whole).items():
        begun = time.monotonic()
        run = start(arguments)
        _, err = run.communicate(timeout=300)
        assert run.returncode in (0, 1), err
        lasting[name] = time.monotonic() - begun
    for number in range(count):
        place = make_place(folder / str(number))
        name = [*lasting][number % len(lasting)]
        sent, group = SIGNALS[number // 2 % 3], dice.random() < 0.5
        run = start(commands(place)[name])
        time.sleep(dice.random() * lasting[name])
        err = end(run, sent, group=group)
        state = check(place, name, err)
        ended[f"{name}: {state}"] += 1
        with LmdbWriter(place / "a.lmdb", overwrite=True) as writer:  # whoever writes next clears up
            writer.add(png(draw_line("2")), "next", source="x", size=(8, 32))
        left = {path.name for path in place.iterdir() if path.name.startswith(".a.lmdb")}
        assert not left, (name, sent, left)
        shutil.rmtree(place)
    return ended


@pytest.mark.timeout(0)
def test_killed_commands_lose_nothing_and_leave_nobody(tmp_path):
    assert sum(attack(tmp_path, times(3), seed=1).values()) == times(3)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print("kills:", dict(attack(Path(name), int(sys.argv[1]), int(sys.argv[2]))))

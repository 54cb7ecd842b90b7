"""A build that replaces two datasets dies at every step of giving names: to all who read, both are old or both new.

As a module it prints how many steps there are and how they ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drawn_lines import draw_line, png

from ocrcc.config import BuildConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.build import build_lmdb

_DIE = """
import os, sys, pathlib
from ocrcc.config import BuildConfig
from ocrcc.datasets.build import build_lmdb
def dying(real):
    def call(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return real(*arguments, **options)
    return call
for row in sys.stdin:
    left, source, out = row.rstrip().split("\t")
    if not (child := os.fork()):
        left = int(left)
        for name in ("rename", "replace", "unlink", "rmdir"):
            setattr(os, name, dying(getattr(os, name)))
        build_lmdb([pathlib.Path(source)], pathlib.Path(out), BuildConfig(val_fraction=0.4), force=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Builds in a process of its own for each row that it is given; one for all has imported what they need."""


def labels(folder: Path, word: str, lines: int = 12) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(lines):
        (folder / f"{word}{number}.png").write_bytes(png(draw_line(f"{word}{number}")))
        rows.append(f"{word}{number}.png\t{word}{number}\n")
    path = folder / f"{word}.txt"
    path.write_text("".join(rows))
    return path


def words(path: Path) -> set[str]:
    data = LmdbDataset(path)
    return {data.label(index)[:3] for index in range(len(data))}


@contextmanager
def builds_that_die() -> Iterator[Callable[[int, Path, Path], int]]:
    """Let builds die at a step; say how they ended, 0 if they were done before."""
    with subprocess.Popen(
        [sys.executable, "-c", _DIE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def die_at(step: int, source: Path, out: Path) -> int:
            process.stdin.write(f"{step}\t{source}\t{out}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield die_at


def every_step(folder: Path, steps: range) -> dict[str, int]:
    """Let a build die at each step; say how often the old and how often the new pair stood afterwards."""
    old, new = labels(folder, "old"), labels(folder, "new")
    ended = {"old": 0, "new": 0}
    with builds_that_die() as die_at:
        for step in steps:
            place = folder / f"step{step}"
            place.mkdir()
            out = place / "a.lmdb"
            build_lmdb([old], out, BuildConfig(val_fraction=0.4))
            code = die_at(step, new, out)
            # Validation first: a reader of either finishes the pair.
            sides = [words(place / "a-val.lmdb"), words(out)]
            assert sides in ([{"old"}] * 2, [{"new"}] * 2), (step, sides)
            ended[sides[0].pop()] += 1
            build_lmdb([old], out, BuildConfig(val_fraction=0.4), force=True)
            assert sorted(path.name for path in place.iterdir()) == ["a-val.lmdb", "a.lmdb"]
            if code == 0:
                break
    return ended


@pytest.mark.skipif(not hasattr(os, "fork"), reason="slow where processes are spawned")
def test_two_datasets_are_replaced_at_once_whenever_the_build_dies(tmp_path):
    ended = every_step(tmp_path, range(0, 60, 1 if os.environ.get("OCRCC_LONG") else 2))
    assert min(ended.values()) >= 2, ended  # some died before, some after the note


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        print("crash points:", every_step(Path(name), range(60)))

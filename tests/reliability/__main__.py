"""The long forms, each with a line that sums it up.

    python tests/reliability kills 200 7          # so many ends, at moments that a seed decides
    python tests/reliability inputs 100000 7      # so many changed inputs, of all kinds

It ends with 1 if anything was lost, torn or left running, if anything but a sentence came out, or took too much.
"""

from __future__ import annotations

import multiprocessing
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

import attacks  # noqa: E402
import test_changed_values  # noqa: E402
import test_hostile_files  # noqa: E402
import test_kills  # noqa: E402
import test_lmdb_bytes  # noqa: E402
import test_mutated_files  # noqa: E402

MOST_MEMORY = 1500
"""MB that a process which reads them may take in all."""
SLOW = ("m.safetensors", "m.onnx", "values of m.safetensors", "values of m.onnx", "values of decisions.jsonl")
"""Kinds that a tenth as many are made of."""


def kinds(folder: Path) -> dict[str, Callable[[], attacks.Target]]:
    """Name all kinds of inputs; each is made when it is called for."""
    found: dict[str, Callable[[], attacks.Target]] = {}
    for room in (test_hostile_files, test_mutated_files, test_lmdb_bytes, test_changed_values):
        found |= room.kinds(folder)
    return found


def read_inputs(name: str, count: int, seed: int) -> tuple[str, attacks.Ended, int]:
    """Attack with one kind, in a process of its own; say what that took at most, in MB."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        ended = attacks.attack(Path(folder), kinds(Path(folder))[name](), count, seed)
    taken = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return name, ended, int(taken[1]) // 1024 if taken else 0


def inputs(count: int, seed: int) -> bool:
    """Read so many changed inputs; print how they ended, kind by kind and in a line."""
    names = [*kinds(Path())]
    shares = {name: 1 if name in SLOW else 10 for name in names}
    share = -(-count // sum(shares.values()))
    work = [(name, share * shares[name], seed + 1000 * number) for number, name in enumerate(names)]
    how, slowest, largest = Counter[str](), 0.0, 0
    torch.set_num_threads(1)  # of several, a fork would have none
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        for name, ended, taken in pool.imap_unordered(_apart, work):
            print(f"{name}: {dict(ended.how)}, slowest {ended.slowest:.1f} s, {taken} MB", flush=True)
            how += Counter(
                {kind: ended.how[kind] for kind in ("read", "refused")} | {"tracebacks": sum(ended.escaped.values())}
            )
            slowest, largest = max(slowest, ended.slowest), max(largest, taken)
    print(
        f"{how.total():,} changed inputs of {len(names)} kinds, seed {seed}: {how['read']:,} read, {how['refused']:,} "
        f"refused, {how['tracebacks']} tracebacks; the slowest took {slowest:.1f} s, the largest process {largest} MB"
    )
    return not how["tracebacks"] and slowest < attacks.SLOWEST and largest < MOST_MEMORY


def _apart(work: tuple[str, int, int]) -> tuple[str, attacks.Ended, int]:
    return read_inputs(*work)


def kills(count: int, seed: int) -> bool:
    """End so many commands; print each, and a line."""
    begun, failed, commands = time.monotonic(), 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, how, state) in enumerate(test_kills.attack(Path(folder), count, seed, every=True), start=1):
            print(f"{number} {name}: {how}, {state}", flush=True)
            commands[name] += 1
            failed += test_kills.FAILED in state
    print(
        f"{commands.total()} kills of {len(commands)} commands, seed {seed}, in "
        f"{(time.monotonic() - begun) / 60:.0f} minutes: {failed} lost, torn or left running five seconds later"
    )
    return not failed


if __name__ == "__main__":
    sys.exit(not {"kills": kills, "inputs": inputs}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3])))

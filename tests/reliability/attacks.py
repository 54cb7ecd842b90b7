"""Changed inputs, given one after the other to what reads such files: how each ended, and how long the slowest took."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc.errors import OcrccError

Change = Callable[[bytes, np.random.Generator], bytes]
SLOWEST = 10.0
"""Seconds of processor that an input may take."""


@dataclass(frozen=True)
class Target:
    """A file, how it is changed, and what reads it.

    Attributes:
        name: Of the file.
        whole: Its bytes; as they are, they are read.
        change: Gives others.
        read: Reads it; whatever it says is an `OcrccError`.
    """

    name: str
    whole: bytes
    change: Change
    read: Callable[[Path], Any]


@dataclass
class Ended:
    """How inputs ended.

    Attributes:
        how: ``read``, ``refused``, or what escaped and from where.
        slowest: Seconds of processor.
    """

    how: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    @property
    def escaped(self) -> dict[str, int]:
        """What no file may raise, and how often."""
        return {how: count for how, count in self.how.items() if how not in ("read", "refused")}


def attack(folder: Path, target: Target, count: int, seed: int) -> Ended:
    """Read a file as it is, and then so many changed ones; those that something escaped from stay in the folder."""
    dice, ended = np.random.default_rng(seed), Ended()
    path = folder / target.name
    path.write_bytes(target.whole)
    target.read(path)
    for number in range(count):
        path.write_bytes(target.change(target.whole, dice))
        begun = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read(path)
            how = "read"
        except OcrccError:
            how = "refused"
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            how = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            (folder / f"escaped-{number}-{target.name}").write_bytes(path.read_bytes())
        ended.how[how] += 1
        ended.slowest = max(ended.slowest, time.process_time() - begun)
    return ended


def check(ended: Ended) -> None:
    """Fail for whatever escaped, or took too long."""
    assert not ended.escaped
    assert ended.slowest < SLOWEST

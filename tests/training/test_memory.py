from __future__ import annotations

import subprocess
import sys

import pytest

from ocrcc.training.memory import _glibc

FAULTS = """
import resource
import torch
from ocrcc.training.memory import freed_memory_kept

def faults(rounds=40):  # many: memory the heap had not touched yet may be taken once or twice
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.empty(16 << 20).fill_(1.0)  # 64 MiB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with freed_memory_kept():
    faults()  # until the heap has grown
    kept = faults()
given_back = faults()
print(kept, given_back)
"""


@pytest.mark.skipif(not _glibc(), reason="another allocator")
@pytest.mark.slow
def test_freed_memory_is_kept_for_as_long_as_asked():
    done = subprocess.run([sys.executable, "-c", FAULTS], check=True, capture_output=True, text=True)
    kept, given_back = map(int, done.stdout.split())
    assert kept < given_back / 10, done.stdout

"""The processes of a test's own Ray cluster."""

from __future__ import annotations

import os
from pathlib import Path


def workers() -> list[int]:
    """The processes of this test's Ray that work."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title = (place / "cmdline").read_bytes()
            raylet = (place / "stat").read_text().rpartition(")")[2].split()[1]
            parent = Path("/proc", raylet, "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if title.startswith(b"ray::MapWorker") and int(parent) == os.getpid():
            found.append(int(place.name))
    return found

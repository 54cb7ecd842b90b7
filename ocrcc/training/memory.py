"""What the process's allocator does with freed memory while a CPU trains."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
"""Names of `mallopt(3)`."""
_WHILE_KEPT = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 256 << 20}
_BY_DEFAULT = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 128 << 10, _TOP_PAD: 128 << 10}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the C library keep what is freed for the next step, in place of handing it back to the system.

    A step frees hundreds of MB and asks for as many again. Pages that went back in between are to be zeroed and
    mapped anew, 4 kB at a time, which took a fifth of a step's time. Only glibc's allocator is told; where there is
    another, nothing changes.
    """
    if not _glibc():
        yield
        return
    library = ctypes.CDLL(None)
    for name, value in _WHILE_KEPT.items():
        library.mallopt(name, value)
    try:
        yield
    finally:
        for name, value in _BY_DEFAULT.items():
            library.mallopt(name, value)
        library.malloc_trim(0)


def _glibc() -> bool:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (AttributeError, ValueError, OSError):
        return False

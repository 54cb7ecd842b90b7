"""The standard streams where one is closed (``ocrcc … <&-``), or what is behind one takes no more."""

from __future__ import annotations

import errno
import io
import os
import sys

from ocrcc.errors import ConfigError
from ocrcc.files import DISK_IS_FULL

_LOST = (*DISK_IS_FULL, errno.EIO)


class _ClosedOutput(io.TextIOWrapper):
    """Standard output that is closed: whoever has results for it says so, and who has none is not disturbed."""

    def write(self, _text: str, /) -> int:
        """Refuse."""
        raise ConfigError("standard output is closed", "send it somewhere, such as >readings.txt")


def open_missing() -> None:
    """Put something in place of each stream that is closed, for which Python has None.

    It has the stream's number, or the next file that is opened would get it, and what libraries print.
    """
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.FileIO(os.devnull), encoding="utf-8")
    if sys.stdout is None:
        sys.stdout = _ClosedOutput(io.FileIO(os.devnull, "w"), encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8", errors="backslashreplace")


def is_of_output(error: OSError) -> bool:
    """Tell whether an error is that of a standard stream that takes no more: it comes of writing, and of no file."""
    return error.filename is None and error.errno in _LOST

"""What files are called, files that are read within bounds, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ocrcc.errors import DataError

DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a limit on one file that is used up."""
IMAGE_SUFFIXES = (
    *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm"),
    *(".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
)
"""What the name of an image ends in, where nothing but the name can tell."""
_MOST_TEXT = 64 << 20
"""Bytes of a settings, charset or group file; the largest there is has some hundred kB."""
_LONGEST_NAME = 160
"""Bytes of a name that a hidden neighbour's name repeats; file systems take 255 in all."""
_PASSING = (".ipynb_checkpoints", "__MACOSX")
TEMPORARY = re.compile(r"[0-9a-f]{8}\.tmp(\.[^.]{0,15})?")
"""What a temporary neighbour's name (`new_aside`) has behind that of the file to be."""
_NEIGHBOUR = re.compile(rf"\..+\.({TEMPORARY.pattern}|lock|replacing)", re.DOTALL)
"""Names of hidden neighbours that writers make (`beside`, `new_aside`)."""


def check_regular(path: Path) -> os.stat_result:
    """Make sure that a path is a plain file, which ends: no folder, pipe or device.

    Returns:
        What the system says of it.

    Raises:
        DataError: It is something else, or not there.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        missing = isinstance(error, FileNotFoundError)
        reason = "no such file" if missing else getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: {reason}") from None
    if stat.S_ISDIR(found.st_mode):
        raise DataError(f"{path}: a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{path}: a pipe or a device, not a file", "write it to a file first")
    return found


def is_file(path: Path) -> bool:
    """Say whether there is a plain file; a name that no file can have, too long or with a NUL, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def page_of(path: Path) -> tuple[Path, int] | None:
    """Part the name of a document's page, as `predict` gives it, into the file and which page it is, from 0.

    Returns:
        None where there is no such document, or a file of the very name.
    """
    document, _, number = path.name.rpartition("#")
    if not document or not re.fullmatch("[1-9][0-9]{0,5}", number) or is_file(path):
        return None
    file = path.parent / document
    return (file, int(number) - 1) if is_file(file) else None


def is_there(path: Path) -> bool:
    """Say whether there is a plain file, or the document of a page: ``scan.pdf`` for ``scan.pdf#2``."""
    return is_file(path) or page_of(path) is not None


def read_small(path: Path, most: int = _MOST_TEXT) -> bytes:
    """Read a file that people write: settings, charsets, groups.

    Args:
        path: The file.
        most: Bytes.

    Raises:
        DataError: It is not there, no plain file, or far too large to be one.
    """
    if check_regular(path).st_size > most:
        raise DataError(f"{path}: more than {most >> 20} MB, too large for what it should be")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def beside(path: Path, what: str) -> Path:
    """Name a hidden neighbour of a file or folder.

    >>> beside(Path("data/train.lmdb"), "lock").name
    '.train.lmdb.lock'
    """
    raw = os.fsencode(path.name)
    if len(raw) > _LONGEST_NAME:
        import hashlib  # loads OpenSSL, for names as hardly anybody has them

        short = raw[: _LONGEST_NAME // 2].decode(errors="ignore")
        return path.with_name(f".{short}.{hashlib.sha256(raw).hexdigest()[:16]}.{what}")
    return path.with_name(f".{path.name}.{what}")


def new_aside(path: Path) -> Path:
    """Name a temporary neighbour that nobody else has; it keeps the suffix, by which formats are chosen."""
    suffix = path.suffix if len(path.suffix) <= 16 else ""
    return beside(path, f"{os.urandom(4).hex()}.tmp{suffix}")


def walk(folder: Path | str, complain: Callable[[OSError], None]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Go through a folder as `os.walk` does, in order, past what programs leave in passing.

    These are Jupyter's copies (``.ipynb_checkpoints``), what a Mac packs with files (``__MACOSX``, ``._a.png``), and
    what we are writing ourselves just now.

    Args:
        folder: Where to begin.
        complain: Told of folders that cannot be opened.
    """
    for parent, folders, files in os.walk(folder, onerror=complain):
        folders[:] = sorted(name for name in folders if name not in _PASSING and not _NEIGHBOUR.fullmatch(name))
        kept = (name for name in files if not name.startswith("._") and not _NEIGHBOUR.fullmatch(name))
        yield parent, folders, sorted(kept)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour of a file to write to; it takes the file's name once it is safely on the disk.

    It replaces what is there: for files of a folder that is ours. What a user names goes through
    `ocrcc.places.output`.

    Args:
        path: The file to be, or to be replaced.

    Raises:
        DataError: It cannot be written; what was there before stays.
    """
    aside = new_aside(path)
    try:
        yield aside
        sync_file(aside)
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # in a place that has become read-only, it would hide what went wrong
            aside.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Have a file's content on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk too, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def hush_pillow() -> None:
    """Keep what Pillow finds odd in a file off stderr, in a process that is ours from start to end.

    Whoever imports this package keeps their own filters. They belong to a process, and changing them around a call, as
    `warnings.catch_warnings` does, loses warnings of other threads for ever.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")

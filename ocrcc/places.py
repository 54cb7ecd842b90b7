"""Places that commands write to: what may be replaced there, one writer at a time, folders that change all at once.

Everything that is replaced or deleted under a name that a user gave is decided here, by `check_replaceable`.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ocrcc.errors import ConfigError, DataError, OcrccError
from ocrcc.files import TEMPORARY, beside, new_aside, read_small, sync_folder, whole

_HEAD = 4096
"""Bytes at the start of a file that must show who made it."""
_LINE = 1 << 20
"""Bytes of its first line that are looked at where that has to be of a certain form."""
_PATIENCE = 30.0
"""Seconds that a reader waits for a writer that is giving names."""
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@dataclass(frozen=True)
class Kind:
    """Something that commands write, and how to tell that it is theirs.

    Attributes:
        name: What to call it: ``dataset``.
        ours: Says of what is there whether it was made by ocrcc and holds nothing else.
    """

    name: str
    ours: Callable[[Path], bool]


def marked(name: str, *marks: bytes | re.Pattern[bytes]) -> Kind:
    """Make the kind of a file that says within its first bytes that it is ours; without marks, none ever is.

    Args:
        name: What to call it.
        *marks: What stands there, or what the file matches up to the end of its first line, however far that is.
    """

    def ours(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
            line = head if b"\n" in head else head + file.readline(_LINE)
        return any(mark in head if isinstance(mark, bytes) else mark.search(line) for mark in marks)

    return Kind(name, ours)


SOFTWARE = "ocrcc"
"""What pictures say in their ``Software`` text, or in the comment of a JPEG."""
PICTURE = marked("picture", b"Software\0ocrcc", b"\xff\xfe\x00\x07ocrcc")


def folder_of(name: str, entries: str, mark: Callable[[Path], bool]) -> Kind:
    """Make the kind of a folder in which every entry is a plain file of certain names that passes a check.

    Args:
        name: What to call it.
        entries: Regular expression of the names.
        mark: Says of a file whether it is ours, or cannot be anything else.
    """

    def ours(path: Path) -> bool:
        return path.is_dir() and all(
            re.fullmatch(entries, entry.name) and stat.S_ISREG(entry.lstat().st_mode) and mark(entry)
            for entry in path.iterdir()
        )

    return Kind(name, ours)


def check_replaceable(path: Path, kind: Kind) -> None:
    """Let a place be written to if nothing is there, or only what ocrcc made; the one rule, whatever the flags.

    Raises:
        ConfigError: Something else is there.
        DataError: It cannot be looked at.
    """
    try:
        path.stat()
        if not kind.ours(path):
            raise ConfigError(
                f"{path} exists and is no {kind.name} that ocrcc made", "choose another name, or move it away"
            )
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


@contextmanager
def claimed(*paths: Path, patience: float = 0.0) -> Iterator[None]:
    """Be the only one that writes to places; what writers left there that were killed is finished or swept first.

    Args:
        paths: Files or folders; they need not exist. Links are followed.
        patience: Seconds to wait for another that writes there.

    Raises:
        ConfigError: Another process writes there.
        DataError: Nothing can be written there.
    """
    real = [_real(path) for path in paths]
    if any(not path.name for path in real):  # the root has no neighbours, and there is always something in it
        raise ConfigError(f"{real[0].anchor} exists", "choose another name")
    with ExitStack() as stack:
        for path in sorted(set(real)):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(beside(path, "lock"), path, patience))
            except OSError as error:
                raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
        for path in real:
            _settle(path)
            _sweep(path)
        yield


@contextmanager
def _locked(lock_file: Path, path: Path, patience: float) -> Iterator[None]:
    """Hold a lock file, and remove it at the end; the system lets go of it when a process dies."""
    from filelock import FileLock, Timeout  # only who writes needs it

    while True:
        ours = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o666) if os.name != "nt" else None
        lock = FileLock(str(lock_file), timeout=patience)
        try:
            try:
                lock.acquire()
            except Timeout:
                raise ConfigError(
                    f"{path}: another ocrcc is writing there", "wait until it is done, or choose another name"
                ) from None
            except (OSError, NotImplementedError) as error:
                if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                    raise
                yield  # better unlocked than not at all: some cluster file systems are mounted without locks
                return
            except BaseException:  # stopped meanwhile: only who holds the file may remove it
                with suppress(OSError, Timeout):
                    lock.acquire(timeout=0)
                raise
            # Whoever had it before may have removed the very file that is locked now.
            if ours is not None and not _same_file(ours, lock_file):
                continue
            yield
            return
        finally:
            if ours is not None:  # on Windows the lock removes it
                if lock.is_locked and _same_file(ours, lock_file):
                    with suppress(OSError):
                        lock_file.unlink()
                os.close(ours)
            lock.release(force=True)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False


def _sweep(path: Path) -> None:
    """Remove the temporary neighbours of a place that is claimed: nobody else can be writing them."""
    for entry in _entries(path.parent):
        if _is_aside(entry, path) or _is_aside(entry, beside(path, "replacing")):
            remove(entry)


def sweep_folder(folder: Path) -> None:
    """Remove the temporary files of killed writers from a folder of ours that is claimed."""
    for entry in _entries(folder):
        hidden, _, rest = entry.name.rpartition(".tmp")[0].rpartition(".")
        if hidden.startswith(".") and TEMPORARY.fullmatch(rest + ".tmp"):
            remove(entry)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_aside(entry: Path, path: Path) -> bool:
    start = beside(path, "").name
    return (
        entry.parent == path.parent
        and entry.name.startswith(start)
        and TEMPORARY.fullmatch(entry.name.removeprefix(start)) is not None
    )


def remove(path: Path) -> None:
    """Remove a temporary file or folder; one that cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def output(path: Path, kind: Kind) -> Iterator[Path]:
    """Give a temporary neighbour to write a file to that a user named: the only way to write one.

    Args:
        path: The file. A link is followed.
        kind: What it will be, and what alone it may replace.

    Raises:
        ConfigError: Something else is there, or another process writes it.
        DataError: It cannot be written; what was there before stays.
    """
    check_file(path, kind)
    real = _real(path)
    with claimed(real), whole(real) as aside:
        with _called(path, aside):
            yield aside
        check_replaceable(path, kind)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary neighbour to fill; it takes a folder's name when it is whole. What exists is never replaced.

    Args:
        path: The folder to be.

    Raises:
        ConfigError: Something is there, or another process writes it.
        DataError: It cannot be written; nothing is left.
    """
    with claimed(path):
        if os.path.lexists(path):
            raise ConfigError(f"{path} exists", "choose another folder")
        aside = new_aside(path)
        try:
            aside.mkdir()
            with _called(path, aside):
                yield aside
            aside.rename(path)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
        finally:
            remove(aside)


@contextmanager
def _called(path: Path, aside: Path) -> Iterator[None]:
    """Have messages name what is to be, not where it is made."""
    try:
        yield
    except OcrccError as error:
        error.message = error.message.replace(str(aside), str(path))
        error.args = (error.message,)
        raise


def check_file(path: Path, kind: Kind) -> None:
    """Make sure, before long work, that a file can be written: its folder is there, and nothing that is to stay.

    Raises:
        ConfigError: It cannot.
        DataError: It cannot be looked at.
    """
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}", "make it first")
    check_replaceable(path, kind)


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


@dataclass(frozen=True)
class _Move:
    """A folder that is whole, the name it gets, and where that name's folder waits until all stand."""

    aside: Path
    path: Path
    old: Path

    def do(self) -> None:
        if os.path.lexists(self.aside):
            if os.path.lexists(self.path):
                self.path.rename(self.old)
            self.aside.rename(self.path)

    def undo(self) -> None:
        if not os.path.lexists(self.aside):
            self.path.rename(self.aside)
        if os.path.lexists(self.old):
            self.old.rename(self.path)


def replace(new: Sequence[tuple[Path, Path]]) -> None:
    """Give folders their names, all of them or none, and then remove those that had the names before.

    A note beside the first name makes it one step: as long as it stands, whoever opens or claims one of the places
    finishes the work. It must be called with the places claimed.

    Args:
        new: Folders that are whole, each beside the real name that it is to get.

    Raises:
        DataError: Not possible; everything is as before.
    """
    moves = [_Move(aside, path, new_aside(path)) for aside, path in new]
    notes = [beside(move.path, "replacing") for move in moves]
    try:
        for note in reversed(notes):  # the first one's note makes it so; the others only point at it
            base = note.parent
            text = json.dumps([[os.path.relpath(p, base) for p in (m.aside, m.path, m.old)] for m in moves])
            with whole(note) as aside:
                aside.write_text(text, encoding="utf-8")
        _carry_out(moves, notes)
    except BaseException as error:
        if notes[0].exists():
            for move in reversed(moves):
                move.undo()
        _forget(notes)
        if isinstance(error, OSError):
            name = ", ".join(str(move.path) for move in moves)
            raise DataError(f"{name}: cannot be written: {error.strerror or error}") from None
        raise


def _carry_out(moves: Sequence[_Move], notes: Sequence[Path]) -> None:
    for move in moves:
        move.do()
    for folder in {move.path.parent for move in moves}:
        sync_folder(folder)
    _forget(notes)
    for move in moves:
        remove(move.old)


def _forget(notes: Sequence[Path]) -> None:
    for note in notes:
        note.unlink(missing_ok=True)


def settle(path: Path) -> None:
    """Finish a replacement that was interrupted, if a folder is part of one; what every reader does first.

    Raises:
        DataError: It cannot be finished here.
    """
    note = beside(_real(path), "replacing")
    if os.path.lexists(note):
        try:
            places = [move.path for move in _read(note)]
            with claimed(*places, patience=_PATIENCE):
                pass  # which has settled all of them
        except (OSError, DataError) as error:
            raise DataError(
                f"{path}: its replacement was interrupted and cannot be finished: {error}",
                "let ocrcc inspect open it once where it can be written",
            ) from None


def _settle(path: Path) -> None:
    note = beside(path, "replacing")
    try:
        if os.path.lexists(note):
            moves = _read(note)
            notes = [beside(move.path, "replacing") for move in moves]
            if notes[0].exists():
                _carry_out(moves, notes)
            else:  # it had not begun, or was over
                note.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DataError(f"{path}: its replacement cannot be finished: {error.strerror or error}") from None


def _read(note: Path) -> list[_Move]:
    try:
        rows = json.loads(read_small(note))
        moves = [_Move(*(Path(os.path.normpath(note.parent / name)) for name in row)) for row in rows]
    except (ValueError, TypeError, RecursionError):
        moves = []
    # A note may come from a stranger: it moves nothing but temporary neighbours of the places.
    sound = all(_is_aside(move.aside, move.path) and _is_aside(move.old, move.path) for move in moves)
    if not moves or not sound or note not in [beside(move.path, "replacing") for move in moves]:
        raise DataError(f"{note}: damaged, or not made by ocrcc", "remove it")
    return moves

"""Writing datasets: each appears under its name only when it is whole, and several of them all or none."""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import lmdb
import numpy as np

from ocrcc.data.lmdb_index import COUNT, INDEX, INDEX_FORMAT, META, Index, digest_line
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import new_aside
from ocrcc.places import Kind, check_replaceable, claimed, folder_of, remove, replace

_FIRST_MAP = 1 << 24  # bytes; doubled whenever it is full
_COMMIT_BYTES = 1 << 24  # bytes of records that one transaction holds, and that are written again if the map is full


_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs that stand for no byte of a file's name: JSON can have them."""


class LmdbWriter:
    """Writes a dataset that appears under its name only when it is whole.

    Use it as a context manager; an exception inside leaves nothing behind. Memory does not grow with the
    images: 12 bytes a line are kept. Nobody else can write to the place meanwhile.

    Args:
        path: The dataset's folder to be. A link is followed.
        overwrite: Replace a dataset of ours that is there already, once the new one is whole.

    Raises:
        ConfigError: ``path`` exists and is not to be overwritten, is no dataset that ocrcc made, or another process
            writes it.
        DataError: It cannot be written, for example because the disk is full.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._claim = ExitStack()
        self._claim.enter_context(claimed(self.path))
        self._real = self.path.resolve()
        self._aside = new_aside(self._real)
        self._overwrite = overwrite
        self._widths, self._heights, self._lengths = array("I"), array("I"), array("I")
        self._characters: Counter[str] = Counter()
        self._digest = hashlib.sha256()
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        try:
            check_output(self.path, overwrite)
            self._aside.mkdir()
            self._env = lmdb.open(os.fsencode(self._aside), map_size=_FIRST_MAP, lock=False, sync=False)
        except BaseException as error:
            remove(self._aside)
            self._claim.close()
            if isinstance(error, (OSError, lmdb.Error)):
                raise DataError(f"{self.path}: cannot be written: {error}") from None
            raise

    def __len__(self) -> int:
        return len(self._widths)

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def add(self, image: bytes, label: str, *, source: str, size: tuple[int, int]) -> None:
        """Append a line.

        Args:
            image: An encoded image.
            label: Its text.
            source: Where it came from.
            size: Width and height in pixels, upright.
        """
        number = len(self) + 1
        self._widths.append(size[0])
        self._heights.append(size[1])
        self._lengths.append(len(label))
        self._characters.update(label)
        written = label.encode()
        digest_line(self._digest, image, written)
        records = [(b"image-%09d" % number, image), (b"label-%09d" % number, written)]
        named = _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", source)
        records.append((b"source-%09d" % number, named.encode(errors="surrogateescape")))
        self._pending += records
        self._pending_bytes += sum(len(value) for _, value in records)
        if self._pending_bytes > _COMMIT_BYTES:
            self._write()

    def _write(self) -> None:
        """Commit what is pending, in a map that is made larger until it fits."""
        while True:
            try:
                with self._env.begin(write=True) as transaction:
                    for key, value in self._pending:
                        transaction.put(key, value)
            except lmdb.MapFullError:
                self._env.set_mapsize(2 * self._env.info()["map_size"])
                continue
            except (lmdb.Error, OSError) as error:
                self.abandon()
                raise DataError(f"{self.path}: cannot be written: {error}", "is the disk full?") from None
            self._pending.clear()
            self._pending_bytes = 0
            return

    def close(self) -> None:
        """Finish the dataset, check that every record arrived, and give it its name.

        Raises:
            DataError: It cannot be written.
        """
        close_all([self])

    def _finish(self) -> tuple[Path, Path]:
        """Write the index, bring all to the disk, and say what is to get which name."""
        widths, heights, lengths = (np.array(each) for each in (self._widths, self._heights, self._lengths))
        index = Index(widths, heights, lengths, self._characters, sha256=self._digest.hexdigest())
        sizes, meta = index.pack(INDEX_FORMAT)
        self._pending += [(INDEX, sizes), (META, meta), (COUNT, b"%d" % len(self))]
        self._write()
        try:
            self._env.sync(True)
            entries = self._env.stat()["entries"]
            self._env.close()
        except (lmdb.Error, OSError) as error:
            raise DataError(f"{self.path}: cannot be written: {error}", "is the disk full?") from None
        if entries != 3 * len(self) + 3:
            raise DataError(f"{self.path}: {entries} records were written, not {3 * len(self) + 3}")
        check_output(self.path, self._overwrite)
        return self._aside, self._real

    def abandon(self) -> None:
        """Leave nothing behind; a dataset that has its name stays."""
        self._env.close()
        remove(self._aside)
        self._claim.close()


def close_all(writers: Sequence[LmdbWriter]) -> None:
    """Finish several datasets and give all of them their names, or none.

    Raises:
        DataError: One of them cannot be written; what was there before stays.
    """
    try:
        replace([writer._finish() for writer in writers])
    finally:
        for writer in writers:
            writer.abandon()


def check_output(path: Path, overwrite: bool) -> None:
    """Make sure that a dataset can be written to a place.

    Raises:
        ConfigError: Something is there that is not to be replaced.
    """
    check_replaceable(path, _DATASET)
    if path.exists() and not overwrite:
        raise ConfigError(f"{path} exists", "choose another name, or --force")


def _is_ours(path: Path) -> bool:
    """Tell a dataset that ocrcc made, with nothing else in its folder."""
    if not (path / "data.mdb").is_file():
        return False
    try:
        return LmdbDataset(path).is_ours()
    except DataError:
        return False


_FOLDER = folder_of("dataset", r"data\.mdb|lock\.mdb|ocrcc-index", lambda _: True)
_DATASET = Kind("dataset", lambda path: _FOLDER.ours(path) and _is_ours(path))

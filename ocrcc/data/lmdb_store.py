"""Datasets: an LMDB with the field's keys, and beside them one index that knows every line's size.

``num-samples``, ``image-%09d`` and ``label-%09d`` (from 1) are what deep-text-recognition-benchmark, PARSeq,
OpenOCR and MMOCR read and write. Ours has three keys more: ``source-%09d`` says where a line came from,
``ocrcc-index`` holds widths, heights and label lengths, ``ocrcc-meta`` the characters and their counts.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from ocrcc.data.images import open_image
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import whole
from ocrcc.types import Line

_INDEX = b"ocrcc-index"
_META = b"ocrcc-meta"
_COUNT = b"num-samples"
_FIRST_MAP = 1 << 24  # bytes; doubled whenever it is full
_COMMIT_BYTES = 1 << 24  # bytes of records that one transaction holds, and that are written again if the map is full
_INDEX_FORMAT = 1


@dataclass(frozen=True)
class _Index:
    """Sizes of all lines, 4 bytes each, and the characters of all labels."""

    widths: np.ndarray
    heights: np.ndarray
    label_lengths: np.ndarray
    characters: Counter[str]

    def pack(self) -> tuple[bytes, bytes]:
        sizes = np.stack([self.widths, self.heights, self.label_lengths]).astype("<u4")
        meta = {"format": _INDEX_FORMAT, "lines": sizes.shape[1], "characters": dict(self.characters)}
        return zlib.compress(sizes.tobytes(), 1), json.dumps(meta, ensure_ascii=False).encode()

    @staticmethod
    def unpack(sizes: bytes, meta: bytes, lines: int) -> _Index | None:
        """Return None for an index of another number of lines: somebody added to the dataset since."""
        described = json.loads(meta)
        if described["format"] != _INDEX_FORMAT or described["lines"] != lines:
            return None
        table = np.frombuffer(zlib.decompress(sizes), dtype="<u4").reshape(3, lines)
        return _Index(table[0], table[1], table[2], Counter(described["characters"]))


class LmdbWriter:
    """Writes a dataset that appears under its name only when it is whole.

    Use it as a context manager; an exception inside leaves nothing behind. Memory does not grow with the
    images: 12 bytes a line are kept.

    Args:
        path: The dataset's folder to be.
        overwrite: Replace a dataset that is there already, once the new one is whole.

    Raises:
        ConfigError: ``path`` exists and is not to be overwritten.
        DataError: It cannot be written, for example because the disk is full.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists() and not overwrite:
            raise ConfigError(f"{self.path} exists", "choose another name, or --force")
        self._aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._widths, self._heights, self._lengths = array("I"), array("I"), array("I")
        self._characters: Counter[str] = Counter()
        self._pending: list[tuple[bytes, bytes]] = []
        self._pending_bytes = 0
        try:
            _remove_dead(self.path)
            self._aside.mkdir(parents=True)
            self._env = lmdb.open(str(self._aside), map_size=_FIRST_MAP, lock=False, sync=False)
        except (OSError, lmdb.Error) as error:
            raise DataError(f"{self.path}: cannot be written: {error}") from None

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
        records = [(b"image-%09d" % number, image), (b"label-%09d" % number, label.encode())]
        records.append((b"source-%09d" % number, source.encode(errors="surrogateescape")))
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
        index = _Index(np.array(self._widths), np.array(self._heights), np.array(self._lengths), self._characters)
        sizes, meta = index.pack()
        self._pending += [(_INDEX, sizes), (_META, meta), (_COUNT, b"%d" % len(self))]
        self._write()
        try:
            self._env.sync(True)
            entries = self._env.stat()["entries"]
            self._env.close()
            if entries != 3 * len(self) + 3:
                raise DataError(f"{self.path}: {entries} records were written, not {3 * len(self) + 3}")
            self._name()
        except (lmdb.Error, OSError) as error:
            self.abandon()
            raise DataError(f"{self.path}: cannot be written: {error}", "is the disk full?") from None
        except DataError:
            self.abandon()
            raise

    def _name(self) -> None:
        if not self.path.exists():
            self._aside.rename(self.path)
            return
        known = _open_environments.pop((os.getpid(), str(self.path.resolve())), None)
        if known is not None:  # of the old dataset, which it would go on showing
            known.close()
        old = self.path.with_name(f".{self.path.name}.{os.getpid()}.old.tmp")
        self.path.rename(old)
        self._aside.rename(self.path)
        shutil.rmtree(old) if old.is_dir() else old.unlink()

    def abandon(self) -> None:
        """Leave nothing behind."""
        self._env.close()
        shutil.rmtree(self._aside, ignore_errors=True)


def _remove_dead(path: Path) -> None:
    """Remove what a killed build of the same dataset left."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        process = left.name.removeprefix(f".{path.name}.").split(".")[0]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


_open_environments: dict[tuple[int, str], lmdb.Environment] = {}
"""By process and path: LMDB must not be opened twice in a process, nor used across a fork."""


class LmdbDataset:
    """A dataset, opened when it is first read, anew in each process; a `ocrcc.types.SizedLineSource`.

    Args:
        path: An LMDB folder or file with the field's keys; ours or anybody's.

    Raises:
        DataError: There is none, or it lacks what a dataset must have.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = str(path)
        raw = self._get(_COUNT)
        if raw is None or not raw.isdigit():
            raise DataError(f"{self.path}: an LMDB, but without a num-samples", "make datasets with ocrcc build-lmdb")
        self._size = int(raw)
        if 2 * self._size > (entries := self._environment().stat()["entries"]):
            raise DataError(f"{self.path}: says it has {self._size} lines, but has only {entries} records")
        self._index: _Index | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "name": self.name, "_size": self._size, "_index": self._index}

    def __len__(self) -> int:
        return self._size

    @property
    def size(self) -> int:
        """How many lines there are."""
        return self._size

    @property
    def widths(self) -> np.ndarray:
        """The images' widths in pixels, one a line."""
        return self._indexed().widths

    @property
    def heights(self) -> np.ndarray:
        """The images' heights in pixels, one a line."""
        return self._indexed().heights

    @property
    def label_lengths(self) -> np.ndarray:
        """Characters of the labels, one a line."""
        return self._indexed().label_lengths

    @property
    def characters(self) -> Mapping[str, int]:
        """The characters of all labels and how often they occur."""
        return self._indexed().characters

    def image_bytes(self, index: int) -> bytes:
        """Return the encoded image of a line, counted from 0."""
        return self._record(b"image", index)

    def label(self, index: int) -> str:
        """Return the text of a line, counted from 0."""
        raw = self._record(b"label", index)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}#{index + 1}: its label is not UTF-8: {error.reason}") from None

    def source(self, index: int) -> str:
        """Say where a line came from: as its builder said, and its place here."""
        raw = self._get(b"source-%09d" % (index + 1))
        place = f"{self.path}#{index + 1}"
        return f"{place} ({raw.decode(errors='replace')})" if raw else place

    def line(self, index: int) -> Line:
        """Return a line, counted from 0, with its image decoded.

        Raises:
            DataError: It is not there, or its image or label is broken.
        """
        source = self.source(index)
        return Line(image=open_image(self.image_bytes(index), name=source), label=self.label(index), source=source)

    def _record(self, kind: bytes, index: int) -> bytes:
        raw = self._get(b"%s-%09d" % (kind, index + 1))
        if raw is None:
            raise DataError(f"{self.path}#{index + 1}: no {kind.decode()} in the dataset")
        return raw

    def _get(self, key: bytes) -> bytes | None:
        try:
            with self._environment().begin() as transaction:
                return transaction.get(key)
        except lmdb.Error as error:
            raise DataError(f"{self.path}: damaged LMDB: {error}") from None

    def _environment(self) -> lmdb.Environment:
        if not self.path.exists():
            raise DataError(f"{self.path}: no such dataset", "make one with ocrcc build-lmdb")
        key = os.getpid(), str(self.path.resolve())
        if key not in _open_environments:
            for inherited in [other for other in _open_environments if other[0] != key[0]]:
                _open_environments.pop(inherited).close()
            if self.path.is_dir() and not (self.path / "data.mdb").is_file():
                raise DataError(f"{self.path}: a folder, but no LMDB in it", "make one with ocrcc build-lmdb")
            try:
                _open_environments[key] = lmdb.open(
                    str(self.path), subdir=self.path.is_dir(), readonly=True, lock=False, readahead=False, create=False
                )
            except lmdb.Error as error:
                raise DataError(f"{self.path}: not an LMDB: {error}", "make one with ocrcc build-lmdb") from None
        return _open_environments[key]

    def _indexed(self) -> _Index:
        if self._index is None:
            self._index = self._own_index() or self._index_beside()
        return self._index

    def _own_index(self) -> _Index | None:
        sizes, meta = self._get(_INDEX), self._get(_META)
        try:
            return _Index.unpack(sizes, meta, self._size) if sizes and meta else None
        except (ValueError, KeyError, TypeError, zlib.error):
            raise DataError(f"{self.path}: its index is damaged", "build it again with ocrcc build-lmdb") from None

    def _index_beside(self) -> _Index:
        """Find or make the index of a dataset that came without one."""
        folder = self.path if self.path.is_dir() else self.path.parent
        beside = folder / ("ocrcc-index" if self.path.is_dir() else f".{self.path.name}.ocrcc-index")
        file = (self.path / "data.mdb" if self.path.is_dir() else self.path).stat()
        state = struct.pack("<qq", file.st_size, file.st_mtime_ns)
        try:
            raw = beside.read_bytes()
            cut = 16 + struct.unpack("<q", raw[16:24])[0] + 8
            known = _Index.unpack(raw[24:cut], raw[cut:], self._size) if raw[:16] == state else None
        except (OSError, ValueError, KeyError, TypeError, struct.error, zlib.error):
            known = None
        if known is None:
            known = self._measure()
            sizes, meta = known.pack()
            # In a read-only place it is measured again next time.
            with suppress(DataError), whole(beside) as aside:
                aside.write_bytes(state + struct.pack("<q", len(sizes)) + sizes + meta)
        return known

    def _measure(self) -> _Index:
        table = np.ones((3, self._size), dtype="<u4")
        characters: Counter[str] = Counter()
        for index, (size, label) in enumerate(self._sizes()):
            table[:, index] = (*size, len(label))
            characters.update(label)
        return _Index(table[0], table[1], table[2], characters)

    def _sizes(self) -> Iterator[tuple[tuple[int, int], str]]:
        """Read the images' headers; one that cannot be read counts 1 x 1, and is named when it is used."""
        for index in range(self._size):
            size = (1, 1)
            try:
                with Image.open(io.BytesIO(self.image_bytes(index))) as image:
                    sideways = image.getexif().get(0x0112, 1) >= 5
                    size = (image.height, image.width) if sideways else image.size
            except (DataError, OSError, SyntaxError, ValueError):
                pass
            try:
                yield size, self.label(index)
            except DataError:
                yield size, ""

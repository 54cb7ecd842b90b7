"""Datasets: an LMDB with the field's keys, and beside them one index that knows every line's size.

``num-samples``, ``image-%09d`` and ``label-%09d`` (from 1) are what deep-text-recognition-benchmark, PARSeq,
OpenOCR and MMOCR read and write. Ours has three keys more: ``source-%09d`` says where a line came from,
``ocrcc-index`` holds widths, heights and label lengths, ``ocrcc-meta`` the characters and their counts.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import warnings
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb
import numpy as np

from ocrcc.data.holes import number_lines
from ocrcc.data.lmdb_file import LmdbFile
from ocrcc.errors import ConfigError, DataError, OcrccWarning
from ocrcc.files import new_aside, read_small, whole
from ocrcc.images.opening import open_image, upright_size
from ocrcc.places import Kind, check_replaceable, claimed, folder_of, remove, replace, settle
from ocrcc.types import Line

_INDEX = b"ocrcc-index"
_META = b"ocrcc-meta"
_COUNT = b"num-samples"
_FIRST_MAP = 1 << 24  # bytes; doubled whenever it is full
_COMMIT_BYTES = 1 << 24  # bytes of records that one transaction holds, and that are written again if the map is full
_INDEX_FORMAT = 1
_BESIDE_FORMAT = 3  # of the index of a dataset that came without one


@dataclass(frozen=True)
class _Index:
    """Sizes of all lines, 4 bytes each, and the characters of all labels."""

    widths: np.ndarray
    heights: np.ndarray
    label_lengths: np.ndarray
    characters: Counter[str]
    line_ends: int = 0  # labels that were stored with line breaks at their ends
    sha256: str = ""  # of all images and labels

    def pack(self, version: int) -> tuple[bytes, bytes]:
        sizes = np.stack([self.widths, self.heights, self.label_lengths]).astype("<u4")
        meta = {"format": version, "lines": sizes.shape[1], "characters": dict(self.characters), "sha256": self.sha256}
        if self.line_ends:
            meta["line_ends"] = self.line_ends
        return zlib.compress(sizes.tobytes(), 1), json.dumps(meta, ensure_ascii=False).encode()

    @staticmethod
    def unpack(sizes: bytes, meta: bytes, lines: int, version: int) -> _Index | None:
        """Return None for an index of another number of lines: somebody added to the dataset since."""
        described = json.loads(meta)
        if described["format"] != version or described["lines"] != lines:
            return None
        unpacked = zlib.decompressobj().decompress(sizes, 12 * lines + 1)  # not a byte more than it may have
        table = np.frombuffer(unpacked, dtype="<u4").reshape(3, lines)
        counts = described["characters"].items()
        if not (table[:2] > 0).all() or not all(len(char) == 1 and type(count) is int for char, count in counts):
            raise ValueError("sizes of 0, or no characters")
        ends, digest = described.get("line_ends", 0), str(described.get("sha256", ""))
        return _Index(table[0], table[1], table[2], Counter(described["characters"]), ends, digest)


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
            self._env = lmdb.open(str(self._aside), map_size=_FIRST_MAP, lock=False, sync=False)
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
        _digest_line(self._digest, image, written)
        records = [(b"image-%09d" % number, image), (b"label-%09d" % number, written)]
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
        close_all([self])

    def _finish(self) -> tuple[Path, Path]:
        """Write the index, bring all to the disk, and say what is to get which name."""
        widths, heights, lengths = (np.array(each) for each in (self._widths, self._heights, self._lengths))
        index = _Index(widths, heights, lengths, self._characters, sha256=self._digest.hexdigest())
        sizes, meta = index.pack(_INDEX_FORMAT)
        self._pending += [(_INDEX, sizes), (_META, meta), (_COUNT, b"%d" % len(self))]
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


def _digest_line(digest: Any, image: bytes, label: bytes) -> None:
    digest.update(struct.pack("<QQ", len(image), len(label)))
    digest.update(image)
    digest.update(label)


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


class LmdbDataset:
    """A dataset, opened when it is first read, anew in spawned processes; a `ocrcc.types.SizedLineSource`.

    Args:
        path: An LMDB folder or file with the field's keys; ours or anybody's.

    Raises:
        DataError: There is none, or it lacks what a dataset must have.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = str(path)
        self._file: LmdbFile | None = None
        raw = self._get(_COUNT)
        if raw is None or not re.fullmatch(rb"\d{1,9}", raw):  # the keys have nine digits
            raise DataError(f"{self.path}: an LMDB, but without a num-samples", "make datasets with ocrcc build-lmdb")
        self.oddities: list[str] = []
        """What is not as it should be and was passed over, in words; warned of when the dataset is opened."""
        self._numbers = None if self._is_whole(int(raw)) else self._number(int(raw))
        self._size = int(raw) if self._numbers is None else len(self._numbers)
        self._index: _Index | None = None

    def __getstate__(self) -> dict[str, Any]:
        kept = ("path", "name", "oddities", "_numbers", "_size", "_index")
        return {name: getattr(self, name) for name in kept} | {"_file": None}

    def _is_whole(self, declared: int) -> bool:
        """Tell whether this is a dataset of ours that nobody has changed."""
        meta = self._get(_META)
        try:
            lines = json.loads(meta)["lines"] if meta and self._get(_INDEX) else None
        except (ValueError, KeyError, TypeError, RecursionError):
            return False  # whoever reads the index says what is wrong with it
        return lines == declared and self._opened().entries == 3 * declared + 3

    def _number(self, declared: int) -> np.ndarray | None:
        """Find the lines that are whole; None if they are those from 1 to the count."""
        found = number_lines(self._opened().keys, declared)
        if declared and not len(found.numbers):
            raise DataError(f"{self.path}: says it has {declared} lines, but not one has an image and a label")
        for said in found.describe():
            self._warn(said)
        whole = len(found.numbers) == declared and (not declared or found.numbers[0] == 1)
        return None if whole else found.numbers

    def _warn(self, oddity: str) -> None:
        self.oddities.append(oddity)
        warnings.warn(f"{self.path}: {oddity}", OcrccWarning, stacklevel=3)

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

    @property
    def sha256(self) -> str:
        """The SHA-256 of all images and labels in their order, each pair behind its two lengths (``<QQ``).

        A dataset of ours carries it since it was written; a foreign one's is computed once, when its images are
        measured. So it is known without reading the images, and what another program has since changed in place does
        not show. Empty for a dataset of ours from before there was one.
        """
        return self._indexed().sha256

    def is_ours(self) -> bool:
        """Whether ocrcc made it."""
        return self._get(_META) is not None

    def number(self, index: int) -> int:
        """Return the number of the record of a line, counted from 0."""
        return index + 1 if self._numbers is None else int(self._numbers[index])

    def image_bytes(self, index: int) -> bytes:
        """Return the encoded image of a line, counted from 0."""
        return self._record(b"image", index)

    def label(self, index: int) -> str:
        """Return the text of a line, counted from 0, without the line ends that some tools store with it."""
        raw = self._record(b"label", index)
        try:
            return raw.decode().strip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}#{self.number(index)}: its label is not UTF-8: {error.reason}") from None

    def source(self, index: int) -> str:
        """Say where a line came from: as its builder said, and its place here."""
        raw = self._get(b"source-%09d" % self.number(index))
        place = f"{self.path}#{self.number(index)}"
        return f"{place} ({raw.decode(errors='replace')})" if raw else place

    def line(self, index: int) -> Line:
        """Return a line, counted from 0, with its image decoded.

        Raises:
            DataError: It is not there, or its image or label is broken.
        """
        source = self.source(index)
        return Line(image=open_image(self.image_bytes(index), name=source), label=self.label(index), source=source)

    def _record(self, kind: bytes, index: int) -> bytes:
        raw = self._get(b"%s-%09d" % (kind, self.number(index)))
        if raw is None:
            raise DataError(f"{self.path}#{self.number(index)}: no {kind.decode()} in the dataset")
        return raw

    def _get(self, key: bytes) -> bytes | None:
        return self._opened().get(key)

    def _opened(self) -> LmdbFile:
        if self._file is None:
            settle(self.path)
            if not self.path.exists():
                raise DataError(f"{self.path}: no such dataset", "make one with ocrcc build-lmdb")
            if self.path.is_dir() and not (self.path / "data.mdb").is_file():
                raise DataError(f"{self.path}: a folder, but no LMDB in it", "make one with ocrcc build-lmdb")
            self._file = LmdbFile(self.path / "data.mdb" if self.path.is_dir() else self.path, self.name)
        return self._file

    def _indexed(self) -> _Index:
        if self._index is None:
            self._index = self._own_index() or self._index_beside()
            if ends := self._index.line_ends:
                labels = (
                    "labels ended in line breaks, which are" if ends > 1 else "label ended in a line break, which is"
                )
                self._warn(f"{ends} {labels} taken off")
        return self._index

    def _own_index(self) -> _Index | None:
        sizes, meta = self._get(_INDEX), self._get(_META)
        try:
            return _Index.unpack(sizes, meta, self._size, _INDEX_FORMAT) if sizes and meta else None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zlib.error):
            raise DataError(f"{self.path}: its index is damaged", "build it again with ocrcc build-lmdb") from None

    def _index_beside(self) -> _Index:
        """Find or make the index of a dataset that came without one."""
        folder = self.path if self.path.is_dir() else self.path.parent
        beside = folder / ("ocrcc-index" if self.path.is_dir() else f".{self.path.name}.ocrcc-index")
        file = (self.path / "data.mdb" if self.path.is_dir() else self.path).stat()
        state = struct.pack("<qq", file.st_size, file.st_mtime_ns)
        try:
            raw = read_small(beside, most=16 * self._size + (64 << 20))
            cut = 16 + struct.unpack("<q", raw[16:24])[0] + 8
            known = _Index.unpack(raw[24:cut], raw[cut:], self._size, _BESIDE_FORMAT) if raw[:16] == state else None
        except (DataError, ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error, zlib.error):
            known = None
        if known is None:
            known = self._measure()
            sizes, meta = known.pack(_BESIDE_FORMAT)
            # In a read-only place it is measured again next time.
            with suppress(DataError), whole(beside) as aside:
                aside.write_bytes(state + struct.pack("<q", len(sizes)) + sizes + meta)
        return known

    def _measure(self) -> _Index:
        table = np.ones((3, self._size), dtype="<u4")
        characters: Counter[str] = Counter()
        digest = hashlib.sha256()
        for index, (size, label) in enumerate(self._sizes(digest)):
            table[:, index] = (*size, len(label))
            characters.update(label)
        ends = sum(raw[:1] in b"\r\n" or raw[-1:] in b"\r\n" for raw in map(self._raw_label, range(self._size)) if raw)
        return _Index(table[0], table[1], table[2], characters, ends, digest.hexdigest())

    def _raw_label(self, index: int) -> bytes:
        return self._get(b"label-%09d" % self.number(index)) or b""

    def _sizes(self, digest: Any) -> Iterator[tuple[tuple[int, int], str]]:
        """Read the images' headers; one that cannot be read counts 1 x 1, and is named when it is used."""
        for index in range(self._size):
            size, label = (1, 1), ""
            with suppress(DataError):
                image = self.image_bytes(index)
                _digest_line(digest, image, self._raw_label(index))
                size = upright_size(image)
            with suppress(DataError):
                label = self.label(index)
            yield size, label

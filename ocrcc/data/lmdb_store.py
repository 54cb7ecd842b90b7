"""Reading datasets: an LMDB with the field's keys, and beside them one index that knows every line's size.

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
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc.data.holes import number_lines
from ocrcc.data.lmdb_file import LmdbFile
from ocrcc.data.lmdb_index import BESIDE_FORMAT, COUNT, DAMAGED, INDEX, INDEX_FORMAT, META, Index, digest_line
from ocrcc.errors import DataError, OcrccWarning
from ocrcc.files import read_small, whole
from ocrcc.images.opening import open_image, upright_size
from ocrcc.places import settle
from ocrcc.types import Line


class LmdbDataset:
    """A dataset, opened when it is first read, anew in spawned processes; a `ocrcc.types.SizedLineSource`.

    Args:
        path: An LMDB folder or file with the field's keys; ours or anybody's.
        name: What to call it, where its path means nothing to anybody.

    Raises:
        DataError: There is none, or it lacks what a dataset must have.
    """

    def __init__(self, path: str | Path, *, name: str = "") -> None:
        self.path = Path(path)
        self.name = name or str(path)
        self._file: LmdbFile | None = None
        raw = self._get(COUNT)
        if raw is None or not re.fullmatch(rb"\d{1,9}", raw):  # the keys have nine digits
            raise DataError(f"{self.path}: an LMDB, but without a num-samples", "make datasets with ocrcc build-lmdb")
        self.oddities: list[str] = []
        """What is not as it should be and was passed over, in words; warned of when the dataset is opened."""
        self._numbers = None if self._is_whole(int(raw)) else self._number(int(raw))
        self._size = int(raw) if self._numbers is None else len(self._numbers)
        self._index: Index | None = None

    def __getstate__(self) -> dict[str, Any]:
        kept = ("path", "name", "oddities", "_numbers", "_size", "_index")
        return {name: getattr(self, name) for name in kept} | {"_file": None}

    def _is_whole(self, declared: int) -> bool:
        """Tell whether this is a dataset of ours that nobody has changed."""
        meta = self._get(META)
        try:
            lines = json.loads(meta)["lines"] if meta and self._get(INDEX) else None
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
        return self._get(META) is not None

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
            raise DataError(f"{self.name}#{self.number(index)}: its label is not UTF-8: {error.reason}") from None

    def source(self, index: int) -> str:
        """Say where a line came from: as its builder said, and its place here."""
        raw = self._get(b"source-%09d" % self.number(index))
        place = f"{self.name}#{self.number(index)}"
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
            raise DataError(f"{self.name}#{self.number(index)}: no {kind.decode()} in the dataset")
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

    def _indexed(self) -> Index:
        if self._index is None:
            self._index = self._own_index() or self._index_beside()
            if ends := self._index.line_ends:
                labels = (
                    "labels ended in line breaks, which are" if ends > 1 else "label ended in a line break, which is"
                )
                self._warn(f"{ends} {labels} taken off")
        return self._index

    def _own_index(self) -> Index | None:
        sizes, meta = self._get(INDEX), self._get(META)
        try:
            return Index.unpack(sizes, meta, self._size, INDEX_FORMAT) if sizes and meta else None
        except DAMAGED:
            raise DataError(f"{self.path}: its index is damaged", "build it again with ocrcc build-lmdb") from None

    def _index_beside(self) -> Index:
        """Find or make the index of a dataset that came without one."""
        folder = self.path if self.path.is_dir() else self.path.parent
        beside = folder / ("ocrcc-index" if self.path.is_dir() else f".{self.path.name}.ocrcc-index")
        file = (self.path / "data.mdb" if self.path.is_dir() else self.path).stat()
        state = struct.pack("<qq", file.st_size, file.st_mtime_ns)
        try:
            raw = read_small(beside, most=16 * self._size + (64 << 20))
            cut = 16 + struct.unpack("<q", raw[16:24])[0] + 8
            known = Index.unpack(raw[24:cut], raw[cut:], self._size, BESIDE_FORMAT) if raw[:16] == state else None
        except (DataError, *DAMAGED):
            known = None
        if known is None:
            known = self._measure()
            sizes, meta = known.pack(BESIDE_FORMAT)
            # In a read-only place it is measured again next time.
            with suppress(DataError), whole(beside) as aside:
                aside.write_bytes(state + struct.pack("<q", len(sizes)) + sizes + meta)
        return known

    def _measure(self) -> Index:
        table = np.ones((3, self._size), dtype="<u4")
        characters: Counter[str] = Counter()
        digest = hashlib.sha256()
        for index, (size, label) in enumerate(self._sizes(digest)):
            table[:, index] = (*size, len(label))
            characters.update(label)
        ends = sum(raw[:1] in b"\r\n" or raw[-1:] in b"\r\n" for raw in map(self._raw_label, range(self._size)) if raw)
        return Index(table[0], table[1], table[2], characters, ends, digest.hexdigest())

    def _raw_label(self, index: int) -> bytes:
        return self._get(b"label-%09d" % self.number(index)) or b""

    def _sizes(self, digest: Any) -> Iterator[tuple[tuple[int, int], str]]:
        """Read the images' headers; one that cannot be read counts 1 x 1, and is named when it is used."""
        for index in range(self._size):
            size, label = (1, 1), ""
            with suppress(DataError):
                image = self.image_bytes(index)
                digest_line(digest, image, self._raw_label(index))
                size = upright_size(image)
            with suppress(DataError):
                label = self.label(index)
            yield size, label

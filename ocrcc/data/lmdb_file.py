"""LMDB files of strangers, read without mapping them into memory.

LMDB trusts its files: a page number that points outside kills the process, and so does a file that another program
cuts short while it is mapped. Its authors say so, and py-lmdb can do nothing about it. Here pages are read with
``pread``, and everything that is followed is checked when it is: a damaged file is a `ocrcc.errors.DataError`. Nothing
is walked beforehand, so opening takes as long for a terabyte as for a page. Writing is py-lmdb's.

The format is that of LMDB 0.9 on machines of 64 bits, little end first: two pages that say where the tree begins, then
pages of nodes. https://github.com/LMDB/lmdb/blob/LMDB_0.9.31/libraries/liblmdb/mdb.c
"""

from __future__ import annotations

import os
import struct
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ocrcc.errors import DataError
from ocrcc.files import check_regular

_PAGE = struct.Struct("<Q2xHHH")  # its number, flags, where the list of nodes ends, where the nodes begin
_OVERFLOW_PAGE = struct.Struct("<Q2xHI")  # the number of the first, flags, how many pages
_NODE = struct.Struct("<HHHH")  # size of the value (two halves), flags, size of the key
_META = struct.Struct("<IIQQ48s48sQQ")  # magic, version, address, map size, free pages, tree, last page, transaction
_TREE = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, three counts of pages, entries, root
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_KINDS = 0x6F  # all flags of pages but that of one not yet written
_BIG, _DUPLICATES = 1, 4
_NO_ROOT = (1 << 64) - 1
_DEEPEST = 32
_KEPT = 1024
"""Branch pages in memory, which are those of about three million records."""
_MOST_VALUE = 1 << 29
"""Bytes of a value; the largest is the index of a dataset of a hundred million lines."""
_LEAST_RECORD = 20
"""Bytes that a record takes at least, with key and frame."""


class _Leaf(NamedTuple):
    """The bytes of a page, and where its records are in it."""

    page: bytes
    places: tuple[int, ...]


class _Branch(NamedTuple):
    """The first key below each child, and the children's pages."""

    keys: list[bytes]
    children: list[int]


class LmdbFile:
    """The keys and values of an LMDB as they were when it was opened. Threads and forked processes may share it.

    Args:
        file: The file itself, ``data.mdb``.
        name: What to call it in messages.

    Attributes:
        entries: How many records it says it has.
        most_records: How many it has room for.

    Raises:
        DataError: It is no LMDB, truncated, or cannot be read.
    """

    def __init__(self, file: Path, name: str) -> None:
        self._name = name
        check_regular(file)
        try:
            self._file = open(file, "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise DataError(f"{name}: {error.strerror or error}") from None
        self._lock = threading.Lock()
        self._branches: dict[int, _Branch] = {}
        self._bytes = self._page_size = 0
        first = self._meta(0)
        self._page_size = first[0]
        best = max(first, self._meta(self._page_size), key=lambda meta: meta[-1])
        _, flags, self.entries, self._root, self._last, _ = best
        self._bytes = (self._last + 1) * self._page_size
        self.check()
        self.most_records = self._bytes // _LEAST_RECORD
        if flags or self.entries > self.most_records:
            raise DataError(f"{name}: an LMDB, but no dataset: its keys are of another kind, or more than fit into it")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def check(self) -> None:
        """Make sure that the file is as long as its pages.

        Raises:
            DataError: It is not.
        """
        if (found := os.fstat(self._file.fileno()).st_size) < self._bytes:
            raise DataError(
                f"{self._name}: truncated: {found:,} of {self._bytes:,} bytes are there",
                "copy it again, or build it again",
            )

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, if it is there.

        Raises:
            DataError: The file is damaged or has been cut short.
        """
        self.check()
        number = self._root
        if number == _NO_ROOT:
            return None
        for _ in range(_DEEPEST):
            found = self._page(number)
            if isinstance(found, _Leaf):
                at = self._first(found, key)
                same = at < len(found.places) and self._key(found.page, found.places[at]) == key
                return self._value(found.page, found.places[at]) if same else None
            number = found.children[bisect_right(found.keys, key) - 1]
        raise self._damaged("a tree without an end")

    def keys(self, first: bytes) -> Iterator[bytes]:
        """Give all keys from one on, in order.

        Raises:
            DataError: The file is damaged or has been cut short.
        """
        self.check()
        last = None
        for key in self._keys(self._root, first, _DEEPEST) if self._root != _NO_ROOT else ():
            if last is not None and key <= last:  # as in a tree that contains itself
                raise self._damaged("keys that are not in order")
            yield key
            last = key

    def _keys(self, number: int, first: bytes, deep: int) -> Iterator[bytes]:
        if not deep:
            raise self._damaged("a tree without an end")
        found = self._page(number)
        if isinstance(found, _Leaf):
            for place in found.places[self._first(found, first) :]:
                yield self._key(found.page, place)
            return
        for child in found.children[bisect_right(found.keys, first) - 1 :]:
            yield from self._keys(child, first, deep - 1)

    def _meta(self, at: int) -> tuple[int, int, int, int, int, int]:
        """Read one of the two first pages: page size, flags, entries, root, last page, transaction."""
        raw = self._read(at, _PAGE.size + _META.size, exact=False)
        if len(raw) < _PAGE.size + _META.size:
            raise DataError(f"{self._name}: not an LMDB: too short", "make one with ocrcc build-lmdb")
        magic, version, _, _, free, tree, last, transaction = _META.unpack_from(raw, _PAGE.size)
        size = _TREE.unpack(free)[0]
        _, flags, _, _, _, _, entries, root = _TREE.unpack(tree)
        sound = _PAGE.unpack_from(raw)[1] & _META_PAGE and magic == _MAGIC and version == _VERSION
        if not sound or not 256 <= size <= 65536 or size & (size - 1) or last > 1 << 47:
            raise DataError(f"{self._name}: not an LMDB that can be read", "make one with ocrcc build-lmdb")
        return size, flags, entries, root, last, transaction

    def _read(self, at: int, size: int, *, exact: bool = True) -> bytes:
        try:
            if hasattr(os, "pread"):
                raw = os.pread(self._file.fileno(), size, at)
            else:  # Windows has a place in the file only
                with self._lock:
                    self._file.seek(at)
                    raw = self._file.read(size)
        except OSError as error:
            raise DataError(f"{self._name}: {error.strerror or error}") from None
        if exact and len(raw) < size:
            self.check()
            raise DataError(f"{self._name}: {size} bytes at {at} could not be read")
        return raw

    def _page(self, number: int) -> _Leaf | _Branch:
        if (known := self._branches.get(number)) is not None:
            return known
        if not 2 <= number <= self._last:
            raise self._damaged(f"page {number} of {self._last}")
        page = self._read(number * self._page_size, self._page_size)
        own, flags, lower, upper = _PAGE.unpack_from(page)
        kind, count = flags & _KINDS, (lower - _PAGE.size) // 2
        if own != number or kind not in (_BRANCH, _LEAF) or count < 1 or not lower <= upper <= self._page_size:
            raise self._damaged(f"page {number}")
        places = struct.unpack_from(f"<{count}H", page, _PAGE.size)
        if kind == _LEAF:
            return _Leaf(page, places)
        # The first key of a branch stands for all that are before the second.
        keys = [b"", *(self._key(page, place) for place in places[1:])]
        branch = _Branch(keys, [self._child(page, place) for place in places])
        if len(self._branches) >= _KEPT:
            self._branches.clear()
        self._branches[number] = branch
        return branch

    def _key(self, page: bytes, place: int) -> bytes:
        try:
            size = _NODE.unpack_from(page, place)[3]
        except struct.error:
            raise self._damaged("a node outside of its page") from None
        key = page[place + 8 : place + 8 + size]
        if len(key) < size:
            raise self._damaged("a key outside of its page")
        return key

    def _first(self, leaf: _Leaf, key: bytes) -> int:
        """Find the first record of a leaf that is not before a key."""
        return bisect_left(leaf.places, key, key=lambda place: self._key(leaf.page, place))

    def _child(self, page: bytes, place: int) -> int:
        self._key(page, place)
        low, middle, high, _ = _NODE.unpack_from(page, place)
        return int(low | middle << 16 | high << 32)

    def _value(self, page: bytes, place: int) -> bytes:
        low, high, flags, key = _NODE.unpack_from(page, place)
        size, at = low | high << 16, place + 8 + key
        if flags & _DUPLICATES or size > _MOST_VALUE:
            raise self._damaged(f"a value of {size:,} bytes")
        if not flags & _BIG:
            if at + size > len(page):
                raise self._damaged("a value outside of its page")
            return page[at : at + size]
        if at + 8 > len(page):
            raise self._damaged("a value outside of its page")
        number = int.from_bytes(page[at : at + 8], "little")
        start = number * self._page_size
        if number < 2 or start + 16 + size > self._bytes:
            raise self._damaged(f"a value on page {number} of {self._last}")
        raw = self._read(start, 16 + size)
        own, kind, pages = _OVERFLOW_PAGE.unpack_from(raw)
        if own != number or not kind & _OVERFLOW or pages * self._page_size < 16 + size:
            raise self._damaged(f"page {number}")
        return raw[16:]

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self._name}: damaged LMDB: {what}", "copy it again, or build it again")

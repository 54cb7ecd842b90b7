"""Datasets whose bytes are not what they were: read, or refused in a sentence; never a signal, which ends all."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from attacks import Target, attack, check
from long import times

from ocrcc.data.lmdb_file import LmdbFile
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import DataError

PAGE = 4096


def foreign(path: Path, lines: int = 60) -> Path:
    """A dataset of small and of large values, on more than one level of pages."""
    dice = np.random.default_rng(3)
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as change:
        change.put(b"num-samples", b"%d" % lines)
        for number in range(1, lines + 1):
            change.put(b"image-%09d" % number, dice.bytes(9000 if number % 9 == 0 else 300))
            change.put(b"label-%09d" % number, b"%d" % number)
    return path


def read_all(path: Path) -> None:
    """Read everything that a command would."""
    data = LmdbDataset(path)
    for index in range(len(data)):
        data.image_bytes(index), data.label(index), data.source(index)
    list(data._opened().keys(b""))


def mutated(whole: bytes, dice: np.random.Generator) -> bytes:
    """Change a few bytes, most of them where pages say what is in them."""
    data = bytearray(whole)
    for _ in range(int(dice.integers(1, 5))):
        page = int(dice.integers(len(data) // PAGE)) * PAGE
        place = page + int(dice.integers(160 if dice.random() < 0.8 else PAGE))
        form, size = [("<B", 1), ("<H", 2), ("<I", 4), ("<Q", 8)][int(dice.integers(4))]
        interesting = [0, 1, 2, 3, 255, 4096, (1 << 8 * size) - 1, int(dice.integers(1 << min(62, 8 * size)))]
        value = interesting[int(dice.integers(len(interesting)))] & ((1 << 8 * size) - 1)
        place = min(place, len(data) - size)
        data[place : place + size] = struct.pack(form, value)
    if dice.random() < 0.1:
        del data[int(dice.integers(len(data))) :]
    return bytes(data)


def kinds(folder: Path) -> dict[str, Callable[[], Target]]:
    """Name what is attacked; it is made when it is called for."""

    def target() -> Target:
        return Target("a.mdb", (foreign(folder / "whole.lmdb") / "data.mdb").read_bytes(), mutated, read_all)

    return {"bytes of data.mdb": target}


def test_mutated_bytes_are_read_or_refused(tmp_path):
    ended = attack(tmp_path, kinds(tmp_path)["bytes of data.mdb"](), times(300), seed=0)
    check(ended)
    assert min(ended.how["read"], ended.how["refused"]) > times(300) // 10, ended


def test_all_is_read_as_lmdb_reads_it(tmp_path):
    path = foreign(tmp_path / "a.lmdb", 900)
    ours = LmdbFile(path / "data.mdb", "a")
    with lmdb.open(str(path), readonly=True, lock=False) as env, env.begin() as all_of_it:
        for key, value in all_of_it.cursor():
            assert ours.get(key) == value
        assert list(ours.keys(b"")) == list(all_of_it.cursor().iternext(values=False))
        cursor = all_of_it.cursor()
        cursor.set_range(b"label-000000777x")
        assert list(ours.keys(b"label-000000777x")) == list(cursor.iternext(values=False))
        assert ours.get(b"image-000000777x") is ours.get(b"") is ours.get(b"zzz") is None
        assert ours.entries == 1801


def test_the_newest_state_of_a_file_is_read(tmp_path):
    path = foreign(tmp_path / "a.lmdb", 5)
    for text in (b"first", b"second", b"third"):
        with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as change:
            change.put(b"label-000000003", text)
        assert LmdbFile(path / "data.mdb", "a").get(b"label-000000003") == text


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (40, struct.pack("<I", 3), "not an LMDB"),  # the page size
        (92, struct.pack("<H", 4), "keys are of another kind"),  # flags: several values for a key
        (120, struct.pack("<Q", 1 << 40), "more than fit into it"),  # how many records
        (128, struct.pack("<Q", 1 << 40), "damaged LMDB: page"),  # where the tree begins
        (136, struct.pack("<Q", 1 << 40), "truncated"),  # the last page
    ],
)
def test_first_pages_that_lie_are_told(tmp_path, place, value, said):
    data = bytearray((foreign(tmp_path / "a.lmdb") / "data.mdb").read_bytes())
    for each in (0, PAGE):  # either may be the newer one
        data[each + place : each + place + len(value)] = value
    (tmp_path / "b.mdb").write_bytes(data)
    with pytest.raises(DataError, match=said):
        LmdbFile(tmp_path / "b.mdb", "b").get(b"num-samples")


def test_a_tree_that_contains_itself_ends(tmp_path):
    path = foreign(tmp_path / "a.lmdb", 900) / "data.mdb"
    data = bytearray(path.read_bytes())
    for at in range(2 * PAGE, len(data), PAGE):
        number, flags, end = struct.unpack_from("<Q2xHH", data, at)
        if (number, flags) == (at // PAGE, 1):  # a branch
            for node in struct.unpack_from(f"<{(end - 16) // 2}H", data, at + 16):
                struct.pack_into("<IH", data, at + node, number, 0)
    path.write_bytes(data)
    with pytest.raises(DataError, match="without an end"):
        LmdbFile(path, "a").get(b"num-samples")
    with pytest.raises(DataError, match="without an end"):
        list(LmdbFile(path, "a").keys(b""))


def test_an_index_is_no_larger_than_its_file_can_need(tmp_path):
    import zlib

    path = tmp_path / "a.lmdb"
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as change:
        change.put(b"num-samples", b"900000000")
        change.put(b"ocrcc-meta", b'{"format": 1, "lines": 900000000, "characters": {}}')
        change.put(b"ocrcc-index", zlib.compress(bytes(1 << 26), 9))
    data = bytearray((path / "data.mdb").read_bytes())
    for page in (0, PAGE):  # the count of records, so that it looks like a whole dataset of ours
        struct.pack_into("<Q", data, page + 16 + 24 + 48 + 32, 2_700_000_003)
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(DataError, match="more than fit into it"):
        LmdbDataset(path)


@pytest.mark.parametrize("meta", [b"[" * 100_000, b"3", b"{}", b'{"lines": ' + b"9" * 5000 + b"}", b"\xff", b"null"])
def test_values_that_say_nothing_are_told(tmp_path, meta):
    path = foreign(tmp_path / "a.lmdb", 3)
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as change:
        change.put(b"ocrcc-index", b"x")
        change.put(b"ocrcc-meta", meta)
    data = LmdbDataset(path)
    with pytest.raises(DataError, match="its index is damaged"):
        _ = data.widths


def test_a_file_cut_short_by_another_program_is_told_at_once(tmp_path):
    path = foreign(tmp_path / "a.lmdb")
    data = LmdbDataset(path)
    os.truncate(path / "data.mdb", 3 * PAGE)
    with pytest.raises(DataError, match="truncated: 12,288 of"):
        data.image_bytes(0)

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from drawn_lines import draw_line, png
from filelock import FileLock

from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.errors import ConfigError, DataError, StoppedError
from ocrcc.files import beside, read_small
from ocrcc.places import claimed, marked, new_folder, output, replace, settle

NOTE = marked("note", b"# made by a test")


def dataset(path, word="a", **options) -> None:
    with LmdbWriter(path, **options) as writer:
        writer.add(png(draw_line(word)), word, source="x", size=(10, 10))


def label(path) -> str:
    return LmdbDataset(path).label(0)


def test_only_what_is_ours_is_replaced(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("a thesis")
    with pytest.raises(ConfigError, match="no note that ocrcc made"), output(path, NOTE) as aside:
        aside.write_text("never")
    assert path.read_text() == "a thesis"
    path.write_text("# made by a test\n")
    with output(path, NOTE) as aside:
        aside.write_text("# made by a test again\n")
    assert path.read_text().endswith("again\n")
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_folder_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new"
    with new_folder(path) as aside:
        (aside / "a").write_text("a")
        assert not path.exists()
    assert (path / "a").read_text() == "a"
    with pytest.raises(ConfigError, match="new exists"), new_folder(path):
        pass
    with pytest.raises(KeyError), new_folder(tmp_path / "other"):
        raise KeyError
    with pytest.raises(DataError, match="third: cannot be written: No space left"), new_folder(tmp_path / "third"):
        raise OSError(errno.ENOSPC, "No space left")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("place", [lambda path: output(path, NOTE), new_folder])
def test_an_error_names_what_is_to_be_not_where_it_is_made(tmp_path, place):
    with pytest.raises(DataError) as raised, place(tmp_path / "new") as aside:
        raise DataError(f"{aside}: not a model", "hint")
    assert (raised.value.message, str(raised.value)) == (f"{tmp_path / 'new'}: not a model",) * 2


@pytest.mark.parametrize("what", ["file", "folder", "foreign", "and a thesis", "folder of our names"])
def test_a_dataset_replaces_datasets_of_ours_alone(tmp_path, what):
    path = tmp_path / "d.lmdb"
    if what == "file":
        path.write_text("a thesis")
    elif what == "and a thesis":
        dataset(path)
        (path / "thesis.txt").write_text("x")
    else:
        path.mkdir()
        (path / ("data.mdb" if what != "folder" else "thesis.txt")).write_bytes(b"x")
    if what == "foreign":
        import lmdb

        (path / "data.mdb").unlink()
        with lmdb.open(str(path)) as env, env.begin(write=True) as transaction:
            transaction.put(b"num-samples", b"0")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(ConfigError, match="no dataset that ocrcc made"):
        dataset(path, "b", overwrite=True)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_links_are_followed(tmp_path):
    real = tmp_path / "disk" / "v1"
    dataset(real)
    (tmp_path / "train.lmdb").symlink_to(real)
    dataset(tmp_path / "train.lmdb", "b", overwrite=True)
    assert (tmp_path / "train.lmdb").is_symlink()
    assert label(real) == label(tmp_path / "train.lmdb") == "b"
    assert os.listdir(tmp_path / "disk") == ["v1"]


def test_a_second_writer_is_refused_and_a_dead_one_is_swept(tmp_path):
    path = tmp_path / "d.lmdb"
    code = (
        "import sys, time; from ocrcc.data.lmdb_writer import LmdbWriter; w = LmdbWriter(sys.argv[1]);"
        "print('here', flush=True); time.sleep(900)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        with pytest.raises(ConfigError, match="another ocrcc is writing there"):
            LmdbWriter(path)
        other.kill()
    assert any(name.endswith(".tmp.lmdb") for name in os.listdir(tmp_path))
    dataset(path)
    assert os.listdir(tmp_path) == ["d.lmdb"]


def test_a_claim_is_for_one_at_a_time_in_a_process_too(tmp_path):
    with claimed(tmp_path / "x"):
        with pytest.raises(ConfigError, match="another ocrcc"), claimed(tmp_path / "x"):
            pass
        with claimed(tmp_path / "y"):
            pass
    with claimed(tmp_path / "x"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_replacement_that_fails_half_way_is_undone(tmp_path, monkeypatch):
    moves = []
    for name in ("a", "b"):
        for folder, word in ((tmp_path / name, "old"), (tmp_path / f".{name}.00000000.tmp", "new")):
            folder.mkdir()
            (folder / word).touch()
        moves.append((tmp_path / f".{name}.00000000.tmp", tmp_path / name))
    rename, calls = type(tmp_path).rename, []

    def fail_once(path, target):
        calls.append(path)
        if len(calls) == 4:
            raise OSError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(type(tmp_path), "rename", fail_once)
    with pytest.raises(DataError, match="Permission denied"):
        replace(moves)
    assert [os.listdir(tmp_path / name) for name in ("a", "b")] == [["old"], ["old"]]
    assert not list(tmp_path.glob("*replacing*"))


def test_a_note_of_a_stranger_moves_nothing(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "d").mkdir()
    beside(tmp_path / "d", "replacing").write_text('[["thesis", "d", "thesis"]]')
    with pytest.raises(DataError, match="not made by ocrcc"):
        settle(tmp_path / "d")
    assert sorted(os.listdir(tmp_path)) == [".d.replacing", "d", "thesis"]


def test_names_of_any_length_and_letters(tmp_path):
    for name in ("己" * 80 + ".lmdb", "a[b]*?.lmdb", "x" * 250):
        dataset(tmp_path / name)
        assert label(tmp_path / name) == "a"
        dataset(tmp_path / name, "b", overwrite=True)
        assert label(tmp_path / name) == "b"
    with pytest.raises(DataError, match="name too long"):
        dataset(tmp_path / ("x" * 256))
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_small(tmp_path / "pipe")
    with pytest.raises(DataError, match="too long"):
        read_small(tmp_path / ("x" * 300))


@pytest.mark.parametrize("moment", ["before", "behind"])
def test_who_is_stopped_while_a_place_is_claimed_leaves_no_lock(tmp_path, monkeypatch, moment):
    acquire, stops = FileLock.acquire, ["once"]

    def stopped(lock, *arguments, **options):
        if not stops or moment == "behind":
            acquire(lock, *arguments, **options)
        if stops:
            stops.pop()
            raise StoppedError("stopped by SIGTERM")

    monkeypatch.setattr(FileLock, "acquire", stopped)
    with pytest.raises(StoppedError), claimed(tmp_path / "a.lmdb"):
        raise AssertionError("never reached")
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path / "a.lmdb"):
        assert beside(tmp_path / "a.lmdb", "lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_who_is_stopped_while_another_writes_leaves_the_lock_to_that_one(tmp_path, monkeypatch):
    lock = beside(tmp_path / "a.lmdb", "lock")
    acquire = FileLock.acquire

    def stopped(lock, *arguments, **options):
        if "timeout" in options:
            return acquire(lock, *arguments, **options)
        raise StoppedError("stopped by SIGTERM")

    with claimed(tmp_path / "a.lmdb"):
        monkeypatch.setattr(FileLock, "acquire", stopped)
        with pytest.raises(StoppedError), claimed(tmp_path / "a.lmdb"):
            raise AssertionError("never reached")
        assert lock.exists()
    assert not lock.exists()


def test_the_root_is_there_already():
    with pytest.raises(ConfigError, match="exists"), new_folder(Path("/")):
        raise AssertionError

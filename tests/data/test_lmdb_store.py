"""Datasets: whole or not there, readable by anybody, and clear about what is broken in them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from drawn_lines import draw_line, png
from stored_lines import store_drawn

from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import DataError, OcrccWarning

THREE = ["0é", "1é", "2é"]


def plain(path: Path, records: dict[str, bytes], *, subdir: bool = True) -> Path:
    """Write a dataset as an independent script would."""
    with (
        lmdb.open(str(path), map_size=1 << 24, subdir=subdir) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in records.items():
            transaction.put(key.encode(), value)
    return path


def two_lines() -> dict[str, bytes]:
    return {
        "num-samples": b"2",
        "image-000000001": png(draw_line("12")),
        "label-000000001": b"12",
        "image-000000002": png(draw_line("己已巳")),
        "label-000000002": "己已巳".encode(),
    }


def test_what_is_written_is_read(tmp_path):
    dataset = LmdbDataset(store_drawn(tmp_path / "a.lmdb", THREE))
    assert (len(dataset), dataset.size) == (3, 3)
    assert [dataset.label(i) for i in range(3)] == ["0é", "1é", "2é"]
    assert dataset.label_lengths.tolist() == [2, 2, 2]
    assert dataset.characters == {"0": 1, "1": 1, "2": 1, "é": 3}
    assert "a.lmdb#2" in dataset.source(1)
    assert "(a:1)" in dataset.source(1)
    line = dataset.line(2)
    assert line.image.size == (int(dataset.widths[2]), int(dataset.heights[2])) == draw_line("2é").size


def test_ours_opens_with_plain_lmdb_code(tmp_path):
    with (
        lmdb.open(str(store_drawn(tmp_path / "a.lmdb", THREE)), readonly=True, lock=False) as environment,
        environment.begin() as transaction,
    ):
        assert int(transaction.get(b"num-samples")) == 3
        assert transaction.get(b"label-000000003").decode() == "2é"
        assert transaction.get(b"image-000000003") == png(draw_line("2é"))


@pytest.mark.parametrize("subdir", [True, False])
def test_a_foreign_dataset_is_measured_once(tmp_path, monkeypatch, subdir):
    path = plain(tmp_path / "f.lmdb", two_lines(), subdir=subdir)
    assert LmdbDataset(path).widths.tolist() == [draw_line("12").width, draw_line("己已巳").width]
    monkeypatch.setattr(LmdbDataset, "_measure", lambda self: pytest.fail("measured again"))
    again = LmdbDataset(path)
    assert again.label_lengths.tolist() == [2, 3]
    assert again.characters["已"] == 1


def test_a_foreign_dataset_that_grew_is_measured_again(tmp_path):
    path = plain(tmp_path / "f.lmdb", two_lines())
    assert len(LmdbDataset(path).widths) == 2
    third = {"num-samples": b"3", "image-000000003": png(draw_line("3")), "label-000000003": b"3"}
    assert LmdbDataset(plain(path, third)).label_lengths.tolist() == [2, 3, 1]


def test_paths_that_are_no_datasets_are_named(tmp_path):
    (tmp_path / "text.lmdb").write_text("hello")
    (tmp_path / "folder").mkdir()
    for name, message in [("text.lmdb", "not an LMDB"), ("folder", "no LMDB in it"), ("none", "no such dataset")]:
        with pytest.raises(DataError, match=f"{name}: .*{message}"):
            LmdbDataset(tmp_path / name)
    with pytest.raises(DataError, match="without a num-samples"):
        LmdbDataset(plain(tmp_path / "other", {"key": b"value"}))
    with pytest.raises(DataError, match="says it has 9 lines, but not one has an image and a label"):
        LmdbDataset(plain(tmp_path / "short", {"num-samples": b"9", "image-000000001": b"x", "label-000000002": b"x"}))


def test_broken_records_are_named(tmp_path):
    records = two_lines() | {"image-000000001": two_lines()["image-000000001"][:60], "label-000000002": b"\xff\xfe"}
    dataset = LmdbDataset(plain(tmp_path / "b.lmdb", records))
    with pytest.raises(DataError, match=r"b\.lmdb#1"):
        dataset.line(0)
    with pytest.raises(DataError, match=r"b\.lmdb#2: its label is not UTF-8"):
        dataset.label(1)


def numbered(numbers, **records):
    found = {"num-samples": str(len(numbers)).encode()}
    for number in numbers:
        found |= {f"image-{number:09d}": png(draw_line(str(number))), f"label-{number:09d}": str(number).encode()}
    return found | {name.replace("_", "-"): value for name, value in records.items()}


@pytest.mark.parametrize(
    ("records", "left", "oddity"),
    [
        ({"label-000000003": None}, "1245", "1 line has no image or no label and is left out: #3"),
        ({"label-000000003": None, "image-000000003": None}, "1245", "1 line has no image .* left out: #3"),
        ({"label-000000001": None, "image-000000005": None}, "234", "2 lines have no image .* left out: #1, #5"),
        ({"label-000000001": None, "unrelated": b"x"}, "2345", "1 line has no image .* left out: #1"),
        ({"num-samples": b"9"}, "12345", "4 lines have no image .* left out: #6, #7, #8, #9"),
        ({"num-samples": b"900000000"}, "12345", "899999995 lines have .* left out: #6, #7, #8, #9, #10, …"),
        ({"num-samples": b"3"}, "123", "2 more lines than its num-samples says are there and not read"),
    ],
)
def test_lines_that_are_not_whole_are_counted_and_passed_over(tmp_path, records, left, oddity):
    found = {key: value for key, value in (numbered(range(1, 6)) | records).items() if value is not None}
    with pytest.warns(OcrccWarning, match=oddity):
        dataset = LmdbDataset(plain(tmp_path / "holes.lmdb", found))
    assert len(dataset) == len(dataset.widths) == len(left)
    assert [dataset.line(index).label for index in range(len(dataset))] == list(left)
    assert dataset.source(len(left) - 1).endswith(f"#{left[-1]}")
    assert dataset.characters == dict.fromkeys(left, 1)
    again = pickle.loads(pickle.dumps(dataset))
    assert [again.label(index) for index in range(len(again))] == list(left)


@pytest.mark.parametrize("declared", [b"5", b"4"])
def test_keys_may_count_from_0(tmp_path, declared):
    dataset = LmdbDataset(plain(tmp_path / "zero.lmdb", numbered(range(5)) | {"num-samples": declared}))
    assert [dataset.label(index) for index in range(len(dataset))] == list("01234")
    assert dataset.oddities == []


def test_a_line_taken_out_of_our_own_dataset_is_missed(tmp_path):
    path = store_drawn(tmp_path / "a.lmdb", THREE)
    count = len(LmdbDataset(path))
    labels = [LmdbDataset(path).label(index) for index in range(count)]
    taken = (
        "import sys, lmdb\nwith lmdb.open(sys.argv[1]).begin(write=True) as change: change.delete(b'label-000000002')"
    )
    subprocess.run([sys.executable, "-c", taken, path], check=True)
    with pytest.warns(OcrccWarning, match="left out: #2"):
        left = LmdbDataset(path)
    assert [left.label(index) for index in range(len(left))] == labels[:1] + labels[2:]
    assert left.label_lengths.tolist() == [len(label) for label in labels[:1] + labels[2:]]


def test_line_ends_of_labels_are_taken_off_and_counted(tmp_path):
    records = numbered(range(1, 5)) | {"label-000000002": b"2\r\n", "label-000000003": b"3\n"}
    dataset = LmdbDataset(plain(tmp_path / "ends.lmdb", records))
    with pytest.warns(OcrccWarning, match="2 labels ended in line breaks, which are taken off"):
        assert set(dataset.characters) == set("1234")
    assert [dataset.label(index) for index in range(4)] == list("1234")
    assert dataset.label_lengths.tolist() == [1] * 4
    with pytest.warns(OcrccWarning, match="2 labels"):  # from the index beside it
        assert set(LmdbDataset(tmp_path / "ends.lmdb").characters) == set("1234")


def test_two_of_one_path_work_in_one_process(tmp_path):
    path = store_drawn(tmp_path / "a.lmdb", THREE)
    first, second = LmdbDataset(path), LmdbDataset(str(path))
    assert first.label(0) == second.label(0)


def first_label(dataset: LmdbDataset) -> str:
    return f"{os.getpid()} {dataset.label(0)}"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_open_their_own(tmp_path, method):
    dataset = LmdbDataset(store_drawn(tmp_path / "a.lmdb", THREE))
    assert dataset.label(0) == "0é"
    assert pickle.loads(pickle.dumps(dataset)).label(0) == "0é"
    with multiprocessing.get_context(method).Pool(1) as pool:
        process, label = pool.apply(first_label, (dataset,)).split()
    assert (label, process == str(os.getpid())) == ("0é", False)
    assert dataset.label(1) == "1é"

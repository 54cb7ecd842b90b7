from __future__ import annotations

import json

import lmdb
import pytest
from drawn_lines import draw_line, png
from PIL import Image
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.datasets.inspect import ModelDescription, inspect
from ocrcc.datasets.report import DatasetReport, LineNotes, describe_dataset
from ocrcc.errors import DataError, ModelError


def blank_image(width, height=32, grey=200):
    return png(Image.new("L", (width, height), grey)), (width, height)


def write(path, *lines):
    with LmdbWriter(path) as writer:
        for number, ((image, size), label) in enumerate(lines, start=1):
            writer.add(image, label, source=f"l.txt:{number}", size=size)
    return path


def described(path, **options):
    found = inspect(str(path), **options)
    assert isinstance(found, DatasetReport)
    return found


def test_figures(tmp_path):
    path = write(
        tmp_path / "d.lmdb",
        (blank_image(100), "中文"),
        (blank_image(200, 64), "中文字 1"),
        (blank_image(300), "a" * 11),
    )
    report = described(path)
    assert (report.lines, report.characters) == (3, 18)
    assert list(report.counts.items())[:3] == [("a", 11), ("中", 2), ("文", 2)]
    assert dict(zip(report.lengths.ranges, report.lengths.counts, strict=True)) == {
        "2": 1,
        "3-5": 1,
        "6-10": 0,
        "11-20": 1,
    }
    assert dict(zip(report.widths.ranges, report.widths.counts, strict=True)) == {
        "65-128": 2,
        "129-256": 0,
        "257-512": 1,
    }
    assert report.heights == (32, 32, 64)
    assert (report.charset, dict(report.missing)) == ("gb2312", {})


def test_charset_coverage(tmp_path):
    path = write(tmp_path / "d.lmdb", (blank_image(99), "堃堃a"), (blank_image(98), "é"))
    ours = described(path, charset="gb2312")
    assert dict(ours.missing) == {"堃": 2, "é": 1}
    assert described(path).charset == "gb18030-l1"
    assert dict(described(path, charset="ascii").missing) == {"堃": 2, "é": 1}
    digits = write(tmp_path / "e.lmdb", (blank_image(99), "0123"))
    assert described(digits).charset == "digits"


def test_too_long_counts_the_blanks_between_repeats(tmp_path):
    path = write(
        tmp_path / "d.lmdb",
        (blank_image(16), "abcd"),  # four frames
        (blank_image(16), "abcc"),
        (blank_image(17), "abcc"),  # five, the last of one pixel
        (blank_image(16), "abcde"),
        (blank_image(32, 64), "abcde"),  # 16 wide once it is 32 high
    )
    found = described(path).too_long
    assert found.count == 3
    assert [name.rpartition(") ")[2] or name for name in found.named]
    assert "#2" in found.named[0]
    assert "5 frames needed, 4 there" in found.named[0]
    assert "#4" in found.named[1]
    assert "#5" in found.named[2]


def test_equal_images(tmp_path):
    same = blank_image(100)
    path = write(
        tmp_path / "d.lmdb",
        (same, "己"),
        (blank_image(101), "己"),
        (same, "已"),
        (same, "己"),
        (blank_image(102), "x"),
        (blank_image(102), "x"),
    )
    report = described(path)
    assert report.conflicting.count == 1
    assert "#1" in report.conflicting.named[0]
    assert "'己'" in report.conflicting.named[0]
    assert "#3" in report.conflicting.named[0]
    assert "'已'" in report.conflicting.named[0]
    assert report.repeated.count == 2
    assert ["#4" in report.repeated.named[0], "#6" in report.repeated.named[1]] == [True, True]


def test_odd_labels(tmp_path):
    path = write(
        tmp_path / "d.lmdb",
        (blank_image(100), " a"),
        (blank_image(101), "b\u3000"),
        (blank_image(102), "1 １"),
        (blank_image(103), "e\u0301\u200b"),
        (blank_image(8000), "wide"),
    )
    report = described(path)
    assert report.edge_spaces.count == 2
    assert "' a'" in report.edge_spaces.named[0]
    assert report.squeezed.count == 1
    assert "8000 x 32" in report.squeezed.named[0]
    said = " ".join(report.odd_characters)
    for code in ("U+3000", "U+FF11", "U+0301", "U+200B"):
        assert code in said


def test_foreign_dataset_with_broken_lines(tmp_path):
    path = tmp_path / "foreign"
    image = png(draw_line("12"))
    with lmdb.open(str(path), map_size=1 << 20) as env, env.begin(write=True) as transaction:
        transaction.put(b"num-samples", b"4")
        for number, data in enumerate([image, b"no image", image[: len(image) // 2]], start=1):
            transaction.put(b"image-%09d" % number, data)
            transaction.put(b"label-%09d" % number, "1２".encode())
        transaction.put(b"label-%09d" % 4, b"\xff")
        transaction.put(b"image-%09d" % 4, image)
    report = described(path)
    assert report.lines == 4
    assert report.unreadable.count == 1
    assert "#4" in report.unreadable.named[0]
    verified = described(path, verify=True)
    assert verified.unreadable.count == 3
    assert ["#2" in verified.unreadable.named[0], "#3" in verified.unreadable.named[1]] == [True, True]
    assert dict(verified.counts) == {"1": 3, "２": 3}


def test_an_empty_dataset(tmp_path):
    report = described(write(tmp_path / "d.lmdb"))
    assert (report.lines, report.characters, report.heights) == (0, 0, (0, 0, 0))
    assert report.repeated.count == report.conflicting.count == 0


def test_a_model_and_its_run(tmp_path):
    charset = Charset("0123己已巳", name="seven")
    save_wild_model(tmp_path / "best.safetensors", charset=charset)
    for spec in (tmp_path / "best.safetensors", tmp_path):
        found = inspect(str(spec))
        assert isinstance(found, ModelDescription)
        assert found.path == tmp_path / "best.safetensors"
        assert found.charset == charset
        assert found.preprocessing.height == 32
        assert json.dumps(dict(found.metadata))


def test_what_is_neither(tmp_path):
    with pytest.raises(DataError, match="neither a dataset nor a run"):
        inspect(str(tmp_path))
    (tmp_path / "x.lmdb").write_bytes(b"not an LMDB")
    with pytest.raises(DataError, match=r"x\.lmdb: not an LMDB"):
        inspect(str(tmp_path / "x.lmdb"))
    with pytest.raises(ModelError, match="no such model"):
        inspect(str(tmp_path / "nothing"))


def test_a_missing_dataset_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="no such dataset"):
        inspect(str(tmp_path / "nothing.lmdb"))


def test_of_many_lines_that_cannot_be_read_all_are_counted_and_some_are_named(digits_lmdb):
    notes = LineNotes()
    for number in range(40):
        notes.add("1", number, error=f"#{number}: gone" if number < 25 else "")
    found = describe_dataset(LmdbDataset(digits_lmdb), notes=notes).unreadable
    assert (found.count, found.named) == (25, tuple(f"#{number}: gone" for number in range(20)))
    assert len(notes.unreadable) == 20

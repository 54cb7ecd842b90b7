"""Tables and archives that hold images and texts: Parquet, Arrow, WebDataset."""

from __future__ import annotations

import io
import tarfile

import pytest
from drawn_lines import png
from PIL import Image

from ocrcc.annotations.entries import Entry, Problem
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.build import build_lmdb
from ocrcc.errors import DataError
from ocrcc.images.opening import open_image
from ocrcc.labels.find import find_labels


def encoded(shade):
    return png(Image.new("L", (90, 32), shade))


@pytest.mark.parametrize("kind", ["parquet", "arrow stream", "arrow file"])
def test_parquet_and_arrow(tmp_path, kind):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    Image.new("L", (90, 32), 3).save(tmp_path / "beside.png")
    images = [{"bytes": encoded(1), "path": "a.png"}, {"bytes": encoded(2), "path": None}]
    images += [
        {"bytes": None, "path": "beside.png"},
        {"bytes": None, "path": None},
        {"bytes": encoded(4), "path": None},
    ]
    table = pa.table({"id": [1, 2, 3, 4, 5], "image": images, "text": ["one", "two", "three", "four", None]})
    path = tmp_path / "data" / "train-00000-of-00001.dat"
    path.parent.mkdir()
    if kind == "parquet":
        parquet.write_table(table, path)
    elif kind == "arrow file":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        path = path.with_suffix(".arrow")
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    (path.parent / "dataset_info.json").write_text('{"features": {}}')
    result = build_lmdb([path.parent], tmp_path / "out.lmdb", images=tmp_path)
    assert result.skipped == {"no image in it": 1, "no text in it": 1}
    dataset = LmdbDataset(tmp_path / "out.lmdb")
    assert [dataset.label(index) for index in range(3)] == ["one", "two", "three"]
    assert [open_image(dataset.image_bytes(index)).getpixel((0, 0)) for index in range(3)] == [1, 2, 3]
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="damaged"):
        build_lmdb([path], tmp_path / "bad.lmdb")


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_webdataset(tmp_path, suffix):
    members = {
        "0/a.png": encoded(1),
        "0/a.txt": "己\n".encode(),
        "0/b.b.json": b"{}",
        "0/b.png": encoded(2),
        "0/b.json": b'{"text": "two"}',
        "../c.png": encoded(3),
        "../c.gt.txt": b"three",
        "d.png": encoded(4),
        "e.txt": b"five",
        "f.png": encoded(6),
        "f.txt": b"\xff\xfe\xfd",
    }
    with tarfile.open(tmp_path / f"shard-000000.{suffix}", f"w:{suffix[4:]}") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (labels,) = find_labels(tmp_path)
    assert labels.format == "tar"
    found = list(labels)
    assert [(str(entry.path), entry.text) for entry in found if isinstance(entry, Entry)] == [
        ("0/a.png", "己"),
        ("0/b.png", "two"),
        ("../c.png", "three"),
    ]
    assert [entry.image for entry in found if isinstance(entry, Entry)] == [encoded(1), encoded(2), encoded(3)]
    assert [problem.reason for problem in found if isinstance(problem, Problem)] == [
        "image without a label",
        "label without an image",
        "line in another encoding",
    ]


def archive(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (labels,) = find_labels(path)
    found = list(labels)
    return (
        [(str(entry.path), entry.text, entry.image) for entry in found if isinstance(entry, Entry)],
        [str(problem).rpartition("#")[2] for problem in found if isinstance(problem, Problem)],
    )


def test_lines_of_a_tar_whose_names_have_dots(tmp_path):
    members = [
        *(("page.1.5.png", encoded(1)), ("page.1.5.txt", b"one"), ("page.1.7.png", encoded(2))),
        *(("page.1.7.gt.txt", b"two"), ("page.2.PNG", encoded(3)), ("page.2.TXT", b"three")),
        *(("page.3.png", encoded(4)), ("page.4.txt", b"five"), ("page.json", b'{"shot": "2020"}')),
    ]
    entries, problems = archive(tmp_path / "a.tar", members)
    assert entries == [
        ("page.1.5.png", "one", encoded(1)),
        ("page.1.7.png", "two", encoded(2)),
        ("page.2.png", "three", encoded(3)),
    ]
    assert problems == ["page.3: an image without a label beside it", "page.4: no image beside this label"]


def test_what_a_sample_of_a_tar_has_twice_is_named(tmp_path):
    members = [
        *(("a.image.png", encoded(1)), ("a.other.png", encoded(2)), ("a.label.txt", b"a"), ("a.note.txt", b"b")),
        *(("b.png", encoded(3)), ("b.png", encoded(4)), ("b.txt", b"b"), ("b.json", b'{"text": "of b"}')),
    ]
    entries, problems = archive(tmp_path / "a.tar", members)
    assert entries == [("a.image.png", "a", encoded(1)), ("b.png", "b", encoded(3))]
    assert problems == [
        "a.other.png: a.image.png is taken for this label",
        "a.note.txt: a.label.txt is taken for this image",
        "b.png: a second member of this name",
    ]


def test_texts_of_a_tar_in_a_named_encoding(tmp_path):
    path = tmp_path / "a.tar"
    _, problems = archive(path, [("a.png", encoded(1)), ("a.txt", "己".encode("gb18030"))])
    assert problems == ["a: its text is not UTF-8"]
    (labels,) = find_labels(path, encoding="gb18030")
    assert [entry.text for entry in labels] == ["己"]

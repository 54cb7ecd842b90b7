from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_lines import draw_line, png
from PIL import Image

from ocrcc.config import BuildConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.datasets import build
from ocrcc.datasets.build import build_lmdb, val_path
from ocrcc.errors import ConfigError, DataError


def make_lines(folder, count, label=lambda number: f"n{number}"):
    """A labels.tsv of distinct images."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        draw_line(f"{number:05d}", 16).save(folder / f"{number}.png")
    (folder / "labels.tsv").write_text("".join(f"{n}.png\t{label(n)}\n" for n in range(count)), encoding="utf-8")
    return folder / "labels.tsv"


def contents(path):
    dataset = LmdbDataset(path)
    return [(dataset.image_bytes(index), dataset.label(index)) for index in range(len(dataset))]


def test_images_are_stored_as_they_are(tmp_path):
    labels = make_lines(tmp_path, 3)
    photo = draw_line("turned").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "1.png", "JPEG", exif=exif)
    result = build_lmdb([labels], tmp_path / "out.lmdb")
    assert contents(tmp_path / "out.lmdb") == [((tmp_path / f"{n}.png").read_bytes(), f"n{n}") for n in range(3)]
    dataset = LmdbDataset(tmp_path / "out.lmdb")
    assert (dataset.widths[1], dataset.heights[1]) == (photo.height, photo.width)
    assert dataset.source(1).endswith("labels.tsv:2)")
    assert (result.train.lines, result.val, result.skipped) == (3, None, {})


def test_workers_do_not_change_the_result(tmp_path, monkeypatch):
    monkeypatch.setattr("ocrcc.datasets.build._TRIED", 0.0)
    monkeypatch.setattr("ocrcc.datasets.build._WORTH", 0.0)
    labels = make_lines(tmp_path, 300)
    (tmp_path / "5.png").write_bytes(b"broken")
    (tmp_path / "290.png").unlink()
    results = [
        build_lmdb([labels], tmp_path / f"{workers}.lmdb", BuildConfig(workers=workers, val_fraction=0.3))
        for workers in (1, 3)
    ]
    for name in ("{}.lmdb", "{}-val.lmdb"):
        assert contents(tmp_path / name.format(1)) == contents(tmp_path / name.format(3))
    assert results[0].skipped == results[1].skipped == {"image that cannot be read": 1, "no such image": 1}
    assert results[0].skipped_lines == results[1].skipped_lines
    assert [line.partition(": ")[0] for line in results[0].skipped_lines] == [f"{labels}:6", f"{labels}:291"]


@pytest.mark.parametrize(("per_line", "started"), [(1e-4, 0), (0.1, 1)])
def test_processes_are_started_where_what_is_left_takes_longer(tmp_path, monkeypatch, per_line, started):
    clock = [0.0]
    verify_one, pools = build._verify_one, []

    def timed(job, config):
        clock[0] += per_line
        return verify_one(job, config)

    def in_order(function, chunks, *, workers):
        pools.append(workers)
        return (function(chunk) for chunk in chunks)

    monkeypatch.setattr(build, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(build, "_verify_one", timed)
    monkeypatch.setattr(build, "in_order", in_order)
    labels = make_lines(tmp_path, 200)
    result = build_lmdb([labels], tmp_path / "out.lmdb", BuildConfig(workers=2))
    assert (result.train.lines, pools) == (200, [2] * started)
    assert build_lmdb([labels], tmp_path / "one.lmdb", BuildConfig(workers=1)).train.lines == 200
    assert pools == [2] * started


def test_validation_share(tmp_path):
    labels = make_lines(tmp_path, 200)
    for number in range(0, 200, 4):  # equal images with labels of their own
        (tmp_path / f"{number}.png").write_bytes((tmp_path / f"{number + 1}.png").read_bytes())
    out = tmp_path / "train.lmdb"
    result = build_lmdb([labels], out, BuildConfig(val_fraction=0.25))
    train, val = contents(out), contents(tmp_path / "train-val.lmdb")
    assert sorted(label for _, label in train + val) == sorted(f"n{n}" for n in range(200))
    assert not {image for image, _ in train} & {image for image, _ in val}
    assert 20 < len(val) < 80
    assert result.val is not None
    assert (result.train.lines, result.val.lines) == (len(train), len(val))
    again, other = tmp_path / "again.lmdb", tmp_path / "other.lmdb"
    build_lmdb([labels], again, BuildConfig(val_fraction=0.25))
    build_lmdb([labels], other, BuildConfig(val_fraction=0.25, seed=1))
    assert contents(val_path(again)) == val
    assert contents(val_path(other)) != val


def test_a_share_without_lines_is_an_error(tmp_path):
    labels = make_lines(tmp_path, 3)
    with pytest.raises(DataError, match="none fell to validation"):
        build_lmdb([labels], tmp_path / "out.lmdb", BuildConfig(val_fraction=0.001))
    assert not list(tmp_path.glob("*out*"))
    assert not list(tmp_path.glob(".*out*"))


def test_both_datasets_or_none(tmp_path, monkeypatch):
    labels = make_lines(tmp_path, 40)
    write = LmdbWriter._write

    def fail_for_validation(writer):
        if "val" in writer.path.name:
            raise DataError("the disk is full")
        write(writer)

    monkeypatch.setattr(LmdbWriter, "_write", fail_for_validation)
    with pytest.raises(DataError, match="the disk is full"):
        build_lmdb([labels], tmp_path / "out.lmdb", BuildConfig(val_fraction=0.5))
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_bad_lines_are_counted_and_named(tmp_path):
    labels = make_lines(tmp_path, 4)
    Image.new("1", (10000, 10000)).save(tmp_path / "huge.png")
    whole = png(draw_line("whole"))
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "a folder.png").mkdir()
    bad = ["huge.png\tx", "cut.png\tx", "a folder.png\tx", "none.png\tx", "0.png", "0.png\t"]
    labels.write_text(labels.read_text() + "\n".join(bad) + "\n")
    result = build_lmdb([labels], tmp_path / "out.lmdb")
    assert result.train.lines == 4
    assert result.skipped == {
        "image that cannot be read": 3,
        "no such image": 1,
        "no tab between path and text": 1,
        "the label is empty": 1,
    }
    assert [line.split(": ")[0] for line in result.skipped_lines] == [f"{labels}:{n}" for n in range(5, 11)]
    assert "10000 x 10000" in result.skipped_lines[0]
    assert "truncated" in result.skipped_lines[1]
    with pytest.raises(DataError, match=r"labels\.tsv:5: .*10000 x 10000"):
        build_lmdb([labels], tmp_path / "strict.lmdb", BuildConfig(strict=True))
    assert not (tmp_path / "strict.lmdb").exists()
    assert build_lmdb([labels], tmp_path / "all.lmdb", BuildConfig(max_pixels=10**8)).train.lines == 5


def test_a_path_that_no_system_knows(tmp_path):
    make_lines(tmp_path, 1)
    lines = ['{"path": "0.png", "text": "x"}', '{"path": "a\\u0000.png", "text": "y"}', '{"path": "%s", "text": "z"}']
    (tmp_path / "labels.tsv").write_text("\n".join(lines) % ("long" * 2000), encoding="utf-8")
    result = build_lmdb([tmp_path / "labels.tsv"], tmp_path / "out.lmdb")
    assert result.train.lines == 1
    assert result.skipped == {"image that cannot be read": 2}


def test_one_pixel_is_an_image(tmp_path):
    Image.new("L", (1, 1)).save(tmp_path / "1.png")
    (tmp_path / "labels.txt").write_text("1.png\tx\n")
    assert build_lmdb([tmp_path], tmp_path / "out.lmdb").train.heights == (1, 1, 1)


def test_no_usable_line_leaves_nothing(tmp_path):
    labels = make_lines(tmp_path / "here", 2)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(DataError, match="not one of 2 lines can be used; the first: .*labels.tsv:1"):
        build_lmdb([labels], tmp_path / "out.lmdb", images=tmp_path / "elsewhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "here"]


def test_what_is_there_is_not_overwritten(tmp_path):
    labels = make_lines(tmp_path, 3)
    out = tmp_path / "out.lmdb"
    build_lmdb([labels], out)
    with pytest.raises(ConfigError, match="exists"):
        build_lmdb([labels], out)
    with pytest.raises(ConfigError, match="is no dataset"):
        build_lmdb([labels], labels, force=True)
    assert labels.exists()
    with pytest.raises(ConfigError, match="is a source too"):
        build_lmdb([out], out, merge=True, force=True)
    make_lines(tmp_path, 5)
    assert build_lmdb([labels], out, force=True).train.lines == 5
    assert len(LmdbDataset(out)) == 5


def test_merge(tmp_path):
    one, two = (make_lines(tmp_path / name, count) for name, count in (("one", 3), ("two", 2)))
    for labels in (one, two):
        build_lmdb([labels], labels.parent / "d.lmdb")
    both = [labels.parent / "d.lmdb" for labels in (one, two)]
    result = build_lmdb(both, tmp_path / "all.lmdb", merge=True)
    assert contents(tmp_path / "all.lmdb") == contents(both[0]) + contents(both[1])
    assert result.sources == (f"{both[0]}: 3 lines", f"{both[1]}: 2 lines")
    assert result.train.repeated.count == 2
    with pytest.raises(ConfigError, match="--merge takes datasets"):
        build_lmdb(both, tmp_path / "x.lmdb", BuildConfig(format="tab"), merge=True)
    with pytest.raises(DataError, match="an LMDB, not labels"):
        build_lmdb(both, tmp_path / "x.lmdb")


def test_progress_counts_every_line(tmp_path):
    labels = make_lines(tmp_path, 5)
    (tmp_path / "2.png").unlink()
    told = []
    build_lmdb([labels], tmp_path / "out.lmdb", report=lambda done, total: told.append((done, total)))
    assert told == [(done, 5) for done in range(1, 6)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_killed_build_leaves_nothing_under_the_name(tmp_path, number):
    labels = make_lines(tmp_path, 20)
    out = tmp_path / "out.lmdb"
    code = (
        "import sys, time; from pathlib import Path; from ocrcc.datasets.build import build_lmdb\n"
        "def report(done, total): print(done, flush=True); time.sleep(900 if done == 10 else 0)\n"
        f"build_lmdb([Path({str(labels)!r})], Path({str(out)!r}), report=report)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "10\n":
            break
    time.sleep(0.1)
    process.send_signal(number)
    assert process.wait() != 0
    process.stdout.close()
    assert not out.exists()
    assert build_lmdb([labels], out).train.lines == 20
    assert [path.name for path in tmp_path.glob(".*")] == []


@pytest.mark.data
def test_real_lines(tmp_path, real_data):
    result = build_lmdb([real_data / "real" / "fund-documents"], tmp_path / "fund.lmdb")
    assert (result.train.lines, result.skipped) == (150, {})
    assert result.train.charset == "gb2312"
    assert not result.train.missing


def test_the_working_directory_is_no_dataset_to_be(tmp_path, monkeypatch):
    labels = make_lines(tmp_path / "data", 2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="exists"):
        build_lmdb([labels], Path("."), BuildConfig(val_fraction=0.5))
    assert val_path(Path(".")) == tmp_path.with_name(f"{tmp_path.name}-val")


@pytest.fixture
def document(tmp_path) -> Callable[[str], Image.Image]:
    """Writes two pages into a file, and gives the second: a bar of 60 by 20 at (40, 30) and (40, 70)."""

    def write(name: str) -> Image.Image:
        pages = [Image.new("L", (200, 120), 255) for _ in range(2)]
        pages[1].paste(0, (40, 30, 100, 50))
        pages[1].paste(0, (40, 70, 100, 90))
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], resolution=200)
        return pages[1]

    return write


@pytest.mark.parametrize("name", ["scan.tif", "scan.pdf"])
def test_labels_of_a_documents_pages_are_cut_out_of_them(document, tmp_path, name):
    """As `predict` names them, in its tables and, with the size of what it read, in others' formats."""
    if name.endswith("pdf"):
        pytest.importorskip("pypdfium2")
    document(name)
    box = "40,30 100,30 100,50 40,50"
    (tmp_path / "read.tsv").write_text(f"path\ttext\tconfidence\tbox\n{name}#2\tone\t0.9\t{box}\n")
    (tmp_path / "read.hocr").write_text(
        f"<html><body><div class='ocr_page' title='image \"{name}#2\"; bbox 0 0 400 240'>"
        "<span class='ocr_line' title='bbox 80 140 200 180'>two</span></div></body></html>"
    )
    for labels, text in (("read.tsv", "one"), ("read.hocr", "two")):
        build_lmdb([tmp_path / labels], tmp_path / f"{text}.lmdb")
        line = LmdbDataset(tmp_path / f"{text}.lmdb").line(0)
        assert (line.label, line.image.size) == (text, (60, 20))
        assert np.asarray(line.image)[2:-2, 2:-2].max() < 64  # the bar; a PDF has its edges as JPEG


@pytest.mark.parametrize("name", ["lines.tif", "lines.pdf"])
def test_a_page_may_be_a_line(document, tmp_path, name):
    if name.endswith("pdf"):
        pytest.importorskip("pypdfium2")
    page = document(name)
    rows = [f"{name}#{number}\t{number}" for number in (2, 3, 0)]
    (tmp_path / "labels.txt").write_text("\n".join([*rows, "gone.pdf#1\tx"]))
    built = build_lmdb([tmp_path / "labels.txt"], tmp_path / "lines.lmdb")
    line = LmdbDataset(tmp_path / "lines.lmdb").line(0)
    assert line.label == "2"
    assert np.abs(np.subtract(line.image.size, page.size)).max() <= 1  # PDFium rounds up
    assert built.skipped == {"no such image": 2, "image that cannot be read": 1}
    assert built.skipped_lines[0].endswith(f"{name}#3: the file has 2 pages")


def test_labels_of_a_pdf_say_at_which_resolution_it_was_read(document, tmp_path):
    pytest.importorskip("pypdfium2")
    document("scan.pdf")
    (tmp_path / "read.tsv").write_text(
        "path\ttext\tconfidence\tbox\nscan.pdf#2\tone\t0.9\t80,60 200,60 200,100 80,100\n"
    )
    build_lmdb([tmp_path / "read.tsv"], tmp_path / "one.lmdb", BuildConfig(dpi=400))
    image = LmdbDataset(tmp_path / "one.lmdb").line(0).image
    assert image.size == (120, 40)
    assert np.asarray(image)[2:-2, 2:-2].max() < 64

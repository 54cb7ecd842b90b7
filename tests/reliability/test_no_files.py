"""What is no plain file where one is asked for: a pipe that nobody writes to, an endless device, a folder, a socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ocrcc import encodings
from ocrcc.charset import load_charset
from ocrcc.config import BuildConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.build import build_lmdb
from ocrcc.encodings import open_text
from ocrcc.errors import DataError, OcrccError
from ocrcc.glyphs.fonts import _folder_faces
from ocrcc.glyphs.lookalikes import _from_evaluations
from ocrcc.images.opening import open_image
from ocrcc.models.contract import resolve
from ocrcc.pages.documents import open_frames
from ocrcc.texts import templates
from ocrcc.texts.corpus import CorpusFile, read_templates

pytestmark = [pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of Unix"), pytest.mark.timeout(30)]


def place(folder: Path, kind: str, name: str) -> Path:
    path = folder / name
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket is short
        try:
            socket.socket(socket.AF_UNIX).bind(name)
        finally:
            os.chdir(here)
    else:
        path.symlink_to("/dev/zero")
    return path


KINDS = ("pipe", "folder", "socket", "device")
READERS: dict[str, Callable[[Path], object]] = {
    "a.txt": open_text,
    "a.png": open_image,
    "a.pdf": lambda path: list(open_frames(str(path), dpi=100)),
    "a.tif": lambda path: list(open_frames(str(path), dpi=100)),
    "charset": lambda path: load_charset(str(path)),
    "corpus": CorpusFile,
    "templates": lambda path: read_templates(path, templates.Vocabulary({}, "")),
    "report.json": lambda path: _from_evaluations([str(path)], load_charset("digits")),
    "a.ttf": lambda path: _folder_faces(path.parent),
    "model": resolve,
    "a.lmdb": LmdbDataset,
    "labels": lambda path: build_lmdb([path], path.parent / "out.lmdb", BuildConfig()),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_file_is_told_at_once(tmp_path, kind, name):
    with pytest.raises(OcrccError) as told:
        READERS[name](place(tmp_path, kind, name))
    assert name in told.value.message or name == "labels"


@pytest.mark.parametrize("kind", KINDS)
def test_a_labelled_image_that_is_none_is_left_out(tmp_path, kind):
    from drawn_lines import draw_line, png

    (tmp_path / "a.png").write_bytes(png(draw_line("12")))
    place(tmp_path, kind, "b.png")
    (tmp_path / "labels.txt").write_text("a.png\t12\nb.png\t34\n")
    made = build_lmdb([tmp_path / "labels.txt"], tmp_path / "out.lmdb", BuildConfig())
    assert made.skipped == {"image that cannot be read": 1}
    assert "b.png" in made.skipped_lines[0]


def test_a_config_that_is_none(tmp_path):
    path = place(tmp_path, "pipe", "c.toml")
    done = subprocess.run(
        [sys.executable, "-m", "ocrcc", "build-lmdb", "--config", str(path), "x", "y"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_a_line_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "_LONGEST_LINE", 1 << 16)
    for name, data in [
        ("utf8", b"a" * 70_000),
        ("utf16", "a".encode("utf-16") * 70_000),
        ("mac", b"a\r" + b"b" * 70_000),
    ]:
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DataError, match=f"{name}: a line of more than"):
            list(open_text(path).lines())


def test_a_collection_of_billions_of_fonts_is_refused(tmp_path):
    (tmp_path / "a.ttc").write_bytes(b"ttcf\0\1\0\0" + b"\xff" * 40)
    with pytest.raises(DataError, match=r"a\.ttc: not a font that loads: it says it holds 4294967295 fonts"):
        _folder_faces(tmp_path)

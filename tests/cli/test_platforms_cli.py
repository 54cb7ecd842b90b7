"""Commands where Python lacks what macOS and Windows do not have, before a full disk, and in a folder that is gone."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from drawn_lines import draw_line
from typer.testing import CliRunner

from ocrcc.cli import app

_WITHOUT = """
import os, signal, sys
for module, name in ((os, "sched_getaffinity"), (signal, "pthread_sigmask")):
    if hasattr(module, name):
        delattr(module, name)
for name in ("resource", "pwd", "grp"):
    sys.modules[name] = None
from ocrcc.cli import main
main()
"""


def test_datasets_are_made_without_what_unix_alone_has(digits_lmdb, tmp_path):
    for command in (["build-lmdb", "--merge", str(digits_lmdb), "b.lmdb"], ["synth", "s.lmdb", "--count", "2"]):
        done = subprocess.run([sys.executable, "-c", _WITHOUT, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert {"b.lmdb", "s.lmdb"} <= set(os.listdir(tmp_path))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device here")
def test_a_full_disk_behind_standard_output_is_an_error():
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "ocrcc", "charset", "ascii"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr.strip()) == (3, "error: standard output: No space left on device")


@pytest.mark.skipif(sys.platform == "win32", reason="there a folder that a program is in stays")
def test_a_working_directory_that_is_gone_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = CliRunner().invoke(app, ["samples", str(tmp_path / "samples")])
    assert done.exit_code == 2
    assert done.stderr == "error: the folder that this was started in is no longer there\nhint: cd to another\n"


def started(close, *arguments, folder):
    """Run the command line as a shell does with streams closed: ``<&-``."""
    command = ["sh", "-c", f'exec "$@" {close}', "sh", sys.executable, "-m", "ocrcc", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def image(tmp_path):
    draw_line("0123").save(tmp_path / "line.png")
    return tmp_path / "line.png"


@pytest.mark.skipif(sys.platform == "win32", reason="no such shell there")
@pytest.mark.parametrize("close", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_and_not_needed_do_not_matter(close, light_model, image, tmp_path):
    done = started(close, "predict", image, "-m", light_model, "-o", "out.tsv", folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.tsv").read_text().startswith("path\ttext")


@pytest.mark.skipif(sys.platform == "win32", reason="no such shell there")
def test_results_for_a_stream_that_is_closed_are_an_error(light_model, image, tmp_path):
    for arguments in (["predict", image, "-m", light_model, "-f", "tsv"], ["charset", "ascii"], ["--help"]):
        done = started(">&-", *arguments, folder=tmp_path)
        assert done.returncode == 2
        assert done.stderr.splitlines()[0] == "error: standard output is closed"
    done = started("<&-", "predict", "-", folder=tmp_path)
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, "error: nothing to read")


@pytest.mark.skipif(sys.platform == "win32", reason="no such errors there")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("arguments", [["charset", "ascii"], ["--help"]])
def test_whatever_ends_standard_output_is_told_in_a_sentence(number, arguments):
    code = f"""
import io, sys
class Device(io.RawIOBase):
    def writable(self): return True
    def write(self, data): raise OSError({number}, "it takes no more")
sys.stdout = io.TextIOWrapper(io.BufferedWriter(Device()), encoding="utf-8")
from ocrcc.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "error: standard output: it takes no more\n")

"""Commands where Python lacks what macOS and Windows do not have, before a full disk, and in a folder that is gone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
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

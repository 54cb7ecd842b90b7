"""Writing datasets: whole or not there, in places that are free, on disks that are full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import lmdb
import numpy as np
import pytest
from drawn_lines import draw_line, png
from stored_lines import store_drawn

from ocrcc.data import lmdb_writer
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.errors import ConfigError


def test_an_existing_place_is_kept_unless_forced(tmp_path):
    path = store_drawn(tmp_path / "a.lmdb", "012")
    with pytest.raises(ConfigError, match=r"a\.lmdb exists"):
        LmdbWriter(path)
    assert len(LmdbDataset(path)) == 3


def test_forced_it_is_replaced_by_the_whole_new_one(tmp_path):
    path = store_drawn(tmp_path / "a.lmdb", "012")
    store_drawn(path, "01234", overwrite=True)
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        assert transaction.get(b"num-samples") == b"5"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.lmdb"]


def test_an_error_inside_leaves_nothing(tmp_path):
    writer = LmdbWriter(tmp_path / "a.lmdb")
    with pytest.raises(TypeError), writer:
        writer.add(png(draw_line("1")), None, source="x", size=(8, 32))
    assert list(tmp_path.iterdir()) == []


def test_the_map_grows_and_the_file_stays_small(tmp_path, monkeypatch):
    monkeypatch.setattr(lmdb_writer, "_FIRST_MAP", 1 << 16)
    monkeypatch.setattr(lmdb_writer, "_COMMIT_BYTES", 1 << 12)
    noise = np.random.default_rng(0).bytes(20_000)
    with LmdbWriter(tmp_path / "a.lmdb") as writer:
        for number in range(40):
            writer.add(noise, "x", source=str(number), size=(9, 9))
    assert LmdbDataset(tmp_path / "a.lmdb").image_bytes(39) == noise
    assert (tmp_path / "a.lmdb" / "data.mdb").stat().st_size < 40 * 20_000 * 1.5


def run_writer(path: Path, before: str, after: str = "") -> subprocess.CompletedProcess[str]:
    code = f"""
        import os, resource, signal, sys
        from ocrcc.data.lmdb_writer import LmdbWriter
        from ocrcc.errors import DataError
        {before}
        try:
            with LmdbWriter({str(path)!r}) as writer:
                for number in range(3000):
                    writer.add(os.urandom(20_000), "x", source="s", size=(9, 9))
                    {after or "pass"}
        except DataError as error:
            sys.stderr.write(f"{{error.message}} / {{error.hint}}")
            sys.exit(3)
    """
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20,) * 2)"
    result = run_writer(tmp_path / "a.lmdb", limit)
    assert result.returncode == 3, result.stderr
    assert "cannot be written" in result.stderr
    assert "disk full" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_has_no_name_and_is_cleared_away_later(tmp_path):
    result = run_writer(tmp_path / "a.lmdb", "", "number == 1500 and os.kill(os.getpid(), signal.SIGKILL)")
    assert result.returncode == -signal.SIGKILL
    left = [entry.name for entry in tmp_path.iterdir()]
    assert left
    assert "a.lmdb" not in left
    store_drawn(tmp_path / "a.lmdb", "012")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.lmdb"]


@pytest.mark.skipif(sys.platform != "linux", reason="no such names there")
def test_a_place_whose_name_is_no_utf_8(tmp_path):
    path = store_drawn(tmp_path / os.fsdecode(b"a\xff.lmdb"), ["12", "34"])
    assert [LmdbDataset(path).label(index) for index in range(2)] == ["12", "34"]

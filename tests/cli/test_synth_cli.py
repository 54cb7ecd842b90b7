from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from tinyfonts import CHARACTERS, build_font
from typer.testing import CliRunner

from ocrcc.cli import app
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.lookalikes import Group, Lookalikes, load_lookalikes, write


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "fonts").mkdir()
    build_font(tmp_path / "fonts" / "Tiny.ttf")
    (tmp_path / "charset.txt").write_text("\n".join(CHARACTERS) + "\n \n", encoding="utf-8")
    write(tmp_path / "groups.tsv", Lookalikes((Group("己已巳", 0.9, "list"),)), [])
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMON = ["--charset", "charset.txt", "--fonts", "fonts"]


def run(*args: str):
    return CliRunner().invoke(app, list(args))


def test_synth_writes_a_dataset_and_a_preview(place):
    done = run("synth", "a.lmdb", *COMMON, "--count", "20", "--workers", "1", "--preview", "sheet.png",
               "--lookalikes", "groups.tsv")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("a.lmdb: 20 lines in 1 fonts")
    assert "memory" not in done.stderr
    assert (place / "sheet.png").is_file()
    assert len(LmdbDataset(place / "a.lmdb")) == 20


def test_minimal_pairs_by_option(place):
    done = run(
        "synth", "a.lmdb", *COMMON, "--count", "10", "--workers", "1", "--minimal-pairs", "--lookalikes", "groups.tsv"
    )
    assert done.exit_code == 0, done.output
    data = LmdbDataset(place / "a.lmdb")
    labels = [data.label(row) for row in range(10)]
    assert all(
        sum(x != y for x, y in zip(a, b, strict=True)) == 1 for a, b in zip(labels[::2], labels[1::2], strict=True)
    )


def test_lines_that_a_model_misreads_by_option(place):
    done = run("synth", "a.lmdb", *COMMON, "--count", "5", "--workers", "1", "--misread-by", "ocrcc-zh-small",
               "--lookalikes", "groups.tsv")  # fmt: skip
    assert done.exit_code == 0, done.output
    said = re.match(
        r"a\.lmdb: 5 lines that ocrcc-zh-small misreads or takes others for, of (\d+) rendered, in 1 fonts", done.stdout
    )
    assert said
    assert int(said[1]) >= 64
    wrong = run("synth", "b.lmdb", *COMMON, "--count", "5", "--workers", "1", "--misread-by", "nobody")
    assert wrong.exit_code == 4
    assert "nobody" in wrong.stderr
    assert not (place / "b.lmdb").exists()


def test_shards_by_option(place):
    for part in ("1/2", "2/2"):
        done = run(
            "synth",
            f"{part[0]}.lmdb",
            *COMMON,
            "--count",
            "9",
            "--workers",
            "1",
            "--shard",
            part,
            "--lookalikes",
            "groups.tsv",
        )
        assert done.exit_code == 0, done.output
    assert [len(LmdbDataset(place / name)) for name in ("1.lmdb", "2.lmdb")] == [4, 5]


@pytest.mark.parametrize(
    ("workers", "number"), [("1", signal.SIGINT), ("2", signal.SIGINT), ("2", signal.SIGTERM), ("2", signal.SIGKILL)]
)
def test_a_stopped_run_leaves_no_process_and_no_dataset(place, workers, number):
    command = [sys.executable, "-m", "ocrcc", "synth", "a.lmdb", *COMMON, "--count", "10000000", "--workers", workers]
    run = subprocess.Popen([*command, "--lookalikes", "groups.tsv"], stderr=subprocess.PIPE, text=True,
                           start_new_session=True)  # fmt: skip
    while run.poll() is None and not (aside := list(place.glob(".a.lmdb.*/data.mdb"))):
        time.sleep(0.05)
    time.sleep(0.5)  # workers are starting or at work: either will do
    os.kill(run.pid, number)
    _, err = run.communicate()
    if number != signal.SIGKILL:
        assert run.returncode == 130, err
        assert f"stopped by {number.name}; nothing was written" in err
        assert not list(place.glob(".a.lmdb.*"))
    assert aside
    assert not (place / "a.lmdb").exists()
    with suppress(ProcessLookupError):  # once no worker is there any more
        while True:
            os.killpg(run.pid, 0)
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["--shard", "3/2"], 2, "not I/N"),
        (["--shard", "half"], 2, "not I/N"),
        (["--preset", "nothing"], 2, "no synth preset"),
        (["--corpus", "gone.txt"], 3, "gone.txt"),
        (["--fonts", "nowhere"], 3, "no such folder of fonts"),
        (["--appearance", "7"], 2, "appearance is 7.0"),
        (["--preview", "no/such/folder.png"], 2, "there is no folder"),
        (["--lookalikes", "gone"], 3, "no look-alike groups"),
        (["--charset", "gone"], 3, "no charset"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(place, args, code, message):
    done = run("synth", "a.lmdb", *COMMON, "--count", "3", "--workers", "1", *args)
    assert done.exit_code == code, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not (place / "a.lmdb").exists()


def test_lookalikes_shows_pairs_and_writes_groups(place):
    done = run("lookalikes", "out.tsv", *COMMON, "--threshold", "0.1", "--lists", "groups.tsv", "--show", "3")
    assert done.exit_code == 0, done.output
    assert "U+5927" in done.stdout
    assert "已" in load_lookalikes(place / "out.tsv").siblings("己")
    assert (place / "out.tsv").read_text(encoding="utf-8").startswith("# Made by ocrcc")


def test_lookalikes_without_sources_is_refused(place):
    done = run("lookalikes", *COMMON, "--no-glyphs", "--confusions", "gone.json", "--lists", "groups.tsv")
    assert done.exit_code == 3
    assert "gone.json" in done.stderr


def test_lookalikes_into_a_missing_folder_is_refused_first(place):
    done = run("lookalikes", "no/out.tsv", *COMMON)
    assert done.exit_code == 2
    assert "there is no folder" in done.stderr


@pytest.mark.parametrize("shard", ["²/3", "1/²", "0/3", "4/3", "1", "1/3/3"])
def test_a_shard_is_two_numbers(place, shard):
    done = run("synth", "a.lmdb", *COMMON, "--shard", shard)
    assert done.exit_code == 2
    assert "not I/N" in done.stderr

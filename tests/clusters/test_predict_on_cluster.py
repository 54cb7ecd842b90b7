from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from cluster_workers import workers
from typer.testing import CliRunner

import ocrcc
from ocrcc import packaged
from ocrcc.cli import app
from ocrcc.cli.page_formats import READINGS
from ocrcc.clusters.predict import Found, _expanded, predict_on_cluster
from ocrcc.clusters.results import TABLE, open_results
from ocrcc.clusters.worker import Worker
from ocrcc.config import DEFAULT_MODEL, PredictConfig
from ocrcc.errors import ConfigError, DataError
from ocrcc.places import check_file
from ocrcc.reading.reader import LineReader

SAMPLES = sorted((packaged.ASSETS / "samples" / "images").iterdir())
CONFIG = PredictConfig(threads=1)
needs_pyarrow = pytest.mark.skipif(not find_spec("pyarrow"), reason="pyarrow is not installed")
needs_fsspec = pytest.mark.skipif(not find_spec("fsspec"), reason="fsspec is not installed")
needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="ray is not installed")


def test_names_that_no_cluster_can_be_given_are_named(tmp_path):
    odd = os.fsdecode(b"\xff.png")
    for name in ("a.png", odd):
        shutil.copy(SAMPLES[0], tmp_path / name)
    said = []
    assert list(_expanded([str(tmp_path)], lambda *each: said.append(each), pytest.fail)) == [str(tmp_path / "a.png")]
    assert [path for path, _ in said] == [str(tmp_path / odd)]


@needs_fsspec
@pytest.mark.parametrize("prefix", ["", "file://"])
def test_files_that_are_no_images_are_named_wherever_they_lie(tmp_path, prefix):
    for name in ("a.png", "b.pdf", "c.txt", "d.xml"):
        (tmp_path / name).touch()
    missing, passed = [], []
    folder = f"{prefix}{tmp_path}"
    found = _expanded([folder], lambda *each: missing.append(each), lambda *each: passed.append(each))
    assert list(found) == [f"{folder}/a.png", f"{folder}/b.pdf"]
    ((where, message),) = passed
    assert (where, missing) == (folder, [])
    assert message.startswith("2 other files passed over for want of an image's suffix")
    assert message.endswith(f"{tmp_path}/c.txt, {tmp_path}/d.xml")
    for name in ("a.png", "b.pdf"):
        (tmp_path / name).unlink()
    assert not list(_expanded([folder], lambda *each: missing.append(each), pytest.fail))
    assert missing == [(folder, "no images in this folder, but 2 other files")]


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    def nothing(address, paths, out, kind, *, say, **_):
        say(paths[0], "no such file or folder")
        return Found(results=0, failed=1)

    monkeypatch.setattr("ocrcc.clusters.predict.predict_on_cluster", nothing)
    out = str(tmp_path / "read.jsonl")
    result = CliRunner().invoke(app, ["predict", "missing.png", "--ray", "local", "-o", out])
    assert (result.exit_code, "  missing.png: no such file or folder" in result.stderr) == (1, True), result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "lines"
    made.mkdir()
    for number in range(160):
        shutil.copy(SAMPLES[number % 8], made / f"{number:03d}.png")
    return made


@pytest.fixture(scope="module")
def texts() -> list[str]:
    reader = LineReader.load(DEFAULT_MODEL, device="cpu", config=CONFIG)
    return [reading.text for reading in reader.recognize(SAMPLES[:8])]


def read_block(*names: object, version: str = ocrcc.__version__, model=(DEFAULT_MODEL, None)):
    columns = Worker(version, model, CONFIG)({"path": np.array([str(name) for name in names], dtype=object)})
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@needs_fsspec
def test_a_worker_gives_a_row_for_each_input_in_its_place(tmp_path, texts):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    stored, lost = f"file://{SAMPLES[1]}", f"file://{tmp_path}/lost.png"
    rows = read_block(SAMPLES[0], broken, stored, lost, SAMPLES[0])
    assert [row["path"] for row in rows] == [str(SAMPLES[0]), str(broken), stored, lost, str(SAMPLES[0])]
    assert [row["text"] for row in rows] == [texts[0], "", texts[1], "", texts[0]]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True, False]
    assert rows[3]["error"].startswith(f"{lost}: cannot be fetched: ")
    assert str(tmp_path / "broken.png") in rows[1]["error"]
    assert json.loads(rows[2]["json"])["path"] == stored


def test_a_workers_model_is_the_file_that_was_sent(tmp_path, texts):
    exported = packaged.ASSETS / "models" / f"{DEFAULT_MODEL}.onnx"
    rows = read_block(SAMPLES[0], model=("mine.onnx", exported.read_bytes()))
    assert rows[0]["text"] == texts[0]


def test_a_workers_second_model_is_the_file_that_was_sent():
    exported = packaged.ASSETS / "models" / f"{DEFAULT_MODEL}.onnx"
    config = PredictConfig(threads=1, second_model="not/here/mine.onnx")
    worker = Worker(
        ocrcc.__version__, ("mine.onnx", exported.read_bytes()), config, ("mine.onnx", exported.read_bytes())
    )
    (row,) = map(json.loads, worker({"path": np.array([str(SAMPLES[0])], dtype=object)})["json"])
    assert row["second"] == row["text"] != ""


def test_a_worker_of_another_version_is_told():
    with pytest.raises(ConfigError, match="has ocrcc .*, not 0.0.1, with which"):
        read_block(version="0.0.1")


ROWS = [
    {"path": "a.png", "text": "", "json": "", "error": "a.png: no such file"},
    {"path": "b.png", "text": "x", "json": '{"path": "b.png", "text": "x"}\n', "error": ""},
]


def test_json_lines_have_a_record_for_what_could_not_be_read(tmp_path):
    out = tmp_path / "readings.jsonl"
    results = open_results(out)
    results.write(ROWS)
    results.close()
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines == [{"path": "a.png", "error": "a.png: no such file"}, {"path": "b.png", "text": "x"}]
    check_file(out, READINGS)  # ours, though its first line is an error


@needs_pyarrow
def test_tables_of_readings_are_known_as_ours(tmp_path):
    import pyarrow
    from pyarrow import parquet

    ours, other = tmp_path / "readings.parquet", tmp_path / "other.parquet"
    results = open_results(ours)
    results.write(ROWS[:1])
    results.write(ROWS[1:])
    results.close()
    assert parquet.read_table(ours).to_pylist() == ROWS
    check_file(ours, TABLE)
    parquet.write_table(pyarrow.table({"path": ["a"]}), other)
    with pytest.raises(ConfigError):
        check_file(other, TABLE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--ray", "auto"), "goes into a file"),
        (("--ray", "auto", "-o", "out.tsv"), "goes into a file"),
        (("--ray", "auto", "-o", "out.parquet", "--review", "doubts.tsv"), "--review does not go with --ray"),
        (("--ray", "auto", "-o", "out.parquet", "--device", "cpu"), "--device does not go with --ray"),
        (("--ray", "auto", "-o", "out.parquet", "-"), "no standard input"),
    ],
)
def test_what_a_cluster_cannot_do_is_said_first(options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["predict", str(SAMPLES[0]), *options])
    assert (done.exit_code, message in done.output) == (2, True), done.output


def on_cluster(address, inputs, out, **options):
    return predict_on_cluster(
        address, [str(one) for one in inputs], out, READINGS, model=DEFAULT_MODEL, config=CONFIG, **options
    )


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("prefix", ["", "ray://"])
def test_an_address_that_nobody_answers(prefix, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{prefix}127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match="nobody answers there"):
        on_cluster(address, SAMPLES[:1], tmp_path / "out.jsonl")
    with pytest.raises(ConfigError, match="no address of a Ray cluster"):
        on_cluster("cluster", SAMPLES[:1], tmp_path / "out.jsonl")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@needs_ray
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker by /proc")
def test_a_lost_workers_block_is_read_again_and_nothing_comes_twice(folder, texts, tmp_path, monkeypatch):
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("RAY_worker_niceness", "0")
    manifest = tmp_path / "manifest.parquet"
    lost = [str(tmp_path / "lost.png"), f"file://{tmp_path}/lost.png"]
    parquet.write_table(pyarrow.table({"path": [lost[0], f"file://{SAMPLES[3]}", lost[1]], "who": [1, 2, 3]}), manifest)
    killed: list[int] = []
    reported: list[int] = []
    told: list[str] = []

    def report(done: int, _total: int | None) -> None:
        reported.append(done)
        if not killed and (found := workers()):
            killed.append(found[0])
            os.kill(found[0], signal.SIGKILL)

    out = tmp_path / "readings.jsonl"
    found = on_cluster(
        "local", [folder, manifest], out, report=report, say=lambda path, _message: told.append(path), block=8
    )
    assert killed
    assert reported[0] < reported[-1] == 163
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    names = [*(str(path) for path in sorted(folder.iterdir())), lost[0], f"file://{SAMPLES[3]}", lost[1]]
    assert [line["path"] for line in lines] == names
    assert [line.get("text") for line in lines] == [*(texts * 20), None, texts[3], None]
    assert (found.results, found.failed, told) == (161, 2, lost)


@pytest.mark.slow
@needs_ray
def test_a_manifest_without_paths_is_told(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    import pyarrow
    from pyarrow import parquet

    from ocrcc.clusters import predict

    manifest = tmp_path / "manifest.parquet"
    parquet.write_table(pyarrow.table({"image": ["a.png"]}), manifest)
    with pytest.raises(DataError, match="has no column path, but image"):
        next(predict._paths(None, [str(manifest)], pytest.fail, pytest.fail, 8))
    manifest.write_bytes(b"PAR1")
    with pytest.raises(DataError, match="no Parquet file that can be read"):
        next(predict._paths(None, [str(manifest)], pytest.fail, pytest.fail, 8))

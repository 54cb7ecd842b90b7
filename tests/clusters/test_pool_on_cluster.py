from __future__ import annotations

import os
import signal
import socket
from importlib.util import find_spec
from operator import neg
from pathlib import Path

import pytest
from cluster_workers import workers
from drawn_lines import draw_line
from tinyfonts import CHARACTERS, build_font
from typer.testing import CliRunner

from ocrcc.charset import Charset, load_charset
from ocrcc.cli import app
from ocrcc.clusters.pool import Worker, _table, _waves, pool_of
from ocrcc.config import BuildConfig, SynthConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.build import build_lmdb, val_path
from ocrcc.datasets.synthesize import synthesise
from ocrcc.errors import CharsetError, ConfigError
from ocrcc.synth.source import SynthSource

pytestmark = pytest.mark.skipif(not find_spec("pyarrow"), reason="pyarrow is not installed")
needs_ray = pytest.mark.skipif(not find_spec("ray"), reason="ray is not installed")
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the worker by /proc")


@pytest.fixture
def source(tmp_path, monkeypatch) -> SynthSource:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "fonts").mkdir()
    build_font(tmp_path / "fonts" / "Tiny.ttf")
    return SynthSource(SynthConfig(fonts=str(tmp_path / "fonts")), Charset(CHARACTERS + " "), 4, "synth:t")


@pytest.fixture
def labels(tmp_path) -> Path:
    """Three hundred lines, of which one is no image and one is not there."""
    folder = tmp_path / "lines"
    folder.mkdir()
    for number in range(300):
        draw_line(f"{number:05d}", 16).save(folder / f"{number}.png")
    (folder / "5.png").write_bytes(b"broken")
    (folder / "290.png").unlink()
    (folder / "labels.tsv").write_text("".join(f"{n}.png\tn{n}\n" for n in range(300)))
    return folder / "labels.tsv"


def records(path: Path) -> list[tuple[bytes, str, str]]:
    data = LmdbDataset(path)
    return [(data.image_bytes(row), data.label(row), data.source(row).partition(" (")[2]) for row in range(len(data))]


class Killer:
    """Ends a worker when the first lines have come: one of its own test, not one that is on its way out."""

    def __init__(self) -> None:
        self.others = {*workers()}
        self.killed: list[int] = []
        self.seen: list[int] = []

    def __call__(self, done: int, _total: int | None) -> None:
        self.seen.append(done)
        if not self.killed and (found := {*workers()} - self.others):
            self.killed.append(found.pop())
            os.kill(self.killed[0], signal.SIGKILL)


def test_a_worker_sets_itself_up_once_and_gives_a_result_for_each_item(tmp_path, monkeypatch):
    import pickle

    import ocrcc

    monkeypatch.chdir("/")
    seen: list[str] = []
    work = Worker(ocrcc.__version__, str(tmp_path), neg, seen.append, ("ready",))
    assert [pickle.loads(made.as_py()) for made in work(_table([1, 2, 3]))["item"]] == [-1, -2, -3]
    assert len(work(_table([4]))) == 1
    assert seen == ["ready"]
    assert Path.cwd() == tmp_path
    Worker(ocrcc.__version__, str(tmp_path / "not here"), neg, None, ())
    with pytest.raises(ConfigError, match=r"has ocrcc .*, not 0\.0\.1, with which"):
        Worker("0.0.1", str(tmp_path), neg, None, ())


@pytest.mark.parametrize(("most", "value"), [("_WAVE", 20_000), ("_WAVE_BLOCKS", 3)])
def test_only_so_much_is_given_out_at_once(monkeypatch, most, value):
    import pickle

    monkeypatch.setattr(f"ocrcc.clusters.pool.{most}", value)
    taken: list[int] = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number, bytes(1000)

    waves = _waves(items())
    first = next(waves)
    assert len(taken) == 24
    found = [pickle.loads(one.as_py())[0] for tables in (first, *waves) for table in tables for one in table["item"]]
    assert found == list(range(100))


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, which takes long to start; a worker that one test loses is none that the next one has."""
    with pytest.MonkeyPatch.context() as changes:
        changes.setenv("RAY_worker_niceness", "0")
        with pool_of("local") as pool:
            yield pool


@pytest.mark.slow
@needs_ray
@needs_proc
def test_a_cluster_renders_the_very_records_though_a_worker_is_lost(source, tmp_path, monkeypatch, cluster):
    monkeypatch.setattr("ocrcc.datasets.synthesize._CHUNK", 4)
    synthesise(source, tmp_path / "here.lmdb", 400, workers=1)
    killer = Killer()
    found = synthesise(source, tmp_path / "there.lmdb", 400, pool=cluster, report=killer)
    with pytest.raises(CharsetError, match="a worker: no charset named 'nowhere'"):
        list(cluster(load_charset, ["digits", "nowhere"]))
    assert list(cluster(neg, range(100))) == list(range(0, -100, -1))
    assert list(cluster(neg, [])) == []
    assert killer.killed
    assert killer.seen[0] < killer.seen[-1] == found.lines == 400
    assert records(tmp_path / "there.lmdb") == records(tmp_path / "here.lmdb")
    assert LmdbDataset(tmp_path / "there.lmdb").sha256 == LmdbDataset(tmp_path / "here.lmdb").sha256


@pytest.mark.slow
@needs_ray
@needs_proc
def test_a_cluster_builds_the_very_datasets_though_a_worker_is_lost(labels, tmp_path, monkeypatch, cluster):
    monkeypatch.setattr("ocrcc.datasets.build._CHUNK", 4)
    monkeypatch.chdir(tmp_path)
    config, given = BuildConfig(workers=1, val_fraction=0.3), [labels.relative_to(tmp_path)]
    here = build_lmdb(given, tmp_path / "here.lmdb", config)
    killer = Killer()
    there = build_lmdb(given, tmp_path / "there.lmdb", config, pool=cluster, report=killer)
    assert killer.killed
    assert killer.seen == list(range(1, 301))
    assert there.skipped == here.skipped == {"image that cannot be read": 1, "no such image": 1}
    assert there.skipped_lines == here.skipped_lines
    for name in (lambda path: path, val_path):
        assert records(name(tmp_path / "there.lmdb")) == records(name(tmp_path / "here.lmdb"))


@pytest.mark.slow
@needs_ray
@pytest.mark.parametrize("command", ["synth", "build-lmdb"])
def test_bad_addresses_and_options_are_told(command, source, labels, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "charset.txt").write_text("\n".join(CHARACTERS))
    made = {
        "synth": ["synth", "out.lmdb", "--charset", "charset.txt", "--fonts", "fonts", "--count", "9"],
        "build-lmdb": ["build-lmdb", str(labels), "out.lmdb"],
    }[command]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for options, message in (
        (("--ray", address), "nobody answers there"),
        (("--ray", "cluster"), "no address of a Ray cluster"),
        (("--ray", "local", "--workers", "2"), "--workers does not go with --ray"),
    ):
        done = CliRunner().invoke(app, [*made, *options])
        assert (done.exit_code, message in done.output) == (2, True), done.output
    assert not (tmp_path / "out.lmdb").exists()

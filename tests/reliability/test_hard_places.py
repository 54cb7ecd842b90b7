"""Disks that are full, folders that nobody may write to, and memory with a limit: a sentence, and all is as it was.

Full disks and read-only ones are mounted, which takes root on Linux; elsewhere these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from drawn_lines import draw_line, png
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from ocrcc.charset import Charset
from ocrcc.cli import app
from ocrcc.config import Preprocessing
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.models.contract import describe

TRAINING = ["--arch", "lcnet_050", "--steps", "2", "--batch-size", "4", "--workers", "0", "--threads", "1"]
MEASURED = ["{in}/m.safetensors", "--data", "{in}/in.lmdb", "--workers", "0"]
COMMANDS = {
    "build-lmdb": ["build-lmdb", "{in}/labels/labels.txt", "{out}/new.lmdb"],
    "build-lmdb, again": ["build-lmdb", "{in}/labels/labels.txt", "{out}/old.lmdb", "--force", "--val-fraction", "0.3"],
    "synth": ["synth", "{out}/new.lmdb", "--count", "200", "--charset", "digits", "--preset", "clean"],
    "synth --preview": ["synth", "{in}/n.lmdb", "--count", "2", "--charset", "digits", "--preview", "{out}/new.png"],
    "unpack": ["unpack", "{in}/in.lmdb", "{out}/new"],
    "samples": ["samples", "{out}/new"],
    "charset": ["charset", "gb18030-l1", "--out", "{out}/new.txt"],
    "lookalikes": ["lookalikes", "{out}/new.tsv", "--charset", "ascii", "--show", "0"],
    "pretrain": ["pretrain", "--train", "{in}/in.lmdb", "--out", "{out}/new", "--device", "cpu", *TRAINING],
    "eval --json": ["eval", *MEASURED, "--json", "{out}/new.json"],
    "eval --report": ["eval", *MEASURED, "--report", "{out}/new.html"],
    "export": ["export", "{in}/m.safetensors", "{out}/new.safetensors", "--samples", "2", "--rendered", "0"],
    "export, ONNX": ["export", "{in}/m.safetensors", "{out}/new.onnx", "--samples", "2", "--rendered", "0"],
    "predict -o": ["predict", "{in}/labels", "-m", "{in}/m.safetensors", "--format", "json", "-o", "{out}/new.jsonl"],
    "predict --review": ["predict", "{in}/labels/1.png", "-m", "{in}/m.safetensors", "--review", "{out}/new.tsv"],
    "predict --visualize": ["predict", "{in}/labels/1.png", "-m", "{in}/m.safetensors", "--visualize", "{out}/new"],
    "project": ["project", "--logdir", "{out}/new", "--model", "{in}/m.safetensors", "--data", "{in}/in.lmdb"],
}  # fmt: skip
READING = {
    "inspect": ["inspect", "{in}/in.lmdb"],
    "inspect, of another make": ["inspect", "{in}/foreign.lmdb"],
    "eval": ["eval", "{in}/m.safetensors", "--data", "{in}/foreign.lmdb", "--workers", "0"],
    "predict": ["predict", "{in}/labels", "-m", "{in}/m.safetensors"],
    "unpack": ["unpack", "{in}/foreign.lmdb", "{out}/new"],
    "build-lmdb": ["build-lmdb", "{in}/labels/labels.txt", "{out}/new.lmdb"],
    "build-lmdb --merge": ["build-lmdb", "{in}/in.lmdb", "{in}/foreign.lmdb", "{out}/new.lmdb", "--merge"],
    "pretrain": ["pretrain", "--train", "{in}/foreign.lmdb", "--out", "{out}/new", "--device", "cpu", *TRAINING],
}


def mount(*arguments: str) -> None:
    if sys.platform != "linux" or not shutil.which("mount"):
        pytest.skip("mounts as Linux does")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"not allowed to mount: {done.stderr.strip()}")


@contextmanager
def mounted(place: Path, *arguments: str) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    mount(*arguments, str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory, wild_model) -> Path:
    """What commands are given: labels with their images, a dataset of ours, one of another make, a model."""
    folder = tmp_path_factory.mktemp("source")
    (folder / "labels").mkdir()
    for number in range(40):
        (folder / "labels" / f"{number}.png").write_bytes(png(draw_line(str(number))))
    (folder / "labels" / "labels.txt").write_text("".join(f"{number}.png\t{number}\n" for number in range(40)))
    fill(folder / "in.lmdb", 40)
    import lmdb

    with lmdb.open(str(folder / "foreign.lmdb"), map_size=1 << 24) as env, env.begin(write=True) as change:
        change.put(b"num-samples", b"40")
        for number in range(40):
            change.put(b"image-%09d" % (number + 1), png(draw_line(str(number))))
            change.put(b"label-%09d" % (number + 1), b"%d" % number)
    shutil.copy(wild_model, folder / "m.safetensors")
    return folder


def fill(path: Path, lines: int) -> None:
    with LmdbWriter(path) as writer:
        for number in range(lines):
            writer.add(png(draw_line(str(number))), str(number), source="x", size=draw_line(str(number)).size)


def run(arguments: list[str], source: Path, out: Path) -> tuple[int, str]:
    """Run a command; say its exit code and what it says on stderr. Whatever Python raises escapes."""
    done = CliRunner().invoke(app, [word.replace("{in}", str(source)).replace("{out}", str(out)) for word in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr


@pytest.fixture(autouse=True)
def no_sudden_end(monkeypatch):
    """A full disk behind standard output ends a command at once, and would end these tests."""

    real, here = os._exit, os.getpid()

    def end(code: int) -> None:
        if os.getpid() != here:  # a worker's ordinary end
            real(code)
        raise AssertionError(f"ended with {code}, as if standard output were full")

    monkeypatch.setattr(os, "_exit", end)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_needs(name: str) -> None:
    if "synth" in name or "lookalikes" in name or "report" in name:
        from ocrcc.glyphs.fonts import find_faces

        if not find_faces():
            pytest.skip("no fonts here")
    for package in ("onnx", "onnxruntime") if "ONNX" in name else ("jinja2",) if "report" in name else ():
        pytest.importorskip(package)


@pytest.mark.parametrize("left", [0, 24], ids=lambda kilobytes: f"{kilobytes} kB left")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_told_and_leaves_what_was_there(name, left, source, tmp_path):
    check_needs(name)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as out:
        fill(out / "old.lmdb", 2)
        (out / "ballast").write_bytes(b"x" * (shutil.disk_usage(out).free - left * 1024))
        before = content(out)
        code, err = run(COMMANDS[name], source, out)
        after = content(out)
        if left and code == 0:  # small enough
            assert len(after) > len(before)
            return
        assert code in (3, 4), err
        assert "No space left" in err or "is the disk full?" in err  # what LMDB calls an input/output error
        assert str(out) in err
        assert before.items() <= after.items()
        assert name == "pretrain" or after.keys() == before.keys()
        assert len(LmdbDataset(out / "old.lmdb")) == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_disk_is_told(name, source, tmp_path):
    check_needs(name)
    (tmp_path / "real").mkdir()
    fill(tmp_path / "real" / "old.lmdb", 2)
    with mounted(tmp_path / "disk", "--bind", str(tmp_path / "real")) as out:
        mount("-o", "remount,ro,bind", str(out))
        code, err = run(COMMANDS[name], source, out)
    assert code in (2, 3), err
    assert "error: " in err
    assert "Read-only file system" in err
    assert len(LmdbDataset(tmp_path / "real" / "old.lmdb")) == 2


@pytest.mark.parametrize("name", READING)
def test_what_lies_on_a_read_only_disk_is_read(name, source, tmp_path):
    (tmp_path / "new-place").mkdir()
    with mounted(tmp_path / "disk", "--bind", str(source)) as here:
        mount("-o", "remount,ro,bind", str(here))
        code, err = run(READING[name], here, tmp_path / "new-place")
    assert code == 0, err


LIMITED = """
import resource, sys
import {imports}
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]) * (1 << 20),) * 2)
from pathlib import Path
from ocrcc.errors import OcrccError
for path in map(Path, sys.argv[3:]):
    try:
        exec(sys.argv[2])
    except OcrccError as error:
        print("told:", path.name, error.message)
"""
"""Reads files with so many MB more than the imports have taken; more ends in a MemoryError, and so in a traceback."""


def limited(imports: str, code: str, *paths: Path, megabytes: int = 400) -> list[str]:
    if sys.platform != "linux":
        pytest.skip("limits memory as Linux does")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.replace("{imports}", imports), str(megabytes), code, *map(str, paths)],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("told: ")]


@pytest.mark.slow
def test_small_files_that_name_giants_are_refused_without_their_memory(tmp_path):
    """Of 2.5 GB and more in weights; the registered one has as many classes as a charset can have."""
    giants = []
    for arch in ("timm/regnety_2560", "timm/convnext_xxlarge", "timm/vit_giant_patch14_224", "crnn"):
        giants.append(tmp_path / f"{arch.rpartition('/')[2]}.safetensors")
        symbols = "".join(map(chr, (*range(0x21, 0xD800), *range(0xF900, 0x110000)))) if arch == "crnn" else "01"
        contract = describe(arch, Charset(symbols[:1_000_000]), Preprocessing())
        save_file({"model.x": torch.zeros(3)}, giants[-1], metadata={"ocrcc": json.dumps({**contract, "step": 1})})
    imports = "ocrcc.cli, ocrcc.models.checkpoint, timm"
    assert limited(imports, "ocrcc.models.checkpoint.load_model(path)", *giants) == [path.name for path in giants]


@pytest.mark.parametrize("kind", ["png", "tiff", "pages"])
def test_an_image_that_unpacks_to_much_is_refused_or_read_within_bounds(tmp_path, kind):
    path = tmp_path / f"bomb.{'png' if kind == 'png' else 'tif'}"
    if kind == "png":
        Image.new("1", (30_000, 30_000)).save(path)
    elif kind == "tiff":
        Image.new("1", (30_000, 30_000)).save(path, compression="tiff_deflate")
    else:
        pages = [Image.new("1", (4000, 4000)) for _ in range(40)]
        pages[0].save(path, save_all=True, append_images=pages[1:], compression="group4")
    assert path.stat().st_size < 2_000_000
    code = "for frame in ocrcc.pages.documents.open_frames(str(path), dpi=100): frame.load()"
    said = limited("ocrcc.pages.documents, ocrcc.images.opening, PIL.Image; PIL.Image.init()", code, path)
    assert kind == "pages" or said

"""What `python -m tests.benchmarks` measures: one function a stage, which gives rows."""

from __future__ import annotations

import argparse
import io
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from statistics import median

import lmdb
import numpy as np
from PIL import Image

from ocrcc import packaged
from ocrcc.charset import load_charset
from ocrcc.config import DEFAULT_MODEL, BuildConfig, PredictConfig, Preprocessing, PretrainConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.datasets.build import build_lmdb

ROOT = Path(__file__).resolve().parents[2]
_PEAK = "int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
"""KiB at most that a process held. Its ``ru_maxrss`` is no less than that of the process which started it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        what: What was measured.
        measured: How much it was.
        unit: Of both figures.
        beside: What it is compared with.
        limit: How much that was.
        aim: What the ratio should be.
    """

    what: str
    measured: float
    unit: str
    beside: str
    limit: float
    aim: str
    ratio: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", self.measured / self.limit)


def alternate(
    runs: Mapping[str, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Run all in turn and give the median of each one's seconds; the first turn warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = clock()
            run()
            if turn:
                seconds[name].append(clock() - started)
    return {name: median(each) for name, each in seconds.items()}


def children() -> float:
    """CPU seconds of the processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def python(code: str, *arguments: str) -> str:
    """Run code in a process of its own, and give what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def start_up(full: bool, threads: int) -> list[Row]:
    """Start of the command line beside that of the libraries it stands on."""
    found = alternate(
        {
            "help": lambda: python("import sys; from ocrcc.cli import main; sys.argv[1:] = ['--help']; main()"),
            "libraries": lambda: python("import typer, rich"),
        },
        40 if full else 15,
        children,
    )
    return [
        Row(what="ocrcc --help", measured=1000 * found["help"], unit="CPU ms", beside="import typer, rich",
            limit=1000 * found["libraries"], aim="at most 1.3")
    ]  # fmt: skip


def reader(full: bool, threads: int) -> list[Row]:
    """A process that reads one line by ONNX Runtime: its imports and its memory."""
    imports = "import time; start = time.process_time(); from ocrcc.reading.reader import LineReader;"
    imports += "print(time.process_time() - start)"
    reads = "import sys; from ocrcc.reading.reader import LineReader, default_model;"
    reads += "LineReader.load(default_model(), device='cpu').recognize(sys.argv[1:]);"
    reads += f"print({_PEAK})"
    image = str(next((packaged.ASSETS / "samples" / "images").iterdir()))
    repeats = 15 if full else 5
    seconds = median(float(python(imports)) for _ in range(repeats))
    kilobytes = median(int(python(reads, image)) for _ in range(repeats))
    return [
        Row(what="imports for reading", measured=seconds, unit="CPU s", beside="limit", limit=0.25, aim="at most 1"),
        Row(what="memory of a reader", measured=kilobytes / 1024, unit="MiB", beside="limit", limit=250,
            aim="at most 1"),
    ]  # fmt: skip


def build(full: bool, threads: int) -> list[Row]:
    """build-lmdb beside a plain loop that opens, decodes and puts."""
    count, rows = 20_000 if full else 2_000, []
    with tempfile.TemporaryDirectory() as temporary:
        for suffix in ("png", "jpg"):
            folder = Path(temporary, suffix)
            labels = write_images(folder, count, suffix)

            def plain(folder: Path = folder, labels: Path = labels) -> None:
                with lmdb.open(str(fresh(folder, "plain")), map_size=2**33) as env, env.begin(write=True) as writes:
                    for number, line in enumerate(labels.read_text().splitlines(), start=1):
                        name, text = line.split("\t")
                        encoded = (folder / name).read_bytes()
                        Image.open(io.BytesIO(encoded)).load()
                        writes.put(b"image-%09d" % number, encoded)
                        writes.put(b"label-%09d" % number, text.encode())

            def ours(workers: int, folder: Path = folder, labels: Path = labels) -> None:
                build_lmdb([labels], fresh(folder, "ours"), BuildConfig(workers=workers))

            runs = {"plain": plain, "1": lambda: ours(1), "2": lambda: ours(2)}  # noqa: B023 - called in this turn
            found = alternate(runs, 3)
            for workers, aim in (("1", "at least 1"), ("2", "at least 1.8")):
                rows.append(
                    Row(what=f"build-lmdb, {count} {suffix}, --workers {workers}", measured=count / found[workers],
                        unit="lines/s", beside="plain loop", limit=count / found["plain"], aim=aim)
                )  # fmt: skip
    return rows


def cutting(full: bool, threads: int) -> list[Row]:
    """build-lmdb of pages with PAGE XML: A4 at 300 dpi, 40 lines each, cut along outlines of 16 points."""
    count = 25 if full else 5
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "pages")
        folder.mkdir()
        for number in range(count):
            write_page(folder, number)
        out = Path(temporary, "lines.lmdb")
        found = alternate({"build": lambda: build_lmdb([folder], out, BuildConfig(), force=True)}, 3)["build"]
        built = len(LmdbDataset(out))
    return [
        Row(what=f"{built} lines of {count} PAGE pages", measured=60 * built / found, unit="lines/minute",
            beside="limit", limit=1000, aim="at least 1")
    ]  # fmt: skip


def write_page(folder: Path, number: int) -> None:
    """Lay sample lines out as a scanned page, a little aslant, and write PAGE XML beside it."""
    paths = sorted((packaged.ASSETS / "samples" / "images").iterdir())
    page = Image.new("L", (2480, 3508), 235)
    lines = ""
    for row in range(40):
        left, top = 200, 150 + 80 * row
        with Image.open(paths[(number * 40 + row) % len(paths)]) as line:
            page.paste(line.convert("L").resize((2000, 50)), (left, top))
        upper = [(left + 2000 * step // 7, top - 4 + step % 2) for step in range(8)]
        lower = [(x, y + 58) for x, y in reversed(upper)]
        points = " ".join(f"{x},{y}" for x, y in upper + lower)
        lines += f'<TextLine id="l{row}"><Coords points="{points}"/><TextEquiv><Unicode>line {row}</Unicode>'
        lines += "</TextEquiv></TextLine>\n"
    turned = page.rotate(0.2, Image.Resampling.BILINEAR, fillcolor=235)
    grain = np.random.default_rng(number).integers(-12, 13, (3508, 2480))
    Image.fromarray((np.asarray(turned) + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    space = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
    (folder / f"{number}.xml").write_text(
        f'<PcGts xmlns="{space}"><Page imageFilename="{number}.png" imageWidth="2480" imageHeight="3508">'
        f'<TextRegion id="r"><Coords points="0,0 2479,0 2479,3507 0,3507"/>{lines}</TextRegion></Page></PcGts>\n'
    )


def fresh(folder: Path, name: str) -> Path:
    """Give a name that nothing has."""
    return Path(tempfile.mkdtemp(dir=folder.parent), name)


def write_images(folder: Path, count: int, suffix: str) -> Path:
    """Write noisy lines of several widths, and their labels beside them."""
    folder.mkdir()
    dice = np.random.default_rng(0)
    for number in range(count):
        pixels = dice.integers(0, 256, (32, int(dice.integers(80, 420))), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.{suffix}")
    labels = folder / "labels.txt"
    labels.write_text("".join(f"{number}.{suffix}\tline {number}\n" for number in range(count)))
    return labels


def feeding(full: bool, threads: int) -> list[Row]:
    """Lines that one core makes ready for training beside what the model consumes; padding."""
    import torch

    from ocrcc.data.batching import MixedSource, TrainingChunks, training_batches
    from tests.benchmarks.training_speed import make_batch, make_run

    with LmdbDatasetOfSamples() as dataset:
        chunks = TrainingChunks(
            [MixedSource(source=dataset, weight=1)], load_charset("gb2312"), Preprocessing(),
            width_stride=4, batch_size=64, seed=1, strength=0.5,
        )  # fmt: skip
        torch.set_num_threads(1)
        batches = training_batches(chunks)
        next(batches)
        start, lines, own, padded = time.process_time(), 0, 0, 0
        for one in islice(batches, 400 if full else 80):
            lines += len(one.batch.labels)
            own += int(one.batch.widths.sum())
            padded += one.batch.images.shape[0] * one.batch.images.shape[3]
        speed = lines / (time.process_time() - start)
    torch.set_num_threads(threads)
    options = argparse.Namespace(model="hgnetv2_b0", classes=7000, batch_size=64, precision="no", device="cpu")
    run, batch = make_run(options, False), make_batch(options, round(own / lines / 16) * 16)
    seconds = alternate({"step": lambda: float(run.step(batch, 0.5).total)}, 5 if full else 2)["step"]
    return [
        Row(what="lines made ready, one core", measured=speed, unit="lines/CPU s", beside=f"model, {threads} threads",
            limit=64 / seconds, aim="at least 5"),
        Row(what="padding", measured=100 * (1 - own / padded), unit="%", beside="limit", limit=8, aim="at most 1"),
    ]  # fmt: skip


def training(full: bool, threads: int) -> list[Row]:
    """Training steps of the default model beside those of CRNN, a VGG with two BiLSTMs."""
    import torch

    from tests.benchmarks.training_speed import make_batch, make_run

    torch.set_num_threads(threads)
    runs: dict[str, Callable[[], object]] = {}
    for name in (PretrainConfig.arch, "crnn"):
        options = argparse.Namespace(model=name, classes=7000, batch_size=32, precision="no", device="cpu")
        run, batch = make_run(options, False), make_batch(options, 224)
        runs[name] = lambda run=run, batch=batch: float(run.step(batch, 0.5).total)  # type: ignore[misc]
    found = alternate(runs, 7 if full else 2)
    return [
        Row(what=f"steps of {PretrainConfig.arch}, 32 lines of 224 px", measured=32 / found[PretrainConfig.arch],
            unit="lines/s", beside="crnn", limit=32 / found["crnn"], aim="at least 3")
    ]  # fmt: skip


class LmdbDatasetOfSamples:
    """A dataset of the samples that ship with the package, for as long as it is open."""

    def __enter__(self) -> LmdbDataset:
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name, "samples.lmdb")
        build_lmdb([packaged.ASSETS / "samples" / "labels.txt"], path, BuildConfig(workers=1))
        return LmdbDataset(path)

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def centers(full: bool, threads: int) -> list[Row]:
    """Alignment and center terms beside a step of CTC alone; and how they grow."""
    import torch

    from tests.benchmarks.center_cost import Bench

    torch.set_num_threads(threads)
    base = argparse.Namespace(
        model="hgnetv2_b0", classes=7000, batch_size=64 if full else 32, frames=80, characters=20, siblings=8,
        repeats=9 if full else 3, device="cpu",
    )  # fmt: skip
    bench = Bench(base)
    found = alternate({"ctc": lambda: bench.step(False), "center": lambda: bench.step(True)}, base.repeats)
    rows = [
        Row(what="step with alignment and centers", measured=1000 * found["center"], unit="ms", beside="CTC alone",
            limit=1000 * found["ctc"], aim="at most 1.05")
    ]  # fmt: skip
    small = argparse.Namespace(**vars(base) | {"batch_size": 16, "frames": 40, "characters": 10, "classes": 5000})
    for name, changes in {
        "N 16 to 64": {"batch_size": 64},
        "T 40 to 160": {"frames": 160, "characters": 40},
        "C 5,000 to 20,000": {"classes": 20_000},
    }.items():
        large = argparse.Namespace(**vars(small) | changes)
        runs = {name: terms_alone(options) for name, options in (("small", small), ("large", large))}
        found = alternate(runs, base.repeats, time.process_time)
        rows.append(
            Row(what=f"alignment and terms, {name}", measured=1000 * found["large"], unit="CPU ms",
                beside="4 times the smaller", limit=4000 * found["small"], aim="at most 1: linear")
        )  # fmt: skip
    return rows


def terms_alone(options: argparse.Namespace) -> Callable[[], object]:
    """Give what runs alignment and center terms on the same output of a model again and again."""
    import torch

    from tests.benchmarks.center_cost import Bench

    bench = Bench(options)
    with torch.no_grad():
        output = bench.model(bench.images)

    def run() -> None:
        features, logits = (one.detach().requires_grad_() for one in (output.features, output.logits))
        bench.center_terms(replace(output, features=features, logits=logits))[1].backward()

    return run


def opening(full: bool, threads: int) -> list[Row]:
    """A dataset of very many lines opens, and the memory that takes beside one of 10,000."""
    code = "import sys, time; from ocrcc.data.lmdb_store import LmdbDataset;"
    code += "start = time.process_time(); data = LmdbDataset(sys.argv[1]); data.widths.sum(); data.line(len(data) - 1);"
    code += f"print(time.process_time() - start, {_PEAK})"
    many = 1_000_000 if full else 100_000
    with tempfile.TemporaryDirectory() as temporary:
        found = {}
        for count in (10_000, many):
            path = Path(temporary, f"{count}.lmdb")
            encoded = io.BytesIO()
            Image.new("L", (8, 8)).save(encoded, "PNG")
            with LmdbWriter(path) as writer:
                for number in range(count):
                    writer.add(encoded.getvalue(), f"{number}", source="", size=(8, 8))
            runs = [[float(value) for value in python(code, str(path)).split()] for _ in range(3)]
            found[count] = [median(values) for values in zip(*runs, strict=True)]
    return [
        Row(what=f"{many} lines open", measured=found[many][0], unit="CPU s", beside="limit", limit=2,
            aim="at most 1"),
        Row(what=f"memory, {many} lines", measured=found[many][1] / 1024, unit="MiB",
            beside="of 10,000 lines, and 100", limit=found[10_000][1] / 1024 + 100, aim="at most 1"),
    ]  # fmt: skip


def lines(full: bool, threads: int) -> list[Row]:
    """Mixed lines in, texts out, with second looks, beside PP-OCRv6 small as rapidocr gives it."""
    from ocrcc.reading.reader import LineReader

    paths = sorted((packaged.ASSETS / "samples" / "images").iterdir())
    paths = (paths * 1000)[: 1000 if full else 150]
    ours = LineReader.load(DEFAULT_MODEL, device="cpu", config=PredictConfig(threads=threads))
    runs: dict[str, Callable[[], object]] = {"ours": lambda: ours.recognize(paths)}
    if not find_spec("rapidocr"):
        print("rapidocr: not installed, left out", file=sys.stderr)
        return []
    from tests.benchmarks.peers import PpOcrV6

    peer = PpOcrV6(threads)
    decode = peer.open()
    runs["peer"] = lambda: peer.read([decode(path.read_bytes()) for path in paths])
    found = alternate(runs, 3 if full else 1)
    return [
        Row(what=f"{len(paths)} files of lines", measured=len(paths) / found["ours"], unit="lines/s",
            beside="PP-OCRv6 small, one by one", limit=len(paths) / found["peer"], aim="at least 3")
    ]  # fmt: skip


def cold(full: bool, threads: int) -> list[Row]:
    """A new process that reads one image, beside new processes of PP-OCR's packages."""
    from tests.benchmarks.peers import PpOcrV4, PpOcrV6

    image = next((packaged.ASSETS / "samples" / "images").iterdir())
    peers = {
        name: kind(threads).cold(image)
        for name, kind, package in (
            ("PP-OCRv4 mobile", PpOcrV4, "rapidocr_onnxruntime"), ("PP-OCRv6 small", PpOcrV6, "rapidocr"),
        )
        if find_spec(package)
    }  # fmt: skip
    command = "import sys; from ocrcc.cli import main; sys.argv[1:] = ['predict', *sys.argv[1:]]; main()"
    ours = [sys.executable, "-c", command, str(image), "--threads", str(threads)]
    found = alternate(
        {
            name: lambda arguments=arguments: subprocess.run(arguments, check=True, capture_output=True)  # type: ignore[misc]
            for name, arguments in {"ours": ours, **peers}.items()
        },
        7 if full else 3,
    )
    return [
        Row(what="ocrcc predict one.png, cold", measured=found["ours"], unit="s", beside=f"{name}, its Python package",
            limit=found[name], aim="at most 1")
        for name in peers
    ]  # fmt: skip


def pages(full: bool, threads: int) -> list[Row]:
    """Pages in, texts out, beside RapidOCR as a whole."""
    if not find_spec("rapidocr"):
        print("rapidocr: not installed, left out", file=sys.stderr)
        return []
    from rapidocr import RapidOCR

    from ocrcc.pages.reader import PageReader
    from ocrcc.reading.reader import LineReader

    drawn = [page_of_samples(number) for number in range(20 if full else 3)]
    ours = PageReader(LineReader.load(DEFAULT_MODEL, device="cpu", config=PredictConfig(threads=threads)))
    peer = RapidOCR(params={"EngineConfig.onnxruntime.intra_op_num_threads": threads, "Global.log_level": "error"})
    found = alternate(
        {
            "ours": lambda: [ours.read_page(page) for page in drawn],
            "peer": lambda: [peer(np.asarray(page.convert("RGB"))) for page in drawn],
        },
        3 if full else 1,
    )
    return [
        Row(what=f"{len(drawn)} pages of 40 lines", measured=len(drawn) / found["ours"], unit="pages/s",
            beside="RapidOCR", limit=len(drawn) / found["peer"], aim="at least 1.5")
    ]  # fmt: skip


def page_of_samples(number: int) -> Image.Image:
    """Lay sample lines out as a page of two columns."""
    paths = sorted((packaged.ASSETS / "samples" / "images").iterdir())
    page = Image.new("L", (1240, 1000), 255)
    for row in range(40):
        with Image.open(paths[(number * 40 + row) % len(paths)]) as line:
            line = line.convert("L")
            width = min(540, round(line.width * 28 / line.height))
            page.paste(line.resize((width, 28)), (50 + 600 * (row // 20), 40 + 46 * (row % 20)))
    return page


def rendering(full: bool, threads: int) -> list[Row]:
    """Rendered lines a second of one core, beside plain ImageDraw.text."""
    from ocrcc.datasets.synthesize import encode
    from ocrcc.synth.source import load_source
    from tests.benchmarks.synth_speed import PlainText, measure

    count = 8000 if full else 400
    source = load_source("documents", load_charset("gb2312"), seed=1)
    labels = [source.line(number).label for number in range(count)]
    control = PlainText(source, labels)
    ours, plain = [], []
    for turn in range(3):
        ours.append(measure(lambda number: encode(source.line(number)), range(turn * count, (turn + 1) * count)))
        plain.append(measure(control, range(count)))
    return [
        Row(what="lines rendered and encoded", measured=median(ours), unit="lines/CPU s", beside="ImageDraw.text",
            limit=median(plain), aim="at least 0.2")
    ]  # fmt: skip


STAGES = {
    "start": start_up,
    "reader": reader,
    "build": build,
    "cutting": cutting,
    "feeding": feeding,
    "training": training,
    "centers": centers,
    "opening": opening,
    "cold": cold,
    "lines": lines,
    "pages": pages,
    "rendering": rendering,
}
"""Rendering needs Chinese fonts."""

"""Whether a GPU waits for its lines: training steps alone beside steps on lines that workers read, or render.

    python -m tests.benchmarks.gpu [--device cuda] [--workers 8] [--batch-size 256] [--rendered]

Needs a GPU with torch's CUDA build, and nothing else: the lines are the samples that ship with the package, again and
again; rendered ones want fonts. Each row is the training loop's own step in one precision, with CTC and center terms.
"alone" sees batches that lie on the device already; "waits" is the share of the time that goes beyond that.
On a CPU (--device cpu) the same table says the same of its cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console

from ocrcc.charset import load_charset
from ocrcc.cli import render
from ocrcc.config import FinetuneConfig, Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource, TrainingBatch, training_batches
from ocrcc.lookalikes import load_lookalikes, sibling_table
from ocrcc.losses.center import Centers
from ocrcc.models.registry import create_model
from ocrcc.synth.source import load_source
from ocrcc.training.devices import make_accelerator
from ocrcc.training.objective import CenterObjective
from ocrcc.training.run import Run, Trainee
from tests.benchmarks.stages import LmdbDatasetOfSamples

CHARSET = load_charset("gb2312")
_HELD = 20


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--arch", default="hgnetv2_b0")
    parser.add_argument("--batch-size", default=256, type=int)
    parser.add_argument("--workers", default=max(1, (os.cpu_count() or 2) - 1), type=int)
    parser.add_argument("--steps", default=60, type=int, help="that are timed; a third as many go before")
    parser.add_argument("--precisions", nargs="+", default=["no", "bf16"], choices=["no", "bf16", "fp16"])
    parser.add_argument("--compile", action="store_true", help="another row with torch.compile, minutes at the start")
    parser.add_argument("--rendered", action="store_true", help="lines that workers render, too")
    return parser.parse_args()


def make_run(options: argparse.Namespace, source: MixedSource, precision: str, compiled: bool, folder: Path) -> Run:
    """Make what the training loop steps with."""
    recognizer = create_model(options.arch, CHARSET.num_classes)
    siblings = torch.tensor(sibling_table(load_lookalikes("gb2312"), CHARSET), dtype=torch.int64)
    centers = Centers(CHARSET.num_classes, recognizer.feature_width, 0.5)
    trainee = Trainee(
        recognizer=recognizer, arch=options.arch, charset=CHARSET, preprocessing=Preprocessing(),
        objective=CenterObjective(FinetuneConfig(train=("x",)), recognizer.head, siblings, centers),
    )  # fmt: skip
    config = TrainConfig(steps=10**6, batch_size=options.batch_size, precision=precision, compile=compiled)  # type: ignore[arg-type]
    accelerator: Accelerator = make_accelerator(config, options.device, [])
    return Run(trainee, config, folder, accelerator, [source])


def rate(run: Run, batches: Iterator[TrainingBatch], steps: int) -> float:
    """Return lines a second of the loop's own course: nothing waits for the device until the end."""
    for _ in range(max(1, steps // 3)):
        run.step(next(batches), 0.5)
    wait(run)
    started, lines = time.perf_counter(), 0
    for _ in range(steps):
        received = next(batches)
        run.step(received, 0.5)
        lines += len(received.batch.labels)
    wait(run)
    return lines / (time.perf_counter() - started)


def wait(run: Run) -> None:
    """Let the device finish what it was given."""
    if run.accelerator.device.type == "cuda":
        torch.cuda.synchronize()


def alone(run: Run) -> Iterator[TrainingBatch]:
    """Give the first batches again and again, which lie on the device."""
    some = training_batches(run.chunks)
    firsts = [next(some) for _ in range(_HELD)]
    yield from cycle(replace(one, batch=one.batch.to(str(run.accelerator.device))) for one in firsts)


def main() -> None:
    options = parse()
    device = torch.device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    rows = []
    with LmdbDatasetOfSamples() as samples, tempfile.TemporaryDirectory() as folder:
        sources = {"LMDB": MixedSource(source=samples, weight=1.0)}
        if options.rendered:
            sources["rendered"] = MixedSource(source=load_source("documents", CHARSET, seed=1), weight=1.0)
        for kind, source in sources.items():
            for precision in options.precisions:
                for compiled in (False, True) if options.compile else (False,):
                    limit = rate(
                        run := make_run(options, source, precision, compiled, Path(folder)), alone(run), options.steps
                    )
                    reached = rate(run, training_batches(run.chunks, workers=options.workers), options.steps)
                    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else float("nan")
                    label = precision + (", compiled" if compiled else "")
                    waits = f"{100 * max(0.0, 1 - reached / limit):.0f} %"
                    rows.append((kind, label, f"{limit:.0f}", f"{reached:.0f}", waits, f"{memory:.1f}"))
    columns = ("lines", "precision", "alone, lines/s", "lines/s", "waits", "GiB")
    title = f"{options.arch}, {options.batch_size} lines a step, {options.workers} workers, {name}"
    Console(width=120, highlight=False).print(render.table(title, columns, rows, left=2))


if __name__ == "__main__":
    main()

"""What makes steps on a CPU quick: keeping freed memory, as the training loop does, and `--compile`; one run.

python tests/benchmarks/training_speed.py [--model hgnetv2_b0] [--repeats 5] [--precision bf16]

The steps are the training loop's own, without its data, on batches of several widths; the kinds of step alternate,
so that whatever else the machine does falls on all. What compiling itself took is printed too.
"""

import argparse
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import torch
from accelerate import Accelerator

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource, TrainingBatch
from ocrcc.models.registry import create_model
from ocrcc.training.memory import freed_memory_kept
from ocrcc.training.objective import CtcObjective
from ocrcc.training.run import Run, Trainee
from ocrcc.types import Batch


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="hgnetv2_b0")
    parser.add_argument("--classes", type=int, default=7000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 224, 320, 416])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--precision", default="bf16", choices=["no", "bf16", "fp16"])
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


class NoLines:
    """A source that is never asked: the batches are made here."""

    size = None

    def line(self, index):
        raise NotImplementedError


def make_run(options, compiled):
    torch.manual_seed(0)
    charset = Charset([chr(0x4E00 + index) for index in range(options.classes - 1)])
    trainee = Trainee(
        recognizer=create_model(options.model, options.classes),
        arch=options.model,
        charset=charset,
        preprocessing=Preprocessing(),
        objective=CtcObjective(),
    )
    config = TrainConfig(steps=10_000, batch_size=options.batch_size, precision=options.precision, compile=compiled)
    accelerator = Accelerator(cpu=options.device == "cpu", mixed_precision=options.precision)
    return Run(trainee, config, Path(tempfile.gettempdir()), accelerator, [MixedSource(source=NoLines(), weight=1)])


def make_batch(options, width):
    n, frames = options.batch_size, width // 4
    length = max(2, width // 28)
    batch = Batch(
        images=torch.randn(n, 1, 32, width),
        widths=torch.full((n,), width),
        frames=torch.full((n,), frames),
        targets=torch.randint(1, options.classes, (n, length)),
        target_lengths=torch.full((n,), length),
        labels=("",) * n,
        sources=("",) * n,
    )
    return TrainingBatch(batch=batch, after=(0, 0))


def seconds(run, batch):
    start = time.perf_counter()
    float(run.step(batch, 0.5).total)
    return time.perf_counter() - start


def main():
    options = parse()
    plain, compiled = make_run(options, False), make_run(options, True)
    kinds = {"as torch does it": (plain, nullcontext), "memory kept": (plain, freed_memory_kept)}
    kinds["compiled too"] = (compiled, freed_memory_kept)
    batches = {width: make_batch(options, width) for width in options.widths}
    for name, run in {"plain": plain, "compiled": compiled}.items():
        print(f"first steps of all widths, {name}: {sum(seconds(run, batch) for batch in batches.values()):.0f} s")
    print(
        f"{options.model}, {options.classes} classes, {options.batch_size} lines, {options.precision}, "
        f"{options.device}, {torch.get_num_threads()} threads, medians of {options.repeats}"
    )
    print("lines/s   " + "  ".join(f"{name:>16s}" for name in kinds))
    for width, batch in batches.items():
        times = {name: [] for name in kinds}
        for _ in range(options.repeats):
            for name, (run, memory) in kinds.items():
                with memory():
                    seconds(run, batch)  # the heap grows
                    times[name].append(seconds(run, batch))
        rates = [options.batch_size / median(values) for values in times.values()]
        print(f"width {width:4d}" + "  ".join(f"{rate:9.1f} {rate / rates[0]:5.2f}x" for rate in rates))


if __name__ == "__main__":
    main()

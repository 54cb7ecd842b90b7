"""The shipped model under ONNX Runtime, which is the default, beside OpenVINO: the same batches, by turns.

    pip install openvino
    python -m tests.benchmarks.runtimes [--model FILE.onnx] [--widths 160 320 640] [--batch-sizes 1 8 32] [--bfloat16]

Neither is given anything but the graph and the number of threads. "differ" is the largest difference of their logits,
"other texts" how many of a batch's lines have another best class in some frame.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime
import openvino

from ocrcc import packaged
from ocrcc.config import DEFAULT_MODEL

Run = Callable[[np.ndarray], np.ndarray]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=packaged.ASSETS / "models" / f"{DEFAULT_MODEL}.onnx", type=Path)
    parser.add_argument("--widths", nargs="+", default=[160, 320, 640], type=int)
    parser.add_argument("--batch-sizes", nargs="+", default=[1, 8, 32], type=int)
    parser.add_argument("--repeats", default=9, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--bfloat16", action="store_true", help="let OpenVINO compute in it, as it does if left alone")
    return parser.parse_args()


def of_onnx_runtime(model: Path, threads: int) -> tuple[Run, list[int]]:
    """Open a model; return what runs it, and the shape of its input, -1 where that is free."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    names = [one.name for one in session.get_outputs()]
    last = ["logits"] if "logits" in names else names[-1:]
    shape = [side if isinstance(side, int) else -1 for side in image.shape]
    return lambda images: session.run(last, {image.name: images})[0], shape


def of_openvino(model: Path, threads: int, bfloat16: bool) -> Run:
    """Open a model; return what runs it."""
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = "bf16" if bfloat16 else "f32"
    compiled = core.compile_model(str(model), "CPU", settings)
    names = [name for output in compiled.outputs for name in output.names]
    wanted = compiled.output("logits") if "logits" in names else compiled.output(0)
    request = compiled.create_infer_request()
    return lambda images: request.infer({0: images})[wanted]


def main() -> None:
    options = parse()
    first, shape = of_onnx_runtime(options.model, options.threads)
    runs = {"ONNX Runtime": first, "OpenVINO": of_openvino(options.model, options.threads, options.bfloat16)}
    print(f"{options.model.name}, {options.threads} threads, openvino {openvino.__version__}, "
          f"onnxruntime {onnxruntime.__version__}, medians of {options.repeats}")  # fmt: skip
    print("| width | batch | ONNX Runtime, lines/s | OpenVINO | ratio | differ | other texts |")
    print("|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(0)
    for width in options.widths:
        for size in options.batch_sizes:
            height = shape[2] if shape[2] > 0 else 48  # of PP-OCR's, where it is free
            images = rng.normal(size=(size, shape[1], height, width)).astype(np.float32)
            found = {name: run(images) for name, run in runs.items()}
            seconds: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(options.repeats):
                for name, run in runs.items():
                    started = time.perf_counter()
                    run(images)
                    seconds[name].append(time.perf_counter() - started)
            one, other = (size / median(each) for each in seconds.values())
            a, b = found.values()
            texts = int((a.argmax(-1) != b.argmax(-1)).any(-1).sum())
            differ = np.abs(a - b).max()
            print(f"| {width} | {size} | {one:.0f} | {other:.0f} | {other / one:.2f} | {differ:.2g} | {texts} |")


if __name__ == "__main__":
    main()

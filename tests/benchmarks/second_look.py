"""What a second look at unsure lines brings and costs: lines right, CER and time, with it and without.

    python tests/benchmarks/second_look.py MODEL LMDB ... [--unsure 0.5 0.7 0.9] [--repeats 3]

Folded as `ocrcc eval` folds: NFKC, white space ignored. Times are the shortest of the repeats, which alternate, and
are given as multiples of reading once.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from ocrcc.cli import render
from ocrcc.config import EvaluateConfig
from ocrcc.evaluation.evaluate import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", nargs="+")
    parser.add_argument("--unsure", type=float, nargs="+", default=[0.5, 0.7, 0.9])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    looks = [0.0, *options.unsure]
    rounds = [
        [
            evaluate(options.model, options.data, EvaluateConfig(second_look=unsure, threads=options.threads)).datasets
            for unsure in looks
        ]
        for _ in range(options.repeats)
    ]
    rows = []
    for number, name in enumerate(metrics.name for metrics in rounds[0][0]):
        seconds = [min(found[look][number].seconds for found in rounds) for look in range(len(looks))]
        for look, unsure in enumerate(looks):
            metrics = rounds[0][look][number]
            rows.append(
                (
                    name if not look else "",
                    "once" if not look else f"again below {unsure:g}",
                    metrics.lines,
                    f"{metrics.folded.line_accuracy:.1%}",
                    f"{metrics.folded.cer:.2%}",
                    f"{seconds[look] / seconds[0]:.2f}",
                )
            )
    columns = ("dataset", "read", "lines", "folded acc", "folded CER", "time")
    Console(width=120, highlight=False).print(render.table("", columns, rows, left=2))


if __name__ == "__main__":
    main()

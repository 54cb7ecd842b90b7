"""What fine-tuning on one's own lines brings there, and costs elsewhere; with each of the means against forgetting.

    python tests/benchmarks/forgetting.py --train own.lmdb --test own-test.lmdb --general LMDB ... --out FOLDER
        [--corpus FILE ...] [--steps 150] [--seeds 1]

Every arm takes the same number of steps from the same model, on the same lines in the same order, but for replay,
which puts general ones in the place of half of them. Lines right are strict, and read once. An arm that is done is not
trained again.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ocrcc.cli import render
from ocrcc.config import DEFAULT_MODEL, EvaluateConfig, FinetuneConfig, TrainConfig
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.training.finetune import finetune

REPLAY = {"replay": ("synth:documents",), "replay_share": 0.5}
ARMS: dict[str, dict[str, object]] = {
    "CTC only": {"center_weight": 0.0, "twin_weight": 0.0},
    "CTC + center": {},
    "a third of the learning rate": {"learning_rate": 1 / 3},
    "replay, a half": REPLAY,
    "half the base (pretrained-share)": {"pretrained_share": 0.5},
    "distilled": {"distill_weight": 1.0},
    "replay, distilled": {**REPLAY, "distill_weight": 1.0},
    "backbone frozen": {"freeze_backbone": 10**6},
}
"""Settings; the learning rate is a multiple of the others'."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--train", required=True)
    parser.add_argument("--test", required=True, help="others of the lines that are trained on")
    parser.add_argument("--general", nargs="+", required=True, help="what the model knew")
    parser.add_argument("--corpus", nargs="*", default=[], help="of the lines that are replayed")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--steps", default=150, type=int)
    parser.add_argument("--seeds", default=1, type=int)
    parser.add_argument("--batch-size", default=16, type=int)
    parser.add_argument("--learning-rate", default=3e-4, type=float)
    parser.add_argument("--threads", default=2, type=int)
    return parser.parse_args()


def tune(options: argparse.Namespace, arm: str, seed: int) -> Path:
    """Train one arm with one seed, unless it is done, and return its model."""
    out = options.out / f"{arm.replace(' ', '-')}-{seed}"
    model = out / "last.safetensors"
    if not model.exists():
        settings: dict[str, Any] = {**ARMS[arm]}
        config = TrainConfig(
            seed=seed,
            steps=options.steps,
            batch_size=options.batch_size,
            learning_rate=options.learning_rate * settings.pop("learning_rate", 1.0),
            ema_decay=0.98,
            freeze_backbone=settings.pop("freeze_backbone", 0),
            eval_every=0,
            save_every=0,
            unknown="skip",
            workers=1,
            threads=options.threads,
        )
        task = FinetuneConfig(
            pretrained=options.model, train=(options.train,), corpus=tuple(options.corpus), term_warmup=20
        )
        finetune(replace(task, **settings), config, out)
    return model


def read(model: str, options: argparse.Namespace) -> Iterator[float]:
    """Give the share of lines right on each of the sets."""
    config = EvaluateConfig(second_look=0, threads=options.threads)
    for metrics in evaluate(model, [options.test, *options.general], config).datasets:
        yield metrics.line_accuracy


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    names = [Path(path).stem for path in (options.test, *options.general)]
    before = list(read(options.model, options))
    rows = [("before", *(f"{share:.1%}" for share in before))]
    for arm in options.arms:
        runs = [list(read(str(tune(options, arm, seed)), options)) for seed in range(options.seeds)]
        cells = []
        for shares, was in zip(zip(*runs, strict=True), before, strict=True):
            mean = statistics.fmean(shares)
            cells.append(f"{mean:.1%} ({100 * (mean - was):+.1f})")
        rows.append((arm, *cells))
        Console(width=140, highlight=False).print(render.table("", ("lines right", *names), rows, left=1))


if __name__ == "__main__":
    main()

"""What `ocrcc finetune` makes of somebody else's recogniser with nothing but rendered look-alikes.

    python -m tests.benchmarks.mended --data FOLDER --fonts FOLDER --out FOLDER [--arms NAME …] [--seeds N] [--steps N]

The model is tuned on lines of two presets, clean look-alikes and small, blurred, noisy, compressed type, drawn in the
fonts of this machine, or on other sets (`ocrcc synth --misread-by` makes lines that the model misreads), with the
replay and the guard that are there by default; CTC alone has the same steps on the same lines. It is measured on the
pairs of `tests.benchmarks.pairs` in the fonts of the folder, small type and clean, and on all real lines, folded, read
once, as ONNX files under ONNX Runtime. Errors are look-alikes read as anything else; p is
McNemar's, over lines, against the model before.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ocrcc.config import EvaluateConfig, FinetuneConfig, TuneConfig
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.evaluation.report import Metrics, compare
from ocrcc.export.export import export
from ocrcc.images.opening import upright_size
from ocrcc.models.contract import resolve
from ocrcc.training.pretrain import Prepared
from ocrcc.tuning.finetune import finetune
from tests.benchmarks.finetune import is_worse
from tests.benchmarks.kinds import TEXTS, labelled, write
from tests.benchmarks.pairs import Pair, common_pairs, draw_both

ARMS: dict[str, dict[str, float]] = {
    "CTC only": {"center_weight": 0.0, "twin_weight": 0.0},
    "as by default": {},
    "center 1": {"center_weight": 1.0},
    "twin 1": {"twin_weight": 1.0},
    "rate 3e-5": {"learning_rate": 3e-5},
    "rate 3e-4": {"learning_rate": 3e-4},
    "all weights": {"experts": False, "learning_rate": 3e-5},
}
"""Each with what is not as by default; a rate is the optimiser's."""
REAL = {
    "fund documents": ("fund-documents",),
    "receipts": ("sroie-receipts",),
    "magazine": ("tesseract-test",),
    "Chinese photos": ("xiaofeng-train60", "xiaofeng-val", "caffe-ocr"),
    "pages": ("page-cnocr-screens", "page-qt-book", "page-web-encyclopedia", "page-wechat-news"),
    "demos of others": (
        "clovaai-demo", "cnocr-sample", "mindocr-signs", "mmocr-toy-words", "paddle-imgs-words", "parseq-demo",
        "seed-demo",
    ),
}  # fmt: skip


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rapidocr/ppocr-v6-small")
    parser.add_argument("--data", required=True, type=Path, help="the folder with real lines and texts to render")
    parser.add_argument("--fonts", required=True, type=Path, help="a folder of fonts that no training draws in")
    parser.add_argument("--train", nargs="+", default=["synth:small", "synth:lookalikes"], help="what it is tuned on")
    parser.add_argument("--half", choices=("development", "confirmation"), default="development")
    parser.add_argument("--arms", nargs="+", default=list(ARMS)[:2], choices=ARMS, metavar="NAME")
    parser.add_argument("--first-seed", default=0, type=int)
    parser.add_argument("--seeds", default=1, type=int)
    parser.add_argument("--steps", default=300, type=int)
    parser.add_argument("--pairs", default=2000, type=int, help="lines of small pairs; half as many clean ones")
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--out", required=True, type=Path)
    return parser.parse_args()


def lookalike_errors(found: Metrics) -> int:
    """Count the look-alikes that were not read as what they are."""
    assert found.lookalike_chars is not None
    return round(found.lookalike_chars * (1 - (found.lookalike_accuracy or 0.0)))


def cell(before: Metrics, after: Metrics, pairs: bool) -> str:
    """Say how one set changed."""
    change = compare(after, before)
    mark = " WORSE" if is_worse(change) else ""
    text = f"{100 * after.folded.line_accuracy:.1f} (+{change.fixed} -{change.broken}, p {change.p_value:.2g}){mark}"
    if not pairs:
        return text
    errors = lookalike_errors(after), lookalike_errors(before)
    return f"{errors[0]} of {errors[1]} errors = **{errors[0] / max(1, errors[1]):.2f}**; lines {text}"


def sets(options: argparse.Namespace) -> dict[str, Path]:
    """Make the lines to be measured on."""
    out = options.out / "lines"
    out.mkdir(parents=True, exist_ok=True)
    pairs = common_pairs(options.data, options.half)
    both = draw_both(options.pairs // 2, pairs, options.data, str(options.fonts))
    return {
        **{f"{name} pairs": store(lines, out / f"{name} pairs.lmdb") for name, lines in both.items()},
        **{
            name: write([line for folder in folders for line in labelled(options.data / "real" / folder)], out / name)
            for name, folders in REAL.items()
        },
    }


def store(lines: Sequence[Pair], out: Path) -> Path:
    """Write pairs into a dataset."""
    if not out.exists():
        with LmdbWriter(out) as writer:
            for line in lines:
                writer.add(line.encoded, line.text, source=line.twin, size=upright_size(line.encoded))
    return out


def told(prepared: Prepared) -> None:
    """Say what is done, and how."""
    print(*prepared.notes, sep="\n", flush=True)


def tuned(options: argparse.Namespace, arm: str, seed: int) -> Path:
    """Fine-tune, unless that was done before."""
    run: Path = options.out / f"{arm}-{seed}"
    if not (run / "done").exists():
        task = FinetuneConfig(
            pretrained=options.model,
            train=tuple(options.train),
            corpus=tuple(str(options.data / "corpus" / name / "text.txt") for name in TEXTS),
            **{name: value for name, value in ARMS[arm].items() if name != "learning_rate"},  # type: ignore[arg-type]
        )
        rate = ARMS[arm].get("learning_rate", TuneConfig.learning_rate)
        config = TuneConfig(steps=options.steps, learning_rate=rate, seed=seed, threads=options.threads, workers=1)
        result = finetune(task, config, run, on_start=told, say=print)
        assert result.verdict is not None
        export(run, run / "mended.onnx")
        (run / "done").write_text(result.verdict.sentence() + "\n", encoding="utf-8")
    return run


def main() -> None:
    options = parse()
    found = sets(options)
    config = EvaluateConfig(second_look=0, threads=options.threads, workers=0)

    def measured(model: str | Path) -> Sequence[Metrics]:
        return evaluate(model, list(found.values()), config).datasets

    before = measured(resolve(options.model))
    rows = [
        "| model | seed | " + " | ".join(found) + " | kept |",
        "|---|---|" + "---|" * len(found) + "---|",
        "| before | | " + " | ".join(f"{100 * one.folded.line_accuracy:.1f}" for one in before) + " | |",
    ]
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for arm in options.arms:
            run = tuned(options, arm, seed)
            after = measured(run / "mended.onnx")
            cells = [cell(old, new, "pairs" in name) for name, old, new in zip(found, before, after, strict=True)]
            said = (run / "done").read_text(encoding="utf-8").strip()
            rows.append(f"| {arm} | {seed} | " + " | ".join(cells) + f" | {said} |")
            print("\n".join(rows), flush=True)


if __name__ == "__main__":
    main()

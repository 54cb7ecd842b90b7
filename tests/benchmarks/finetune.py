"""What `ocrcc finetune` with its defaults brings on one's own lines, and costs elsewhere.

    python -m tests.benchmarks.finetune --data FOLDER --fonts FOLDER --out FOLDER [--kinds NAME …] [--sizes N …]

For each kind (`tests.benchmarks.kinds`) and size, the shipped model is tuned on so many lines of the kind with no
option set but those, and measured on other lines of the kind and elsewhere. Lines right are folded, read once; p is
McNemar's, over lines, against the model before. A cell in which the model is worse beyond chance is marked, and
counted at the end. Finished runs are kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ocrcc.config import DEFAULT_MODEL, EvaluateConfig, FinetuneConfig, TuneConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.evaluation.report import Comparison, Metrics, compare
from ocrcc.tuning.finetune import finetune
from tests.benchmarks.kinds import make


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--data", required=True, type=Path, help="the folder with real lines and texts to render")
    parser.add_argument("--fonts", required=True, type=Path, help="a folder of fonts that the model never saw")
    parser.add_argument("--kinds", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--sizes", nargs="+", default=[], type=int)
    parser.add_argument("--seeds", default=1, type=int)
    parser.add_argument("--threads", default=2, type=int)
    parser.add_argument("--out", required=True, type=Path)
    return parser.parse_args()


def some(dataset: Path, count: int, out: Path) -> Path:
    """Write the first so many lines of a dataset, unless that was done before."""
    if not out.exists():
        lines = LmdbDataset(dataset)
        with LmdbWriter(out) as writer:
            for index in range(count):
                size = int(lines.widths[index]), int(lines.heights[index])
                writer.add(lines.image_bytes(index), lines.label(index), source=lines.source(index), size=size)
    return out


def is_worse(change: Comparison) -> bool:
    """Tell whether more lines broke than chance would have it."""
    return change.p_value < 0.05 and change.broken > change.fixed


def cell(before: Metrics, after: Metrics) -> str:
    """Say how one set changed."""
    change = compare(after, before)
    mark = " WORSE" if is_worse(change) else ""
    return (
        f"{100 * before.folded.line_accuracy:.1f} -> {100 * after.folded.line_accuracy:.1f} "
        f"(+{change.fixed} -{change.broken}, p {change.p_value:.2g}){mark}"
    )


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    config = EvaluateConfig(second_look=0, threads=options.threads, workers=0)
    kinds, elsewhere = make(options.data, options.fonts, options.out / "lines")
    names = [path.stem for path in elsewhere]
    better = worse = rows = 0
    print("| kind | lines | seed | own kind | " + " | ".join(names) + " | kept |")
    print("|---|---|---|---|" + "---|" * len(names) + "---|")
    for kind in kinds:
        if options.kinds and kind.name not in options.kinds:
            continue
        name, sets = kind.name, [kind.others, *elsewhere]
        before = evaluate(options.model, sets, config).datasets
        for count in options.sizes or kind.sizes:
            train = some(kind.own, count, options.out / f"{name}-{count}.lmdb")
            for seed in range(options.seeds):
                run = options.out / f"{name}-{count}-{seed}"
                if not (run / "done").exists():
                    task = FinetuneConfig(pretrained=options.model, train=(str(train),))
                    result = finetune(task, TuneConfig(seed=seed, threads=options.threads, workers=1), run)
                    assert result.verdict is not None
                    (run / "done").write_text(result.verdict.sentence() + "\n", encoding="utf-8")
                after = evaluate(run / "best.safetensors", sets, config).datasets
                changes = [compare(new, old) for old, new in zip(before, after, strict=True)]
                rows, better = rows + 1, better + (changes[0].fixed > changes[0].broken)
                worse += sum(map(is_worse, changes))
                cells = [cell(old, new) for old, new in zip(before, after, strict=True)]
                said = (run / "done").read_text(encoding="utf-8").strip()
                print(f"| {name} | {count} | {seed} | " + " | ".join(cells) + f" | {said} |", flush=True)
    print(f"own kind better in {better} of {rows} rows; {worse} cells worse beyond chance")


if __name__ == "__main__":
    main()

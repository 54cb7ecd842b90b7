"""The proof: what center loss adds to fine-tuning, against fine-tuning by CTC alone.

    python tests/benchmarks/lookalike.py --base RUN --test-fonts DIR --corpus FILE ... --out FOLDER

From one pretrained model, for each seed: CTC only, and CTC + center, with equal steps on the same lines in the
same order. Each is measured on (a) minimal pairs of look-alikes and (b) general lines, both in fonts that
training never saw, and on real lines where they are at hand. The table has means and standard deviations over
the seeds; p is McNemar's, exact, over the lines of all seeds together, against CTC only. Finished runs are kept,
so that the script can be stopped and called again. --arms names more settings, for the ablation.
"""

from __future__ import annotations

import argparse
import json
import pickle
import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc.charset import Charset
from ocrcc.config import EvaluateConfig, FinetuneConfig, TrainConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.synthesize import synthesise
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.evaluation.report import EvaluationResult
from ocrcc.evaluation.significance import mcnemar
from ocrcc.lookalikes import load_lookalikes, write
from ocrcc.models.checkpoint import load_model
from ocrcc.synth.source import load_source
from ocrcc.tuning.finetune import finetune

BEFORE, CONTROL, CENTER = "before", "CTC only", "CTC + center"
READING = ", centers decide"
OFF = {"center_weight": 0.0, "twin_weight": 0.0}
ARMS: dict[str, dict[str, object]] = {
    CONTROL: OFF,
    CENTER: {},
    "center alone": {"twin_weight": 0.0},
    "twin alone": {"center_weight": 0.0},
    "a tenth of the weights": {"center_weight": 0.01, "twin_weight": 0.1},
    "center weight 5": {"center_weight": 5.0},
    "center weight 5, twin 5": {"center_weight": 5.0, "twin_weight": 5.0},
    "centers from nothing": {"init_lines": 0},
    "no replay": {"replay": ()},
    "distilled": {"distill_weight": 1.0},
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the pretrained model")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--test-fonts", required=True, help="a folder of fonts that training never saw")
    parser.add_argument("--corpus", nargs="+", required=True, type=Path)
    parser.add_argument("--common", default=2200, type=int, help="look-alikes among so many commonest characters")
    parser.add_argument("--real", nargs="*", default=[], type=Path, help="datasets of real lines")
    parser.add_argument("--seeds", default=3, type=int)
    parser.add_argument("--steps", default=300, type=int)
    parser.add_argument("--batch-size", default=64, type=int)
    parser.add_argument("--learning-rate", default=3e-4, type=float)
    parser.add_argument("--precision", default="no")
    parser.add_argument("--compile", action="store_true", help="torch.compile, for speed")
    parser.add_argument("--look-lines", default=2000, type=int)
    parser.add_argument("--general-lines", default=1000, type=int)
    parser.add_argument("--arms", nargs="*", default=[CONTROL, CENTER], choices=list(ARMS))
    parser.add_argument(
        "--center-share", default=0.1, type=float, help="of the centers when reading; 0 for no such row"
    )
    parser.add_argument("--table", default="table.md", help="the table's file in --out")
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="NAME=VALUE",
        help="settings of every arm, under its own",
    )
    return parser.parse_args()


def common_groups(options: argparse.Namespace, charset: Charset) -> Path:
    """Write the look-alike groups among the characters that documents have."""
    counts: Counter[str] = Counter()
    for path in options.corpus:
        counts.update(path.read_text(encoding="utf-8", errors="ignore"))
    common = [char for char, _ in counts.most_common() if char in charset and not char.isspace()]
    groups = load_lookalikes("gb2312").for_training().restrict(set(common[: options.common]))
    path = options.out / "groups.tsv"
    write(path, groups, [f"among the {options.common} commonest characters of {len(options.corpus)} texts"])
    return path


def look_preset(options: argparse.Namespace, groups: Path) -> Path:
    """Write what look-alike lines are: short, every one with look-alikes swapped in."""
    path = options.out / "lookalikes.toml"
    path.write_text(
        f"lookalikes = {json.dumps(str(groups))}\nlookalike_fraction = 1.0\nmax_length = 8\nappearance = 0.4\n"
        "[texts]\ncorpus = 0.6\nlexicon = 0.2\ntemplates = 0.1\nbalanced = 0.1\n",
        encoding="utf-8",
    )
    return path


def make_tests(options: argparse.Namespace, preset: Path, charset: Charset) -> dict[str, Path]:
    """Render the two test sets, once."""
    unseen = {"fonts": options.test_fonts, "exclude": (), "corpus": options.corpus}
    wanted: dict[str, tuple[str, int, dict[str, Any], int]] = {
        "look-alikes": (str(preset), options.look_lines, {"minimal_pairs": True}, 901),
        "general": ("documents", options.general_lines, {"max_length": 14, "appearance": 0.4}, 902),
    }
    found = {}
    for name, (spec, count, extra, seed) in wanted.items():
        found[name] = options.out / f"{name}.lmdb"
        if not found[name].exists():
            synthesise(load_source(spec, charset, seed=seed, **unseen, **extra), found[name], count, workers=1)
    return found | {path.stem: path for path in options.real}


def run(options: argparse.Namespace, arm: str, seed: int, preset: Path, groups: Path) -> Path:
    """Fine-tune, unless that was done before."""
    out = options.out / f"{arm.replace(' ', '-')}-{seed}"
    done = out / "done"
    if done.exists():
        return out
    task = FinetuneConfig(
        pretrained=options.base,
        train=(f"synth:{preset}",),
        replay=("synth:second",),
        guard=False,
        corpus=tuple(map(str, options.corpus)),
        lookalikes=str(groups),
    )
    given = dict(pair.split("=", 1) for pair in options.set)
    settings = {name: type(getattr(task, name))(value) for name, value in given.items()} | ARMS[arm]
    config = TrainConfig(
        steps=options.steps, batch_size=options.batch_size, learning_rate=options.learning_rate, seed=seed,
        precision=options.precision, compile=options.compile, ema_decay=0.99, workers=1, eval_every=0, save_every=0,
    )  # fmt: skip
    result = finetune(replace(task, **settings), config, out)  # type: ignore[arg-type]
    print(f"{arm}, seed {seed}: {result.steps} steps in {result.seconds:.0f} s; {course(out)}", flush=True)
    done.touch()
    return out


def measure(
    model: Path, tests: dict[str, Path], groups: Path, kept: Path, center_share: float = 0.0
) -> dict[str, EvaluationResult]:
    """Measure a model, unless that was done before."""
    if kept.exists():
        return pickle.loads(kept.read_bytes())
    config = EvaluateConfig(lookalikes=str(groups), workers=1, center_share=center_share, second_look=0)
    found = {name: evaluate(model, [path], config) for name, path in tests.items()}
    kept.write_bytes(pickle.dumps(found))
    return found


def alignable(result: EvaluationResult, data: Path) -> str:
    """Say how many characters take part if, as in the 2020 work, those of misread lines do not."""
    dataset = LmdbDataset(data)
    lengths = np.array([len(dataset.label(index)) for index in range(len(dataset))])
    right = np.asarray(result.total.right) == 1
    return f"{100 * lengths[right].sum() / lengths.sum():.1f} % of the characters stand in lines that are read right"


def course(out: Path) -> str:
    """Say how distances moved from the first log entry to the last."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "distance_ratio" in row]
    if not rows:
        return "no centers"
    first, last = rows[0], rows[-1]
    return (
        f"own / sibling distance {first['distance_ratio']:.3f} -> {last['distance_ratio']:.3f}, "
        f"aligned characters {100 * last['aligned_chars']:.1f} %"
    )


def spread(values: list[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


def table(found: dict[str, list[dict[str, EvaluationResult]]]) -> str:
    """Draw the results, a row an arm and test set; errors are look-alike characters misread."""
    rows = ["| set | arm | lines right % | look-alikes right % | CER % | look-alike errors | of control's | p |"]
    rows.append("|---|---|---|---|---|---|---|---|")
    for name in next(iter(found.values()))[0]:
        for arm, runs in found.items():
            totals = [one[name].total for one in runs]
            errors = [_errors(one) for one in totals]
            ratio, p_value = "", ""
            if arm not in (BEFORE, CONTROL) and CONTROL in found:
                controls = [one[name].total for one in found[CONTROL][: len(runs)]]  # the others are to come
                ratio = f"{sum(errors) / max(1e-9, sum(map(_errors, controls))):.2f}"
                now, before = (np.concatenate([one.right for one in some]) for some in (totals, controls))
                p_value = f"{mcnemar(int((now > before).sum()), int((now < before).sum())):.2g}"
            rows.append(
                f"| {name} | {arm} | {spread([one.line_accuracy for one in totals])} "
                f"| {spread([one.lookalike_accuracy or 0.0 for one in totals])} "
                f"| {spread([one.cer for one in totals])} | {statistics.mean(errors):.0f} | {ratio} | {p_value} |"
            )
    return "\n".join(rows)


def _errors(metrics: object) -> float:
    return metrics.lookalike_chars * (1 - metrics.lookalike_accuracy) if metrics.lookalike_chars else 0.0  # type: ignore[attr-defined]


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    charset = load_model(options.base, device="cpu").charset
    groups = common_groups(options, charset)
    preset = look_preset(options, groups)
    tests = make_tests(options, preset, charset)
    found = {BEFORE: [measure(Path(options.base), tests, groups, options.out / "before.pickle")]}
    print(f"look-alike set, before: {alignable(found[BEFORE][0]['look-alikes'], tests['look-alikes'])}", flush=True)
    for seed in range(options.seeds):
        for arm in options.arms:
            out = run(options, arm, seed, preset, groups)
            model = out / "last.safetensors"
            found.setdefault(arm, []).append(measure(model, tests, groups, out / "measured.pickle"))
            if options.center_share and ARMS[arm].get("center_weight", 1):
                read = measure(model, tests, groups, out / "measured-centers.pickle", options.center_share)
                found.setdefault(arm + READING, []).append(read)
            print(table(found), flush=True)
    (options.out / options.table).write_text(table(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Center terms before a model reads well: from early on, and on a base that never saw look-alikes.

    python -m tests.benchmarks.early --data FOLDER --fonts FOLDER --out FOLDER [--seeds 3] [--steps 3000]

A small recogniser (lcnet_050) of the commonest characters is pretrained by CTC on lines of running text, in which
look-alikes stand as often as texts have them. "from early on": after a tenth of the steps the terms join, for all the
others, as PP-OCRv2 trained; the control goes on by CTC alone. "late": all steps are CTC's, and then it is fine-tuned on
lines of the same kind, as the work of 2020 was. Each arm makes the same steps on the same lines in the same order,
without replay and guard. Measured on other lines of running text and on minimal pairs; p is McNemar's, over the pairs
of all seeds together, against CTC only.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from pathlib import Path

import numpy as np

from ocrcc.config import EvaluateConfig, FinetuneConfig, PretrainConfig, TuneConfig
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.evaluation.report import Metrics
from ocrcc.evaluation.significance import mcnemar
from ocrcc.training.pretrain import pretrain
from ocrcc.tuning.finetune import finetune
from tests.benchmarks.kinds import drawn
from tests.benchmarks.mended import lookalike_errors

ARMS = {
    "CTC only": {"center_weight": 0.0, "twin_weight": 0.0},
    "center 0.01, twin 0.1": {},
    "center 0.1": {"center_weight": 0.1, "twin_weight": 0.0},
    "center 1": {"center_weight": 1.0, "twin_weight": 0.0},
    "twin 1": {"center_weight": 0.0, "twin_weight": 1.0},
}
CONTROL = "CTC only"
TUNED, COMMON = 600, 300


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="the folder with texts to render")
    parser.add_argument("--fonts", required=True, type=Path, help="a folder of fonts to render them in")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS, metavar="NAME")
    parser.add_argument("--seeds", default=3, type=int)
    parser.add_argument("--steps", default=3000, type=int)
    parser.add_argument("--lines", default=20_000, type=int)
    parser.add_argument("--threads", default=1, type=int)
    parser.add_argument("--out", required=True, type=Path)
    return parser.parse_args()


def config(options: argparse.Namespace, steps: int, seed: int) -> TuneConfig:
    """Say how long and how to train: alike in all phases but for the rate's course, which begins anew."""
    return TuneConfig(
        steps=steps, batch_size=48, learning_rate=1e-3, ema_decay=0.99, freeze_norm=False, augment=0.2, seed=seed,
        threads=options.threads, workers=1, eval_every=steps, save_every=steps,
    )  # fmt: skip


def early(options: argparse.Namespace, train: str, charset: Path, steps: int, seed: int) -> Path:
    """Pretrain, unless that was done before."""
    run: Path = options.out / f"base-{steps}-{seed}"
    if not (run / "done").exists():
        task = PretrainConfig(train=(train,), arch="lcnet_050", charset=str(charset))
        pretrain(task, config(options, steps, seed), run, device="cpu")
        (run / "done").touch()
    return run / "last.safetensors"


def tuned(options: argparse.Namespace, base: Path, train: str, arm: str, steps: int, seed: int) -> Path:
    """Go on with a model by an arm's terms, unless that was done before."""
    run: Path = options.out / f"{base.parent.name}+{steps} {arm}"
    if not (run / "done").exists():
        task = FinetuneConfig(
            pretrained=str(base), train=(train,), guard=False, experts=False, replay_share=0.0, **ARMS[arm]
        )
        finetune(task, config(options, steps, seed), run, device="cpu")
        (run / "done").touch()
    return run / "last.safetensors"


def rows(name: str, found: dict[str, list[tuple[Metrics, ...]]]) -> list[str]:
    """Draw a table's rows; of each model the figures of running text and of pairs."""
    lines = []
    for arm, some in found.items():
        text, pairs = zip(*some, strict=True)
        errors = [lookalike_errors(one) for one in pairs]
        ratio = p_value = ""
        if arm not in (CONTROL, "before"):
            controls = [one[1] for one in found[CONTROL][: len(some)]]
            ratio = f"{sum(errors) / max(1, sum(map(lookalike_errors, controls))):.2f}"
            now, then = (np.concatenate([one.right for one in each]) for each in (pairs, controls))
            p_value = f"{mcnemar(int((now > then).sum()), int((now < then).sum())):.2g}"
        figures = [statistics.mean(100 * one.strict.line_accuracy for one in each) for each in (text, pairs)]
        shown = f"{figures[0]:.1f} | {figures[1]:.1f} | {statistics.mean(errors):.0f} | {ratio} | {p_value}"
        lines.append(f"| {name} | {arm} | {len(some)} | {shown} |")
    return lines


def main() -> None:
    options = parse()
    out = options.out / "lines"
    out.mkdir(parents=True, exist_ok=True)
    corpus = options.data / "corpus" / "wiki-cmrc" / "text.txt"
    counts = Counter(char for char in corpus.read_text(encoding="utf-8") if not char.isspace())
    charset = out / "charset.txt"
    charset.write_text("".join(f"{char}\n" for char, _ in counts.most_common(COMMON)), encoding="utf-8")
    same = {"charset": str(charset), "corpus": [corpus], "fonts": str(options.fonts), "exclude": (), "max_length": 5}
    preset = out / "running.toml"
    preset.write_text("lookalike_fraction = 0.0\nlatin = 0.0\nappearance = 0.5\n[texts]\ncorpus = 1.0\n")
    train = str(drawn(out / "train.lmdb", options.lines, spec=str(preset), seed=1, **same))
    tests = [
        drawn(out / "running text.lmdb", 1000, spec=str(preset), seed=2, **same),
        drawn(out / "pairs.lmdb", 2000, spec=str(preset), seed=3, **(same | {"minimal_pairs": True})),
    ]

    def measured(model: Path) -> tuple[Metrics, ...]:
        return evaluate(model, tests, EvaluateConfig(second_look=0, threads=options.threads, workers=0)).datasets

    tenth = options.steps // 10
    regimes: dict[str, dict[str, list[tuple[Metrics, ...]]]] = {"from early on": {}, "late": {}}
    for seed in range(options.seeds):
        first = early(options, train, charset, tenth, seed)
        for arm in dict.fromkeys([CONTROL, *options.arms]):
            whole = tuned(options, first, train, arm, options.steps - tenth, seed)
            regimes["from early on"].setdefault(arm, []).append(measured(whole))
        base = options.out / f"{first.parent.name}+{options.steps - tenth} {CONTROL}" / "last.safetensors"
        regimes["late"].setdefault("before", []).append(measured(base))
        for arm in dict.fromkeys([CONTROL, *options.arms]):
            run = tuned(options, base, train, arm, TUNED, seed)
            regimes["late"].setdefault(arm, []).append(measured(run))
        print("| terms | arm | seeds | text right % | pairs right % | look-alike errors | of control's | p |")
        print("|---|---|---|---|---|---|---|---|")
        for name, found in regimes.items():
            print("\n".join(rows(name, found)), flush=True)


if __name__ == "__main__":
    main()

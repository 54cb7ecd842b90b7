"""Where the center terms pay: CTC alone against center, twin and both, in the situations in which they could.

    python tests/benchmarks/regimes.py --fonts FOLDER --corpus FILE … --out FOLDER [--regimes NAME …] [--seeds 3]

The setting is that of an expert: the shipped model's backbone is frozen, its encoder learns finite lines. So frames
are computed once, and a run takes half a minute. Characters are the 500 commonest that have look-alikes among them.
Every arm makes the same steps on the same lines in the same order; p is McNemar's, exact, over the test lines of
all seeds together, against CTC only.

few: 300 lines, many epochs. many: 3,000 lines. few wrong and wrong: of these, 5 % of look-alikes bear the label of
another; few very wrong: 10 %. rare: of each group, all but the commonest stand in the labels one time in fifty. fonts:
learned in one font, tested in the others. early and late: encoder and classifier begin anew on 3,000 lines without
swapped look-alikes; in the one the terms join after a third of the steps, as PP-OCRv2 trained, in the other they tune
what twice the steps of CTC alone have made, on the same lines, as the work of 2020 did.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ocrcc.charset import Charset
from ocrcc.config import DEFAULT_MODEL, FinetuneConfig
from ocrcc.data.batching import evaluation_batches
from ocrcc.data.some_lines import FirstLines
from ocrcc.decoding import greedy
from ocrcc.evaluation.report import Metrics, Tally
from ocrcc.evaluation.significance import mcnemar
from ocrcc.lookalikes import Lookalikes, load_lookalikes, sibling_table, write
from ocrcc.losses.center import Centers
from ocrcc.models.checkpoint import LoadedModel, load_model
from ocrcc.models.registry import create_model
from ocrcc.synth.source import load_source
from ocrcc.training.objective import CenterObjective
from ocrcc.training.transfer import transfer
from ocrcc.types import Batch, RecognizerOutput

CONTROL = "CTC only"


@dataclass(frozen=True)
class Arm:
    """What is added to CTC.

    Attributes:
        center: Weight of the center loss.
        twin: Weight of the cross-entropy among look-alikes.
        alpha: Update rate of the centers; at 0 they stay where the pretrained model has them, as in an expert's run.
    """

    center: float = 0.0
    twin: float = 0.0
    alpha: float = 0.0


ARMS = {
    CONTROL: Arm(),
    "center 0.1": Arm(center=0.1),
    "center 1": Arm(center=1.0),
    "center 3": Arm(center=3.0),
    "center 3, moving": Arm(center=3.0, alpha=0.5),
    "center 10": Arm(center=10.0),
    "twin 1": Arm(twin=1.0),
    "center 0.1, twin 1": Arm(center=0.1, twin=1.0),
}
REGIMES = ("few", "many", "few wrong", "few very wrong", "wrong", "rare", "fonts", "early", "late")
COMMON, BATCH, RATE, FRESH_RATE = 500, 32, 5e-4, 2e-3
WRONG, RARE = 0.05, 50


@dataclass
class Lines:
    """Lines as the backbone sees them."""

    frames: list[Tensor]
    labels: list[str]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--fonts", required=True, type=Path, help="a folder of fonts that the model never saw")
    parser.add_argument("--corpus", nargs="+", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--regimes", nargs="*", default=list(REGIMES), choices=REGIMES)
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=ARMS, metavar="ARM")
    parser.add_argument("--seeds", default=3, type=int)
    parser.add_argument("--steps", default=600, type=int)
    parser.add_argument("--test-lines", default=1500, type=int)
    parser.add_argument("--threads", default=2, type=int)
    return parser.parse_args()


def small(options: argparse.Namespace, loaded: LoadedModel) -> tuple[LoadedModel, Lookalikes]:
    """Cut the model down to the commonest characters that have look-alikes among them."""
    counts: Counter[str] = Counter()
    for path in options.corpus:
        counts.update(path.read_text(encoding="utf-8", errors="ignore"))
    common = [char for char, _ in counts.most_common() if char in loaded.charset and not char.isspace()]
    groups = load_lookalikes("gb2312").for_training().restrict(set(common[: 4 * COMMON]))
    members = {char for group in groups.groups for char in group.characters}
    charset = Charset("".join([char for char in common if char in members][:COMMON]), name="small")
    recognizer = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
    moved = transfer(loaded, recognizer, charset)
    lookalikes = groups.restrict(set(charset))
    found = LoadedModel(
        recognizer=recognizer.eval().requires_grad_(False), arch=loaded.arch, charset=charset,
        preprocessing=loaded.preprocessing, centers=moved.centers, center_counts=moved.center_counts, info={},
        path=loaded.path, device="cpu",
    )  # fmt: skip
    return found, lookalikes


def drawn(model: LoadedModel, preset: Path, fonts: Path, count: int, seed: int, pairs: bool = False) -> Lines:
    """Render lines and look at them with the backbone, unless that was done before."""
    kept = preset.with_name(f"{fonts.name}-{count}-{seed}.pt")
    if not kept.exists():
        lines = seen(model, preset, fonts, count, seed, pairs)
        torch.save((lines.frames, lines.labels), kept)
    return Lines(*torch.load(kept, weights_only=True))


def seen(model: LoadedModel, preset: Path, fonts: Path, count: int, seed: int, pairs: bool) -> Lines:
    """Render lines and look at them."""
    source = load_source(str(preset), model.charset, seed=seed, fonts=str(fonts), exclude=(), minimal_pairs=pairs)
    lines = FirstLines(source, count)
    frames: list[Tensor] = [torch.empty(0)] * count
    for indices, batch in evaluation_batches(
        lines, model.charset, model.preprocessing, batch_size=BATCH, width_stride=model.recognizer.width_stride
    ):
        with torch.no_grad():
            found = model.recognizer.backbone(batch.images)
        for index, one, length in zip(indices, found, batch.frames, strict=True):
            frames[index] = one[: int(length)].half()
    return Lines(frames, [model.charset.normalise(lines.label(index)) for index in range(count)])


def batch_of(model: LoadedModel, lines: Lines, chosen: list[int]) -> tuple[Batch, Tensor]:
    """Put some lines together: what training would be given, and the frames (N, T, D)."""
    frames = torch.nn.utils.rnn.pad_sequence([lines.frames[index].float() for index in chosen], batch_first=True)
    targets = [torch.tensor(model.charset.encode(lines.labels[index])) for index in chosen]
    lengths = torch.tensor([len(lines.frames[index]) for index in chosen])
    batch = Batch(
        images=torch.zeros(len(chosen), 1, 1, 1),
        widths=4 * lengths,
        frames=lengths,
        targets=torch.nn.utils.rnn.pad_sequence(targets, batch_first=True),
        target_lengths=torch.tensor([len(target) for target in targets]),
        labels=tuple(lines.labels[index] for index in chosen),
        sources=("",) * len(chosen),
    )
    return batch, frames


def fresh(model: LoadedModel, seed: int) -> nn.Module:
    """Begin anew behind the same backbone."""
    torch.manual_seed(seed)
    recognizer = create_model(model.arch, model.charset.num_classes, model.preprocessing)
    recognizer.backbone.load_state_dict(model.recognizer.backbone.state_dict())
    return recognizer.requires_grad_(False)


def trained(
    model: LoadedModel,
    lines: Lines,
    lookalikes: Lookalikes,
    arm: Arm,
    steps: int,
    seed: int,
    start: nn.Module | None = None,
) -> nn.Module:
    """Train on lines by CTC and the terms of an arm: the model's encoder, or encoder and classifier of a fresh one."""
    torch.manual_seed(seed)
    recognizer = copy.deepcopy(start or model.recognizer)
    recognizer.encoder.requires_grad_(True)
    recognizer.head.requires_grad_(start is not None)
    config = FinetuneConfig(train=("x",), center_weight=arm.center, twin_weight=arm.twin, term_warmup=50)
    centers = Centers(model.charset.num_classes, recognizer.feature_width, arm.alpha if start is None else 0.5)
    siblings = torch.tensor(sibling_table(lookalikes, model.charset), dtype=torch.int64)
    objective = CenterObjective(config, recognizer.head, siblings, centers)
    if start is None:
        assert model.centers is not None
        assert model.center_counts is not None
        centers.centers.copy_(model.centers)
        centers.center_counts.copy_(model.center_counts)
    elif arm != ARMS[CONTROL]:
        place(model, recognizer, objective, lines)
    rate = RATE if start is None else FRESH_RATE
    learned = [weight for weight in recognizer.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    order = np.random.default_rng(seed)
    left: list[int] = []
    for _ in range(steps):
        if len(left) < BATCH:
            left = order.permutation(len(lines.labels)).tolist()
        chosen, left = left[:BATCH], left[BATCH:]
        batch, frames = batch_of(model, lines, chosen)
        features = recognizer.encoder(frames)
        terms = objective(batch, RecognizerOutput(features=features, logits=recognizer.head(features)))
        optimizer.zero_grad()
        terms.total.backward()
        torch.nn.utils.clip_grad_norm_(learned, 5.0)
        optimizer.step()
        schedule.step()
    return recognizer


def place(model: LoadedModel, recognizer: nn.Module, objective: CenterObjective, lines: Lines) -> None:
    """Place the first centers at the means of their aligned features."""
    with torch.no_grad():
        for first in range(0, len(lines.labels), 64):
            batch, frames = batch_of(model, lines, [*range(first, min(first + 64, len(lines.labels)))])
            features = recognizer.encoder(frames)
            objective.place(batch, RecognizerOutput(features=features, logits=recognizer.head(features)))


def measured(model: LoadedModel, recognizer: nn.Module, lines: Lines, lookalikes: Lookalikes) -> Metrics:
    """Read lines and count."""
    tally = Tally(model.charset, lookalikes=lookalikes)
    right = np.zeros(len(lines.labels), np.int8)
    for first in range(0, len(lines.labels), 64):
        chosen = list(range(first, min(first + 64, len(lines.labels))))
        batch, frames = batch_of(model, lines, chosen)
        with torch.no_grad():
            classes = recognizer.head(recognizer.encoder(frames)).argmax(-1).numpy()  # type: ignore[operator, union-attr]
        for index, read in zip(chosen, greedy.texts(classes, batch.frames.numpy(), model.charset), strict=True):
            right[index] = tally.update(lines.labels[index], read, "")
    return tally.summary("test", 0.0, right=right)


def with_wrong_labels(lines: Lines, lookalikes: Lookalikes, seed: int, wrong: float = WRONG) -> Lines:
    """Give some look-alikes the label of another of their group."""
    rng = np.random.default_rng(seed)
    others = {char: group.characters.replace(char, "") for group in lookalikes.groups for char in group.characters}
    labels = [
        "".join(
            str(rng.choice(list(others[char]))) if others.get(char) and rng.random() < wrong else char for char in label
        )
        for label in lines.labels
    ]
    return Lines(lines.frames, labels)


def without_rare(lines: Lines, lookalikes: Lookalikes, common: str) -> Lines:
    """Keep of each group's less common members one in so many of its commonest."""
    rank = {char: place for place, char in enumerate(common)}
    first = {
        char: min(group.characters, key=lambda one: rank[one])
        for group in lookalikes.groups
        for char in group.characters
    }
    counts: Counter[str] = Counter()
    kept = []
    for index, label in enumerate(lines.labels):
        rare = [char for char in label if first.get(char, char) != char]
        if any(counts[char] + 1 > max(1, counts[first[char]] / RARE) for char in rare):
            continue
        counts.update(label)
        kept.append(index)
    return Lines([lines.frames[index] for index in kept], [lines.labels[index] for index in kept])


def table(regime: str, found: dict[str, list[Metrics]], before: Metrics) -> str:
    """Draw a regime's rows."""
    rows = []
    controls = found[CONTROL]
    for arm, some in {"before": [before], **found}.items():
        errors = [one.lookalike_chars * (1 - (one.lookalike_accuracy or 0.0)) for one in some]
        ratio, p_value = "", ""
        if arm not in ("before", CONTROL):
            beside = [one.lookalike_chars * (1 - (one.lookalike_accuracy or 0.0)) for one in controls[: len(some)]]
            ratio = f"{sum(errors) / max(1e-9, sum(beside)):.2f}"
            now, then = (np.concatenate([one.right for one in each]) for each in (some, controls[: len(some)]))
            p_value = f"{mcnemar(int((now > then).sum()), int((now < then).sum())):.2g}"
        accuracy = [100 * one.line_accuracy for one in some]
        deviation = f" ± {statistics.stdev(accuracy):.1f}" if len(accuracy) > 1 else ""
        rows.append(
            f"| {regime} | {arm} | {statistics.mean(accuracy):.1f}{deviation} | {statistics.mean(errors):.0f} "
            f"| {ratio} | {p_value} |"
        )
    return "\n".join(rows)


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    model, lookalikes = small(options, load_model(options.model, device="cpu"))
    groups = options.out / "groups.tsv"
    groups.unlink(missing_ok=True)
    write(groups, lookalikes, [f"among {COMMON} characters"])
    preset = options.out / "lines.toml"
    preset.write_text(
        f"lookalikes = {json.dumps(str(groups))}\nlookalike_fraction = 1.0\nmin_length = 4\nmax_length = 8\n"
        "appearance = 0.6\nlatin = 0.0\n[texts]\nbalanced = 1.0\n",
        encoding="utf-8",
    )
    fonts = sorted(path for path in options.fonts.rglob("*") if path.suffix.lower() in (".ttf", ".otf"))
    one, others = options.out / "one-font", options.out / "other-fonts"
    for folder, files in ((one, fonts[:1]), (others, fonts[1:])):
        folder.mkdir(exist_ok=True)
        for file in files:
            (folder / file.name).unlink(missing_ok=True)
            (folder / file.name).symlink_to(file)
    tests = drawn(model, preset, options.fonts, options.test_lines, 901, pairs=True)
    elsewhere = (
        drawn(model, preset, others, options.test_lines, 902, pairs=True) if "fonts" in options.regimes else None
    )
    many = drawn(model, preset, options.fonts, 3000, 11)
    learned = {
        "few": Lines(many.frames[:300], many.labels[:300]),
        "many": many,
        "few wrong": with_wrong_labels(Lines(many.frames[:300], many.labels[:300]), lookalikes, 5),
        "few very wrong": with_wrong_labels(Lines(many.frames[:300], many.labels[:300]), lookalikes, 5, 2 * WRONG),
        "wrong": with_wrong_labels(many, lookalikes, 5),
        "rare": without_rare(many, lookalikes, model.charset.symbols),
    }
    general = preset.with_name("general.toml")
    general.write_text(preset.read_text().replace("lookalike_fraction = 1.0", "lookalike_fraction = 0.0"))
    if {"early", "late"} & set(options.regimes):
        learned["early"] = learned["late"] = drawn(model, general, options.fonts, 3000, 13)
    if elsewhere is not None:
        learned["fonts"] = drawn(model, preset, one, 3000, 12)
    print("| regime | arm | lines right % | look-alike errors | of control's | p |\n|---|---|---|---|---|---|")
    for regime in options.regimes:
        test = tests if regime != "fonts" or elsewhere is None else elsewhere
        before = measured(model, model.recognizer, test, lookalikes)
        found: dict[str, list[Metrics]] = {arm: [] for arm in dict.fromkeys([CONTROL, *options.arms])}
        for seed in range(options.seeds):
            start, steps = None, options.steps
            if regime in ("early", "late"):
                first = steps // 3 if regime == "early" else 2 * steps
                lines, control = learned[regime], ARMS[CONTROL]
                start = trained(model, lines, lookalikes, control, first, seed, fresh(model, seed))
                before = measured(model, start, test, lookalikes)
            for arm in found:
                recognizer = trained(model, learned[regime], lookalikes, ARMS[arm], steps, seed, start)
                found[arm].append(measured(model, recognizer, test, lookalikes))
        print(table(f"{regime} ({len(learned[regime].labels)} lines)", found, before), flush=True)


if __name__ == "__main__":
    main()

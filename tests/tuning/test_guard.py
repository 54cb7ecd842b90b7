"""A fine-tune never hurts: what is measured, mixed, kept and said."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_lines import draw_line
from PIL import Image
from safetensors.torch import load_file
from stored_lines import store
from torch import nn

from ocrcc.config import FinetuneConfig, PretrainConfig, TrainConfig, TuneConfig
from ocrcc.data.batching import MixedSource
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError
from ocrcc.evaluation.metrics import Scores
from ocrcc.evaluation.report import Metrics, mean_loss, standard_errors
from ocrcc.models.registry import MODELS
from ocrcc.training.pretrain import pretrain
from ocrcc.tuning.finetune import finetune
from ocrcc.tuning.guard import Found, Guard, Verdict, is_better, is_kept, mixture, verdict
from ocrcc.tuning.own_lines import _misplaced, hold_out, without
from ocrcc.tuning.pace import of_another_make, with_rate


def metrics(right: str, edits: int, losses: list[float] | None = None) -> Metrics:
    """Figures of lines that are right (1) or not (0), with so many edits in all, ten characters and a loss each."""
    lines, correct = len(right), right.count("1")
    losses = [0.1 if one == "1" else 1.0 for one in right] if losses is None else losses
    scores = Scores(
        lines=lines,
        characters=10 * lines,
        correct=correct,
        edits=edits,
        line_accuracy=correct / lines,
        cer=edits / (10 * lines),
        one_minus_ned=1.0,
    )
    return Metrics(
        name="x", strict=scores, folded=scores, right=np.array([*map(int, right)], np.int8), losses=np.array(losses)
    )


def test_a_mixture_lies_between():
    old, new = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    with torch.no_grad():
        new.weight.fill_(5.0)
        new.running_mean.fill_(2.0)
        new.num_batches_tracked.fill_(7)
    mixed = mixture(old, new, 0.25)
    assert torch.equal(mixed.weight, torch.full((3,), 2.0))  # 0.75 * 1 + 0.25 * 5
    assert torch.equal(mixed.running_mean, torch.full((3,), 0.5))
    assert int(mixed.num_batches_tracked) == 7  # a count is none to be mixed
    assert torch.equal(mixture(old, new, 0.0).weight, old.weight)
    assert torch.equal(mixture(old, new, 1.0).weight, new.weight)


def test_losses_are_compared_line_by_line():
    before = metrics("0000", 4, [1.0, 2.0, 0.5, 1.5])
    assert standard_errors(before, before) == 0
    now = metrics("0000", 4, [0.8, 2.4, 0.1, 1.3])  # risen by -0.2, 0.4, -0.4, -0.2: -0.1 in the mean
    deviation = (sum((one + 0.1) ** 2 for one in (-0.2, 0.4, -0.4, -0.2)) / 4) ** 0.5
    assert standard_errors(before, now) == pytest.approx(-0.1 / (deviation / 2))
    assert mean_loss(before) == pytest.approx(1.25)


def test_no_single_line_decides():
    lost = metrics("00", 2, [float("inf"), 1.0])
    assert mean_loss(lost) == pytest.approx(2.0)  # a line that cannot be read counts 3
    assert standard_errors(lost, metrics("00", 2, [9.0, 1.0])) == 0
    assert standard_errors(metrics("00", 2, [float("nan"), 1.0]), metrics("00", 2, [float("nan"), 1.0])) == 0
    assert mean_loss(metrics("00", 2, [float("nan"), 1.0])) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("before", "now", "better"),
    [
        (("0011", 8), ("1111", 0), True),
        (("0011", 8), ("1100", 8), False),  # as many broken as mended, and no likelier
        (("0000", 8, [1.0, 1.0, 1.0, 1.0]), ("0000", 8, [0.8, 0.9, 0.7, 0.9]), True),  # no line more, but all likelier
        (
            ("0000", 8, [1.0, 1.0, 1.0, 1.0]),
            ("0000", 8, [0.2, 1.2, 1.2, 1.2]),
            False,
        ),  # one line far, three back
        (("0111", 8, [2.0, 0.1, 0.1, 0.1]), ("0011", 8, [1.0, 0.1, 0.1, 0.1]), False),  # a line is broken, none mended
        (("1111", 0, [0.5] * 4), ("1111", 0, [0.1] * 4), False),  # there was nothing to gain
    ],
)
def test_better_means_likelier_and_not_more_broken_than_mended(before, now, better):
    assert is_better(metrics(*before), metrics(*now)) is better


def test_general_lines_may_change_within_chance_only():
    before = metrics("1" * 90 + "0" * 10, 100, [0.1] * 100)
    assert is_kept(before, before)
    noise = [0.1 + 0.02 * (-1) ** number for number in range(100)]
    assert is_kept(before, metrics("1" * 90 + "0" * 10, 100, noise))
    for shift, kept in ((0.0028, True), (0.0032, False)):  # 0.15 of the spread is 1.5 standard errors of a hundred
        drift = [loss + shift for loss in noise]
        assert is_kept(before, metrics("1" * 90 + "0" * 10, 100, drift)) is kept
    assert is_kept(before, metrics("0" * 4 + "1" * 88 + "0" * 8, 100, [0.1] * 100))  # 4 broken, 2 mended: within chance
    assert not is_kept(before, metrics("0" * 4 + "1" * 86 + "0" * 10, 100, [0.1] * 100))  # 4 broken, none mended
    assert is_kept(before, metrics("1" * 88 + "0" * 12, 100, [0.1] * 100))  # 2 broken, none mended
    assert not is_kept(before, metrics("1" * 87 + "0" * 13, 100, [0.1] * 100))  # 3
    assert is_kept(None, None)
    hair = [0.1001 + 1e-7 * place for place in range(100)]  # sure, and nothing: a thousandth
    assert standard_errors(metrics("1" * 100, 0, [0.1] * 100), metrics("1" * 100, 0, hair)) > 100
    assert is_kept(metrics("1" * 100, 0, [0.1] * 100), metrics("1" * 100, 0, hair))
    assert not is_kept(metrics("1" * 100, 0, [0.1] * 100), metrics("1" * 100, 0, [0.001 + loss for loss in hair]))


class Weight(nn.Module):
    """A recogniser that is one number: own lines want it at 1, general ones at 0."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))


def weigh(best: float, tolerance: float):
    """Read ten lines, the more of them right the nearer the number is to the best one."""

    def read(model: Weight) -> Metrics:
        away = abs(model.value.item() - best) * tolerance
        wrong = min(10, round(away))
        return metrics("1" * (10 - wrong) + "0" * wrong, 10 * wrong, [away / 10 + 0.01 * place for place in range(10)])

    return read


def test_the_guard_takes_the_mixture_that_gains_without_loss():
    asked = []

    def general(model: Weight) -> Metrics:
        asked.append(model.value.item())
        lost = model.value.item() > 0.6
        return metrics("1" * 10, 0, [0.1 + 0.1 * lost + 0.001 * place for place in range(10)])

    guard = Guard(Weight(0.0), weigh(1.0, 8), general)
    judged = guard(Weight(1.0))  # at 1, and at 0.75 too, general lines would lose
    assert judged.figures["tuned_share"] == 0.5
    assert judged.weights.value.item() == 0.5
    assert judged.score == pytest.approx((0.4 + 0.045) / (0.8 + 0.045))  # own lines' mean loss after and before
    assert asked == [0.0, 1.0, 0.75, 0.5]  # what gains less was not measured
    assert guard(Weight(0.0)).score == 1
    assert guard(Weight(0.0)).weights is guard.pretrained


def test_the_guard_keeps_nothing_that_is_no_better():
    assert Guard(Weight(0.0), weigh(0.0, 8), None)(Weight(1.0)).score == float("inf")
    assert Guard(Weight(0.0), weigh(1.0, 8), weigh(0.0, 9))(Weight(1.0)).score == float("inf")
    without_general = Guard(Weight(0.0), weigh(1.0, 8), None)(Weight(1.0))
    assert without_general.figures["tuned_share"] == 1


class Rows(nn.Module):
    """A recogniser that is its classifier: the second row is of a new character."""

    def __init__(self, *rows: float) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2, bias=False)
        self.head.weight = nn.Parameter(torch.tensor(rows)[:, None])


@pytest.mark.parametrize(("robs", "share"), [(False, 1.0), (True, 0.0)])
def test_rows_of_new_characters_alone_are_kept_if_they_rob_none(robs, share):
    asked = []

    def own(model: Rows) -> Metrics:
        asked.append(model)
        wrong = 5 - 4 * round(model.head.weight[1].item())
        return metrics("1" * (10 - wrong) + "0" * wrong, wrong, [wrong / 10 + 0.01 * place for place in range(10)])

    def general(model: Rows) -> Metrics:
        lost = robs and model.head.weight[1].item() > 0
        return metrics("0" * 5 + "1" * 5 if lost else "1" * 10, 5 * lost, [0.1 + lost] * 10)

    guard = Guard(Rows(0.5, 0.0), own, general, new=[1])
    judged = guard(Rows(0.5, 1.0))
    assert judged.figures["tuned_share"] == share
    assert (judged.weights is guard.pretrained) is robs
    assert judged.score == pytest.approx(1.0 if robs else 0.145 / 0.545)
    assert len(asked) == 2  # all mixtures are the same
    assert guard(Rows(0.9, 1.0)).score == (float("inf") if robs else pytest.approx(0.145 / 0.545))
    assert guard(Rows(0.5, 0.0)).weights is guard.pretrained


def test_the_verdict_in_words():
    before = Found(own=metrics("0011", 8), retained=metrics("11111", 0))
    after = Found(own=metrics("1101", 3), retained=metrics("11110", 2))
    found = verdict(before, after, 0.5, ("own lines", "general lines"))
    assert found.sentence() == (
        "2 of 2 misread lines mended, 1 of the others broken; general lines as before (0 mended, 1 broken) "
        "(50% of the way from the old weights to the tuned ones)."
    )
    assert Verdict(share=0.0).sentence().startswith("Nothing gained: the pretrained model was kept.")
    assert Verdict(share=0.0, reason="1 line is too few").sentence() == (
        "The pretrained model was kept: 1 line is too few."
    )


def test_equal_images_are_never_on_both_sides(tmp_path, digit_lines):
    dataset = LmdbDataset(store(tmp_path / "twice.lmdb", digit_lines + digit_lines))
    parted = hold_out([MixedSource(source=dataset, weight=1.0)], seed=3)
    assert parted.different == 40
    (validation,), (left,) = parted.validation, parted.mixed
    assert len(validation) == 16  # eight images, twice each
    held = {dataset.image_bytes(int(index)) for index in set(range(80)) - set(left.kept.tolist())}
    assert len(held) == 8
    assert not held & {dataset.image_bytes(int(index)) for index in left.kept}
    assert [one.kept.tolist() for one in hold_out([MixedSource(source=dataset, weight=1.0)], seed=3).mixed] == [
        left.kept.tolist()
    ]
    assert hold_out([MixedSource(source=dataset, weight=1.0)], seed=4).mixed[0].kept.tolist() != left.kept.tolist()


def test_validation_lines_are_taken_out_of_training(tmp_path, digit_lines):
    train = LmdbDataset(store(tmp_path / "train.lmdb", digit_lines))
    val = LmdbDataset(store(tmp_path / "val.lmdb", digit_lines[5:7]))
    (left,), names = without([MixedSource(source=train, weight=1.0)], [val])
    assert [name.rpartition("(")[2] for name in names] == ["train:5)", "train:6)"]
    assert left.kept.tolist() == [*range(5), *range(7, 40)]


def test_labels_beside_other_images_are_found():
    labels = ["account", "balance", "receipt", "invoice"]
    assert _misplaced(["acc0unt", "balance", "invoce", "receipt"], labels) == {2: 3, 3: 2}
    assert _misplaced(["acount", "nothing", None, "in"], labels) == {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, list[tuple[Image.Image, str]]]:
    """A model that reads some of sixty lines, and those lines."""
    place = tmp_path_factory.mktemp("trained")
    rng = random.Random(4)
    texts = list(dict.fromkeys("".join(rng.choices("0123456789", k=6)) for _ in range(60)))
    lines = [(draw_line(text), text) for text in texts]
    task = PretrainConfig(train=(str(store(place / "digits.lmdb", lines)),), arch="tinynet_plain")
    config = TrainConfig(
        steps=70, batch_size=8, workers=0, threads=1, eval_every=0, save_every=0, learning_rate=5e-3, augment=0,
        ema_decay=0, seed=2,
    )  # fmt: skip
    pretrain(task, config, place / "base", device="cpu")
    return place / "base", lines


QUICK = TuneConfig(steps=8, batch_size=8, workers=0, threads=1, seed=5, eval_every=4)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in load_file(path).items() if name.startswith("model.")}


def same(one: Path, other: Path) -> bool:
    theirs = weights(other)
    return all(torch.equal(value, theirs[name]) for name, value in weights(one).items())


def test_a_shuffled_label_file_ends_with_the_base(trained, tmp_path, few_general_lines):
    base, lines = trained
    folder = tmp_path / "lines"
    folder.mkdir()
    texts = [text for _, text in lines]
    slipped = texts[1:] + texts[:1]
    for number, (image, _) in enumerate(lines):
        image.save(folder / f"{number:03}.png")
    labels = folder / "labels.txt"
    labels.write_text("".join(f"{number:03}.png\t{text}\n" for number, text in enumerate(slipped)), encoding="utf-8")
    task = FinetuneConfig(pretrained=str(base), train=(str(labels),))
    result = finetune(task, QUICK, tmp_path / "run", device="cpu")
    assert result.steps == 0
    assert "labels stand beside the wrong images" in result.verdict.sentence()
    assert "is read as" in result.verdict.sentence()
    assert same(base / "last.safetensors", tmp_path / "run" / "best.safetensors")


@pytest.mark.parametrize("count", [1, 19])
def test_too_few_lines_end_with_the_base(trained, tmp_path, count, few_general_lines):
    base, lines = trained
    task = FinetuneConfig(
        pretrained=str(base), train=(str(store(tmp_path / "few.lmdb", 30 * lines[:1] + lines[:count])),)
    )
    result = finetune(task, QUICK, tmp_path / "run", device="cpu")
    assert result.steps == 0
    assert "too few to learn from" in result.verdict.sentence()
    assert same(base / "last.safetensors", tmp_path / "run" / "best.safetensors")


def test_a_label_file_is_enough_and_the_run_says_what_it_came_to(trained, tmp_path, few_general_lines):
    base, lines = trained
    for number, (image, text) in enumerate(lines[:40]):
        image.save(tmp_path / f"{number:03}.png")
        (tmp_path / f"{number:03}.gt.txt").write_text(text, encoding="utf-8")
    prepared, entries = [], []
    result = finetune(
        FinetuneConfig(pretrained=str(base), train=(str(tmp_path),)),
        replace(QUICK, steps=0, eval_every=0, batch_size=2),
        tmp_path / "run",
        device="cpu",
        on_start=prepared.append,
        on_log=entries.append,
    )
    assert prepared[0].config.steps == result.steps == 113  # 20 * sqrt(32)
    assert sum(map(len, prepared[0].validation)) == 8
    assert [entry.step for entry in entries if entry.validation][0] == 0
    assert [row.name for row in result.verdict.rows][0] == "own lines"
    own = result.verdict.rows[0]
    assert own.before.lines == own.after.lines == 8
    assert own.after.strict.edits <= own.before.strict.edits
    assert bool(result.verdict.share) == (not same(base / "last.safetensors", tmp_path / "run" / "best.safetensors"))


def test_without_a_training_line_of_its_own_there_is_nothing_to_learn(trained, tmp_path):
    base, lines = trained
    data = str(store(tmp_path / "same.lmdb", lines))
    task = FinetuneConfig(pretrained=str(base), train=(data,), val=(data,))
    with pytest.raises(DataError, match="every training line is a validation line too"):
        finetune(task, QUICK, tmp_path / "run", device="cpu")


def test_a_run_that_is_killed_before_its_first_save_can_be_gone_on_with(trained, tmp_path, few_general_lines):
    base, lines = trained
    task = FinetuneConfig(pretrained=str(base), train=(str(store(tmp_path / "own.lmdb", lines)),))

    short = replace(QUICK, steps=4, batch_size=2)

    class Killed(BaseException):
        pass

    def kill(entry):
        if entry.step == 1:
            raise Killed

    with pytest.raises(Killed):
        finetune(task, short, tmp_path / "cut", device="cpu", on_log=kill)
    finetune(task, short, tmp_path / "cut", resume=True, device="cpu")
    finetune(task, short, tmp_path / "whole", device="cpu")
    assert same(tmp_path / "cut" / "last.safetensors", tmp_path / "whole" / "last.safetensors")
    assert same(tmp_path / "cut" / "best.safetensors", tmp_path / "whole" / "best.safetensors")


def test_a_rate_that_nobody_gives_suits_the_recogniser(monkeypatch):
    config = TuneConfig()
    assert not of_another_make("lcnet_050")
    assert not of_another_make("lcnet_050+experts2")
    monkeypatch.setitem(MODELS, "onnx/other@1", replace(MODELS["lcnet_050"], name="onnx/other@1", graph=b"a graph"))
    assert of_another_make("onnx/other@1")
    assert of_another_make("onnx/other@1+experts1")
    for others, behind, rate in ((False, False, 3e-4), (False, True, 3e-4), (True, True, 1e-4), (True, False, 3e-5)):
        assert with_rate(config, others, behind).learning_rate == rate
        assert with_rate(replace(config, learning_rate=1e-3), others, behind).learning_rate == 1e-3
    with pytest.raises(ConfigError, match="learning_rate is negative"):
        TuneConfig(learning_rate=-1)
    with pytest.raises(ConfigError, match="learning_rate is not positive"):
        TrainConfig(steps=1, learning_rate=0)

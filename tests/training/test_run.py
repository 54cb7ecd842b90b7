"""What single settings do to a step and to a run, on a recogniser of one convolution."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from drawn_lines import draw_line
from lost_steps import LostFrom
from safetensors.torch import load_file
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource
from ocrcc.errors import ConfigError, ModelError
from ocrcc.models.contract import read_metadata
from ocrcc.models.recognizer import Recognizer
from ocrcc.training.loop import train
from ocrcc.training.objective import CtcObjective, Objective, Terms
from ocrcc.training.run import Judgement, Run, Trainee
from ocrcc.types import Line

DIGITS = Charset("0123456789")
BARE = TrainConfig(
    steps=4, batch_size=4, workers=0, threads=1, augment=0, ema_decay=0, clip_norm=0, weight_decay=0, warmup=0,
    schedule="none", eval_every=0, save_every=0, log_every=1,
)  # fmt: skip


class Drawn:
    """Digits without end."""

    name = "drawn"
    size = None

    def line(self, index: int) -> Line:
        return Line(image=draw_line(str(index)), label=str(index), source=f"drawn#{index}")


class Columns(nn.Module):
    """Sees four columns a frame."""

    width_stride = 4

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(1, 6, (32, 4), (32, 4))

    def forward(self, images):
        return self.seen(images)[:, :, 0].transpose(1, 2)


class AsTheyAre(nn.Module):
    """No encoder."""

    feature_width = 6

    def forward(self, frames):
        return frames


class Nothing(Objective):
    """A loss that nothing changes."""

    def forward(self, batch, output):
        return Terms(total=0 * output.logits.sum(), fits=torch.ones(len(batch.labels), dtype=torch.bool))


def trainee(objective: Objective | None = None) -> Trainee:
    torch.manual_seed(1)
    return Trainee(
        recognizer=Recognizer(Columns(), AsTheyAre(), DIGITS.num_classes),
        arch="columns",
        charset=DIGITS,
        preprocessing=Preprocessing(),
        objective=objective or CtcObjective(),
    )


def weights(recognizer: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in recognizer.state_dict().items()}


def step_once(config: TrainConfig, objective: Objective | None = None, lines: int = 2):
    """Take one step on a batch of so many lines; give the weights before and after."""
    accelerator = Accelerator(cpu=True)
    sources = [MixedSource(source=Drawn(), weight=1.0)]
    (received, *_) = Run(trainee(), replace(config, batch_size=lines), Path(), accelerator, sources).chunks[0]
    assert len(received.batch.labels) == lines
    run = Run(trainee(objective), config, Path(), accelerator, sources)
    before = weights(run.recognizer)
    run.step(received, progress=0.0)
    return before, weights(run.recognizer)


def course(config: TrainConfig, out: Path, objective: Objective | None = None, **options):
    """Train; give the weights after each number of steps, and the rows of metrics."""
    out.mkdir()
    seen: dict[int, dict[str, torch.Tensor]] = {}
    result = train(
        trainee(objective),
        [MixedSource(source=Drawn(), weight=1.0)],
        config,
        out,
        device="cpu",
        on_step=lambda step, evaluated: seen.__setitem__(step, weights(evaluated())),
        **options,
    )
    return result, seen, [json.loads(row) for row in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_line_of_a_small_batch_counts_as_much_as_one_of_a_full_batch():
    moved = {}
    for batch_size in (2, 8):
        config = replace(BARE, batch_size=batch_size, optimizer="sgd", learning_rate=0.01)
        before, after = step_once(config)
        moved[batch_size] = after["head.weight"] - before["head.weight"]
    assert moved[2].abs().max() > 1e-5
    torch.testing.assert_close(moved[8], moved[2] / 4, rtol=1e-3, atol=1e-7)


def test_weights_decay_and_biases_do_not():
    before, after = step_once(replace(BARE, learning_rate=0.1, weight_decay=0.5), Nothing())
    for name in ("backbone.seen", "head"):
        torch.testing.assert_close(after[f"{name}.weight"], 0.95 * before[f"{name}.weight"])
        assert torch.equal(after[f"{name}.bias"], before[f"{name}.bias"])


def test_gradients_are_cut_to_their_norm():
    sgd = replace(BARE, optimizer="sgd", learning_rate=1.0)
    plain, cut = ({name: after[name] - value for name, value in before.items()}
                  for before, after in (step_once(sgd), step_once(replace(sgd, clip_norm=1e-3))))  # fmt: skip
    length, short = (math.sqrt(sum(float(each.square().sum()) for each in moved.values())) for moved in (plain, cut))
    assert length > 1e-2
    assert short == pytest.approx(1.9e-3, rel=1e-2)  # Nesterov's first step is 1.9 gradients long


def test_the_rate_rises_in_the_warm_up_and_falls_afterwards(tmp_path):
    config = replace(BARE, steps=10, warmup=0.5, schedule="cosine", learning_rate=1e-3)
    _, _, rows = course(config, tmp_path / "run")
    rates = [row["learning_rate"] for row in rows]
    assert rates[:5] == pytest.approx([1e-5 + 0.99e-3 * share for share in (0, 0.2, 0.4, 0.6, 0.8)], rel=1e-6)
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.05e-3


def test_without_warm_up_or_schedule_the_rate_is_what_was_given(tmp_path):
    _, _, rows = course(replace(BARE, learning_rate=2e-3), tmp_path / "run")
    assert [row["learning_rate"] for row in rows] == [2e-3] * 4


def rates(schedule: str, at: Sequence[float], **changed) -> list[float]:
    """Give the learning rates at some shares of a run."""
    sources = [MixedSource(source=Drawn(), weight=1.0)]
    config = replace(BARE, schedule=schedule, learning_rate=1.0, **changed)
    run = Run(trainee(), config, Path(), Accelerator(cpu=True), sources)
    received = run.chunks[0][0]
    found = []
    for share in at:
        run.step(received, share)
        found.append(run.optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("poly", [1, 0.8002, 0.5005, 0.3007, 0.001]),
        ("step", [1, 1, 0.1, 0.01, 0.01]),
        ("multistep", [1, 1, 0.1, 0.1, 0.01]),
        ("cosine", [1, 0.9046, 0.5005, 0.2069, 0.001]),
    ],
)
def test_every_schedule_that_is_named_runs_over_the_whole_run(schedule, expected):
    found = rates(schedule, (0, 0.2, 0.5, 0.7, 0.9999))
    assert found == pytest.approx(expected, abs=2e-4)
    risen = rates(schedule, (0, 0.05, 0.1), warmup=0.1)
    assert risen[:2] == pytest.approx([0.01, 0.505])
    assert risen[2] > 0.9


@pytest.mark.parametrize("schedule", ["plateau", "nosuch"])
def test_a_schedule_that_cannot_be_followed_is_refused_and_those_that_can_are_named(schedule):
    with pytest.raises(ConfigError, match=f"no schedule named '{schedule}'") as caught:
        rates(schedule, ())
    for name in caught.value.hint.removeprefix("such as ").split(", "):
        assert rates(name, (0.1,))[0] > 0.5


@pytest.mark.parametrize("there", [True, False])
def test_a_resumed_run_scales_gradients_as_it_did(tmp_path, there):
    """As fp16 has it on a GPU; a run of an earlier version left nothing of it."""

    def new() -> Run:
        accelerator = Accelerator(cpu=True)
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
        return Run(trainee(), BARE, tmp_path, accelerator, [MixedSource(source=Drawn(), weight=1.0)])

    first = new()
    first.accelerator.scaler.load_state_dict(first.accelerator.scaler.state_dict() | {"scale": 128.0})
    first.save()
    if not there:
        state = torch.load(tmp_path / "state.pt", weights_only=True)
        del state["scaler"]
        torch.save(state, tmp_path / "state.pt")
    again = new()
    again.load()
    assert again.accelerator.scaler.get_scale() == (128.0 if there else 65536.0)


def test_the_best_is_the_one_with_the_lowest_score(tmp_path):
    scores = iter((3.0, 1.0, 2.0, 1.0))
    judged: list[dict[str, torch.Tensor]] = []

    def validate(recognizer):
        judged.append(weights(recognizer))
        score = next(scores)
        return Judgement(figures={"score": score}, score=score, weights=recognizer)

    result, _, rows = course(replace(BARE, eval_every=1), tmp_path / "run", validate=validate)
    assert (result.best, result.best_step) == ({"score": 1.0}, 2)  # of equals the first
    best = load_file(tmp_path / "run" / "best.safetensors")
    assert all(torch.equal(best[f"model.{name}"], value) for name, value in judged[1].items())
    metadata = read_metadata(tmp_path / "run" / "best.safetensors")
    assert (metadata["step"], metadata["metrics"]) == (2, {"score": 1.0})
    assert [row["val/score"] for row in rows] == [3.0, 1.0, 2.0, 1.0]


def test_where_nothing_can_be_measured_the_pretrained_model_is_the_best_so_far(tmp_path):
    begun = trainee()
    known = weights(begun.recognizer)
    out = tmp_path / "run"
    out.mkdir()
    logged = []
    sources = [MixedSource(source=Drawn(), weight=1.0)]
    tuned = replace(begun, pretrained=begun.recognizer)
    result = train(tuned, sources, replace(BARE, learning_rate=1e-2), out, device="cpu", on_log=logged.append)
    best = load_file(out / "best.safetensors")
    assert all(torch.equal(best[f"model.{name}"], value) for name, value in known.items())
    assert (read_metadata(out / "best.safetensors")["step"], result.best_step, result.best) == (0, 0, {})
    assert [entry.step for entry in logged] == [0, 1, 2, 3, 4]
    last = load_file(out / "last.safetensors")
    assert not torch.equal(last["model.head.weight"], known["head.weight"])


def test_patience_counts_validations_without_a_better_one(tmp_path):
    scores = iter((3.0, 3.0, 2.0, 2.5, 2.1, 0.0))

    def validate(recognizer):
        score = next(scores)
        return Judgement(figures={}, score=score, weights=recognizer)

    result, _, _ = course(replace(BARE, steps=6, eval_every=1, patience=2), tmp_path / "run", validate=validate)
    assert (result.stopped_early, result.steps, result.best_step) == (True, 5, 3)


def test_a_frozen_backbone_is_released_after_its_steps_and_not_before(tmp_path):
    _, seen, _ = course(replace(BARE, freeze_backbone=2, learning_rate=1e-2), tmp_path / "run")
    backbone = [seen[step]["backbone.seen.weight"] for step in range(5)]
    assert [torch.equal(one, next_one) for one, next_one in zip(backbone, backbone[1:], strict=False)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert not torch.equal(seen[0]["head.weight"], seen[1]["head.weight"])


def test_averaged_weights_follow_slowly_and_are_what_is_measured(tmp_path):
    _, plain, _ = course(replace(BARE, learning_rate=1e-2), tmp_path / "plain")
    _, slow, _ = course(replace(BARE, learning_rate=1e-2, ema_decay=0.9), tmp_path / "slow")
    name = "head.weight"
    assert 0 < (slow[4][name] - slow[0][name]).abs().sum() < (plain[4][name] - plain[0][name]).abs().sum()
    saved = load_file(tmp_path / "slow" / "last.safetensors")
    assert torch.equal(saved[f"model.{name}"], slow[4][name])


def test_torch_gets_the_threads_that_were_asked_for(tmp_path, torch_threads):
    used = []
    course(replace(BARE, steps=1, threads=3), tmp_path / "run", on_log=lambda _: used.append(torch.get_num_threads()))
    assert used == [3]
    torch.set_num_threads(2)
    course(replace(BARE, steps=1, threads=0), tmp_path / "own", on_log=lambda _: used.append(torch.get_num_threads()))
    assert used == [3, 2]


def test_where_nothing_can_be_compiled_the_error_says_so(tmp_path, monkeypatch):
    def fail(graph, inputs, **_options):
        raise RuntimeError("No working C++ compiler found\nand a long story")

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=fail))
    with pytest.raises(ConfigError, match="torch.compile failed: No working C\\+\\+ compiler found$") as raised:
        course(replace(BARE, compile=True), tmp_path / "run")
    assert "--compile" in raised.value.hint


def test_a_lost_step_moves_no_weight():
    before, after = step_once(BARE, LostFrom(1, 1))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("log_every", [1, 7, 100])
@pytest.mark.parametrize(("first", "steps", "ends"), [(3, 19, False), (3, 20, True), (1, 25, True)])
def test_many_lost_steps_in_a_row_end_a_run_however_often_it_is_logged(tmp_path, log_every, first, steps, ends):
    config, objective = replace(BARE, steps=25, log_every=log_every, batch_size=1), LostFrom(first, steps)
    if not ends:
        result, _, _ = course(config, tmp_path / "run", objective)
        assert result.lost_steps == steps
        return
    with pytest.raises(ModelError, match="no longer finite"):
        course(config, tmp_path / "run", objective)


def test_a_short_run_that_learned_nothing_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="no longer finite"):
        course(replace(BARE, steps=3), tmp_path / "run", LostFrom(1, 3))

"""``ocrcc pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrcc.charset import describe
from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, Device, ResumeRun, with_config_options
from ocrcc.cli.training import TrainingDisplay, show_result
from ocrcc.config import PretrainConfig, TrainConfig

if TYPE_CHECKING:
    from ocrcc.workflows.pretrain import Prepared


@with_config_options()
def command(
    task: PretrainConfig,
    training: TrainConfig,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Run folder; must not hold a run yet.")] = Path(
        "runs/pretrain"
    ),
    resume: ResumeRun = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Train a recogniser by CTC, from nothing or from another model's weights.

    The run folder gets best.safetensors and last.safetensors, config.toml, metrics.jsonl and TensorBoard
    events. Ctrl-C finishes the step, saves, and says how to go on.
    """
    from ocrcc.workflows.pretrain import pretrain

    with TrainingDisplay("pretrain") as display:
        result = pretrain(
            task,
            training,
            resume or out,
            resume=resume is not None,
            device=device,
            on_start=lambda prepared: _show_start(prepared, resume or out),
            on_log=display.log,
        )
    show_result(result)


def _show_start(prepared: Prepared, out: Path) -> None:
    trainee, sources = prepared.trainee, prepared.sources
    weights = sum(parameter.numel() for parameter in trainee.recognizer.parameters())
    render.notice(f"{trainee.arch}: {weights / 1e6:.2f} M weights, {len(trainee.charset)} characters, run {out}")
    for mixed in sources.mixed:
        size = "endless" if mixed.size is None else f"{mixed.size} lines"
        render.notice(f"  train on {mixed.source.name}: {size}, weight {mixed.weight:g}")
    for dataset in prepared.validation:
        render.notice(f"  validate on {dataset.name}: {len(dataset)} lines")
    if prepared.transfer is not None:
        moved = prepared.transfer
        render.notice(f"  classifier rows: {len(moved.kept)} kept, {len(moved.new)} new, {len(moved.dropped)} dropped")
    for path, skipped in sources.skipped.items():
        render.warn(f"{path}: {skipped} lines left out, whose characters the charset lacks")
    if sources.missing:
        render.notice(f"  it lacks {describe(sources.missing)}")
    for name, characters in prepared.unreadable_characters.items():
        render.warn(f"{name}: the charset lacks {describe(characters)}; they count as errors")

"""What pretraining and fine-tuning show while they run and when they end."""

from __future__ import annotations

import math
import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ocrcc.charset import MISSING_HINT, lacks
from ocrcc.cli import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ocrcc.config import DataConfig, TrainConfig
    from ocrcc.evaluation.report import Metrics
    from ocrcc.training.loop import LogEntry, TrainResult
    from ocrcc.training.pretrain import Prepared
    from ocrcc.tuning.guard import Verdict

_SILENT = os.environ.get("RANK", "0") != "0"
"""Under torchrun or accelerate launch, the first process speaks for all."""
_LOSSES = ("loss", "ctc", "center", "twin", "kept")
_LINE_EVERY = 30.0  # seconds between lines where there is no terminal to draw a bar on


class TrainingDisplay:
    """A progress bar on a terminal, a line now and then elsewhere; every validation gets its line.

    Args:
        name: What is running.
    """

    def __init__(self, name: str) -> None:
        self._bar = Progress(
            TextColumn(name),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}% {task.fields[figures]}"),
            TimeElapsedColumn(),
            console=render.err,
            transient=True,
            disable=_SILENT or not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task(name, total=1.0, figures="starting")
        self._shown = 0.0

    def __enter__(self) -> TrainingDisplay:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def log(self, entry: LogEntry) -> None:
        """Show an entry of the training loop."""
        if _SILENT:
            return
        left = _minutes(entry.seconds_left)
        if not entry.step:
            if entry.validation:  # nothing is measured where nothing will be trained
                render.notice(f"before: {_measured(entry)}")
            return
        losses = " ".join(f"{name} {value:.3f}" for name, value in sorted(entry.scalars.items(), key=_losses_first))
        figures = f"step {entry.step} {losses} {entry.lines_per_second:.0f} lines/s {left} left"
        self._bar.update(self._task, completed=entry.progress, figures=figures)
        if entry.validation:
            loss = entry.scalars.get("loss", math.nan)  # all steps since the last entry were lost
            render.notice(f"step {entry.step}: loss {loss:.4f} | {_measured(entry)} | {left} left")
        elif self._bar.disable and time.monotonic() - self._shown > _LINE_EVERY:
            render.notice(f"{entry.progress:4.0%} {figures}")
            self._shown = time.monotonic()


def _measured(entry: LogEntry) -> str:
    return " ".join(f"{name} {value:.4f}" for name, value in entry.validation.items())


def _losses_first(scalar: tuple[str, float]) -> int:
    """Order what is shown of a step: what is minimised, its parts, and only then the distances that are watched."""
    name = scalar[0]
    return _LOSSES.index(name) if name in _LOSSES else len(_LOSSES)


def follow(
    train: Callable[..., TrainResult], task: DataConfig, config: TrainConfig, run: Path, *, resume: bool, device: str
) -> None:
    """Pretrain or fine-tune, and show how it goes and ends."""
    with TrainingDisplay(train.__name__) as display:
        result = train(
            task,
            config,
            run,
            resume=resume,
            device=device,
            on_start=lambda prepared: show_start(prepared, run),
            on_log=display.log,
            say=render.warn,
        )
    show_result(result)


def show_start(prepared: Prepared, out: Path) -> None:
    """Show what a run will do."""
    if _SILENT:
        return
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
    charset = trainee.charset.name
    for path, skipped in sources.skipped.items():
        render.warn(f"{path}: {skipped} lines left out, whose characters the charset lacks")
    if sources.missing:
        render.warn(lacks(charset, dict(sources.missing.most_common())))
    for name, characters in prepared.unreadable_characters.items():
        render.warn(f"{name}: {lacks(charset, characters)}; they count as errors")
    if sources.missing or prepared.unreadable_characters:
        render.notice(f"  {MISSING_HINT}")
    for note in prepared.notes:
        render.notice(f"  {note}")
    if prepared.untrained:
        render.warn(f"nothing is trained: {prepared.untrained}")
    elif prepared.config.steps:
        render.notice(f"  {prepared.config.steps} steps of {prepared.config.batch_size} lines at most")


def _show_verdict(verdict: Verdict) -> None:
    """Show the sets before and after, and what that means in a sentence."""
    rows = []
    for row in verdict.rows:
        rows.append((row.name, "before", *_figures(row.before), ""))
        change = f"+{row.change.fixed} -{row.change.broken}, p = {row.change.p_value:.2g}"
        rows.append(("", "after", *_figures(row.after), change))
    if rows:
        columns = ("", "", "lines right", "CER", "look-alikes right", "mended, broken")
        render.out.print(render.table("", columns, rows, left=2))
    render.out.print(render.harmless(verdict.sentence()))


def _figures(metrics: Metrics) -> tuple[str, str, str]:
    looks = metrics.lookalike_accuracy
    known = looks is not None and not math.isnan(looks)
    return f"{metrics.line_accuracy:.1%} of {metrics.lines}", f"{metrics.cer:.2%}", f"{looks:.1%}" if known else ""


def _minutes(seconds: float) -> str:
    if math.isinf(seconds):
        return "?"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def show_result(result: TrainResult) -> None:
    """Show how a run ended, and what took no part in it."""
    if _SILENT:
        return
    ended = " (no better for long enough)" if result.stopped_early else ""
    render.out.print(f"{result.steps} steps in {_minutes(result.seconds)}{ended}: {render.harmless(str(result.out))}")
    verdict = getattr(result, "verdict", None)
    if verdict is not None:
        _show_verdict(verdict)
    elif result.best:
        figures = ", ".join(f"{name} {value:.4f}" for name, value in result.best.items())
        render.out.print(f"best at step {result.best_step}: {figures}")
    render.warn_each(
        "times a line took no part: its label needs more frames than it has", result.unfit_names, result.unfit_lines
    )
    render.warn_each("lines could not be read", list(result.unreadable))
    if result.lost_steps:
        render.warn(f"{result.lost_steps} of the steps taught nothing: the gradient of their lines was not finite")
    if result.torn_entries:
        render.warn(f"metrics.jsonl: {result.torn_entries} torn lines were dropped when the run was resumed")

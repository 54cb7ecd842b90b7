"""``ocrcc pretrain``: a recogniser from nothing, or from another's weights, by CTC alone."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from accelerate.utils import set_seed
from torch import nn

from ocrcc.bidi import has_right_to_left
from ocrcc.charset import Charset, load_charset
from ocrcc.config import DataConfig, Preprocessing, PretrainConfig, TrainConfig
from ocrcc.config.resuming import check_course
from ocrcc.datasets.opened import Opener, Say
from ocrcc.evaluation.evaluate import evaluate_datasets
from ocrcc.evaluation.report import Metrics
from ocrcc.lookalikes import Lookalikes
from ocrcc.models.checkpoint import LoadedModel, load_model
from ocrcc.models.contract import read_metadata
from ocrcc.models.registry import create_model
from ocrcc.runs.folder import run_folder, write_settings
from ocrcc.runs.lineage import check_lineage, describe_lineage
from ocrcc.training.devices import check_device
from ocrcc.training.loop import LogEntry, OnStep, TrainResult, train
from ocrcc.training.objective import CtcObjective
from ocrcc.training.run import Judgement, Trainee, Validate
from ocrcc.training.sources import Sources, charset_of, check_sources, check_validation, open_sources
from ocrcc.training.transfer import Transfer, transfer
from ocrcc.types import LabelledLines

Task = TypeVar("Task", bound=DataConfig)

_MANY = 5000
"""Lines that are measured by one process sooner than it takes to start others."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run will do, known before its first step.

    Attributes:
        trainee: What is trained.
        sources: On what.
        validation: The sets it is measured on.
        validate: Measures a recogniser on them; None without any.
        config: How it is trained, nothing left open.
        unreadable_characters: Characters of validation sets that the charset lacks, by set.
        transfer: What came along from another model, if it started from one.
        notes: What else is worth saying before the first step.
        untrained: Why there is nothing to be trained; empty if there is.
        conclude: Adds to the result what the run's maker has to say of it.
    """

    trainee: Trainee
    sources: Sources
    validation: tuple[LabelledLines, ...]
    validate: Validate | None
    config: TrainConfig
    unreadable_characters: Mapping[str, str]
    transfer: Transfer | None
    notes: tuple[str, ...] = ()
    untrained: str = ""
    conclude: Callable[[TrainResult], TrainResult] = lambda result: result


def pretrain(
    task: PretrainConfig,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    on_start: Callable[[Prepared], None] = lambda _: None,
    on_log: Callable[[LogEntry], None] = lambda _: None,
    say: Say = lambda _: None,
) -> TrainResult:
    """Train a recogniser into a run folder.

    Args:
        task: What to train, on what.
        config: How.
        out: The run folder; made here.
        resume: Go on with the run in ``out``.
        device: ``auto``, or any that torch has here.
        on_start: Told what will happen, before the first step.
        on_log: Told of the run's course.
        say: Told of lines of label files that cannot be used.

    Raises:
        ConfigError: ``out`` holds another run already.
        CharsetError: The charset lacks characters of the training labels.
        DataError: A dataset cannot be read, or ``out`` cannot be written.
        ModelError: The model to start from does not fit.
        StoppedError: The run was asked to stop; it can be resumed.
    """
    return launch(prepare, task, config, out, resume=resume, device=device, on_start=on_start, on_log=on_log, say=say)


def launch(
    prepare: Callable[[Task, TrainConfig, Path, bool, Say], Prepared],
    task: Task,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool,
    device: str,
    on_start: Callable[[Prepared], None],
    on_log: Callable[[LogEntry], None],
    say: Say,
    before_first_step: Callable[[Prepared], None] = lambda _: None,
    watcher: Callable[[Prepared], OnStep] = lambda _: lambda _step, _recognizer: None,
) -> TrainResult:
    """Check, prepare, make the run folder, train: what pretraining and fine-tuning have in common.

    Args:
        prepare: Opens what the task names, or what the run in a folder left.
        task: What to train, on what.
        config: How.
        out: The run folder.
        resume: Go on with the run in ``out``.
        device: ``auto``, or any that torch has here.
        on_start: Told what will happen, before the first step.
        on_log: Told of the run's course.
        say: Told of lines of label files that cannot be used.
        before_first_step: Not called when a run is resumed.
        watcher: Makes what is told of every step.
    """
    check_sources(task, config.epochs)
    check_device(device)
    main = int(os.environ.get("RANK", "0")) == 0
    with run_folder(out, resume=resume) if main else nullcontext():
        if resume:
            check_course(out, read_metadata(out / "last.safetensors").get("config"), task, config)
        prepared = prepare(task, config, out, resume, say)
        sources = [mixed.source for mixed in prepared.sources.mixed]
        data = describe_lineage(prepared.trainee.charset, sources, prepared.validation)
        lineage = {**prepared.trainee.lineage, **data}
        if resume:
            check_lineage(out, lineage)
        if main:
            write_settings(out, {**prepared.trainee.settings, "device": device})
        on_start(prepared)
        if not resume and not prepared.untrained:
            before_first_step(prepared)
        result = train(
            replace(prepared.trainee, lineage=lineage),
            prepared.sources.mixed,
            prepared.config,
            out,
            validate=prepared.validate,
            resume=resume,
            device=device,
            on_log=on_log,
            on_step=watcher(prepared),
            untrained=bool(prepared.untrained),
        )
        return prepared.conclude(result)


def prepare(task: PretrainConfig, config: TrainConfig, out: Path, resume: bool, say: Say) -> Prepared:
    """Open everything that a run needs and make its recogniser."""
    set_seed(config.seed)
    opener = Opener(out, resume, say)
    origin = out / "last.safetensors" if resume else task.init_from
    start = load_model(origin, device="cpu") if origin else None
    charset = start.charset if resume and start else _charset(task, start, opener)
    preprocessing = (
        start.preprocessing if start else Preprocessing(height=task.height, channels=task.channels)  # type: ignore[arg-type]
    )
    notes = []
    if start and not resume and (preprocessing.height, preprocessing.channels) != (task.height, task.channels):
        size = f"{preprocessing.height} pixels high and {'grey' if preprocessing.channels == 1 else 'in colour'}"
        notes.append(f"lines are {size}, as {start.path} takes them")
    arch = start.arch if start and resume else task.arch
    sources = open_sources(
        task.train, charset, opener, mix=task.mix, corpus=task.corpus, unknown=config.unknown, seed=config.seed
    )
    recognizer = create_model(arch, charset.num_classes, preprocessing)
    validation = tuple(map(opener, task.val))
    trainee = Trainee(
        recognizer=recognizer,
        arch=arch,
        charset=charset,
        preprocessing=preprocessing,
        objective=CtcObjective(),
        settings={**asdict(task), **asdict(config)},
    )
    return Prepared(
        trainee=trainee,
        sources=sources,
        validation=validation,
        validate=validator(trainee, validation, config) if validation else None,
        config=config,
        unreadable_characters=check_validation(validation, charset),
        transfer=transfer(start, recognizer, charset) if start else None,
        notes=tuple(notes),
    )


def _charset(task: PretrainConfig, start: LoadedModel | None, opener: Opener) -> Charset:
    charset = _chosen_charset(task, start, opener)
    if task.label_order:
        return replace(charset, bidi=task.label_order == "typed" and has_right_to_left(charset.symbols))
    return replace(charset, bidi=start.charset.bidi) if start and has_right_to_left(start.charset.symbols) else charset


def _chosen_charset(task: PretrainConfig, start: LoadedModel | None, opener: Opener) -> Charset:
    normalisation = task.normalisation or (start.charset.normalisation if start else "none")
    if task.charset == "from-data" or (not task.charset and start is None):
        return charset_of(task.train, normalisation, opener)
    if task.charset:
        return load_charset(task.charset, normalisation)
    assert start is not None
    return replace(start.charset, normalisation=normalisation)


def validator(trainee: Trainee, datasets: Sequence[LabelledLines], config: TrainConfig) -> Validate:
    """Make the function that measures a recogniser on all of some datasets together, and judges it by its CER."""

    def validate(recognizer: nn.Module) -> Judgement:
        total = measure(recognizer, trainee.charset, trainee.preprocessing, datasets, config)
        figures = {"cer": total.cer, "line_accuracy": total.line_accuracy, "folded_cer": total.folded.cer}
        # A set without a single label character has no CER, and is worse than any.
        return Judgement(figures=figures, score=math.inf if math.isnan(total.cer) else total.cer, weights=recognizer)

    return validate


def measure(
    recognizer: nn.Module,
    charset: Charset,
    preprocessing: Preprocessing,
    datasets: Sequence[LabelledLines],
    config: TrainConfig,
    lookalikes: Lookalikes | None = None,
    losses: bool = False,
) -> Metrics:
    """Read some datasets with a recogniser of a run, once each, and return the figures of all of them together."""
    _, total = evaluate_datasets(
        recognizer,
        charset,
        preprocessing,
        datasets,
        batch_size=config.batch_size,
        device=str(next(recognizer.parameters()).device),
        workers=config.workers if sum(map(len, datasets)) > _MANY else 0,
        lookalikes=lookalikes,
        losses=losses,
    )
    return total

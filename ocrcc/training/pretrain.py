"""``ocrcc pretrain``: a recogniser from nothing, or from another's weights, by CTC alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from accelerate.utils import set_seed
from torch import nn

from ocrcc.charset import Charset, load_charset
from ocrcc.config import DataConfig, Preprocessing, PretrainConfig, TrainConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError
from ocrcc.evaluation.evaluate import evaluate_datasets
from ocrcc.files import whole
from ocrcc.models.checkpoint import LoadedModel, load_model
from ocrcc.models.registry import create_model
from ocrcc.models.transfer import Transfer, transfer
from ocrcc.training.loop import LogEntry, OnStep, TrainResult, train
from ocrcc.training.objective import CtcObjective
from ocrcc.training.run import Trainee, Validate
from ocrcc.training.sources import Sources, charset_of, check_paths, check_validation, open_datasets, open_sources

Task = TypeVar("Task", bound=DataConfig)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run will do, known before its first step.

    Attributes:
        trainee: What is trained.
        sources: On what.
        validation: The sets it is measured on.
        validate: Measures a recogniser on them; None without any.
        unreadable_characters: Characters of validation sets that the charset lacks, by set.
        transfer: What came along from another model, if it started from one.
    """

    trainee: Trainee
    sources: Sources
    validation: tuple[LmdbDataset, ...]
    validate: Validate | None
    unreadable_characters: Mapping[str, str]
    transfer: Transfer | None


def pretrain(
    task: PretrainConfig,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    on_start: Callable[[Prepared], None] = lambda _: None,
    on_log: Callable[[LogEntry], None] = lambda _: None,
) -> TrainResult:
    """Train a recogniser into a run folder.

    Args:
        task: What to train, on what.
        config: How.
        out: The run folder; made here.
        resume: Go on with the run in ``out``.
        device: ``auto``, or ``cpu``.
        on_start: Told what will happen, before the first step.
        on_log: Told of the run's course.

    Raises:
        ConfigError: ``out`` holds another run already.
        CharsetError: The charset lacks characters of the training labels.
        DataError: A dataset cannot be read, or ``out`` cannot be written.
        ModelError: The model to start from does not fit.
        StoppedError: The run was asked to stop; it can be resumed.
    """
    return launch(prepare, task, config, out, resume=resume, device=device, on_start=on_start, on_log=on_log)


def launch(
    prepare: Callable[[Task, TrainConfig, Path | None], Prepared],
    task: Task,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool,
    device: str,
    on_start: Callable[[Prepared], None],
    on_log: Callable[[LogEntry], None],
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
        device: ``auto``, or ``cpu``.
        on_start: Told what will happen, before the first step.
        on_log: Told of the run's course.
        before_first_step: Not called when a run is resumed.
        watcher: Makes what is told of every step.
    """
    check_paths(task.paths())
    if not resume and (out / "last.safetensors").exists():
        raise ConfigError(f"{out} holds a run already", f"go on with it: --resume {out}, or choose another --out")
    prepared = prepare(task, config, out if resume else None)
    make_run_folder(out, prepared.trainee.settings)
    on_start(prepared)
    if not resume:
        before_first_step(prepared)
    return train(
        prepared.trainee,
        prepared.sources.mixed,
        config,
        out,
        validate=prepared.validate,
        resume=resume,
        device=device,
        on_log=on_log,
        on_step=watcher(prepared),
    )


def prepare(task: PretrainConfig, config: TrainConfig, resume_from: Path | None) -> Prepared:
    """Open everything that a run needs and make its recogniser."""
    set_seed(config.seed)
    origin = resume_from / "last.safetensors" if resume_from else task.init_from
    start = load_model(origin, device="cpu") if origin else None
    charset = start.charset if resume_from and start else _charset(task, start)
    preprocessing = (
        start.preprocessing if start else Preprocessing(height=task.height, channels=1 if task.channels == 1 else 3)
    )
    arch = start.arch if start and resume_from else task.arch
    sources = open_sources(
        task.train, charset, mix=task.mix, corpus=task.corpus, unknown=config.unknown, seed=config.seed
    )
    recognizer = create_model(arch, charset.num_classes, preprocessing)
    validation = tuple(open_datasets(task.val))
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
        unreadable_characters=check_validation(validation, charset),
        transfer=transfer(start, recognizer, charset) if start else None,
    )


def _charset(task: PretrainConfig, start: LoadedModel | None) -> Charset:
    normalisation = task.normalisation or (start.charset.normalisation if start else "none")
    if task.charset == "from-data" or (not task.charset and start is None):
        return charset_of(task.train, normalisation)
    if task.charset:
        return load_charset(task.charset, normalisation)
    assert start is not None
    return replace(start.charset, normalisation=normalisation)


def validator(trainee: Trainee, datasets: Sequence[LmdbDataset], config: TrainConfig) -> Validate:
    """Make the function that measures a recogniser on all of some datasets together."""

    def validate(recognizer: nn.Module) -> Mapping[str, float]:
        _, total = evaluate_datasets(
            recognizer,
            trainee.charset,
            trainee.preprocessing,
            datasets,
            batch_size=config.batch_size,
            device=str(next(recognizer.parameters()).device),
            workers=config.workers,
        )
        return {"cer": total.cer, "line_accuracy": total.line_accuracy, "folded_cer": total.folded.cer}

    return validate


def make_run_folder(out: Path, settings: Mapping[str, Any]) -> None:
    """Make a run folder and write its ``config.toml``, which ``--config`` accepts.

    Raises:
        DataError: The folder cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made: {error.strerror}") from None
    with whole(out / "config.toml") as aside:
        aside.write_text("".join(f"{name} = {_toml(value)}\n" for name, value in settings.items()), encoding="utf-8")


def _toml(value: Any) -> str:
    # JSON's texts, numbers, booleans and lists of these are TOML's too.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=True)

"""``ocrcc finetune``: a model that reads already learns to tell look-alikes apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import nn

from ocrcc.charset import Charset, describe, load_charset
from ocrcc.config import FinetuneConfig, TrainConfig
from ocrcc.data.batching import TrainingChunks, training_batches
from ocrcc.errors import CharsetError, DataError
from ocrcc.lookalikes import load_lookalikes, sibling_table
from ocrcc.losses.center import Centers
from ocrcc.models.checkpoint import LoadedModel, load_model, pick_device
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import create_model
from ocrcc.models.transfer import transfer
from ocrcc.space.characters import Viewer, siblings_of
from ocrcc.space.snapshots import Snapshots
from ocrcc.training.loop import LogEntry, OnStep, TrainResult
from ocrcc.training.objective import CenterObjective
from ocrcc.training.pretrain import Prepared, launch, validator
from ocrcc.training.run import Trainee, Validate
from ocrcc.training.sources import charset_of, check_validation, open_datasets, open_sources, with_replay


def finetune(
    task: FinetuneConfig,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    on_start: Callable[[Prepared], None] = lambda _: None,
    on_log: Callable[[LogEntry], None] = lambda _: None,
) -> TrainResult:
    """Fine-tune a model into a run folder, with the same loop as pretraining.

    Args:
        task: What to fine-tune, on what, with which terms.
        config: How.
        out: The run folder; made here.
        resume: Go on with the run in ``out``.
        device: ``auto``, or ``cpu``.
        on_start: Told what will happen, before the first step.
        on_log: Told of the run's course.

    Raises:
        ConfigError: ``out`` holds another run already.
        CharsetError: The charsets differ and the policy is ``fail``, or labels have other characters.
        DataError: A dataset cannot be read, or not one of its lines can be aligned.
        ModelError: The pretrained model cannot be loaded.
        StoppedError: The run was asked to stop; it can be resumed.
    """
    return launch(
        prepare,
        task,
        config,
        out,
        resume=resume,
        device=device,
        on_start=on_start,
        on_log=on_log,
        before_first_step=lambda prepared: place_centers(prepared, task, config, pick_device(device)),
        watcher=lambda prepared: snapshots(prepared, task, out),
    )


def prepare(task: FinetuneConfig, config: TrainConfig, resume_from: Path | None) -> Prepared:
    """Open everything that a run needs; the model's rows and centers are kept by character."""
    set_seed(config.seed)
    start = load_model(resume_from / "last.safetensors" if resume_from else task.pretrained, device="cpu")
    charset = start.charset if resume_from else choose_charset(task, start)
    open_general = partial(open_sources, charset=charset, corpus=task.corpus, unknown=config.unknown, seed=config.seed)
    sources = with_replay(open_general(task.train, mix=task.mix), open_general(task.replay), task.replay_share)
    recognizer = create_model(start.arch, charset.num_classes, start.preprocessing)
    moved = transfer(start, recognizer, charset)
    centers = Centers(charset.num_classes, recognizer.feature_width, task.center_alpha)
    if moved.centers is not None and moved.center_counts is not None:
        centers.centers.copy_(moved.centers)
        centers.center_counts.copy_(moved.center_counts)
    groups = load_lookalikes(task.lookalikes).for_training()
    siblings = torch.tensor(sibling_table(groups, charset), dtype=torch.int64)
    pretrained = _pretrained(task, start, charset)
    trainee = Trainee(
        recognizer=recognizer,
        arch=start.arch,
        charset=charset,
        preprocessing=start.preprocessing,
        objective=CenterObjective(
            task, recognizer.head, siblings, centers, teacher=pretrained if task.distill_weight else None
        ),
        pretrained=pretrained,
        pretrained_share=task.pretrained_share,
        settings={**asdict(task), **asdict(config)},
    )
    validation = tuple(open_datasets(task.val))
    validate = validator(trainee, validation, config) if validation else None
    if validate is not None and pretrained is not None and task.retain:
        measure = validator(trainee, open_datasets(task.retain), config)
        validate = retaining(validate, measure, pretrained, task.retain_tolerance)
    return Prepared(
        trainee=trainee,
        sources=sources,
        validation=validation,
        validate=validate,
        unreadable_characters=check_validation(validation, charset),
        transfer=moved,
    )


def _pretrained(task: FinetuneConfig, start: LoadedModel, charset: Charset) -> Recognizer | None:
    """Load the model that the run started from, as it was, if any setting needs it."""
    if not (task.retain or task.pretrained_share or task.distill_weight):
        return None
    recognizer = create_model(start.arch, charset.num_classes, start.preprocessing)
    transfer(load_model(task.pretrained, device="cpu"), recognizer, charset)
    return recognizer.eval().requires_grad_(False)


def retaining(validate: Validate, measure: Validate, pretrained: Recognizer, tolerance: float) -> Validate:
    """Add to a validation whether what the pretrained model could read is being forgotten.

    Args:
        validate: Measures what is to become better.
        measure: Measures what is to stay as it was.
        pretrained: Gives the figure to hold; measured when it is first needed.
        tolerance: Rise of the CER that is let pass.
    """
    held: list[float] = []

    def both(recognizer: nn.Module) -> Mapping[str, float]:
        device = next(recognizer.parameters()).device
        if not held:
            held.append(measure(pretrained.to(device))["cer"])
        now = measure(recognizer)["cer"]
        return {
            **validate(recognizer),
            "retained_cer": now,
            "retained_cer_before": held[0],
            "forgets": float(now > held[0] + tolerance),
        }

    return both


def choose_charset(task: FinetuneConfig, start: LoadedModel) -> Charset:
    """Bring the wanted charset and the pretrained model's together, as the policy says.

    Raises:
        CharsetError: They differ, and the policy is ``fail``.
    """
    if not task.charset:
        return start.charset
    normalisation = start.charset.normalisation
    wanted = (
        charset_of(task.train, normalisation)
        if task.charset == "from-data"
        else load_charset(task.charset, normalisation)
    )
    new = [char for char in wanted if char not in start.charset]
    gone = [char for char in start.charset if char not in wanted]
    match task.charset_policy:
        case "extend":
            return start.charset.merge(wanted)
        case "replace":
            return wanted
    if not new and not gone:
        return start.charset
    differences = [f"lacks {describe(new)}"] if new else []
    differences += [f"has {len(gone)} that it lacks: {describe(gone, 5)}"] if gone else []
    raise CharsetError(
        f"{start.path}: beside charset {wanted.name!r}, the model {' and '.join(differences)}",
        "--charset-policy extend keeps its characters and adds the new; replace drops the others",
    )


def place_centers(prepared: Prepared, task: FinetuneConfig, config: TrainConfig, device: str) -> None:
    """Place the centers of classes that have none at the mean of their aligned features, in one pass.

    Args:
        prepared: The run; its centers are placed.
        task: Says how many lines are read.
        config: Of the training stream whose first lines are read.
        device: Where to.

    Raises:
        DataError: Not one character could be aligned.
    """
    trainee = prepared.trainee
    objective, recognizer = trainee.objective, trainee.recognizer
    assert isinstance(objective, CenterObjective)
    if bool((objective.center_counts > 0).any()):
        return
    chunks = TrainingChunks(
        prepared.sources.mixed,
        trainee.charset,
        trainee.preprocessing,
        width_stride=recognizer.width_stride,
        batch_size=config.batch_size,
        seed=config.seed,
        strength=config.augment,
    )
    batches = training_batches(chunks, workers=config.workers)
    recognizer.to(device).eval()
    objective.to(device)
    endless = any(source.size is None for source in prepared.sources.mixed)
    wanted = task.init_lines if endless else min(task.init_lines, prepared.sources.lines)
    read = placed = 0
    with torch.no_grad():
        while read < wanted:
            batch = next(batches).batch.to(device)
            placed += objective.place(batch, recognizer(batch.images))
            read += len(batch.labels)
    recognizer.train()
    if read and not placed:
        raise DataError("not one line could be aligned", "are the labels longer than the lines, or all empty?")


def snapshots(prepared: Prepared, task: FinetuneConfig, out: Path) -> OnStep:
    """Make what writes the feature space of validation lines, or else of training lines, if that is asked for."""
    if not task.project_every:
        return lambda _step, _recognizer: None
    trainee = prepared.trainee
    assert isinstance(trainee.objective, CenterObjective)
    lookalikes = load_lookalikes(task.lookalikes).for_training()
    viewer = Viewer(
        recognizer=trainee.recognizer,
        charset=trainee.charset,
        preprocessing=trainee.preprocessing,
        device="cpu",
        siblings=siblings_of(lookalikes, trainee.charset),
        centers=trainee.objective.moving,
    )
    sources = prepared.validation or [mixed.source for mixed in prepared.sources.mixed]
    return Snapshots(viewer, sources, lookalikes, task.project_every, out / "tensorboard")

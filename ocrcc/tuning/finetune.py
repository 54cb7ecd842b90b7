"""``ocrcc finetune``: a model that reads already learns lines of one's own, and to tell look-alikes apart."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import nn

from ocrcc.charset import Charset, describe
from ocrcc.config import FinetuneConfig, Preprocessing, TrainConfig
from ocrcc.data.batching import MixedSource, TrainingChunks, training_batches
from ocrcc.datasets.opened import Opener, Say
from ocrcc.errors import DataError
from ocrcc.evaluation.report import Metrics
from ocrcc.lookalikes import Lookalikes, load_lookalikes, sibling_table
from ocrcc.losses.center import Centers
from ocrcc.models.checkpoint import LoadedModel, load_model, pick_device
from ocrcc.models.contract import fingerprint
from ocrcc.models.experts import can_have_an_expert, one_encoder, parsed
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import create_model
from ocrcc.space.characters import Viewer, siblings_of
from ocrcc.space.snapshots import Snapshots
from ocrcc.training.loop import LogEntry, OnStep, TrainResult
from ocrcc.training.objective import CenterObjective
from ocrcc.training.pretrain import Prepared, launch, measure, validator
from ocrcc.training.run import Trainee
from ocrcc.training.sources import Sources, check_validation, open_sources, with_replay
from ocrcc.training.transfer import Transfer, transfer
from ocrcc.tuning.general_lines import general_lines
from ocrcc.tuning.guard import Guard, Verdict, verdict
from ocrcc.tuning.kinds import Looker, Remembering, keep_expert, kept_expert, plan_expert
from ocrcc.tuning.new_characters import choose_charset, place_all, robbing
from ocrcc.tuning.own_lines import parted, trusted
from ocrcc.tuning.pace import of_another_make, with_length, with_rate
from ocrcc.types import LabelledLines

_SILENT = -40.0
"""The logit of a class that is never read."""
_UNREADABLE = 0.6
"""A model that misreads so many of the characters of general lines has never learned them, and cannot forget them."""


@dataclass(frozen=True, kw_only=True)
class TuneResult(TrainResult):
    """How a fine-tuning ended.

    Attributes:
        verdict: The model that is kept beside the pretrained one; None if nothing guarded it.
    """

    verdict: Verdict | None


def finetune(
    task: FinetuneConfig,
    config: TrainConfig,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    on_start: Callable[[Prepared], None] = lambda _: None,
    on_log: Callable[[LogEntry], None] = lambda _: None,
    say: Say = lambda _: None,
) -> TuneResult:
    """Fine-tune a model into a run folder, with the same loop as pretraining.

    Args:
        task: What to fine-tune, on what, with which terms.
        config: How; a `ocrcc.config.TuneConfig` may leave its length to the number of lines.
        out: The run folder; made here.
        resume: Go on with the run in ``out``.
        device: ``auto``, or ``cpu``.
        on_start: Told what will happen, before the first step.
        on_log: Told of the run's course.
        say: Told of lines of label files that cannot be used.

    Returns:
        How it ended; its verdict compares the model that is kept with the pretrained one.

    Raises:
        ConfigError: ``out`` holds another run already.
        CharsetError: The charsets differ and the policy is ``fail``, or labels have other characters.
        DataError: A dataset cannot be read, or not one of its lines can be aligned.
        ModelError: The pretrained model cannot be loaded.
        StoppedError: The run was asked to stop; it can be resumed.
    """
    result = launch(
        partial(prepare, device=pick_device(device)),
        task,
        config,
        out,
        resume=resume,
        device=device,
        on_start=on_start,
        on_log=on_log,
        say=say,
        before_first_step=lambda prepared: _begin(prepared, task, out, pick_device(device)),
        watcher=lambda prepared: snapshots(prepared, task, out),
    )
    assert isinstance(result, TuneResult)
    return result


def prepare(
    task: FinetuneConfig,
    config: TrainConfig,
    out: Path,
    resume: bool,
    say: Say,
    *,
    device: str = "cpu",
    left_out: Mapping[str, int] | None = None,
) -> Prepared:
    """Open everything that a run needs; the model's rows and centers are kept by character.

    New characters that are found to be read where known ones stand are left out, and all begins once more without them.
    """
    set_seed(config.seed)
    opener, notes, asked = Opener(out, resume or bool(left_out), say), list[str](), config
    given = load_model(task.pretrained, device="cpu")
    start = load_model(out / "last.safetensors", device="cpu") if resume else given
    charset = start.charset if resume else choose_charset(task, start, opener)
    if left_out:
        notes.append(
            f"{describe(list(left_out))}: read where known characters stand, on up to {max(left_out.values())} general "
            "lines, so they are not learned, and lines with them are left out. Are they forms of known ones, such as "
            "full-width digits? Then label them as these"
        )
        charset = replace(charset, symbols="".join(char for char in charset if char not in left_out))
    open_some = partial(
        open_sources, charset=charset, opener=opener, corpus=task.corpus, unknown=config.unknown, seed=config.seed
    )
    # What is tuned knows the charset: a text that has all of it alike often would only tell it what is common.
    own = open_some(task.train, mix=task.mix, balanced_over="texts")
    pretrained, moved = _moved(given, charset)
    recognizer, now = _moved(start, charset) if resume else (copy.deepcopy(pretrained), moved)
    pretrained.eval().requires_grad_(False)
    lookalikes = load_lookalikes(task.lookalikes).for_training()
    untrained = ""
    if task.guard:
        own, untrained = trusted(own, pretrained, charset, start.preprocessing, config, device, notes)
    own, validation, too_few = parted(own, [opener(path) for path in task.val], task, config, notes)
    config = with_length(config, own.lines)
    if now.new and not resume:
        notes.append(place_all(recognizer, now, charset, start, own, task, config, device))
    looker = None
    if task.guard and task.experts and not (untrained or too_few) and can_have_an_expert(pretrained):
        looker = Looker(pretrained, charset, start.preprocessing, config.batch_size, config.seed, device)
    others = of_another_make(given.arch)
    config = with_rate(config, others, behind=looker is not None)
    pretrained.to(device)
    seen = pretrained if looker is None else Remembering(pretrained, looker.memory)
    retained, apart, replay = _general(task, config, charset, start.preprocessing, opener, seen, notes)
    if now.new and not resume:
        robbers = robbing(recognizer, now.new, charset, start.preprocessing, [*retained, *apart], device)
        if robbers:
            again = replace(asked, unknown="skip")
            return prepare(task, again, out, resume, say, device=device, left_out={**(left_out or {}), **robbers})
    replay = replay or open_some(task.replay)
    expert = None
    if looker is not None:
        if resume:
            expert = kept_expert(out, pretrained, given.arch)
        else:
            expert = plan_expert(
                looker,
                given.arch,
                own=own.mixed,
                general=replay.mixed,
                apart=apart,
                held_back=validation,
                retained=retained,
                say=notes.append,
            )
    frozen = looker is not None and (expert is not None or others)
    memory = looker.memory if looker is not None and frozen else None
    if expert is None:
        retained += apart
        recognizer.backbone.requires_grad_(not frozen)
    else:
        if apart:
            notes.append(f"{sum(map(len, apart))} of the general lines were shown to its gate, and are not measured on")
        if not resume:
            recognizer = one_encoder(recognizer, expert.grown_from)
        recognizer.requires_grad_(False)
        recognizer.encoder.requires_grad_(True)
    trainee = Trainee(
        recognizer=recognizer,
        arch=start.arch if expert is None else parsed(start.arch)[0],
        charset=charset,
        preprocessing=start.preprocessing,
        objective=_objective(
            task, now, lookalikes, recognizer, charset, pretrained, tunes_expert=expert is not None, frozen=frozen
        ),
        pretrained=pretrained if task.guard else None,
        settings={**asdict(task), **asdict(config)},
        lineage={"pretrained": fingerprint(given.path)},
    )

    def reading(datasets: Sequence[LabelledLines]) -> Callable[[nn.Module], Metrics]:
        def read(model: nn.Module) -> Metrics:
            if memory is not None:
                assert isinstance(model, Recognizer)
                model = Remembering(model, memory)
            return measure(model, charset, start.preprocessing, datasets, config, lookalikes, losses=True)

        return read

    new = [charset.id(char) for char in moved.new]
    guard = Guard(pretrained, reading(validation), reading(retained) if retained else None, new, expert)
    validate = None
    if validation:
        validate = guard if task.guard else validator(trainee, validation, config)
    untrained = untrained or (too_few if task.guard else "")
    return Prepared(
        trainee=trainee,
        sources=with_replay(own, replay, task.replay_share),
        validation=tuple(validation),
        validate=None if untrained else validate,
        config=config,
        unreadable_characters=check_validation(validation, charset),
        transfer=moved,
        notes=tuple(notes),
        untrained=untrained,
        conclude=partial(_conclude, guard=guard if task.guard else None, untrained=untrained),
    )


def _moved(loaded: LoadedModel, charset: Charset) -> tuple[Recognizer, Transfer]:
    """Take a model's weights into a charset; it does not read the new characters of that."""
    recognizer = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
    moved = transfer(loaded, recognizer, charset)
    new = [charset.id(char) for char in moved.new]
    with torch.no_grad():  # by chance they might be read, and another time, as in a resumed run, others
        recognizer.head.weight[new], recognizer.head.bias[new] = 0.0, _SILENT
    return recognizer, moved


def _objective(
    task: FinetuneConfig,
    moved: Transfer,
    lookalikes: Lookalikes,
    recognizer: Recognizer,
    charset: Charset,
    pretrained: Recognizer,
    tunes_expert: bool,
    frozen: bool,
) -> CenterObjective:
    # Lines that are no expert's keep their distances to the centers too.
    centers = Centers(charset.num_classes, recognizer.feature_width, 0.0 if tunes_expert else task.center_alpha)
    if moved.centers is not None and moved.center_counts is not None:
        centers.centers.copy_(moved.centers)
        centers.center_counts.copy_(moved.center_counts)
    siblings = torch.tensor(sibling_table(lookalikes, charset), dtype=torch.int64)
    return CenterObjective(task, recognizer.head, siblings, centers, pretrained, same_frames=frozen)


def _general(
    task: FinetuneConfig,
    config: TrainConfig,
    charset: Charset,
    preprocessing: Preprocessing,
    opener: Opener,
    pretrained: nn.Module,
    notes: list[str],
) -> tuple[list[LabelledLines], list[LabelledLines], Sources | None]:
    """Open or render what the model is to go on reading: to be measured on, the like, and to be learned beside."""
    given: list[LabelledLines] = [opener(path) for path in task.retain]
    wanted = task.replay_share and not task.replay
    if not task.guard or not (wanted or not given):
        return given, [], None
    general = general_lines(charset, task.corpus, config.seed, notes.append)
    if general is None:
        return given, [], None
    misread = measure(pretrained, charset, preprocessing, general.retained, config).cer
    if misread > _UNREADABLE:
        notes.append(
            f"the model misreads {misread:.0%} of the characters of rendered lines, so they are none that it could "
            "forget: --retain and --replay name others"
        )
        return given, [], None
    measured = sum(map(len, (*general.retained, *general.apart)))
    notes.append(f"general lines, {general.where_from}: {measured} to be measured on")
    replay = None
    if wanted:
        mixed = MixedSource(source=general.replay, weight=1.0)
        replay = Sources(mixed=(mixed,), lines=0, skipped={}, missing=Counter())
    return given or list(general.retained), [] if given else list(general.apart), replay


def _conclude(result: TrainResult, guard: Guard | None, untrained: str) -> TuneResult:
    """Say what fine-tuning came to."""
    found = None if guard is None else Verdict(share=0.0, reason=untrained) if untrained else _verdict(result, guard)
    return TuneResult(**vars(result), verdict=found)


def _verdict(result: TrainResult, guard: Guard) -> Verdict:
    """Read all lines with the model that was kept."""
    share = result.best["tuned_share"]
    after = guard.before
    if share:
        best = load_model(result.out / "best.safetensors", device=str(next(guard.pretrained.parameters()).device))
        after = guard.measure(best.recognizer)
    return verdict(guard.before, after, share, ("own lines", "general lines"))


def _begin(prepared: Prepared, task: FinetuneConfig, out: Path, device: str) -> None:
    """Do what a resumed run finds done."""
    keep_expert(out, prepared.validate.expert if isinstance(prepared.validate, Guard) else None)
    place_centers(prepared, task, prepared.config, device)


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
    own = [mixed for mixed in prepared.sources.mixed if not mixed.replayed]  # the terms are about these alone
    chunks = TrainingChunks(
        own,
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
    endless = any(mixed.size is None for mixed in own)
    wanted = task.init_lines if endless else min(task.init_lines, sum(mixed.size or 0 for mixed in own))
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

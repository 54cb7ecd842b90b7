"""Settings of pretraining and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ocrcc.config.image import Preprocessing
from ocrcc.config.reading import DEFAULT_MODEL
from ocrcc.config.setting import (
    DATA,
    GENERAL,
    LEARNING,
    LENGTH,
    LOOKALIKES,
    MODEL,
    SAVING,
    SPEED,
    check_numbers,
    setting,
)
from ocrcc.errors import ConfigError

Precision = Literal["no", "bf16", "fp16"]
Unknown = Literal["fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What pretrain and finetune share.

    Attributes:
        seed: Of weights, order, augmentation and rendering.
        steps: Optimizer steps; 0 leaves the end to `epochs` or `minutes`.
        epochs: Passes over the lines of ``train``, each seen once on average; 0 means not set.
        minutes: Minutes of training; 0 means not set.
        batch_size: Lines a step and process, at most; lines of a rare width make smaller batches.
        optimizer: Any name that timm's optimizer factory knows.
        learning_rate: At the peak of the schedule.
        weight_decay: As the optimizer defines it.
        schedule: cosine, tanh, poly (a straight line), step (to a tenth after each third), multistep (to a tenth at a
            half and at three quarters), another that timm's scheduler factory knows and that needs no figure, or none.
        warmup: Share of the run in which the learning rate rises, 0..1.
        clip_norm: Gradients are scaled down to this norm; 0 for never.
        ema_decay: Of the averaged weights that are evaluated and saved; 0 for none.
        freeze_backbone: Steps at the start in which only the encoder and the classifier learn.
        freeze_norm: Leave the means and variances of batch norms as they are: small batches of one kind of line
            would soon replace what millions of lines have given.
        precision: ``no``, ``bf16`` or ``fp16``.
        compile: Compile the recogniser with torch.compile: some minutes at the start, then far quicker steps. It
            needs a C++ compiler (on a GPU, Triton); a resumed run may differ in the last bits.
        augment: Strength of the augmentation, 0 (none) to 1 (strong).
        workers: Processes that load and augment; 0 loads in the main process.
        threads: CPU threads of the training process; 0 lets torch decide.
        log_every: Steps.
        eval_every: Steps between validations; 0 for only at the end.
        save_every: Steps between saves of ``last``; 0 for only at the end.
        patience: Validations without a better one after which training stops; 0 for never.
        unknown: What to do with lines that have characters the charset lacks: ``fail``, or ``skip`` and
            count.
    """

    ends: ClassVar[tuple[int, ...]] = (1,)
    """How many of the three ends may be given."""
    rate_is_given: ClassVar[bool] = True
    """Whether the learning rate cannot be left open by 0."""

    seed: int = setting(0, LEARNING)
    steps: int = setting(0, LENGTH)
    epochs: float = setting(0, LENGTH)
    minutes: float = setting(0, LENGTH)
    batch_size: int = setting(48, LEARNING, short="-b")
    optimizer: str = setting("adamw", LEARNING, "NAME")
    learning_rate: float = setting(1e-3, LEARNING)
    weight_decay: float = setting(0.02, LEARNING)
    schedule: str = setting("cosine", LEARNING, "NAME")
    warmup: float = setting(0.05, LEARNING)
    clip_norm: float = setting(5.0, LEARNING)
    ema_decay: float = setting(0.998, LEARNING)
    freeze_backbone: int = setting(0, LEARNING)
    freeze_norm: bool = setting(False, LEARNING)
    precision: Precision = setting("no", SPEED)
    compile: bool = setting(False, SPEED)
    augment: float = setting(0.5, LEARNING)
    workers: int = setting(2, SPEED, short="-j")
    threads: int = setting(0, SPEED)
    log_every: int = setting(20, SAVING)
    eval_every: int = setting(500, SAVING)
    save_every: int = setting(500, SAVING)
    patience: int = setting(0, LENGTH)
    unknown: Unknown = setting("fail", DATA)

    def __post_init__(self) -> None:
        check_numbers(self)
        problems = []
        if sum(bool(end) for end in (self.steps, self.epochs, self.minutes)) not in self.ends:
            problems.append("give exactly one of steps, epochs and minutes")
        for name in (
            "steps",
            "epochs",
            "minutes",
            "clip_norm",
            "freeze_backbone",
            "workers",
            "threads",
            "eval_every",
            "save_every",
            "patience",
            "weight_decay",
        ):
            if getattr(self, name) < 0:
                problems.append(f"{name} is negative: {getattr(self, name)}")
        for name in ("batch_size", "learning_rate", "log_every"):
            free = name == "learning_rate" and not self.rate_is_given
            if getattr(self, name) < 0 or not (getattr(self, name) or free):
                problems.append(f"{name} is {'negative' if free else 'not positive'}: {getattr(self, name)}")
        for name in ("warmup", "augment"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(f"{name} is {getattr(self, name)}, not 0..1")
        if not 0 <= self.ema_decay < 1:
            problems.append(f"ema_decay is {self.ema_decay}, not 0..1, without 1")
        if problems:
            raise ConfigError("; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class TuneConfig(TrainConfig):
    """How fine-tuning trains: gently, and for as long as there are lines to learn from.

    Attributes:
        steps: Optimizer steps; 0 leaves the end to `epochs` or `minutes`, and without these to the number of lines.
        learning_rate: At the peak of the schedule; 0 for 3e-4, and 1e-4 for recognisers of other makes
            behind a backbone that stays as it is, 3e-5 for all of their weights.
        eval_every: Steps between validations; 0 for five in a run.
    """

    ends: ClassVar[tuple[int, ...]] = (0, 1)
    rate_is_given: ClassVar[bool] = False

    batch_size: int = 32
    learning_rate: float = 0.0
    warmup: float = 0.1
    ema_decay: float = 0.98
    freeze_norm: bool = True
    eval_every: int = 0
    save_every: int = 200


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What training draws lines from, and is measured on.

    Attributes:
        train: Datasets, label files, folders with labels, or synth:PRESET for lines rendered on the fly; repeat it
            to mix several.
        mix: Weights of the training sources, in their order; without it, datasets count by their lines and
            rendered lines as much as all datasets together.
        val: Datasets, or labels, to validate on.
        corpus: Text files for rendered lines.
    """

    train: tuple[str, ...] = setting((), DATA, "LINES", short="-t")
    mix: tuple[float, ...] = setting((), DATA)
    val: tuple[str, ...] = setting((), DATA, "LINES")
    corpus: tuple[str, ...] = setting((), DATA, "FILE")

    def __post_init__(self) -> None:
        check_numbers(self)
        if not self.train:
            raise ConfigError("nothing to train on", "give --train LMDB, or --train synth:documents")
        if self.mix and (len(self.mix) != len(self.train) or min(self.mix) <= 0):
            given = ", ".join(map(str, self.mix))
            raise ConfigError(f"mix must give each training source a positive weight, not {given}")

    def paths(self) -> tuple[str, ...]:
        """Return everything that lines are drawn from or measured on."""
        return self.train + self.val


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(DataConfig):
    """What is trained.

    Attributes:
        arch: A name of ocrcc models, or timm/NAME.
        charset: A name, a file, or from-data; by default that of the model to start from, else from-data.
        normalisation: Of labels; by default that of the model to start from, else none.
        label_order: Of labels with letters that are written from right to left: typed, which are reordered to how they
            stand on the line, and back when they are read; or line, from left to right. By default that of the model to
            start from, else typed.
        init_from: A model whose weights to start from; known characters keep their classifier rows.
        height: Pixels that lines are scaled to, without a model to start from.
        channels: 1 for grey, 3 for colour, without a model to start from.
    """

    arch: str = setting("hgnetv2_b0", MODEL, "ARCH")
    charset: str = setting("", MODEL, "CHARSET")
    normalisation: Literal["", "none", "nfc", "nfkc", "halfwidth"] = setting("", MODEL)
    label_order: Literal["", "typed", "line"] = setting("", MODEL)
    init_from: str = setting("", MODEL, "MODEL")
    height: int = setting(Preprocessing.height, MODEL)
    channels: int = setting(Preprocessing.channels, MODEL)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(DataConfig):
    """What is fine-tuned, and what separates look-alikes. All weights at 0 are the control: CTC alone.

    Attributes:
        pretrained: The model to start from: a file, a run folder, a shipped model's name, or hf://owner/name.
        charset: A name, a file, or from-data; by default the pretrained model's.
        charset_policy: What becomes of characters that the model lacks: extend adds them, fail names them, replace
            leaves the model with the given charset alone. Characters of both keep their classifier rows and centers.
        lookalikes: The groups whose members are told apart: a shipped name or a TSV file.
        replay: General lines mixed in, on which the model is to go on saying what it said before: datasets, or
            synth:PRESET; by default lines that are rendered with the fonts at hand.
        replay_share: Of all lines, 0..1; 0 for none.
        retain: Datasets that the model read well before and shall read as well after; by default rendered lines.
        experts: Where lines of the kind can be told from general ones by their looks, tune an encoder for these alone;
            all other lines are then read exactly as before. Else all weights are tuned, of recognisers of other makes
            those behind the backbone; without it, all.
        guard: Keep the best mixture of the old weights and the tuned ones, and the old ones where none reads own lines
            better and general lines as well. Without it the tuned weights are kept as they are.
        center_weight: Of the center loss: half the squared distance to the own center, over the feature width; 10 where
            one look-alike in ten or twenty is mislabelled.
        center_alpha: Update rate of the centers, 0..1.
        twin_weight: Of the cross-entropy among a character and its look-alikes alone.
        term_warmup: Steps in which these weights rise from 0.
        init_lines: Lines read at the start to place the first centers; of datasets, each line once at most.
        project_every: Steps between snapshots of the feature space, for TensorBoard's projector; 0 for none.
    """

    pretrained: str = setting(DEFAULT_MODEL, MODEL, "MODEL")
    charset: str = setting("", MODEL, "CHARSET")
    charset_policy: Literal["extend", "fail", "replace"] = setting("extend", MODEL)
    lookalikes: str = setting("gb2312", LOOKALIKES, "GROUPS")
    replay: tuple[str, ...] = setting((), GENERAL, "LINES")
    replay_share: float = setting(0.5, GENERAL)
    retain: tuple[str, ...] = setting((), GENERAL, "LINES")
    experts: bool = setting(True, GENERAL)
    guard: bool = setting(True, GENERAL)
    center_weight: float = setting(0.01, LOOKALIKES)
    center_alpha: float = setting(0.5, LOOKALIKES)
    twin_weight: float = setting(0.1, LOOKALIKES)
    term_warmup: int = setting(200, LOOKALIKES)
    init_lines: int = setting(1000, LOOKALIKES)
    project_every: int = setting(0, SAVING)

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        for name in (
            "center_weight",
            "twin_weight",
            "term_warmup",
            "init_lines",
            "project_every",
        ):
            if getattr(self, name) < 0:
                problems.append(f"{name} is negative: {getattr(self, name)}")
        if not 0 <= self.center_alpha <= 1:
            problems.append(f"center_alpha is {self.center_alpha}, not 0..1")
        if not 0 <= self.replay_share < 1:
            problems.append(f"replay_share is {self.replay_share}, not 0..1, without 1")
        if problems:
            raise ConfigError("; ".join(problems))

    def paths(self) -> tuple[str, ...]:
        """Return everything that lines are drawn from or measured on."""
        return super().paths() + self.replay + self.retain

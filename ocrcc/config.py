"""Every setting with its one default; the command line and Python read the same classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ocrcc.errors import ConfigError

DEFAULT_MODEL = "ocrcc-zh-small"
"""The shipped model: what reads, and what is fine-tuned, where none is named."""
SECOND_LOOK = 0.7
"""Below this confidence lines are read again; tests/benchmarks/second_look.py compares."""
Precision = Literal["no", "bf16", "fp16"]
Unknown = Literal["fail", "skip"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a line image becomes a recogniser's input. It belongs to the model and travels with it.

    A line is made upright and one-colour or RGB, brought to dark on light if asked, scaled to `height` with
    its aspect kept, normalised, and padded on the right with zeros to a width that depends on nothing but
    its own (`padded_width`). So what is read on a line never depends on its neighbours in a batch.

    Attributes:
        height: Pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: Subtracted from pixels scaled to 0..1.
        std: What the difference is divided by.
        polarity: ``keep``, or ``dark-on-light`` to invert lines whose background is darker than their text.
        width_step: Pixels; padded widths are multiples of it.
        max_width: Pixels; wider lines are squeezed to it.
    """

    height: int = 32
    channels: Literal[1, 3] = 1
    mean: float = 0.5
    std: float = 0.25
    polarity: Literal["keep", "dark-on-light"] = "dark-on-light"
    width_step: int = 32
    max_width: int = 3200

    def __post_init__(self) -> None:
        problems = []
        if not 8 <= self.height <= 512:
            problems.append(f"height is {self.height}, not 8..512")
        if self.channels not in (1, 3):
            problems.append(f"channels is {self.channels}, not 1 or 3")
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            problems.append(f"mean {self.mean} and std {self.std} do not normalise")
        if self.polarity not in ("keep", "dark-on-light"):
            problems.append(f"polarity is {self.polarity!r}, not keep or dark-on-light")
        if not 4 <= self.width_step <= self.max_width <= 100_000:
            problems.append(f"width_step {self.width_step} and max_width {self.max_width} do not fit")
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems))

    def scaled_width(self, width: int, height: int) -> int:
        """Return the pixels that an image of this size is wide once it is `height` high."""
        return max(4, min(self.max_width, round(width * self.height / height)))

    def padded_width(self, scaled_width: int) -> int:
        """Return the input width of a scaled line: coarser steps for longer lines, so that batches fill.

        >>> [Preprocessing().padded_width(width) for width in (4, 32, 33, 700)]
        [32, 32, 64, 704]
        """
        step = self.width_step * (1 if scaled_width <= 16 * self.width_step else 2)
        return math.ceil(scaled_width / step) * step


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """What pretrain and finetune share.

    Attributes:
        seed: Of weights, order, augmentation and rendering.
        steps: Optimizer steps; 0 leaves the end to `epochs` or `minutes`.
        epochs: Passes over the training lines; 0 means not set.
        minutes: Minutes of training; 0 means not set.
        batch_size: Lines a step and process, at most; lines of a rare width make smaller batches.
        optimizer: Any name that timm's optimizer factory knows.
        learning_rate: At the peak of the schedule.
        weight_decay: As the optimizer defines it.
        schedule: Any name that timm's scheduler factory knows, or ``none``.
        warmup: Share of the run in which the learning rate rises, 0..1.
        clip_norm: Gradients are scaled down to this norm; 0 for never.
        ema_decay: Of the averaged weights that are evaluated and saved; 0 for none.
        freeze_backbone: Steps at the start in which only the encoder and the classifier learn.
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

    seed: int = 0
    steps: int = 0
    epochs: float = 0
    minutes: float = 0
    batch_size: int = 48
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    schedule: str = "cosine"
    warmup: float = 0.05
    clip_norm: float = 5.0
    ema_decay: float = 0.998
    freeze_backbone: int = 0
    precision: Precision = "no"
    compile: bool = False
    augment: float = 0.5
    workers: int = 2
    threads: int = 0
    log_every: int = 20
    eval_every: int = 500
    save_every: int = 500
    patience: int = 0
    unknown: Unknown = "fail"

    def __post_init__(self) -> None:
        problems = []
        if sum(bool(end) for end in (self.steps, self.epochs, self.minutes)) != 1:
            problems.append("give exactly one of steps, epochs and minutes")
        for name in (
            "steps",
            "epochs",
            "minutes",
            "warmup",
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
                problems.append(f"{name} is negative")
        for name in ("batch_size", "learning_rate", "log_every"):
            if getattr(self, name) <= 0:
                problems.append(f"{name} is not positive")
        for name in ("warmup", "augment"):
            if getattr(self, name) > 1:
                problems.append(f"{name} is over 1")
        if not 0 <= self.ema_decay < 1:
            problems.append("ema_decay is not in 0..1")
        if problems:
            raise ConfigError("; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What training draws lines from, and is measured on.

    Attributes:
        train: Datasets, or synth:PRESET for lines rendered on the fly; repeat it to mix several. When hard
            lines are learned, general ones beside them keep the model from forgetting.
        mix: Weights of the training sources, in their order; without it, datasets count by their lines and
            rendered lines as much as all datasets together.
        val: Datasets to validate on.
        corpus: Text files for rendered lines.
    """

    train: tuple[str, ...] = ()
    mix: tuple[float, ...] = ()
    val: tuple[str, ...] = ()
    corpus: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.train:
            raise ConfigError("nothing to train on", "give --train LMDB, or --train synth:documents")
        if self.mix and (len(self.mix) != len(self.train) or min(self.mix) <= 0):
            raise ConfigError("mix must give each training source a positive weight")

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
        init_from: A model whose weights to start from; known characters keep their classifier rows.
        height: Pixels that lines are scaled to.
        channels: 1 for grey, 3 for colour.
    """

    arch: str = "hgnetv2_b0"
    charset: str = ""
    normalisation: Literal["", "none", "nfc", "nfkc", "halfwidth"] = ""
    init_from: str = ""
    height: int = Preprocessing.height
    channels: int = Preprocessing.channels


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(DataConfig):
    """What is fine-tuned, and what separates look-alikes. All weights at 0 are the control: CTC alone.

    Attributes:
        pretrained: The model to start from: a file, a run folder, a shipped model's name, or hf://owner/name.
        charset: A name, a file, or from-data; by default the pretrained model's.
        charset_policy: When the two charsets differ: fail, extend the pretrained one, or replace it.
            Characters of both keep their classifier rows and centers.
        lookalikes: The groups whose members are told apart: a shipped name or a TSV file.
        replay: General lines mixed in, so that what the model knew is not forgotten: datasets, or synth:PRESET.
        replay_share: Of all lines, 0..1.
        retain: Datasets that the model read well before and shall read as well after: a model whose CER on
            them has risen is never the best.
        retain_tolerance: Rise of that CER that is let pass, 0..1.
        pretrained_share: Of the pretrained weights in the weights that are measured and saved, 0..1: their
            average forgets less (Wortsman et al. 2022).
        distill_weight: Of the divergence from the pretrained model's posteriors, on all frames but those of
            characters with look-alikes.
        alignment: Which feature stands for a character: that of the frame with the highest posterior (peak),
            or the mean over its frames.
        center_weight: Of the center loss: half the squared distance to the own center, over the feature width.
        center_alpha: Update rate of the centers, 0..1.
        sibling_weight: Of the hinge on the margin to the nearest look-alike's center.
        sibling_margin: What that hinge wants, as a share of the distance between the two centers, 0..1.
        twin_weight: Of the cross-entropy among a character and its look-alikes alone.
        twin_margin: Taken off the right character's score there, so that a narrow win is not enough; in nats.
        term_warmup: Steps in which these weights rise from 0.
        init_lines: Lines read at the start to place the first centers; of datasets, each line once at most.
        project_every: Steps between snapshots of the feature space, for TensorBoard's projector; 0 for none.
    """

    pretrained: str = DEFAULT_MODEL
    charset: str = ""
    charset_policy: Literal["fail", "extend", "replace"] = "fail"
    lookalikes: str = "gb2312"
    replay: tuple[str, ...] = ()
    replay_share: float = 0.5
    retain: tuple[str, ...] = ()
    retain_tolerance: float = 0.002
    pretrained_share: float = 0.0
    distill_weight: float = 0.0
    alignment: Literal["peak", "mean"] = "peak"
    center_weight: float = 0.01
    center_alpha: float = 0.5
    sibling_weight: float = 0.0
    sibling_margin: float = 0.5
    twin_weight: float = 0.1
    twin_margin: float = 0.0
    term_warmup: int = 200
    init_lines: int = 4000
    project_every: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        problems = []
        for name in (
            "center_weight",
            "sibling_weight",
            "twin_weight",
            "twin_margin",
            "distill_weight",
            "term_warmup",
            "init_lines",
            "project_every",
        ):
            if getattr(self, name) < 0:
                problems.append(f"{name} is negative")
        for name in ("center_alpha", "sibling_margin", "retain_tolerance"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(f"{name} is not in 0..1")
        for name in ("replay_share", "pretrained_share"):
            if not 0 <= getattr(self, name) < 1:
                problems.append(f"{name} is not in 0..1, without 1")
        if self.retain and not self.val:
            problems.append("retain needs a validation set to improve on: give val")
        if problems:
            raise ConfigError("; ".join(problems))

    def paths(self) -> tuple[str, ...]:
        """Return everything that lines are drawn from or measured on."""
        return super().paths() + self.replay + self.retain


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """How labelled images become a dataset.

    Attributes:
        val_fraction: Share of the lines that go to a second dataset beside the first, 0..1.
        seed: Of that split.
        workers: Processes that verify images; 0 means one per core.
        strict: Stop at the first line that cannot be used.
        max_pixels: Images of more are refused.
        format: Label format, or ``auto`` to tell it from the content.
        encoding: Of the labels, or ``auto``.
    """

    val_fraction: float = 0.0
    seed: int = 0
    workers: int = 0
    strict: bool = False
    max_pixels: int = 50_000_000
    format: str = "auto"
    encoding: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"val_fraction is {self.val_fraction}, not in 0..1")
        if self.workers < 0 or self.max_pixels <= 0:
            raise ConfigError("workers and max_pixels cannot be negative")


KEPT_FOR_TESTS = ("gbsn00lp*", "BabelStoneHan*", "SmileySans-Oblique*", "TW-Sung*")
"""Fonts that no training line may show, so that tests on them are tests on unseen fonts."""
_OTHER_REGIONS = (
    "* CJK JP *",
    "* CJK KR *",
    "* CJK TC *",
    "* CJK HK *",
    "Noto Sans Mono CJK *",
    "* UKai [HT]*",
    "* UMing [HT]*",
)


@dataclass(frozen=True, kw_only=True)
class SynthConfig:
    """What synthetic lines say and look like. Presets in ``assets/presets/synth-*.toml`` change the defaults.

    Attributes:
        texts: How often each kind of text is drawn: ``corpus`` (pieces of the corpus files), ``words`` (whole
            lines of the word lists), ``lexicon`` (words of documents that ship with the package),
            ``templates``, ``balanced`` (every class of the charset as often as any other) and ``mixed``
            (several of these in one line). Kinds without any source are left out.
        corpus: Text files, UTF-8 or GB 18030.
        words: Text files with one word a line.
        templates: A file of templates; empty for those that ship with the package.
        min_length: Characters.
        max_length: Ems: an ideograph counts one, an ASCII character half.
        lookalikes: The groups whose members are swapped: a shipped name, a TSV file, or empty for none.
        lookalike_fraction: Share of the lines in which characters are swapped for their look-alikes, 0..1.
        minimal_pairs: Draw lines in pairs that differ in one character.
        fonts: A folder of fonts; empty for all that fontconfig finds.
        exclude: Patterns of file names or ``Family Style`` names of fonts that are left out.
        font_weights: How often fonts are chosen, by pattern, against 1 for a family of no pattern.
        latin: Share of the lines in which ASCII stands in a Latin font beside the other font, 0..1.
        height: Pixels; the lowest and highest line.
        appearance: Strength of all effects, 0 (clean print) to 1 (the documents of an archive).
        effects: Probability of single effects, in place of their defaults.
    """

    texts: Mapping[str, float] = field(
        default_factory=lambda: {
            "corpus": 0.4,
            "words": 0.1,
            "lexicon": 0.1,
            "templates": 0.26,
            "balanced": 0.1,
            "mixed": 0.04,
        }
    )
    corpus: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    templates: str = ""
    min_length: int = 1
    max_length: int = 40
    lookalikes: str = "gb2312"
    lookalike_fraction: float = 0.1
    minimal_pairs: bool = False
    fonts: str = ""
    exclude: tuple[str, ...] = KEPT_FOR_TESTS + _OTHER_REGIONS
    font_weights: Mapping[str, float] = field(default_factory=dict)
    latin: float = 0.4
    height: tuple[int, int] = (16, 64)
    appearance: float = 1.0
    effects: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = []
        for name in ("corpus", "words", "exclude"):
            if isinstance(getattr(self, name), str):
                problems.append(f"{name} is one text, not a list")
        if unknown := set(self.texts) - {"corpus", "words", "lexicon", "templates", "balanced", "mixed"}:
            problems.append(f"texts has unknown kinds {', '.join(sorted(unknown))}")
        if any(weight < 0 for weight in self.texts.values()) or not sum(self.texts.values()) > 0:
            problems.append("texts needs weights of 0 and more, not all 0")
        if not 1 <= self.min_length <= self.max_length <= 400:
            problems.append(f"lengths {self.min_length}..{self.max_length} are not in 1..400")
        for name in ("lookalike_fraction", "latin", "appearance"):
            if not 0 <= getattr(self, name) <= 1:
                problems.append(f"{name} is {getattr(self, name)}, not 0..1")
        if any(not 0 <= chance <= 1 for chance in self.effects.values()):
            problems.append("effects are probabilities, 0..1")
        if any(weight < 0 for weight in self.font_weights.values()):
            problems.append("font_weights cannot be negative")
        if len(self.height) != 2 or not 12 <= self.height[0] <= self.height[1] <= 256:
            problems.append(f"height {self.height} is not a range within 12..256")
        if problems:
            raise ConfigError("synth: " + "; ".join(problems))


def _check_second_look(confidence: float) -> None:
    if not 0 <= confidence <= 1:
        raise ConfigError(f"second_look is {confidence}, not 0..1")


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a model is measured.

    Attributes:
        batch_size: Lines read at once.
        workers: Processes that load; 0 loads in the main process.
        threads: CPU threads of the recogniser; 0 lets torch decide.
        worst: How many of the worst lines to list.
        lookalikes: Groups of look-alike characters, by name or file, whose accuracy is wanted; empty for none.
        center_share: Weight of the distances to the class centers beside the classifier's scores, when it is
            decided between look-alikes; 0 leaves it to the classifier.
        second_look: Lines on which some character is less sure than this are read again, at 1.3 and 1.5 times
            their width, and the surest reading counts; 0 for never.
        compare: Another model, measured beside this one on the same lines; empty for none.
    """

    batch_size: int = 32
    workers: int = 2
    threads: int = 0
    worst: int = 0
    lookalikes: str = "gb2312"
    center_share: float = 0.0
    second_look: float = SECOND_LOOK
    compare: str = ""

    def __post_init__(self) -> None:
        if self.batch_size <= 0:
            raise ConfigError("batch_size is not positive")
        if min(self.workers, self.threads, self.worst, self.center_share) < 0:
            raise ConfigError("workers, threads, worst and center_share cannot be negative")
        _check_second_look(self.second_look)


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """How images are read.

    Attributes:
        batch_size: Lines read at once.
        window: How many images may wait for others of their width; results keep the order of the input.
        workers: Threads that open images.
        engine: torch, onnx for files of ocrcc export, or auto for what suits the model: ONNX Runtime, where it
            is installed, for a shipped one.
        threads: CPU threads of the recogniser; 0 lets the engine decide.
        alternatives: How many other characters to name for each character, beside its look-alikes.
        lookalikes: The groups that margins and alternatives are given for: a shipped name or a TSV file, or
            empty for none.
        center_share: Weight of the distances to the class centers beside the classifier's scores, when it is
            decided between look-alikes; 0 leaves it to the classifier.
        second_look: Lines on which some character is less sure than this are read again, at 1.3 and 1.5 times
            their width, and the surest reading counts; 0 for never.
        layout: Whether an image is one line or a page of lines; auto looks at each.
        dpi: At which resolution the pages of a PDF are drawn.
    """

    batch_size: int = 32
    window: int = 1024
    workers: int = 2
    engine: Literal["auto", "torch", "onnx"] = "auto"
    threads: int = 0
    alternatives: int = 0
    lookalikes: str = "gb2312"
    center_share: float = 0.0
    second_look: float = SECOND_LOOK
    layout: Literal["auto", "line", "page"] = "auto"
    dpi: int = 200

    def __post_init__(self) -> None:
        if min(self.batch_size, self.window, self.workers) <= 0:
            raise ConfigError("batch_size, window and workers must be positive")
        if min(self.threads, self.alternatives, self.center_share) < 0:
            raise ConfigError("threads, alternatives and center_share cannot be negative")
        _check_second_look(self.second_look)
        if self.layout not in ("auto", "line", "page"):
            raise ConfigError(f"layout is {self.layout!r}, not auto, line or page")
        if not 20 <= self.dpi <= 2400:
            raise ConfigError(f"dpi is {self.dpi}, not 20..2400")


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What an exported model is like, and how it is checked.

    Attributes:
        half: Store weights in half precision, in half the space; they are computed with as before.
        int8: Compute in 8 bits: a quarter of the size, quicker on some processors, and not exactly the same.
        samples: Lines of the package that the check reads.
        rendered: Lines rendered in the model's charset that the check reads as well, where there are fonts.
        agreement: Share of the check's lines on which torch and the exported model must read the same, 0..1.
        seed: Of rendered lines.
    """

    half: bool = False
    int8: bool = False
    samples: int = 48
    rendered: int = 48
    agreement: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.samples, self.rendered, self.seed) < 0 or not self.samples + self.rendered:
            raise ConfigError("samples, rendered and seed cannot be negative, nor the first two both 0")
        if not 0 <= self.agreement <= 1:
            raise ConfigError(f"agreement is {self.agreement}, not in 0..1")


@dataclass(frozen=True, kw_only=True)
class LookalikesConfig:
    """Whom to ask which characters look alike.

    Attributes:
        charset: A name or a file.
        glyphs: Compare the characters' glyphs in the fonts there are.
        fonts: A folder of fonts; empty for all that fontconfig finds.
        exclude: Patterns of file names or ``Family Style`` names of fonts that are left out.
        neighbours: How many of the most alike characters each one may name.
        threshold: Least score of a pair of glyphs, 0..1.
        model: A model whose centers are compared; empty for none.
        model_threshold: Least cosine of two centers, 0..1.
        confusions: JSON files of ``ocrcc eval --json``.
        lists: Groups by name or file, for instance ``well-known``.
    """

    charset: str = "gb2312"
    glyphs: bool = True
    fonts: str = ""
    exclude: tuple[str, ...] = SynthConfig.exclude
    neighbours: int = 5
    threshold: float = 0.65
    model: str = ""
    model_threshold: float = 0.5
    confusions: tuple[str, ...] = ()
    lists: tuple[str, ...] = ("well-known",)

    def __post_init__(self) -> None:
        if self.neighbours < 1:
            raise ConfigError(f"neighbours is {self.neighbours}, not 1 or more")
        if not (0 <= self.threshold <= 1 and 0 <= self.model_threshold <= 1):
            raise ConfigError("thresholds are scores, 0..1")


@dataclass(frozen=True, kw_only=True)
class ProjectConfig:
    """Which characters are shown in feature space, and how.

    Attributes:
        chars: Characters to compare with one another, written together; repeat it for several groups.
        group: Number of a group in the file of look-alikes; repeat it for several.
        lookalikes: Who looks like whom: a shipped name or a TSV file.
        worst: How many look-alike groups to show where neither chars nor group says which: those with the
            smallest margins.
        max_points: Characters shown, of all classes alike many where the data has them.
        alignment: Which feature stands for a character: that of its best frame (peak), or the mean over its
            frames; by default what the model was fine-tuned with, else peak.
        method: How pictures bring features to two dimensions: pca; centers, which looks from where the class
            centers are farthest apart, and flatters a model whose centers are only means of what is shown; or umap
            or tsne where umap-learn or scikit-learn is installed.
        suspect_posterior: Suspects are characters that the model reads as their look-alike with at least this
            posterior, 0..1.
        suspect_crops: Write an image of each suspect into a folder beside the list.
        seed: Of the choice of characters.
        batch_size: Lines read at once.
        workers: Processes that load; 0 loads in the main process.
        threads: CPU threads of the recogniser; 0 lets torch decide.
    """

    chars: tuple[str, ...] = ()
    group: tuple[int, ...] = ()
    lookalikes: str = "gb2312"
    worst: int = 8
    max_points: int = 2000
    alignment: Literal["", "peak", "mean"] = ""
    method: Literal["pca", "centers", "umap", "tsne"] = "pca"
    suspect_posterior: float = 0.5
    suspect_crops: bool = True
    seed: int = 0
    batch_size: int = 32
    workers: int = 2
    threads: int = 0

    def __post_init__(self) -> None:
        problems = []
        if min(self.worst, self.batch_size) <= 0:
            problems.append("worst and batch_size must be positive")
        if not 2 <= self.max_points <= 100_000:
            problems.append(f"max_points is {self.max_points}, not 2..100000, which is what TensorBoard shows")
        if min(self.seed, self.workers, self.threads) < 0:
            problems.append("seed, workers and threads cannot be negative")
        if not 0 <= self.suspect_posterior <= 1:
            problems.append(f"suspect_posterior is {self.suspect_posterior}, not 0..1")
        if "" in self.chars:
            problems.append("chars names no character")
        if problems:
            raise ConfigError("; ".join(problems))

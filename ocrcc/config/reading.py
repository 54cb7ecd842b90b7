"""Settings of evaluation, prediction, export and the projector, that is of using a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ocrcc.config.setting import CHECK, INPUT, LOOKALIKES, OUTPUT, PAGES, READING, SPEED, check_numbers, setting
from ocrcc.errors import ConfigError

DEFAULT_MODEL = "ocrcc-zh-small"
"""The shipped model: what reads, and what is fine-tuned, where none is named."""
Check = Literal["none", "id-card", "bank-card", "iban", "vin"]
DPI = 200
"""At which the pages of a PDF are drawn."""
SECOND_LOOK = 0.7
"""Below this confidence lines are read again; tests/benchmarks/second_look.py compares."""
SECOND_DOUBT = 0.03
"""A second model reads the lines that are doubted more than this; tests/benchmarks/second_model.py compares."""


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
        second_look: Lines on which some character is less sure than this are read again, without blank rows
            above and below, and up to 1.5 times as wide; the text counts that is likeliest over these looks. 0 for
            never.
        second_model: Another model, of any make, that reads the lines which the first one doubts; what the two read
            together is measured, as predict has it.
        second_doubt: It reads the lines on which something is likelier than this to be wrong or missing; 0 for all.
        compare: Another model, measured beside this one on the same lines; repeat it for several, the first of which is
            what it was before.
    """

    batch_size: int = setting(32, SPEED, short="-b")
    workers: int = setting(2, SPEED, short="-j")
    threads: int = setting(0, SPEED)
    worst: int = setting(0, OUTPUT)
    lookalikes: str = setting("gb2312", LOOKALIKES, "GROUPS")
    center_share: float = setting(0.0, LOOKALIKES)
    second_look: float = setting(SECOND_LOOK, READING)
    second_model: str = setting("", READING, "MODEL")
    second_doubt: float = setting(SECOND_DOUBT, READING)
    compare: tuple[str, ...] = setting((), INPUT, "MODEL")

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.batch_size <= 0:
            raise ConfigError("batch_size is not positive")
        if min(self.workers, self.threads, self.worst, self.center_share) < 0:
            raise ConfigError("workers, threads, worst and center_share cannot be negative")
        _check_shares(second_look=self.second_look, second_doubt=self.second_doubt)


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
        second_look: Lines on which some character is less sure than this are read again, without blank rows
            above and below, and up to 1.5 times as wide; the text counts that is likeliest over these looks. 0 for
            never.
        second_model: Another model, of any make, that reads the lines which the first one doubts. Where the two
            differ, the likelier reading counts, and a person should look.
        second_doubt: It reads the lines on which something is likelier than this to be wrong or missing; 0 for all.
        half_width: Give full-width letters, digits, punctuation and spaces as their half-width twins, and any dash
            between two letters or digits as a hyphen.
        allow: The only characters that may be read, such as 0123456789.-; empty for all that the model knows.
        pattern: Regular expression that every line should match as a whole, such as [0-9]{1,3}(,[0-9]{3})*[.][0-9]{2}.
            Where the reading does not, the likeliest text that does is taken; where none is plausible, the text stays,
            and that is said.
        check: What every line should be, by its check digit, in the same way.
        layout: Whether an image is one line or a page of lines; auto looks at each.
        dpi: At which resolution the pages of a PDF are drawn.
        max_pixels: Pages of more are refused.
        find_side: Longer pages are shrunk to so many pixels while their lines are looked for, and read at full size.
    """

    batch_size: int = setting(32, SPEED, short="-b")
    window: int = setting(1024, SPEED)
    workers: int = setting(2, SPEED, short="-j")
    engine: Literal["auto", "torch", "onnx"] = setting("auto", SPEED)
    threads: int = setting(0, SPEED)
    alternatives: int = setting(0, OUTPUT)
    lookalikes: str = setting("gb2312", LOOKALIKES, "GROUPS")
    center_share: float = setting(0.0, LOOKALIKES)
    second_look: float = setting(SECOND_LOOK, READING)
    second_model: str = setting("", READING, "MODEL")
    second_doubt: float = setting(SECOND_DOUBT, READING)
    half_width: bool = setting(False, READING)
    allow: str = setting("", READING, "CHARACTERS")
    pattern: str = setting("", READING, "REGEX")
    check: Check = setting("none", READING)
    layout: Literal["auto", "line", "page"] = setting("auto", PAGES)
    dpi: int = setting(DPI, PAGES)
    max_pixels: int = setting(170_000_000, PAGES)
    find_side: int = setting(2000, PAGES)

    def __post_init__(self) -> None:
        check_numbers(self)
        if min(self.batch_size, self.window, self.workers) <= 0:
            raise ConfigError("batch_size, window and workers must be positive")
        if min(self.threads, self.alternatives, self.center_share) < 0:
            raise ConfigError("threads, alternatives and center_share cannot be negative")
        _check_shares(second_look=self.second_look, second_doubt=self.second_doubt)
        if self.pattern in get_args(Check)[1:]:
            message = f"pattern is {self.pattern!r}: a line would have to be that word"
            raise ConfigError(message, f"--check {self.pattern}")
        if self.layout not in ("auto", "line", "page"):
            raise ConfigError(f"layout is {self.layout!r}, not auto, line or page")
        check_dpi(self.dpi)
        if self.max_pixels <= 0:
            raise ConfigError(f"max_pixels is {self.max_pixels}, not positive")
        if not 200 <= self.find_side <= 10_000:
            raise ConfigError(f"find_side is {self.find_side}, not 200..10000")


def _check_shares(**shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"{name} is {share}, not 0..1")


@dataclass(frozen=True, kw_only=True)
class CalibrateConfig:
    """How a model is taught how far to trust itself.

    Attributes:
        batch_size: Lines read at once.
        threads: CPU threads of the recogniser; 0 lets the engine decide.
        lookalikes: Groups of look-alike characters, by name or file; they are those of prediction.
        second_look: As in prediction: lines less sure than this are read again.
        limit: Lines that are read at most, of all datasets alike many; 0 for all of them.
    """

    batch_size: int = setting(32, SPEED, short="-b")
    threads: int = setting(0, SPEED)
    lookalikes: str = setting("gb2312", LOOKALIKES, "GROUPS")
    second_look: float = setting(SECOND_LOOK, READING)
    limit: int = setting(0, INPUT)

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.batch_size <= 0 or min(self.threads, self.limit) < 0:
            raise ConfigError("batch_size must be positive, threads and limit cannot be negative")
        if not self.lookalikes:
            raise ConfigError("lookalikes: a calibration tells how likely a character is its look-alike", "gb2312")
        _check_shares(second_look=self.second_look)


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """What a person is asked about, and where.

    Attributes:
        unsure: Characters that were read less surely than this are asked about, 0..1.
        second_model: Another model that reads the images too: fewer questions, and more of them about errors.
        port: Of the page, on this machine alone; 0 for any that is free.
        dpi: At which resolution the pages of a PDF are drawn: that at which they were read.
    """

    unsure: float = setting(0.9, INPUT)
    second_model: str = setting("", INPUT, "MODEL")
    port: int = setting(0, OUTPUT)
    dpi: int = setting(DPI, INPUT)

    def __post_init__(self) -> None:
        check_numbers(self)
        if not 0 < self.unsure <= 1:
            raise ConfigError(f"unsure is {self.unsure}, not between 0 and 1")
        if not 0 <= self.port < 65536:
            raise ConfigError(f"port is {self.port}, not 0..65535")
        check_dpi(self.dpi)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What an exported model is like, and how it is checked.

    Attributes:
        half: Store weights in half precision, in half the space; they are computed with as before.
        int8: Compute what is large in 8 bits: a third of the size, quicker on most processors, and not exactly the
            same; with ``half``, all else is stored in half precision.
        samples: Lines of the package that the check reads.
        rendered: Lines rendered in the model's charset that the check reads as well, where there are fonts.
        agreement: Share of the check's lines on which torch and the exported model must read the same, 0..1.
        seed: Of rendered lines.
    """

    half: bool = setting(False, OUTPUT)
    int8: bool = setting(False, OUTPUT)
    samples: int = setting(48, CHECK)
    rendered: int = setting(48, CHECK)
    agreement: float = setting(0.9, CHECK)
    seed: int = setting(0, CHECK)

    def __post_init__(self) -> None:
        check_numbers(self)
        if min(self.samples, self.rendered, self.seed) < 0 or not self.samples + self.rendered:
            raise ConfigError("samples, rendered and seed cannot be negative, nor the first two both 0")
        if not 0 <= self.agreement <= 1:
            raise ConfigError(f"agreement is {self.agreement}, not in 0..1")


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
        method: How pictures bring features to two dimensions: pca; centers, which looks from where the class
            centers are farthest apart, and flatters a model whose centers are only means of what is shown; or umap
            or tsne where umap-learn or scikit-learn is installed.
        suspect_posterior: Disputed are characters that the model reads as their look-alike with at least this
            posterior, 0..1.
        suspect_crops: Write an image of each disputed character into a folder beside the list.
        seed: Of the choice of characters.
        batch_size: Lines read at once.
        workers: Processes that load; 0 loads in the main process.
        threads: CPU threads of the recogniser; 0 lets torch decide.
    """

    chars: tuple[str, ...] = setting((), LOOKALIKES, "CHARACTERS")
    group: tuple[int, ...] = setting((), LOOKALIKES)
    lookalikes: str = setting("gb2312", LOOKALIKES, "GROUPS")
    worst: int = setting(8, LOOKALIKES)
    max_points: int = setting(2000, LOOKALIKES)
    method: Literal["pca", "centers", "umap", "tsne"] = setting("pca", OUTPUT)
    suspect_posterior: float = setting(0.5, OUTPUT)
    suspect_crops: bool = setting(True, OUTPUT)
    seed: int = setting(0, LOOKALIKES)
    batch_size: int = setting(32, SPEED, short="-b")
    workers: int = setting(2, SPEED, short="-j")
    threads: int = setting(0, SPEED)

    def __post_init__(self) -> None:
        check_numbers(self)
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


def check_dpi(dpi: int) -> None:
    """Make sure that a page can be drawn at a resolution.

    Raises:
        ConfigError: It cannot.
    """
    if not 20 <= dpi <= 2400:
        raise ConfigError(f"dpi is {dpi}, not 20..2400")

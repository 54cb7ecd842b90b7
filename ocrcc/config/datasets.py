"""Settings of what makes lines and groups: datasets of images, synthetic lines, look-alikes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ocrcc.config.reading import DPI, check_dpi
from ocrcc.config.setting import FONTS, INPUT, LOOKALIKES, MODEL, OUTPUT, SPEED, TEXTS, check_numbers, setting
from ocrcc.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BuildConfig:
    """How labelled images become a dataset.

    Attributes:
        val_fraction: Share of the lines that go to a second dataset beside the first, 0..1.
        seed: Of that split.
        workers: Processes that verify images, where that takes longer than they take to start; 0 means one per core.
        strict: Stop at the first line that cannot be used.
        max_pixels: Images of more are refused.
        max_page_pixels: Pages that are cut into lines are refused if they have more.
        format: Of the labels: tab, space, csv, jsonl, icdar, mjsynth, pairs, quads, ppocrlabel, page, alto, hocr, cvat,
            labelme, labelstudio, json, parquet or tar; ``auto`` tells it from the content.
        encoding: Of the labels, such as gb18030; ``auto`` tells it.
        dpi: At which resolution the pages of a PDF are drawn, for labels that do not say how large a page was: that at
            which they were read.
    """

    val_fraction: float = setting(0.0, OUTPUT)
    seed: int = setting(0, OUTPUT)
    workers: int = setting(0, SPEED, short="-j")
    strict: bool = setting(False, INPUT)
    max_pixels: int = setting(50_000_000, INPUT)
    max_page_pixels: int = setting(200_000_000, INPUT)
    format: str = setting("auto", INPUT, "FORMAT", short="-f")
    encoding: str = setting("auto", INPUT, "CODEC")
    dpi: int = setting(DPI, INPUT)

    def __post_init__(self) -> None:
        check_numbers(self)
        check_dpi(self.dpi)
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"val_fraction is {self.val_fraction}, not in 0..1")
        if self.workers < 0 or min(self.max_pixels, self.max_page_pixels) <= 0:
            raise ConfigError("workers, max_pixels and max_page_pixels cannot be negative")


KEPT_FOR_TESTS = ("gbsn00lp*", "BabelStoneHan*", "SmileySans-Oblique*", "TW-Sung*")
"""Fonts that no training line may show, so that tests on them are tests on unseen fonts."""
_NOT_LETTERS = ("D050000L*", "StandardSymbolsPS*", "LinBiolinum_K*", "OpenSymbol*")
"""Fonts that draw dingbats, Greek letters or key caps where ASCII stands: a label would not say what is seen."""
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
            ``templates``, ``short`` (numbers, units, list marks, codes and lone marks, of any length from one
            on), ``balanced`` (every character as often as any other) and ``mixed``
            (several of these in one line). Kinds without any source are left out.
        balanced_over: Which characters balanced text has: all of the charset, or those of them that a sample of the
            texts, the words of the package or the look-alike groups have. A model that knows 18,000 characters, shown
            all of them alike often, comes to read 別 where 别 stands.
        corpus: Text files, UTF-8 or GB 18030.
        words: Text files with one word a line.
        templates: A file of templates; empty for those that ship with the package.
        min_length: Fewest characters of a line.
        max_length: Longest line, in ems: an ideograph counts one, an ASCII character half.
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
            "short": 0.1,
            "balanced": 0.1,
            "mixed": 0.04,
        }
    )
    balanced_over: Literal["charset", "texts"] = setting("charset", TEXTS)
    corpus: tuple[str, ...] = setting((), TEXTS, "FILE")
    words: tuple[str, ...] = setting((), TEXTS, "FILE")
    templates: str = setting("", TEXTS, "FILE")
    min_length: int = setting(1, TEXTS)
    max_length: int = setting(40, TEXTS)
    lookalikes: str = setting("gb2312", LOOKALIKES, "GROUPS")
    lookalike_fraction: float = setting(0.1, LOOKALIKES)
    minimal_pairs: bool = setting(False, LOOKALIKES)
    fonts: str = setting("", FONTS, "DIR")
    exclude: tuple[str, ...] = setting(KEPT_FOR_TESTS + _NOT_LETTERS + _OTHER_REGIONS, FONTS, "PATTERN")
    font_weights: Mapping[str, float] = field(default_factory=dict)
    latin: float = setting(0.4, FONTS)
    height: tuple[int, int] = (16, 64)
    appearance: float = setting(1.0, FONTS)
    effects: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_numbers(self)
        problems = []
        for name in ("corpus", "words", "exclude"):
            if isinstance(getattr(self, name), str):
                problems.append(f"{name} is one text, not a list")
        if self.balanced_over not in ("charset", "texts"):
            problems.append(f"balanced_over is {self.balanced_over!r}, not charset or texts")
        if unknown := set(self.texts) - {"corpus", "words", "lexicon", "templates", "short", "balanced", "mixed"}:
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

    charset: str = setting("gb2312", INPUT, "CHARSET")
    glyphs: bool = setting(True, FONTS)
    fonts: str = setting("", FONTS, "DIR")
    exclude: tuple[str, ...] = setting(SynthConfig.exclude, FONTS, "PATTERN")
    neighbours: int = setting(5, FONTS)
    threshold: float = setting(0.65, FONTS)
    model: str = setting("", MODEL, "MODEL", short="-m")
    model_threshold: float = setting(0.5, MODEL)
    confusions: tuple[str, ...] = setting((), INPUT, "FILE")
    lists: tuple[str, ...] = setting(("well-known",), INPUT, "GROUPS")

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.neighbours < 1:
            raise ConfigError(f"neighbours is {self.neighbours}, not 1 or more")
        if not (0 <= self.threshold <= 1 and 0 <= self.model_threshold <= 1):
            raise ConfigError("thresholds are scores, 0..1")

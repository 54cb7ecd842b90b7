"""Lines without end, each a pure function of the configuration, the seed and its number."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc.bidi import needs_shaping, on_the_line
from ocrcc.charset import Charset, describe
from ocrcc.config import SynthConfig
from ocrcc.dice import Dice
from ocrcc.errors import ConfigError, DataError, OcrccWarning
from ocrcc.glyphs.cache import EM, GlyphCache
from ocrcc.glyphs.faces import FontChoice, FontSet
from ocrcc.lookalikes import Lookalikes, load_lookalikes
from ocrcc.synth.degrade import Degrader
from ocrcc.synth.presets import load_config
from ocrcc.synth.seals import make_seals
from ocrcc.synth.typeset import Setting, typeset
from ocrcc.texts.corpus import Texts
from ocrcc.types import Line

PREFIX = "synth:"
_TRIES = 60
_SPACED_OUT = 5
"""Characters. In shorter texts nothing tells letters that are set far apart from words with a space between them."""
_RUN = re.compile("[0-9A-Za-z]+")


@dataclass(frozen=True)
class _Machinery:
    """What a process needs to draw lines; made once in each."""

    texts: Texts
    fonts: FontSet
    glyphs: GlyphCache
    degrader: Degrader
    siblings: dict[str, tuple[str, ...]]
    pairs: list[tuple[str, str]]


@dataclass(frozen=True)
class _Drawn:
    """What a line is to say, and how; its look is what the dice give next.

    Attributes:
        text: What.
        choice: In which fonts.
        size: Pixels to the em that its glyphs are drawn at.
        dice: Of the line.
    """

    text: str
    choice: FontChoice
    size: int
    dice: Dice


class SynthSource:
    """A `ocrcc.types.LineSource` that never ends.

    Args:
        config: What lines say and look like.
        charset: What labels can say.
        seed: Lines of one seed are the same on any machine with the same fonts and corpora.
        name: For messages.
        lookalikes: Groups whose members are swapped; None for those that the configuration names.

    Raises:
        OcrccError: Fonts, corpora, templates or groups cannot be used.
    """

    size = None

    def __init__(
        self,
        config: SynthConfig,
        charset: Charset,
        seed: int = 0,
        name: str = "synth",
        lookalikes: Lookalikes | None = None,
    ) -> None:
        if seed < 0:
            raise ConfigError(f"seed is {seed}, not 0 or more")
        self.config = config
        self.charset = charset
        self.seed = seed
        self.name = name
        self._lookalikes = lookalikes
        self._machinery: _Machinery | None = self._build()
        for told in self._machinery.texts.cut():
            warnings.warn(told, OcrccWarning, stacklevel=2)

    @property
    def faces(self) -> int:
        """How many faces of fonts lines are drawn with."""
        return len(self._tools().fonts.faces)

    @property
    def main_families(self) -> dict[str, tuple[str, ...]]:
        """The designs that draw most of the charset, and the font files of each."""
        fonts = self._tools().fonts
        found: dict[str, set[str]] = {}
        for number in fonts.main:
            found.setdefault(fonts.faces[number].family, set()).add(fonts.faces[number].file)
        return {family: tuple(sorted(files)) for family, files in sorted(found.items())}

    def _tools(self) -> _Machinery:
        if self._machinery is None:
            self._machinery = self._build()
        return self._machinery

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_machinery": None}

    def _build(self) -> _Machinery:
        config, charset = self.config, _settable(self.charset)
        fonts = FontSet(config, charset)
        glyphs = GlyphCache(fonts.faces)
        letters = [char for char in charset if "\u4e00" <= char <= "\u9fff"] or [c for c in charset if not c.isspace()]

        def glyph(dice: Dice) -> np.ndarray:
            for _ in range(_TRIES):
                face, char = dice.pick(fonts.main), dice.pick(letters)
                drawn = glyphs.glyph(face, char) if char in fonts.covered[face] else None
                if drawn is not None:
                    return drawn.mask
            return np.full((8, 8), 255, np.uint8)

        groups = self._lookalikes
        if groups is None and config.lookalikes and (config.lookalike_fraction or config.minimal_pairs):
            groups = load_lookalikes(config.lookalikes)
        groups = groups.for_training().restrict(charset) if groups else Lookalikes(())
        siblings = {char: groups.siblings(char) for char in groups.characters()}
        degrader = Degrader(config, make_seals(glyph))
        texts = Texts(config, charset, groups.characters())
        return _Machinery(texts, fonts, glyphs, degrader, siblings, self._pairs(groups, fonts, glyphs))

    def _pairs(self, groups: Lookalikes, fonts: FontSet, glyphs: GlyphCache) -> list[tuple[str, str]]:
        """List the twins of minimal pairs in an order of the seed's; those that no font tells apart are out."""
        if not self.config.minimal_pairs:
            return []
        pairs = sorted(
            (first, second)
            for first, second, _ in groups.pairs()
            if any(_tells_apart(face, first, second, fonts, glyphs) for face in fonts.main)
        )
        if not pairs:
            raise ConfigError(
                "minimal pairs need look-alike groups, and none has two characters of the charset",
                "give groups with --lookalikes",
            )
        dice = Dice(self.seed, 1 << 62)
        return [pair for _, pair in sorted((dice.random(), pair) for pair in pairs)]

    def line(self, index: int) -> Line:
        """Render line ``index``; the same index always gives the same line.

        With `SynthConfig.minimal_pairs`, lines 2k and 2k + 1 are one text in one font with the same noise,
        in which one character is swapped for its twin. Every pair of twins has its turn before any comes
        again, so each twin is drawn as often as the other. The twins take the place of a random character
        of a random text, a letter or mark of ASCII where they are such: what stands around favours neither.
        """
        for drawn in self._drawn(index):
            if (line := self._rendered(index, drawn.text, drawn)) is not None:
                return line
        raise DataError(
            f"{self.name}: no text could be drawn for line {index}",
            "the fonts cover too little of the charset, or min_length is over what the texts have",
        )

    def retold(self, line: Line, index: int, text: str) -> Line | None:
        """Render a line once more with another text, in the same font, at the same size, with the same harm.

        Args:
            line: Line ``index``.
            index: Its number.
            text: As long as the line's label, with some of its characters swapped.

        Returns:
            The line; None if its font lacks one of the characters, or draws it like that in whose place it stands.
        """
        for drawn in self._drawn(index):
            if drawn.text == line.label:
                swapped = [pair for pair in zip(line.label, text, strict=True) if pair[0] != pair[1]]
                differ = all(self._differ(*pair, drawn.size, drawn.choice, self._tools()) for pair in swapped)
                return self._rendered(index, text, drawn) if differ else None
            self._rendered(index, drawn.text, drawn)  # in vain the first time too; the dice go on from there
        return None

    def _drawn(self, index: int) -> Iterator[_Drawn]:
        """Give texts for a line until one can be rendered, each drawn where rendering the one before left the dice."""
        tools = self._tools()
        if self.config.minimal_pairs:
            dice = Dice(self.seed, index // 2)
            twins: tuple[str, str] | None = tools.pairs[index // 2 % len(tools.pairs)]
        else:
            dice, twins = Dice(self.seed, index), None
        for _ in range(_TRIES):
            size = tools.degrader.size(dice)
            drawn = (
                self._draw_twins(twins, index % 2, size, tools, dice) if twins else self._draw_text(size, tools, dice)
            )
            if drawn is not None:
                yield _Drawn(*drawn, size, dice)

    def _rendered(self, index: int, text: str, drawn: _Drawn) -> Line | None:
        tools, dice = self._tools(), drawn.dice
        setting = _setting(text, drawn.size, dice)
        ink = typeset(on_the_line(text), drawn.choice, tools.fonts, tools.glyphs, setting, dice)
        if ink is None:
            return None
        image = tools.degrader.appear(ink, frames_needed(text), dice, drawn.size)
        return Line(image=image, label=text, source=f"{self.name}#{index}")

    def _draw_text(self, size: int, tools: _Machinery, dice: Dice) -> tuple[str, FontChoice] | None:
        text = tools.texts.draw(dice)
        original = text
        if self.config.lookalike_fraction and dice.chance(self.config.lookalike_fraction):
            text = swap(text, tools.siblings, dice)
        choice, kept = tools.fonts.choose(text, dice)
        if kept == text and text != original:
            kept = "".join(
                new if new == old or self._differ(old, new, size, choice, tools) else old
                for old, new in zip(original, text, strict=True)
            )
        return (kept, choice) if kept else None

    @staticmethod
    def _differ(old: str, new: str, size: int, choice: FontChoice, tools: _Machinery) -> bool:
        """Whether a reader could tell a swapped character from the one it replaces, in the fonts of its line."""
        faces = tools.fonts.face_of(choice, old), tools.fonts.face_of(choice, new)
        known = old in tools.fonts.covered[faces[0]]
        return not known or faces[0] != faces[1] or _tells_apart(faces[0], old, new, tools.fonts, tools.glyphs, size)

    def _draw_twins(
        self, twins: tuple[str, str], member: int, size: int, tools: _Machinery, dice: Dice
    ) -> tuple[str, FontChoice] | None:
        """Put one of the twins at a place of a text that has neither, in a font that shows them apart."""
        context = [char for char in tools.texts.draw(dice) if char not in twins]
        ascii_twins = all(twin.isascii() for twin in twins)
        places = [at for at, char in enumerate(context) if char != " " and char.isascii() == ascii_twins]
        if not places:
            return None
        at = dice.pick(places)
        before, after = "".join(context[:at]), "".join(context[at + 1 :])
        choice, kept = tools.fonts.choose(before + twins[0] + twins[1] + after, dice)
        if len(kept) != len(before) + 2 + len(after):
            return None
        faces = [tools.fonts.face_of(choice, twin) for twin in twins]
        if faces[0] == faces[1] and not _tells_apart(faces[0], *twins, tools.fonts, tools.glyphs, size):
            return None
        if any(tools.glyphs.glyph(face, twin, size) is None for face, twin in zip(faces, twins, strict=True)):
            return None
        text = before + twins[member] + after
        return (text, choice) if text == " ".join(text.split()) else None


def _settable(charset: Charset) -> Charset:
    """Leave out what cannot be drawn one by one, as glyphs are here: it would look like nothing that is ever printed.

    Raises:
        ConfigError: That is a good part of the charset.
    """
    shaped = [char for char in charset if needs_shaping(char)]
    if not shaped:
        return charset
    if len(shaped) >= 0.1 * len(charset):
        raise ConfigError(
            f"charset {charset.name!r} has {describe(shaped, 5)}, whose forms depend on their neighbours, "
            "and characters are drawn one by one here",
            "train on photographs, scans, or lines that a browser or Pango has drawn; "
            "marks that stand on letters may be composed with them (NFC)",
        )
    warnings.warn(
        f"{charset.name}: not drawn, as their forms depend on their neighbours: {describe(shaped, 5)}",
        OcrccWarning,
        stacklevel=2,
    )
    return replace(charset, symbols="".join(char for char in charset if not needs_shaping(char)))


def _tells_apart(face: int, first: str, second: str, fonts: FontSet, glyphs: GlyphCache, size: int = EM) -> bool:
    if not {first, second} <= fonts.covered[face]:
        return False
    one, other = glyphs.glyph(face, first, size), glyphs.glyph(face, second, size)
    if one is None or other is None:
        return False
    return one.top != other.top or one.left != other.left or not np.array_equal(one.mask, other.mask)


def _setting(text: str, size: int, dice: Dice) -> Setting:
    spacing = 0.0
    if dice.chance(0.4):
        spacing = dice.uniform(-0.05, 0.06) if dice.chance(0.6) else dice.uniform(0.0, 0.35)
    if len(text) < _SPACED_OUT:
        spacing = min(spacing, 0.1)
    gap = dice.uniform(0.05, 0.25) if dice.chance(0.3) else 0.0
    words = dice.uniform(1.0, 2.0) if dice.chance(0.4) else 1.0
    jitter = dice.uniform(0.5, 1.6) if dice.chance(0.06) and size == EM else 0.0
    half_cells, inset = dice.chance(0.25), dice.uniform(-0.08, 0.12)
    return Setting(spacing, gap, words, jitter, half_cells, inset, size)


def swap(text: str, siblings: dict[str, tuple[str, ...]], dice: Dice) -> str:
    """Swap about half of the characters that have look-alikes for one of them, so that language cannot help.

    ASCII is swapped for ASCII, and in codes alone, where letters stand beside digits: in a word or a number, language
    is what a reader has to tell O from 0, and a model that never sees it hold would read L0T.
    """
    codes = {at for run in _RUN.finditer(text) if _is_code(run.group()) for at in range(*run.span())}

    def choices(at: int) -> list[str]:
        char = text[at]
        if char.isascii() and at not in codes:
            return []
        return [other for other in siblings.get(char, ()) if other.isascii() == char.isascii()]

    return "".join(
        dice.pick(others) if (others := choices(at)) and dice.chance(0.5) else char for at, char in enumerate(text)
    )


def _is_code(run: str) -> bool:
    return not run.isalpha() and not run.isdigit()


def frames_needed(text: str) -> int:
    """Return the frames that CTC needs for a text: one a character, one more between two that are the same."""
    return len(text) + sum(one == other for one, other in zip(text, text[1:], strict=False))


def load_source(
    spec: str,
    charset: Charset,
    *,
    seed: int = 0,
    corpus: Sequence[str | Path] = (),
    lookalikes: Lookalikes | str | None = None,
    **overrides: Any,
) -> SynthSource:
    """Make the source that ``--train synth:documents`` means.

    Args:
        spec: ``synth:`` and a preset's name or a TOML file; the prefix may be left out.
        charset: What labels can say.
        seed: Of all that is drawn.
        corpus: Text files in place of the preset's.
        lookalikes: Groups in place of the preset's, or their name or file.
        overrides: Other fields of `SynthConfig`.
    """
    name = spec.removeprefix(PREFIX)
    if corpus:
        overrides["corpus"] = tuple(str(path) for path in corpus)
    if isinstance(lookalikes, str):
        overrides["lookalikes"], lookalikes = lookalikes, None
    return SynthSource(load_config(name, **overrides), charset, seed, f"{PREFIX}{name}", lookalikes)

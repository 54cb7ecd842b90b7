"""The faces that lines are set in: what each covers, and which are chosen for a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from ocrcc.charset import Charset, describe
from ocrcc.config import SynthConfig
from ocrcc.dice import Dice, running_sum
from ocrcc.errors import DataError
from ocrcc.glyphs.fonts import INSTALL_HINT, Face, coverage, find_faces

_MAIN_SHARE = 0.6
"""A font is a main one if it has this share of the charset's characters."""
_TRIES = 10


@dataclass(frozen=True)
class FontChoice:
    """The fonts of one line.

    Attributes:
        main: Number of the face.
        latin: Number of the face for ASCII; None where the main one draws it.
    """

    main: int
    latin: int | None


class FontSet:
    """The fonts that lines are set in, and what each covers.

    Args:
        config: Where fonts are and which are left out.
        charset: What they should cover.

    Raises:
        DataError: No font covers enough of the charset.
    """

    def __init__(self, config: SynthConfig, charset: Charset) -> None:
        wanted = {char for symbol in charset for char in (symbol, *_wider(symbol, charset))} - {" "}
        ascii_wanted = {char for char in wanted if char.isascii()}
        found = find_faces(config.fonts, config.exclude)
        codes = {ord(char) for char in wanted}
        self.faces: list[Face] = []
        self.covered: list[frozenset[str]] = []
        known: dict[frozenset[str], frozenset[str]] = {}
        main: list[int] = []
        latin: list[int] = []
        for face in found:
            chars = frozenset(map(chr, codes.intersection(coverage(face).tolist())))
            if not chars:
                continue
            is_main = len(chars) >= _MAIN_SHARE * len(wanted)
            is_latin = not is_main and bool(ascii_wanted) and len(chars & ascii_wanted) >= 0.98 * len(ascii_wanted)
            if is_main or is_latin:
                (main if is_main else latin).append(len(self.faces))
                self.faces.append(face)
                self.covered.append(known.setdefault(chars, chars))
        if not main:
            raise DataError(
                f"none of {len(found)} fonts covers {_MAIN_SHARE:.0%} of the charset {charset.name!r}, "
                f"which has {describe(sorted(wanted, reverse=True), 3)}",
                INSTALL_HINT,
            )
        self.main, self.latin = main, latin
        self._main_weights = self._weights(main, config)
        self._latin_weights = self._weights(latin, config)
        self._latin_share = config.latin

    def _weights(self, numbers: Sequence[int], config: SynthConfig) -> list[float]:
        """Weigh families alike, however many weights and styles each comes in."""
        families = [self.faces[number].family for number in numbers]
        weights = []
        for number, family in zip(numbers, families, strict=True):
            face = self.faces[number]
            factor = 0.25 if face.slanted else 1.0
            for pattern, weight in config.font_weights.items():
                if fnmatch(face.file.lower(), pattern.lower()) or fnmatch(face.name.lower(), pattern.lower()):
                    factor *= weight
            weights.append(factor / families.count(family))
        if weights and not sum(weights) > 0:
            raise DataError("font_weights leave no font", "give at least one family a weight over 0")
        return running_sum(weights)

    def choose(self, text: str, dice: Dice) -> tuple[FontChoice, str]:
        """Choose fonts for a text; return it too, without what the last font tried lacks, if none had all."""
        needed = set(text) - {" "}
        all_ascii = text.isascii()
        latin = None
        if self.latin and dice.chance(0.6 if all_ascii else self._latin_share):
            latin = dice.weighted(self.latin, self._latin_weights)
        for _ in range(_TRIES):
            main = dice.weighted(self.main, self._main_weights)
            covered = self.covered[main]
            if needed <= covered or (latin is not None and needed <= covered | self.covered[latin]):
                return FontChoice(main, latin), text
        return FontChoice(main, None), "".join(char for char in text if char in covered or char == " ").strip()

    def face_of(self, choice: FontChoice, char: str) -> int:
        """Return the number of the face that draws a character of a line; the Latin one, if any, parts the words."""
        if char == " " and choice.latin is not None:
            return choice.latin
        if choice.latin is None or (not char.isascii() and char in self.covered[choice.main]):
            return choice.main
        return choice.latin if char in self.covered[choice.latin] else choice.main


def _wider(symbol: str, charset: Charset) -> tuple[str, ...]:
    """Return the full-width form of a symbol, where the charset reads it as the symbol itself."""
    wide = chr(ord(symbol) + 0xFEE0) if "!" <= symbol <= "~" else ""
    return (wide,) if wide and wide not in charset and charset.normalise(wide) in charset else ()

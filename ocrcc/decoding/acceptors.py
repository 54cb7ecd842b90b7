"""What a line may read as: regular expressions and check digits as automata that take one character after the other."""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from ocrcc.errors import ConfigError

State = Hashable
"""Where an automaton stands; None is never one."""


class Acceptor(Protocol):
    """A deterministic automaton over characters, whose states are made as they are reached."""

    @property
    def start(self) -> State:
        """Where it stands before the first character."""

    def step(self, state: Any, char: str) -> State | None:
        """Return the state after a character; None if no text of the language goes on so."""

    def accepts(self, state: Any) -> bool:
        """Tell whether a text may end here."""


def matches(acceptor: Acceptor, text: str) -> bool:
    """Tell whether a text is in the language."""
    state: State | None = acceptor.start
    for char in text:
        if (state := acceptor.step(state, char)) is None:
            return False
    return acceptor.accepts(state)


class Pattern:
    """A regular expression that the whole line has to match.

    Args:
        pattern: Of Python's syntax, without flags, look-around and back-references, which no finite automaton has.

    Raises:
        ConfigError: It is none, or has something of that.
    """

    def __init__(self, pattern: str) -> None:
        import greenery  # only who gives a pattern waits for it

        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(f"{pattern!r} is no regular expression: {error}") from None
        try:
            words, self._kinds = _in_greenery_s_words(pattern)
            machine = greenery.parse(words).to_fsm()
        except Exception as error:  # its parser raises what it likes
            raise ConfigError(
                f"{pattern!r} has something that no finite automaton can do, such as look-around, flags, \\b, \\1 or ^",
                "use characters, classes, groups, |, *, +, ? and {m,n}",
            ) from error
        self.start: State = machine.initial
        self._map = machine.map
        self._finals = machine.finals
        self._live = {state for state in machine.states if machine.islive(state)}
        self._classes: dict[str, Any] = {}
        self._alphabet = machine.alphabet
        if self.start not in self._live:
            raise ConfigError(f"no text at all matches {pattern!r}")

    def step(self, state: Any, char: str) -> State | None:
        """Return the state after a character."""
        if char not in self._classes:
            kind = self._kinds.of(char)
            self._classes[char] = next(each for each in self._alphabet if each.accepts(kind))
        after = self._map[state].get(self._classes[char])
        return after if after in self._live else None

    def accepts(self, state: Any) -> bool:
        """Tell whether a text may end here."""
        return state in self._finals


@dataclass(frozen=True)
class Both:
    """What two automata accept."""

    one: Acceptor
    other: Acceptor

    @property
    def start(self) -> State:
        """Where both start."""
        return self.one.start, self.other.start

    def step(self, state: Any, char: str) -> State | None:
        """Return the state after a character."""
        one, other = self.one.step(state[0], char), self.other.step(state[1], char)
        return None if one is None or other is None else (one, other)

    def accepts(self, state: Any) -> bool:
        """Tell whether a text may end here."""
        return self.one.accepts(state[0]) and self.other.accepts(state[1])


class IdCard:
    """A Chinese identity number: 17 digits and a check character, 0 to 9 or X (GB 11643-1999, ISO 7064 MOD 11-2)."""

    start: State = (0, 0)

    def step(self, state: tuple[int, int], char: str) -> State | None:
        """Return the state after a character: how many there are, and their weighted sum modulo 11."""
        count, total = state
        value = 10 if count == 17 and char in "Xx" else _digit(char)
        if value is None or count == 18:
            return None
        after = (total + value * pow(2, 17 - count, 11)) % 11
        return None if count == 17 and after != 1 else (count + 1, after)

    def accepts(self, state: tuple[int, int]) -> bool:
        """Tell whether the number is whole."""
        return state[0] == 18


class BankCard:
    """A card number of 13 to 19 digits with Luhn's check digit (ISO/IEC 7812-1); spaces may stand between digits."""

    start: State = (0, 0, 0, True)

    def step(self, state: tuple[int, int, int, bool], char: str) -> State | None:
        """Return the state: digits so far, the sums with even and with odd places doubled, whether a space was last."""
        count, even, odd, space = state
        if char == " ":
            return None if space else (count, even, odd, True)
        value = _digit(char)
        if value is None or count == 19:
            return None
        doubled = 2 * value - 9 * (value > 4)
        first, second = (doubled, value) if count % 2 == 0 else (value, doubled)
        return count + 1, (even + first) % 10, (odd + second) % 10, False

    def accepts(self, state: tuple[int, int, int, bool]) -> bool:
        """Tell whether the digits are enough and the sum is a multiple of ten, counted from the last one."""
        count, even, odd, space = state
        return count >= 13 and not space and (odd if count % 2 else even) == 0


class Iban:
    """An international account number (ISO 13616, MOD 97-10), of 15 to 34 characters; spaces may stand in it."""

    start: State = (0, "", 0, True)

    def step(self, state: tuple[int, Any, int, bool], char: str) -> State | None:
        """Return the state: how many characters, the first four or their value, the rest modulo 97, a last space."""
        count, head, rest, space = state
        if char == " ":
            return None if space else (count, head, rest, True)
        if not (char.isascii() and char.isalnum()) or char.islower() or count == 34:
            return None
        if count < 4:
            if char.isdigit() != (count >= 2):
                return None
            head += char
            return count + 1, int("".join(str(int(each, 36)) for each in head)) % 97 if count == 3 else head, 0, False
        value = int(char, 36)
        return count + 1, head, (rest * (10 if value < 10 else 100) + value) % 97, False

    def accepts(self, state: tuple[int, Any, int, bool]) -> bool:
        """Tell whether the remainder is one, once the first four characters stand last."""
        count, head, rest, space = state
        return count >= 15 and not space and (rest * 10**6 + head) % 97 == 1


class Vin:
    """A vehicle identification number: 17 characters, of which the ninth checks the others (ISO 3779, 49 CFR 565)."""

    start: State = (0, 0, -1)
    _WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)
    _VALUES = dict(zip("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", map(int, "123456781234579234567890123456789"), strict=True))

    def step(self, state: tuple[int, int, int], char: str) -> State | None:
        """Return the state: how many characters, their weighted sum modulo 11, and what it has to be."""
        count, total, check = state
        if count == 17 or char not in self._VALUES:
            return None
        if count == 8:
            if not (char.isdigit() or char == "X"):
                return None
            check = 10 if char == "X" else int(char)
        after = (total + self._WEIGHTS[count] * self._VALUES[char]) % 11
        return None if count == 16 and after != check else (count + 1, after, check)

    def accepts(self, state: tuple[int, int, int]) -> bool:
        """Tell whether the number is whole."""
        return state[0] == 17


CHECKS: dict[str, Callable[[], Acceptor]] = {"id-card": IdCard, "bank-card": BankCard, "iban": Iban, "vin": Vin}


def _digit(char: str) -> int | None:
    return int(char) if char.isascii() and char.isdigit() else None


_TOKEN = re.compile(
    r"(?P<group>\(\?P<\w+>|\(\?:|[()|])"
    r"|(?P<times>[*+?]|\{(?=[\d,])\d*,?\d*\})"
    r"|(?P<anchor>[\^$]|\\[AZzbB])"
    r"|(?P<char>\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|0[0-7]{0,2}|[1-3][0-7]{2}|.)|.)",
    flags=re.DOTALL,
)
_FIRST_STAND_IN = 0x10000
"""From here on, characters stand for kinds of characters; none of them means anything to greenery."""
_UNUSED = 0x40000
"""From here on, no character is a letter, digit or space."""


class _Kinds:
    """Tells characters apart as far as a pattern does, as `re` itself has its classes and escapes: all of Unicode.

    Args:
        words: Parts of the pattern that match one character each.
    """

    def __init__(self, words: Iterable[str]) -> None:
        changes: defaultdict[int, set[str]] = defaultdict(set)
        for word in words:
            for first, end in _ranges(word):
                changes[first] ^= {word}
                changes[end] ^= {word}
        within: frozenset[str] = frozenset()
        numbers = {within: 0}
        self._firsts, self._numbers = [0], [0]
        for first in sorted(changes):
            within ^= changes[first]
            self._firsts.append(first)
            self._numbers.append(numbers.setdefault(within, len(numbers)))
        self._of_word: defaultdict[str, str] = defaultdict(str)
        for within, number in numbers.items():
            for word in within:
                self._of_word[word] += chr(_FIRST_STAND_IN + number)

    def of(self, char: str) -> str:
        """Return what stands for a character."""
        return chr(_FIRST_STAND_IN + self._numbers[bisect_right(self._firsts, ord(char)) - 1])

    def matched_by(self, word: str) -> str:
        """Return the class, in greenery's words, of all that a part of the pattern matches."""
        return f"[{self._of_word[word]}]"


def _ranges(word: str) -> Iterator[tuple[int, int]]:
    """Give the code points from and up to which a part of a pattern matches."""
    if len(word) == 1 and word != ".":
        yield ord(word), ord(word) + 1
        return
    # Most of Unicode lies beyond all characters that have a class of their own, and takes longest to go through.
    named = any(escape in word for escape in (r"\U", r"\N")) or max(word) >= chr(_UNUSED)
    end = sys.maxunicode + 1 if named else _UNUSED + 1
    for found in re.finditer(word + "+", _characters(end)):
        yield found.start(), found.end() if found.end() < end else sys.maxunicode + 1


@lru_cache
def _characters(end: int) -> str:
    return np.arange(end, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _in_greenery_s_words(pattern: str) -> tuple[str, _Kinds]:
    """Write a regular expression of Python so that greenery, whose escapes and classes are others, has it the same.

    Returns:
        It, over the characters that stand for the kinds it tells apart; and those.

    Raises:
        ValueError: An anchor stands where it is of no use, or a quantifier is possessive.
        re.error: There is a back-reference.
    """
    tokens = [(str(found.lastgroup), found[0]) for found in _TOKEN.finditer(pattern)]
    if tokens and tokens[0][1] in ("^", r"\A"):
        del tokens[0]
    if tokens and tokens[-1][1] in ("$", r"\Z", r"\z"):
        del tokens[-1]
    kinds = _Kinds({token for name, token in tokens if name == "char"})
    words: list[str] = []
    before = ""
    for name, token in tokens:
        match name:
            case "char":
                words.append(kinds.matched_by(token))
            case "group":
                words.append(token[0])
            case "times" if before == "times":
                if token != "?":
                    raise ValueError(token)
                # Which text is taken first is of no consequence.
            case "times" if token[0] == "{":
                words.append(re.sub(r"\d+", lambda digits: str(int(digits[0])), token.replace("{,", "{0,")))
            case "times" if before != "group" or words[-1] == ")":
                words.append(token)
            case _:
                raise ValueError(token)
        before = name
    return "".join(words), kinds

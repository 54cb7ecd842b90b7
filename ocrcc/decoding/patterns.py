"""Regular expressions as automata, whose states are made as a text reaches them.

To make all of them first, and the fewest, takes minutes for a list of a hundred words and ever for some short patterns.
"""

from __future__ import annotations

import re
import sys
import warnings
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf

import numpy as np

from ocrcc.errors import ConfigError

_TOKEN = re.compile(
    r"(?P<group>\(\?P<\w+>|\(\?:|[()|])"
    r"|(?P<times>[*+?]|\{(?=[\d,])\d*,?\d*\})"
    r"|(?P<anchor>[\^$]|\\[AZzbB])"
    r"|(?P<char>\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|\\(?:x..|u.{4}|U.{8}|N\{[^}]*\}|0[0-7]{0,2}|[1-3][0-7]{2}|.)|.)",
    flags=re.DOTALL,
)
_MOST_STEPS = 50_000
"""Of a pattern, repetitions written out; no line is as long."""
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
        self.matched_by: defaultdict[str, set[int]] = defaultdict(set)
        """The kinds of all characters that a part of the pattern matches."""
        for within, number in numbers.items():
            for word in within:
                self.matched_by[word].add(number)

    def of(self, char: str) -> int:
        """Return the kind of a character."""
        return self._numbers[bisect_right(self._firsts, ord(char)) - 1]


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


@dataclass(frozen=True)
class _Node:
    """A part of a pattern: a character, an anchor, parts in a row, any one of several, or one several times."""

    kind: str
    word: str = ""
    parts: tuple[_Node, ...] = ()
    least: int = 1
    most: float = 1

    def steps(self) -> float:
        """Return how many characters and branches it has with its repetitions written out."""
        times = self.most if self.most < inf else self.least + 1
        return times * (1 + sum(part.steps() for part in self.parts))


class _Parser:
    """Reads the tokens of a pattern that `re` takes.

    Raises:
        ValueError: One of them is nothing that a finite automaton does; it is named.
    """

    def __init__(self, pattern: str) -> None:
        self._tokens = [(str(found.lastgroup), found[0]) for found in _TOKEN.finditer(pattern)]
        self._at = 0
        self.kinds = _Kinds({token for name, token in self._tokens if name == "char"})

    def parse(self) -> _Node:
        """Read alternatives, up to the end of their group."""
        found = [self._row()]
        while self._next()[1] == "|":
            self._at += 1
            found.append(self._row())
        return found[0] if len(found) == 1 else _Node("any", parts=tuple(found))

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _row(self) -> _Node:
        parts: list[_Node] = []
        while (token := self._next())[0] != "end" and token not in (("group", "|"), ("group", ")")):
            self._at += 1
            parts.append(self._repeated(self._one(*token)))
        return _Node("row", parts=tuple(parts))

    def _one(self, name: str, token: str) -> _Node:
        if name == "char":
            return _Node("char", word=token)
        if name == "group":
            if self._next()[0] == "times":
                raise ValueError("(" + self._next()[1])
            inner = self.parse()
            self._at += 1
            return inner
        if name == "anchor" and token not in (r"\b", r"\B"):
            return _Node("start" if token in ("^", r"\A") else "end")
        raise ValueError(token)

    def _repeated(self, one: _Node) -> _Node:
        if self._next()[0] != "times":
            return one
        token = self._next()[1]
        self._at += 1
        if token in ("*", "+", "?"):
            least, most = int(token == "+"), 1 if token == "?" else inf
        else:
            low, comma, high = token.strip("{}").partition(",")
            least = int(low or 0)
            most = int(high) if high else inf if comma else least
        if self._next()[0] == "times":
            if self._next()[1] != "?":
                raise ValueError(token + self._next()[1])
            self._at += 1  # which text is taken first is of no consequence
        return _Node("times", parts=(one,), least=least, most=most)


@dataclass
class _Network:
    """A nondeterministic automaton (Thompson 1968): on each place a step to one other, or ways to several at no cost.

    Attributes:
        moves: The kinds that are taken, and where to; None for a place of ways.
        ways: Where to at no cost.
        only: Where a way leads on: anywhere, or only at the text's ``start`` or ``end``.
    """

    moves: list[tuple[set[int], int] | None] = field(default_factory=lambda: [None])
    ways: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    only: list[str] = field(default_factory=lambda: [""])

    def add(self, move: tuple[set[int], int] | None, ways: tuple[int, ...], only: str = "") -> int:
        """Add a place, and return it."""
        self.moves.append(move)
        self.ways.append(ways)
        self.only.append(only)
        return len(self.moves) - 1

    def build(self, node: _Node, then: int, kinds: _Kinds) -> int:
        """Add a part of a pattern before a place, and return where it begins."""
        match node.kind:
            case "char":
                return self.add((kinds.matched_by[node.word], then), ())
            case "row":
                for part in reversed(node.parts):
                    then = self.build(part, then, kinds)
                return then
            case "any":
                return self.add(None, tuple(self.build(part, then, kinds) for part in node.parts))
            case "times":
                return self._times(node, then, kinds)
            case _:
                return self.add(None, (then,), node.kind)

    def _times(self, node: _Node, then: int, kinds: _Kinds) -> int:
        (part,) = node.parts
        after = then
        if node.most == inf:
            after = self.add(None, ())
            self.ways[after] = (self.build(part, after, kinds), then)
        else:
            for _ in range(int(node.most) - node.least):
                after = self.add(None, (self.build(part, after, kinds), then))
        for _ in range(node.least):
            after = self.build(part, after, kinds)
        return after

    def reached(self, places: Iterable[int], only: tuple[str, ...] = ("",)) -> set[int]:
        """Return all places that are reached at no cost."""
        return _all_from(places, lambda place: self.ways[place] if self.only[place] in only else ())

    def before(self, ends: Iterable[int], *, steps: bool, only: tuple[str, ...]) -> set[int]:
        """Return all places from which one of some is reached: at no cost, or by any steps too."""
        back: defaultdict[int, list[int]] = defaultdict(list)
        for place, (move, ways) in enumerate(zip(self.moves, self.ways, strict=True)):
            for way in ways if self.only[place] in only else ():
                back[way].append(place)
            if steps and move is not None and move[0]:
                back[move[1]].append(place)
        return _all_from(ends, back.__getitem__)


def _all_from(places: Iterable[int], onward: Callable[[int], Iterable[int]]) -> set[int]:
    """Return places, and all that are come to from them."""
    found: set[int] = set()
    waiting = list(places)
    while waiting:
        place = waiting.pop()
        if place not in found:
            found.add(place)
            waiting += onward(place)
    return found


class Pattern:
    """A regular expression that the whole line has to match.

    Args:
        pattern: Of Python's syntax, without flags, look-around and back-references, which no finite automaton has.

    Raises:
        ConfigError: It is none, or has something of that.
    """

    def __init__(self, pattern: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", FutureWarning)  # of what other languages mean otherwise: [[:digit:]]
                re.compile(pattern)
            parser = _Parser(pattern)
            tree = parser.parse()
            if tree.steps() > _MOST_STEPS:
                raise ConfigError(
                    f"{pattern!r} repeats too much, {tree.steps():.0f} times in all", "repeat with * or +"
                )
            self._network = _Network()
            first = self._network.build(tree, 0, parser.kinds)
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigError(f"{pattern!r} is no regular expression: {error}") from None
        except FutureWarning as error:
            raise ConfigError(
                f"{pattern!r} is ambiguous: {error}", r"write \[, \-, \& within [ ], and \d for digits"
            ) from None
        except ValueError as error:
            raise ConfigError(
                f"{pattern!r} has {error}, which no finite automaton can do or is of no use here",
                "use characters, classes, groups, |, *, +, ?, {m,n}, ^ and $",
            ) from None
        self._kinds = parser.kinds
        self._ending = self._network.before([0], steps=False, only=("", "end"))
        self._live = self._network.before(self._ending, steps=True, only=("",))
        self._numbers: dict[frozenset[int], int] = {}
        self._places: list[frozenset[int]] = []
        self._steps: dict[tuple[int, int], int | None] = {}
        start = self._state(self._network.reached([first], ("", "start")))
        if start is None:
            raise ConfigError(f"no text at all matches {pattern!r}")
        self.start: int = start

    def _state(self, places: set[int]) -> int | None:
        """Return the number of a set of places; None if there is no way on from any."""
        kept = frozenset(
            place for place in places & self._live if self._network.moves[place] is not None or place in self._ending
        )
        if not kept:
            return None
        if kept not in self._numbers:
            self._numbers[kept] = len(self._places)
            self._places.append(kept)
        return self._numbers[kept]

    def step(self, state: int, char: str) -> int | None:
        """Return the state after a character."""
        kind = self._kinds.of(char)
        if (state, kind) not in self._steps:
            moves = filter(None, (self._network.moves[place] for place in self._places[state]))
            self._steps[state, kind] = self._state(self._network.reached(to for taken, to in moves if kind in taken))
        return self._steps[state, kind]

    def accepts(self, state: int) -> bool:
        """Tell whether a text may end here."""
        return not self._ending.isdisjoint(self._places[state])

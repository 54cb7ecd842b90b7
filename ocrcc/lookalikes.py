"""Characters that look alike: groups read from an editable file, and who is whose sibling."""

from __future__ import annotations

import difflib
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

from ocrcc import packaged
from ocrcc.charset import BLANK, Charset, describe
from ocrcc.errors import CharsetError
from ocrcc.files import read_small
from ocrcc.places import marked, output

KEPT_APART = ("width", "case", "punctuation")
"""Sources of groups that are a matter of normalisation, not of training: ，and , · c and C · - and —."""
HEADER = "group\tcharacters\tscore\tsource"
FILE = marked("file of groups")
"""Made to be edited by hand, so that none is ever replaced."""


@dataclass(frozen=True)
class Group:
    """Characters that look alike.

    Attributes:
        characters: Two or more, each once.
        score: How alike, 0..1; of the least alike pair, where pairs were measured.
        source: Who says so: ``glyphs``, ``model``, ``confusions``, ``list``, or one of `KEPT_APART`;
            several are joined by ``+``.
    """

    characters: str
    score: float
    source: str


@dataclass(frozen=True)
class Lookalikes:
    """Groups of look-alike characters; a character may be in several.

    Two characters are siblings if a group holds both. That is symmetric but not transitive: with 己已巳 and
    己乙, 乙 is a sibling of 己 alone.

    Args:
        groups: In the order of the file.
    """

    groups: tuple[Group, ...]

    @cached_property
    def _siblings(self) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for group in self.groups:
            for first, second in combinations(group.characters, 2):
                for one, other in ((first, second), (second, first)):
                    known = found.setdefault(one, {})
                    known[other] = max(group.score, known.get(other, 0.0))
        return {
            char: dict(sorted(others.items(), key=lambda item: (-item[1], item[0]))) for char, others in found.items()
        }

    def __contains__(self, char: object) -> bool:
        return char in self._siblings

    def siblings(self, char: str) -> tuple[str, ...]:
        """Return the characters that look like this one, the most alike first; none for an unknown one.

        >>> Lookalikes((Group("己已巳", 0.9, "list"), Group("己乙", 0.5, "list"))).siblings("己")
        ('已', '巳', '乙')
        """
        return tuple(self._siblings.get(char, ()))

    def score(self, first: str, second: str) -> float | None:
        """Return how alike two characters are; None if they share no group."""
        return self._siblings.get(first, {}).get(second)

    def characters(self) -> str:
        """List all characters that have a sibling, in the order of the groups."""
        return "".join(self._siblings)

    def pairs(self) -> list[tuple[str, str, float]]:
        """List each two siblings once, with their score, the most alike first."""
        found = [
            (one, other, score)
            for one, others in self._siblings.items()
            for other, score in others.items()
            if one < other
        ]
        return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))

    def restrict(self, characters: Container[str]) -> Lookalikes:
        """Keep only these characters, and the groups that still have two."""
        kept = []
        for group in self.groups:
            left = "".join(char for char in group.characters if char in characters)
            if len(left) > 1:
                kept.append(Group(left, group.score, group.source))
        return Lookalikes(tuple(kept))

    def for_training(self) -> Lookalikes:
        """Leave out the groups that are a matter of normalisation (`KEPT_APART`)."""
        return Lookalikes(tuple(group for group in self.groups if group.source not in KEPT_APART))

    def merge(self, other: Lookalikes) -> Lookalikes:
        """Add another's groups; groups of the same characters become one, with both sources."""
        merged: dict[frozenset[str], Group] = {}
        for group in (*self.groups, *other.groups):
            key = frozenset(group.characters)
            known = merged.get(key)
            if known is None:
                merged[key] = group
            else:
                sources = dict.fromkeys([*known.source.split("+"), *group.source.split("+")])
                merged[key] = Group(known.characters, max(known.score, group.score), "+".join(sources))
        return Lookalikes(tuple(merged.values()))


def sibling_table(lookalikes: Lookalikes, charset: Charset, most: int = 8) -> list[list[int]]:
    """Turn look-alike groups into class ids.

    Args:
        lookalikes: Who looks like whom.
        charset: Of the recogniser.
        most: K is no more than this; the most alike are kept.

    Returns:
        C rows of K class ids, padded with the blank: each class's siblings, the most alike first.
    """
    known = {char: [c for c in lookalikes.siblings(char) if c in charset][:most] for char in charset}
    width = max(map(len, known.values()), default=0)
    table = [[BLANK] * width for _ in range(charset.num_classes)]
    for char, others in known.items():
        table[charset.id(char)][: len(others)] = [charset.id(other) for other in others]
    return table


def load_lookalikes(spec: str | Path) -> Lookalikes:
    """Load groups by a shipped name or from a file.

    Raises:
        CharsetError: There is no such name or file, or the file is malformed (its line is named).
    """
    if str(spec) in (known := packaged.names("lookalikes", ".tsv")):
        return read(packaged.ASSETS / "lookalikes" / f"{spec}.tsv")
    if (path := Path(spec)).is_file():
        return read(path)
    close = difflib.get_close_matches(str(spec), known, n=1)
    raise CharsetError(
        f"no look-alike groups named {str(spec)!r}, and no such file",
        (f"did you mean {close[0]}? " if close else "")
        + f"names: {', '.join(known)}; make your own with ocrcc lookalikes",
    )


def read(path: Path) -> Lookalikes:
    """Read a file of groups: ``group<TAB>characters<TAB>score<TAB>source``, lines with ``#`` are comments.

    Raises:
        CharsetError: A line is malformed.
    """
    try:
        text = read_small(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CharsetError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})", "save it as UTF-8") from None
    groups = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r")
        if not line or line.startswith("# ") or line == "#" or line == HEADER:
            continue
        groups.append(_parse(line, f"{path}:{number}"))
    return Lookalikes(tuple(groups))


def _parse(line: str, where: str) -> Group:
    columns = line.split("\t")
    if len(columns) != 4:
        raise CharsetError(f"{where}: {len(columns)} columns, not the 4 of {HEADER!r}")
    _, characters, score, source = columns
    if len(characters) < 2 or len(set(characters)) != len(characters):
        raise CharsetError(f"{where}: a group needs two characters or more, each once: {describe(characters)}")
    try:
        value = float(score)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise CharsetError(f"{where}: the score {score!r} is not a number 0..1")
    return Group(characters, value, source)


def write(path: Path, lookalikes: Lookalikes, provenance: Iterable[str]) -> None:
    """Write groups as a file that `read` reads, whole or not at all.

    Args:
        path: The file.
        lookalikes: The groups.
        provenance: Comment lines that say where they come from.
    """
    lines = [f"# {line}" for line in provenance] + [HEADER]
    lines += [
        f"{number}\t{group.characters}\t{group.score:.3f}\t{group.source}"
        for number, group in enumerate(lookalikes.groups, start=1)
    ]
    with output(path, FILE) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")

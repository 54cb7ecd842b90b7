"""What is asked next, and what an answer does: the state behind the page, without the page."""

from __future__ import annotations

import hashlib
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any
from unicodedata import category

from ocrcc.errors import DataError
from ocrcc.review.lines import DoubtfulLine, Unsure, View
from ocrcc.review.log import DecisionLog, Record

_LONGEST_PAUSE = 60.0
"""Seconds; who takes longer for a decision was away."""
_RECENT = 30
"""Decisions that tell how long the rest will take."""
_PAIRS = 60
"""Pairs that can be chosen among; the most frequent."""
_LONGEST = 10_000
"""Characters of a line that is typed."""


class StaleError(Exception):
    """The answer is to a question that has been answered: another tab did, or a key bounced."""


@dataclass
class _State:
    """A line as it stands."""

    cells: list[str]
    open: set[int]
    left_out: bool = False

    @property
    def text(self) -> str:
        return "".join(self.cells)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One doubt, as it is shown.

    Attributes:
        line: The line.
        doubt: What is asked about.
        cells: The line's characters as they stand now.
        open: Positions on the line that are still to be decided.
        view: The line's image.
        same: What the last equal crop that was read as the same turned out to be; None if there was none.
    """

    line: DoubtfulLine
    doubt: Unsure
    cells: tuple[str, ...]
    open: frozenset[int]
    view: View
    same: str | None


class Session:
    """Goes through lines, the worst first, and keeps what is decided.

    A line's doubts are asked one after the other, so that it is read once; it comes before another if its doubts are
    worse on average. Lines that the log has as decided are not asked again.

    Args:
        lines: The lines.
        log: Takes in the decisions.
    """

    def __init__(self, lines: Iterable[DoubtfulLine], log: DecisionLog) -> None:
        self.log = log
        self.lines = {line.key: line for line in sorted(lines, key=lambda line: line.sure)}
        self.broken: list[str] = []
        """Lines whose image could not be opened, and why."""
        self._states = {key: self._replayed(line) for key, line in self.lines.items()}
        self._total = sum(len(line.doubts) for line in self.lines.values())
        self._later: dict[tuple[str, int], None] = {}
        self._same: dict[str, str] = {}
        self._seconds: deque[float] = deque(maxlen=_RECENT)
        for record in log.records:
            self._learn(record)
            self._seconds.append(record["seconds"])
        self._shown: tuple[tuple[str, int] | None, float] = (None, 0.0)

    def question(self, pair: str = "") -> Question | None:
        """Return what to ask next; None if nothing is left.

        Args:
            pair: Ask only about what was read as one of these two characters and could be the other.
        """
        while (found := self._next(pair)) is not None:
            line, doubt = found
            try:
                view = line.view()
            except DataError as error:
                self.broken.append(error.message)
                self._states[line.key].open.clear()
                self._total -= len(line.doubts)
                del self.lines[line.key]
                continue
            if self._shown[0] != (line.key, doubt.position):
                self._shown = (line.key, doubt.position), time.monotonic()
            state = self._states[line.key]
            return Question(
                line=line,
                doubt=doubt,
                cells=tuple(state.cells),
                open=frozenset(state.open),
                view=view,
                same=self._same.get(fingerprint(line, doubt, view)),
            )
        return None

    def replace(self, line: str, position: int, step: int, text: str, how: str) -> None:
        """Decide that a text stands for a doubtful character: the same, another, several or none.

        Args:
            line: Its key.
            position: The doubt's.
            step: How many decisions stood when it was asked about.
            text: What stands there.
            how: In which way it was decided, for the log.

        Raises:
            StaleError: The question was answered already.
            DataError: The decision cannot be kept; nothing has changed.
        """
        self._check(line, position, step)
        self._check_text(text)
        read = self.lines[line].read
        cells = {position: text} if not read or text != self._states[line].cells[position] else {}
        self._decide(line, position, cells, {position}, how)

    def rewrite(self, line: str, position: int, step: int, text: str) -> None:
        """Decide that a line reads as a text; doubts left and right of what was changed stay open.

        Args:
            line: Its key.
            position: Of the doubt that was asked about, which is decided too.
            step: As for `replace`.
            text: The whole line.

        Raises:
            StaleError: The question was answered already.
            DataError: The decision cannot be kept; nothing has changed.
        """
        self._check(line, position, step)
        self._check_text(text)
        cells = _changed_cells(self._states[line].cells, text)
        self._decide(line, position, cells, {position, *cells}, "line")

    def leave_out(self, line: str, position: int, step: int) -> None:
        """Decide that a line is to be no label: it is illegible, or no line.

        Raises:
            StaleError: The question was answered already.
            DataError: The decision cannot be kept; nothing has changed.
        """
        self._check(line, position, step)
        self._decide(line, position, {}, set(self._states[line].open), "left out", left_out=True)

    def put_off(self, line: str, position: int, step: int) -> None:
        """Ask about a doubt after all others.

        Raises:
            StaleError: The question was answered already.
        """
        self._check(line, position, step)
        self._later.pop((line, position), None)
        self._later[line, position] = None

    def undo(self) -> bool:
        """Take the last decision back, and ask about it again; tell whether there was one.

        Raises:
            DataError: That cannot be kept; nothing has changed.
        """
        if not self.log.records or self.log.records[-1]["line"] not in self.lines:
            return False  # a decision of earlier results cannot be shown
        record = self.log.undo()
        assert record is not None
        line = self.lines[record["line"]]
        self._states[line.key] = self._replayed(line)
        self._same = {}
        for each in self.log.records:
            self._learn(each)
        self._later = {place: None for place in self._later if place[0] != line.key}
        return True

    def progress(self, pair: str = "") -> dict[str, Any]:
        """Return what is done and what is left, in JSON's terms."""
        left = [
            (line, doubt) for line in self.lines.values() for doubt in line.doubts
            if doubt.position in self._states[line.key].open
        ]  # fmt: skip
        pairs = Counter(name for line, doubt in left if (name := pair_of(line, doubt)))
        wanted = pairs[pair] if pair else len(left)
        return {
            "done": self._total - len(left),
            "total": self._total,
            "left": wanted,
            "seconds": round(median(self._seconds) * wanted) if self._seconds else None,
            "labels": len(self.log.labels()),
            "pairs": [{"pair": name, "left": count} for name, count in pairs.most_common(_PAIRS)],
            "step": len(self.log.records),
            "broken": len(self.broken),
            "trouble": self.log.trouble,
        }

    def _next(self, pair: str) -> tuple[DoubtfulLine, Unsure] | None:
        put_off: dict[tuple[str, int], tuple[DoubtfulLine, Unsure]] = {}
        for line in self.lines.values():
            for doubt in line.doubts if self._states[line.key].open else ():
                if doubt.position not in self._states[line.key].open or (pair and pair_of(line, doubt) != pair):
                    continue
                if (line.key, doubt.position) not in self._later:
                    return line, doubt
                put_off[line.key, doubt.position] = line, doubt
        return next((put_off[place] for place in self._later if place in put_off), None)

    def _replayed(self, line: DoubtfulLine) -> _State:
        state = _State(list(line.read) or [""], {doubt.position for doubt in line.doubts})
        for record in self.log.of(line.key):
            if tuple(record["read"]) == line.read:
                for position, text in record["cells"].items():
                    state.cells[int(position)] = text
                state.open -= set(record["decided"])
            if not record["open"]:
                state.open.clear()  # also of another reading: the line has its text
        return state

    def _check(self, line: str, position: int, step: int) -> None:
        state = self._states.get(line)
        if state is None or position not in state.open or step != len(self.log.records):
            raise StaleError

    @staticmethod
    def _check_text(text: str) -> None:
        if len(text) > _LONGEST or any(category(char) == "Cc" and char != "\t" for char in text):
            raise DataError("a line's text has no line breaks and no other control characters")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DataError("that is no Unicode text") from None

    def _decide(
        self, key: str, position: int, cells: Mapping[int, str], decided: set[int], how: str, *, left_out: bool = False
    ) -> None:
        line, state = self.lines[key], self._states[key]
        after = _State([cells.get(at, cell) for at, cell in enumerate(state.cells)], state.open - decided)
        doubt = next(doubt for doubt in line.doubts if doubt.position == position)
        view, seconds = line.view(), round(self._took(key, position), 1)
        record = {
            "line": key,
            "name": line.name,
            "how": how,
            "position": position,
            "cells": {str(at): text for at, text in cells.items()},
            "decided": sorted(decided),
            "open": len(after.open),
            "text": after.text,
            "read": line.read,
            "looks": fingerprint(line, doubt, view),
            "seconds": seconds,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        } | ({"left_out": True} if left_out else {})
        self.log.add(record, None if after.open or left_out else view.image)
        self._states[key] = after
        self._seconds.append(seconds)
        self._learn(record)

    def _took(self, key: str, position: int) -> float:
        shown, at = self._shown
        return min(time.monotonic() - at, _LONGEST_PAUSE) if shown == (key, position) else 0.0

    def _learn(self, record: Record) -> None:
        """Remember what a crop turned out to be, for those that are equal to it."""
        place = record["position"]
        if record["looks"] and not record.get("left_out"):
            self._same[record["looks"]] = record["cells"].get(str(place), record["read"][place])


def fingerprint(line: DoubtfulLine, doubt: Unsure, view: View) -> str:
    """Name what a doubtful character looks like and was read as: equal pixels, equal names; empty without a place."""
    if doubt.position not in view.places:
        return ""
    left, right = (round(share * view.image.width) for share in view.places[doubt.position])
    crop = view.image.crop((left, 0, max(right, left + 1), view.image.height))
    content = repr((line.read[doubt.position], crop.mode, crop.size)).encode() + crop.tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def pair_of(line: DoubtfulLine, doubt: Unsure) -> str:
    """Name what a doubt is between: the two characters, in code point order; empty if there is no alternative."""
    if not doubt.choices or not line.read:
        return ""
    return " ".join(sorted((line.read[doubt.position], doubt.choices[0])))


def _changed_cells(cells: Sequence[str], text: str) -> dict[int, str]:
    """Tell which cells a new text of the line changes, and to what: those between what begins and ends it as before.

    >>> _changed_cells(["a", "b", "c", "d"], "axyd")
    {1: 'xy', 2: ''}
    >>> _changed_cells(["a", "b"], "abc")
    {1: 'bc'}
    """
    first, end = 0, len(cells)
    start, stop = 0, len(text)
    while first < end and text.startswith(cells[first], start) and start + len(cells[first]) <= stop:
        start += len(cells[first])
        first += 1
    while end > first and text[start:stop].endswith(cells[end - 1]):
        end -= 1
        stop -= len(cells[end])
    between = text[start:stop]
    if first < end:
        return {first: between} | dict.fromkeys(range(first + 1, end), "")
    if not between:
        return {}
    return {first - 1: cells[first - 1] + between} if first else {0: between + cells[0]}

"""What is wrong, by kind; how many lines would be right if only look-alikes were mended; and how sure all that is."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocrcc.charset import Charset
from ocrcc.evaluation.intervals import Interval, bootstrap
from ocrcc.evaluation.kinds import KINDS, kind_of
from ocrcc.lookalikes import Lookalikes

_SHIFT_SHARE, _SHIFT_LEAST, _SHIFT_CHARS, _SHIFT_CER = 0.6, 20, 5, 0.3
"""A dictionary is shifted if so many of the substitutions, at least so many of them and of so many characters, lie the
same distance apart in the charset, and so much is wrong."""
_WORTH = 0.25
"""Share of the wrong lines that look-alikes alone must make for tuning on them to be the first thing to do."""


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """How the characters of a look-alike group were read.

    Attributes:
        characters: The group.
        total: Characters of the references that belong to it.
        right: How many of them were read as what they are.
        interval: Of right / total.
    """

    characters: str
    total: int
    right: int
    interval: Interval

    @property
    def accuracy(self) -> float:
        """Share that was read right."""
        return self.right / self.total


@dataclass(frozen=True, kw_only=True)
class Scorecard:
    """What is wrong, by kind.

    Attributes:
        lines: Lines read.
        right: Of these, read exactly.
        lookalikes_only: Of these, wrong by nothing but look-alikes taken for one another; None where nobody said
            which characters look alike.
        kinds: Errors of each kind, all kinds in their order.
        groups: Look-alike groups that the references have, those that lost most characters first.
        line_interval: Of the line accuracy.
        cer_interval: Of the CER.
        lookalike_interval: Of the look-alike accuracy.
        shift: How many places too high the readings' characters are in the charset, if that explains the errors; 0.
    """

    lines: int
    right: int
    lookalikes_only: int | None
    kinds: dict[str, int]
    groups: tuple[GroupScore, ...]
    line_interval: Interval
    cer_interval: Interval
    lookalike_interval: Interval
    shift: int = 0

    @property
    def ceiling(self) -> float:
        """Line accuracy if only look-alike errors were mended; nan without lines."""
        return (self.right + (self.lookalikes_only or 0)) / self.lines if self.lines else float("nan")

    @property
    def advice(self) -> str:
        """One sentence: what to do first."""
        wrong = self.lines - self.right
        if self.shift:
            return (
                f"the charset looks shifted by {self.shift:+d}: give the dictionary that the model was trained with "
                "before anything else is measured"
            )
        if not self.lines or not wrong:
            return "no line is wrong: measure on harder ones" if self.lines else "there are no lines"
        others = {kind: count for kind, count in self.kinds.items() if kind != "look-alike" and count}
        if self.lookalikes_only is None:
            return f"{wrong} lines are wrong: first, {_WHAT_HELPS[max(others, key=lambda kind: others[kind])]}"
        named = f"{self.lookalikes_only} of {wrong} wrong lines {'is' if self.lookalikes_only == 1 else 'are'} wrong "
        named += "by look-alikes alone"
        if self.lookalikes_only >= _WORTH * wrong or not others:
            return named + ": ocrcc finetune on lines of this kind can mend these, and pays"
        most = max(others, key=lambda kind: others[kind])
        return f"{named}: tuning on look-alikes gains little here; first, {_WHAT_HELPS[most]}"

    def to_json(self) -> dict[str, Any]:
        """Return it under the keys of the evaluation format; undefined figures are null."""

        def ends(interval: Interval) -> list[float] | None:
            return None if interval.low != interval.low else [interval.low, interval.high]

        return {
            "ceiling": None if not self.lines or self.lookalikes_only is None else self.ceiling,
            "lookalikes_only": self.lookalikes_only,
            "advice": self.advice,
            "kinds": self.kinds,
            "line_accuracy_interval": ends(self.line_interval),
            "cer_interval": ends(self.cer_interval),
            "lookalike_accuracy_interval": ends(self.lookalike_interval),
            "groups": [{**asdict(group), "interval": ends(group.interval)} for group in self.groups],
            "shift": self.shift,
        }


_WHAT_HELPS = {
    "width": "decide on full or half width in the labels (width is the most frequent error), or compare folded",
    "case": "look at case, the most frequent error: small and capital letters of one shape need their neighbours",
    "space": "decide on spaces in the labels (they are the most frequent error), or compare folded",
    "punctuation": "agree on punctuation marks in the labels, the most frequent error",
    "other": "train on more lines of this kind: most errors are characters taken for others that look unlike",
    "inserted": "look at how lines are cut: most errors are characters read where there are none",
    "left out": "look at how lines are cut and at their resolution: most errors are characters left out",
}


class ScorecardCounter:
    """Collects a scorecard line by line; of each line only numbers are kept.

    Args:
        charset: What readings are made of.
        lookalikes: Who looks like whom; None where nobody said.
    """

    def __init__(self, charset: Charset, lookalikes: Lookalikes | None = None) -> None:
        self._charset = charset
        self._lookalikes = lookalikes
        self._kinds: Counter[str] = Counter()
        self._lookalikes_only = 0
        self._edits, self._chars = array("I"), array("I")
        self._alike, self._alike_lost = array("I"), array("I")
        groups = lookalikes.groups if lookalikes else ()
        self._groups = list(dict.fromkeys(group.characters for group in groups))
        self._groups_of: defaultdict[str, list[int]] = defaultdict(list)
        for number, characters in enumerate(self._groups):
            for char in characters:
                self._groups_of[char].append(number)
        self._seen: defaultdict[int, tuple[array[int], array[int]]] = defaultdict(lambda: (array("I"), array("I")))
        self._offsets: Counter[int] = Counter()
        self._offset_chars: defaultdict[int, set[str]] = defaultdict(set)

    def update(self, truth: str, read: str) -> None:
        """Count one line."""
        edits = list(Levenshtein.editops(truth, read)) if truth != read else []
        kinds, lost = [], set()
        for edit in edits:
            was = "" if edit.tag == "insert" else truth[edit.src_pos]
            became = "" if edit.tag == "delete" else read[edit.dest_pos]
            kinds.append(kind_of(was, became, self._lookalikes))
            if was:
                lost.add(edit.src_pos)
            if was in self._charset and became in self._charset:
                offset = self._charset.id(became) - self._charset.id(was)
                self._offsets[offset] += 1
                self._offset_chars[offset].add(was)
        self._kinds.update(kinds)
        self._lookalikes_only += bool(kinds) and set(kinds) == {"look-alike"}
        self._edits.append(len(kinds))
        self._chars.append(len(truth))
        members: defaultdict[int, list[int]] = defaultdict(list)
        alike = 0
        for place, char in enumerate(truth):
            alike += char in self._groups_of
            for number in self._groups_of.get(char, ()):
                members[number].append(place)
        self._alike.append(alike)
        self._alike_lost.append(sum(truth[place] in self._groups_of for place in lost))
        for number, places in members.items():
            totals, rights = self._seen[number]
            totals.append(len(places))
            rights.append(sum(place not in lost for place in places))

    def summary(self) -> Scorecard:
        """Return what was found so far."""
        edits: np.ndarray = np.array(self._edits)
        chars: np.ndarray = np.array(self._chars)
        alike: np.ndarray = np.array(self._alike)
        lost: np.ndarray = np.array(self._alike_lost)
        groups = []
        for number, (totals, rights) in self._seen.items():
            total, right = np.array(totals), np.array(rights)
            groups.append(
                GroupScore(
                    characters=self._groups[number],
                    total=int(total.sum()),
                    right=int(right.sum()),
                    interval=bootstrap(right, total),
                )
            )
        groups.sort(key=lambda group: (group.right - group.total, group.accuracy, -group.total, group.characters))
        return Scorecard(
            lines=len(edits),
            right=int((edits == 0).sum()),
            lookalikes_only=None if self._lookalikes is None else self._lookalikes_only,
            kinds={kind: self._kinds[kind] for kind in KINDS},
            groups=tuple(groups),
            line_interval=bootstrap(edits == 0, np.ones(len(edits))),
            cer_interval=bootstrap(edits, chars),
            lookalike_interval=bootstrap(alike - lost, alike),
            shift=self._shift(int(edits.sum()), int(chars.sum())),
        )

    def _shift(self, edits: int, chars: int) -> int:
        """Tell by how many places the dictionary is shifted; a look-alike taken for another is no sign of that."""
        substitutions = sum(self._offsets.values())
        if substitutions < _SHIFT_LEAST or edits < _SHIFT_CER * chars:
            return 0
        offset, count = self._offsets.most_common(1)[0]
        many = count >= _SHIFT_SHARE * substitutions and len(self._offset_chars[offset]) >= _SHIFT_CHARS
        return offset if many else 0

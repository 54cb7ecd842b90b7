"""A second reader: where two models read a line differently one of them errs, and the likelier reading counts."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, pairwise
from statistics import fmean
from typing import TypeVar

from rapidfuzz.distance import Levenshtein

from ocrcc.charset import Charset
from ocrcc.decoding.constraints import Rule
from ocrcc.lookalikes import Lookalikes
from ocrcc.types import Alternative, Doubt, Recognition, RecognizedChar

_SHARED = 0.3
"""Of a model's errors, those that another makes too: 17 to 38 % of look-alikes between ours and PP-OCR's."""
_LEAST = 0.01
"""No character is less likely to be wrong than this where another model reads another one: surer than that no model
is with reason."""
_SUREST, _SILENT = 0.99, 0.9
"""What the other model reads is held for no likelier than the one, and that nothing is there for no likelier than the
other."""
_UNLIKE = 0.5
"""Lines that are less alike are weighed as a whole: one of them is nonsense."""
Unread = TypeVar("Unread")
_Written = list[tuple[int, RecognizedChar, str]]


def is_doubtful(line: Recognition, doubt: float) -> bool:
    """Tell whether something of a line is likelier than ``doubt`` to be wrong or missing, or nothing was read."""
    doubts = map(_doubt, line.chars)
    return not line.chars or line.unmatched or not doubt or any(max(one.wrong, one.dropped) > doubt for one in doubts)


def together(
    lines: Iterable[Recognition | Unread],
    others: Iterable[Recognition | Unread],
    charset: Charset,
    lookalikes: Lookalikes,
    rule: Rule | None,
) -> Iterator[Recognition | Unread]:
    """Weigh what two models read on the same images; with a rule, the two together keep to it if the first does.

    Args:
        lines: What the first reads; what could not be opened stays as it is.
        others: What the second reads; anything but a `Recognition` where it was not asked.
        charset: Of the second.
        lookalikes: Who looks like whom.
        rule: What lines must be.
    """
    for line, other in zip(lines, others, strict=True):
        if not isinstance(line, Recognition):
            yield line
            continue
        if not isinstance(other, Recognition):
            yield replace(line, chars=tuple(map(_doubted, line.chars)))
            continue
        both = second_opinion(line, other, charset, lookalikes)
        if rule is not None and rule.holds(both.text):
            both = replace(both, unmatched=False)
        elif rule is not None and not line.unmatched:
            both = second_opinion(line, other, charset, lookalikes, vote=False)
        yield both


def second_opinion(
    line: Recognition, other: Recognition, charset: Charset, lookalikes: Lookalikes, *, vote: bool = True
) -> Recognition:
    """Doubt the characters of a line the more where another model reads others, and the less where it reads the same.

    Were the two independent, and one of them right, then by Bayes a character is wrong with the chance p q /
    (p q + (1 - p)(1 - q)) where the other model reads another one with posterior q, and p was its chance before; over
    one half the other's takes its place. Likewise for a character that only one of them reads. Where both agree, what
    is left of p is the errors that both make. The character that does not count is the first alternative to the one
    that does. A space that the second alone reads is one more character; of one that it does not read nothing is
    thought, since some makes write few. Nor is width a difference, but for a full-width mark behind an ASCII one.

    Args:
        line: What was read; all its characters have a doubt afterwards, calibrated or not.
        other: What the other model reads on the same line.
        charset: Of the other model: of characters that it lacks it can say nothing.
        lookalikes: Who looks like whom.
        vote: Whether the likelier reading counts; else the text stays.
    """
    if line.upside_down != other.upside_down:  # they have not read the same
        return line
    if not line.chars:
        surest = max((char.confidence for char in other.chars), default=0.0)
        return replace(line, confidence=min(line.confidence, 1 - surest), second=other.text)
    ours, theirs = _written(line), _written(other)
    known = {place for place, char, form in ours if form in charset or char.char in charset}
    forms = [form for *_, form in theirs], [form for *_, form in ours]
    if vote and theirs and len(known) == len(ours) and Levenshtein.normalized_similarity(*forms) < _UNLIKE:
        wrong = fmean(_doubt(char).wrong for _, char, _ in ours) if ours else 1.0
        if _bayes(wrong, fmean(char.confidence for _, char, _ in theirs)) > 0.5:
            return _instead(line, other, wrong)

    slots, behind = _by_place(line, other, ours, theirs, known, lookalikes, vote)
    chars = (*_put_in(slots, behind, line, vote), *chain.from_iterable(slots))
    text = "".join(char.char for char in chars)
    lowest = line.confidence if text == line.text else min((char.confidence for char in chars), default=0.0)
    return replace(line, text=text, confidence=lowest, chars=chars, second=other.text)


def _by_place(
    line: Recognition,
    other: Recognition,
    ours: _Written,
    theirs: _Written,
    known: set[int],
    lookalikes: Lookalikes,
    vote: bool,
) -> tuple[list[list[RecognizedChar]], dict[int, list[RecognizedChar]]]:
    """Weigh each character of a line against what the other reads in its place.

    Returns:
        What comes to stand at each place, one or none; and what the other alone reads, by the place it stands behind,
        -1 for before the first.
    """
    slots = [[_agreed(char) if place in known else _doubted(char)] for place, char in enumerate(line.chars)]
    behind: defaultdict[int, list[RecognizedChar]] = defaultdict(list)
    marks: set[int] = set()  # the spaces in whose places the other reads something
    edits = Levenshtein.editops([form for *_, form in theirs], [form for *_, form in ours])
    for same in edits.as_matching_blocks():
        pairs = zip(ours[same.b : same.b + same.size], theirs[same.a : same.a + same.size], strict=True)
        for ((last, before, _), (last_read, *_)), ((place, char, _), (read_at, read, _)) in pairwise(pairs):
            if place == last + 1 and read_at > last_read + 1:
                behind[last].append(other.chars[last_read + 1])
            if before.char.isascii() and read.char.isascii() and not char.char.isascii() and place in known:
                slots[place] = _weighed(char, read, lookalikes, vote)
    for edit in edits:
        if edit.tag == "delete":
            space, read = _space_before(ours, edit.dest_pos), theirs[edit.src_pos][1]
            if space is not None and space not in marks:
                slots[space] = _weighed(line.chars[space], read, lookalikes, vote)
                marks.add(space)
            else:
                behind[ours[edit.dest_pos - 1][0] if edit.dest_pos else -1].append(read)
            continue
        place, char, _ = ours[edit.dest_pos]
        if place not in known:
            continue
        if edit.tag == "replace":
            slots[place] = _weighed(char, theirs[edit.src_pos][1], lookalikes, vote)
        else:
            around = theirs[max(0, edit.src_pos - 1) : edit.src_pos + 1]
            slots[place] = _alone(char, min((one.confidence for _, one, _ in around), default=0.0), vote)
    return slots, behind


def _put_in(
    slots: list[list[RecognizedChar]], behind: dict[int, list[RecognizedChar]], line: Recognition, vote: bool
) -> list[RecognizedChar]:
    """Put what the other alone reads into the places, where that is likelier than not, and else doubt what is there.

    Returns:
        What comes before the first place.
    """
    first: list[RecognizedChar] = []
    for place, found in behind.items():
        at = max(place, 0)
        dropped = _doubt(line.chars[at]).dropped
        chances = [(_bayes(dropped, char.confidence), char) for char in found]
        left = max((chance for chance, _ in chances if not vote or chance <= 0.5), default=dropped * _SHARED)
        slots[at][:1] = [_lost(char, left) for char in slots[at][:1]]
        taken = [_found(char, chance) for chance, char in chances if vote and chance > 0.5]
        (first if place < 0 else slots[at]).extend(taken)
    return first


def _written(line: Recognition) -> _Written:
    """Return the characters of a line that are no spaces: place, character, and the form that is compared."""
    forms = ((place, char, _form(char)) for place, char in enumerate(line.chars))
    return [(place, char, form) for place, char, form in forms if form.strip()]


def _form(char: RecognizedChar) -> str:
    return unicodedata.normalize("NFKC", char.char)


def _space_before(ours: _Written, number: int) -> int | None:
    """Return the place of the one space before a written character, behind another."""
    between = 0 < number < len(ours) and ours[number][0] - ours[number - 1][0] == 2
    return ours[number][0] - 1 if between else None


def _doubt(char: RecognizedChar) -> Doubt:
    """Return what is thought of a character so far; of a model that is not calibrated, what its posterior says."""
    return char.doubt or Doubt(wrong=1 - char.confidence, lookalike=0.0, dropped=0.0)


def _doubted(char: RecognizedChar) -> RecognizedChar:
    return replace(char, doubt=_doubt(char))


def _agreed(char: RecognizedChar) -> RecognizedChar:
    less = {name: _SHARED * chance for name, chance in vars(_doubt(char)).items()}
    return replace(char, doubt=Doubt(**less))


def _weighed(char: RecognizedChar, read: RecognizedChar, lookalikes: Lookalikes, vote: bool) -> list[RecognizedChar]:
    """Weigh a character against another model's for the same place."""
    doubt = _doubt(char)
    chance = _bayes(doubt.wrong, read.confidence)
    alike = _form(char).casefold() != _form(read).casefold() and lookalikes.score(char.char, read.char) is not None
    rest = tuple(one for one in char.alternatives if one.char not in (char.char, read.char))
    if vote and chance > 0.5:
        doubt = replace(doubt, wrong=1 - chance, lookalike=1 - chance if alike else 0.0)
        mine = Alternative(char=char.char, confidence=char.confidence)
        return [
            replace(
                char, char=read.char, confidence=read.confidence, margin=None, alternatives=(mine, *rest), doubt=doubt
            )
        ]
    lookalike = max(doubt.lookalike, chance if alike else 0.0)
    doubt = replace(doubt, wrong=max(doubt.wrong, chance), lookalike=lookalike)
    return [replace(char, alternatives=(Alternative(char=read.char, confidence=read.confidence), *rest), doubt=doubt)]


def _alone(char: RecognizedChar, around: float, vote: bool) -> list[RecognizedChar]:
    """Weigh a character that the other model does not read, and is so sure of what it reads beside it."""
    doubt = _doubt(char)
    chance = _bayes(doubt.wrong, min(around, _SILENT))
    return [] if vote and chance > 0.5 else [replace(char, doubt=replace(doubt, wrong=max(doubt.wrong, chance)))]


def _found(char: RecognizedChar, chance: float) -> RecognizedChar:
    """Return a character that only the other model reads, and that is there with this chance."""
    return replace(char, margin=None, alternatives=(), doubt=Doubt(wrong=1 - chance, lookalike=0.0, dropped=0.0))


def _lost(char: RecognizedChar, chance: float) -> RecognizedChar:
    """Lay a missing character to the one before it, beside what is laid to it already."""
    doubt = _doubt(char)
    return replace(char, doubt=replace(doubt, wrong=max(doubt.wrong, chance), dropped=max(doubt.dropped, chance)))


def _instead(line: Recognition, other: Recognition, wrong: float) -> Recognition:
    """Take the other's line as a whole, each character as likely wrong as the two are unsure."""
    chars = tuple(_found(char, _bayes(wrong, char.confidence)) for char in other.chars)
    return replace(line, text=other.text, confidence=other.confidence, chars=chars, second=other.text)


def _bayes(chance: float, other: float) -> float:
    wrong, read = min(max(chance, _LEAST), 1 - 1e-6), min(other, _SUREST)
    return wrong * read / (wrong * read + (1 - wrong) * (1 - read))

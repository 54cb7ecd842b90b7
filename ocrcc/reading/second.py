"""A second reader: where two models read a line differently one of them errs, and the likelier reading counts."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from dataclasses import replace

from rapidfuzz.distance import Levenshtein

from ocrcc.charset import Charset
from ocrcc.lookalikes import Lookalikes
from ocrcc.types import Alternative, Doubt, Recognition, RecognizedChar

_SHARED = 0.3
"""Of a model's errors, those that another makes too: 17 to 38 % of look-alikes between ours and PP-OCR's."""
_LEAST = 0.01
"""No character is less likely to be wrong than this where another model reads another one: surer than that no model
is with reason."""
_SUREST = 0.97
"""No reading of the other model is held for likelier than this."""


def second_opinion(
    line: Recognition, other: Recognition, charset: Charset, lookalikes: Lookalikes, *, vote: bool = True
) -> Recognition:
    """Doubt the characters of a line the more where another model reads others, and the less where it reads the same.

    Were the two independent, and one of them right, then by Bayes a character is wrong with the chance p q /
    (p q + (1 - p)(1 - q)) where the other model reads another one with posterior q, and p was its chance before; over
    one half the other's takes its place. Likewise for a character that the other alone reads. Where both agree, what
    is left of p is the errors that both make. Each one's character is the first alternative to the other's. Width is
    no difference, and neither are spaces, which some makes do not write.

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
    chars = [replace(char, doubt=_doubt(char)) for char in line.chars]
    for place, char, form in ours:
        if form in charset or char.char in charset:
            chars[place] = _agreed(char)
    behind: defaultdict[int, list[RecognizedChar]] = defaultdict(list)
    for edit in Levenshtein.editops([form for *_, form in theirs], [form for *_, form in ours]):
        if edit.tag == "delete":  # laid to the character before it; -1 is before the first
            behind[ours[edit.dest_pos - 1][0] if edit.dest_pos else -1].append(theirs[edit.src_pos][1])
            continue
        place, char, form = ours[edit.dest_pos]
        chars[place] = replace(char, doubt=_doubt(char))
        if edit.tag == "replace" and (form in charset or char.char in charset):
            chars[place] = _differs(char, form, *theirs[edit.src_pos][1:], lookalikes, vote=vote)
    lost: dict[int, float] = {}
    for place in sorted(behind, reverse=True):  # from the end, so that places stay what they are
        at = max(place, 0)
        dropped = _doubt(line.chars[at]).dropped
        chances = [(_bayes(dropped, char.confidence), char) for char in behind[place]]
        found = [_found(char, chance) for chance, char in chances if vote and chance > 0.5]
        left = max((chance for chance, _ in chances if not (vote and chance > 0.5)), default=dropped * _SHARED)
        lost[at] = max(left, lost.get(at, 0.0))
        chars[at] = _lost(chars[at], lost[at])
        chars[place + 1 : place + 1] = found
    text = "".join(char.char for char in chars)
    lowest = line.confidence if text == line.text else min(char.confidence for char in chars)
    return replace(line, text=text, confidence=lowest, chars=tuple(chars), second=other.text)


def _written(line: Recognition) -> list[tuple[int, RecognizedChar, str]]:
    """Return the characters of a line that are no spaces: place, character, and the form that is compared."""
    forms = ((place, char, unicodedata.normalize("NFKC", char.char)) for place, char in enumerate(line.chars))
    return [(place, char, form) for place, char, form in forms if form.strip()]


def _doubt(char: RecognizedChar) -> Doubt:
    """Return what is thought of a character so far; of a model that is not calibrated, what its posterior says."""
    return char.doubt or Doubt(wrong=1 - char.confidence, lookalike=0.0, dropped=0.0)


def _agreed(char: RecognizedChar) -> RecognizedChar:
    less = {name: _SHARED * chance for name, chance in vars(_doubt(char)).items()}
    return replace(char, doubt=Doubt(**less))


def _differs(
    char: RecognizedChar, form: str, read: RecognizedChar, other: str, lookalikes: Lookalikes, *, vote: bool
) -> RecognizedChar:
    """Weigh a character against another model's for the same place."""
    doubt = _doubt(char)
    chance = _bayes(doubt.wrong, read.confidence)
    alike = form.casefold() != other.casefold() and lookalikes.score(char.char, read.char) is not None
    rest = tuple(one for one in char.alternatives if one.char not in (char.char, read.char))
    if vote and chance > 0.5:
        return replace(
            char,
            char=read.char,
            confidence=read.confidence,
            margin=None,
            alternatives=(Alternative(char=char.char, confidence=char.confidence), *rest),
            doubt=replace(doubt, wrong=1 - chance, lookalike=1 - chance if alike else 0.0),
        )
    return replace(
        char,
        alternatives=(Alternative(char=read.char, confidence=read.confidence), *rest),
        doubt=replace(doubt, wrong=max(doubt.wrong, chance), lookalike=max(doubt.lookalike, chance if alike else 0.0)),
    )


def _found(char: RecognizedChar, chance: float) -> RecognizedChar:
    """Return a character that only the other model reads, and that is there with this chance."""
    return replace(char, margin=None, alternatives=(), doubt=Doubt(wrong=1 - chance, lookalike=0.0, dropped=0.0))


def _lost(char: RecognizedChar, chance: float) -> RecognizedChar:
    """Lay a missing character to the one before it."""
    doubt = _doubt(char)
    return replace(char, doubt=replace(doubt, wrong=max(doubt.wrong, chance), dropped=chance))


def _bayes(chance: float, other: float) -> float:
    wrong, read = max(chance, _LEAST), min(other, _SUREST)
    return wrong * read / (wrong * read + (1 - wrong) * (1 - read))

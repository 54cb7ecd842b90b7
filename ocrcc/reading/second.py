"""The opinion of a second reader: where two models read a line differently, one of them errs."""

from __future__ import annotations

import unicodedata
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


def second_opinion(line: Recognition, other: Recognition, charset: Charset, lookalikes: Lookalikes) -> Recognition:
    """Doubt the characters of a line the more where another model reads others, and the less where it reads the same.

    Were the two independent, and one of them right, then by Bayes a character is wrong with the chance p q /
    (p q + (1 - p)(1 - q)) where the other model reads another one with posterior q, and p was its chance before. Where
    both agree, what is left of it is the errors that both make. The text stays, and what the other reads becomes an
    alternative. Width is no difference, and neither are spaces, which some makes do not write.

    Args:
        line: What was read; all its characters have a doubt afterwards, calibrated or not.
        other: What the other model reads on the same line.
        charset: Of the other model: of characters that it lacks it can say nothing.
        lookalikes: Who looks like whom.
    """
    if line.upside_down != other.upside_down:  # they have not read the same
        return line
    if not line.chars:
        surest = max((char.confidence for char in other.chars), default=0.0)
        return replace(line, confidence=min(line.confidence, 1 - surest), second=other.text)
    ours, theirs = _written(line), _written(other)
    found = {place: _agreed(char) for place, char, form in ours if form in charset or char.char in charset}
    behind: dict[int, float] = {}
    for edit in Levenshtein.editops([form for *_, form in theirs], [form for *_, form in ours]):
        if edit.tag == "delete":  # laid to the character before it, or to the first
            place = ours[max(0, edit.dest_pos - 1)][0] if ours else 0
            behind[place] = max(behind.get(place, 0.0), theirs[edit.src_pos][1].confidence)
            continue
        place, char, form = ours[edit.dest_pos]
        if place in found:
            read = theirs[edit.src_pos] if edit.tag == "replace" else None
            found[place] = char if read is None else _differs(char, form, read[1], read[2], lookalikes)
    chars = list(line.chars)
    for place, char in found.items():
        chars[place] = char
    for place, confidence in behind.items():
        chars[place] = _lost(chars[place], _bayes(_doubt(line.chars[place]).dropped, confidence))
    return replace(line, chars=tuple(replace(char, doubt=_doubt(char)) for char in chars), second=other.text)


def _written(line: Recognition) -> list[tuple[int, RecognizedChar, str]]:
    """Return the characters of a line that are no spaces: place, character, and the form that is compared."""
    forms = ((place, char, unicodedata.normalize("NFKC", char.char)) for place, char in enumerate(line.chars))
    return [(place, char, form) for place, char, form in forms if form.strip()]


def _doubt(char: RecognizedChar) -> Doubt:
    """Return what is thought of a character so far; of a model that is not calibrated, what its posterior says."""
    return char.doubt or Doubt(wrong=1 - char.confidence, lookalike=0.0, dropped=0.0)


def _agreed(char: RecognizedChar) -> RecognizedChar:
    doubt = _doubt(char)
    less = {name: _SHARED * chance for name, chance in vars(doubt).items()}
    return replace(char, doubt=Doubt(**less))


def _differs(
    char: RecognizedChar, form: str, read: RecognizedChar, other: str, lookalikes: Lookalikes
) -> RecognizedChar:
    doubt = _doubt(char)
    chance = _bayes(doubt.wrong, read.confidence)
    alike = form.casefold() != other.casefold() and lookalikes.score(char.char, read.char) is not None
    rest = tuple(one for one in char.alternatives if one.char != read.char)
    return replace(
        char,
        doubt=replace(doubt, wrong=max(doubt.wrong, chance), lookalike=chance if alike else doubt.lookalike),
        alternatives=(Alternative(char=read.char, confidence=read.confidence), *rest),
    )


def _lost(char: RecognizedChar, chance: float) -> RecognizedChar:
    doubt = _doubt(char)
    return replace(char, doubt=replace(doubt, wrong=max(doubt.wrong, chance), dropped=chance))


def _bayes(chance: float, other: float) -> float:
    wrong, read = max(chance, _LEAST), min(other, _SUREST)
    return wrong * read / (wrong * read + (1 - wrong) * (1 - read))

"""What kind of error an edit is, so that one can say which of them would be worth mending."""

from __future__ import annotations

import unicodedata
from typing import Literal, get_args

from ocrcc.lookalikes import Lookalikes

Kind = Literal["look-alike", "width", "case", "space", "punctuation", "other", "inserted", "left out"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def kind_of(truth: str, read: str, lookalikes: Lookalikes | None) -> Kind:
    """Tell the kind of an edit; each is of exactly one kind.

    What normalisation could mend comes before likeness: ，and , are told apart by width alone, c and C by case.

    Args:
        truth: The character of the reference; empty where the reading has one too many.
        read: The character that was read; empty where it was left out.
        lookalikes: Who looks like whom.

    >>> kind_of("Ａ", "A", None), kind_of("a", "A", None), kind_of("", " ", None), kind_of("己", "", None)
    ('width', 'case', 'space', 'left out')
    """
    if (truth or " ").isspace() and (read or " ").isspace():
        return "space"
    if not truth or not read:
        return "left out" if truth else "inserted"
    one, other = (unicodedata.normalize("NFKC", char) for char in (truth, read))
    if one == other:
        return "width"
    if one.casefold() == other.casefold():
        return "case"
    if lookalikes is not None and lookalikes.score(truth, read) is not None:
        return "look-alike"
    if truth.isspace() or read.isspace():
        return "space"
    if unicodedata.category(truth)[0] == unicodedata.category(read)[0] == "P":
        return "punctuation"
    return "other"

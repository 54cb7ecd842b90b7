"""Text that is written from right to left: as it is typed, and as it stands on a line, by the Unicode algorithm.

Recognisers read from left to right, so they are trained on labels as these stand on the line; what they read is brought
back to the order in which it is typed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_RIGHT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")


def has_right_to_left(text: str | Iterable[str]) -> bool:
    """Tell whether there are letters in a text that are written from right to left."""
    return any(
        unicodedata.bidirectional(char) in ("R", "AL") for piece in text if _RIGHT.search(piece) for char in piece
    )


def needs_shaping(char: str) -> bool:
    """Tell whether a character's form depends on its neighbours: joined letters, conjuncts, marks above and below."""
    blocks = (("\u0900", "\u0dff"), ("\u0f00", "\u109f"), ("\u1780", "\u17ff"))
    indic = any(first <= char <= last for first, last in blocks)
    joined = unicodedata.bidirectional(char) == "AL" or "\u1800" <= char <= "\u18af"
    return indic or joined or unicodedata.category(char) in ("Mn", "Mc", "Me")


def on_the_line(text: str) -> str:
    """Turn a text as it is typed into what stands on the line, from left to right.

    >>> on_the_line("אבג 12") == "12 גבא"
    True
    """
    return "".join(char for _, char in _reordered(text)) if _RIGHT.search(text) else text


def as_typed(text: str) -> list[tuple[int, str]]:
    """Turn what was read on a line, from left to right, into the order in which it is typed.

    Returns:
        For each character of the text its place on the line, and the character, whose mirror image may have been read.
    """
    return _reordered(text) if _RIGHT.search(text) else list(enumerate(text))


def _reordered(text: str) -> list[tuple[int, str]]:
    """Apply the algorithm, which is its own inverse where directions do not nest: base is what most letters are."""
    from bidi import algorithm  # only who has such letters needs it

    kinds = [unicodedata.bidirectional(char) for char in text]
    right, left = sum(kind in ("R", "AL") for kind in kinds), kinds.count("L")
    storage = algorithm.get_empty_storage()
    level = int(right >= left and right > 0)
    storage["base_level"], storage["base_dir"] = level, "LR"[level]
    algorithm.get_embedding_levels(text, storage)
    for number, char in enumerate(storage["chars"]):
        char["place"] = number
    algorithm.explicit_embed_and_overrides(storage)
    for rule in (algorithm.resolve_weak_types, algorithm.resolve_neutral_types, algorithm.resolve_implicit_levels):
        rule(storage, False)
    algorithm.reorder_resolved_levels(storage, False)
    algorithm.apply_mirroring(storage, False)
    return [(char["place"], char["ch"]) for char in storage["chars"]]

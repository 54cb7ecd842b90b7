"""Readings in half-width forms, for those who search and compare them: full-width marks and dashes in one spelling."""

from __future__ import annotations

import re
from dataclasses import replace

from ocrcc.charset import DASHES, normalise
from ocrcc.types import Alternative, Recognition, RecognizedChar

_BETWEEN = re.compile(r"(?<=[0-9A-Za-z])[—一](?=[0-9A-Za-z])")
"""A single dash between two letters or digits, and the numeral one, which cannot stand there: a dash read as it."""


def half_width(line: Recognition) -> Recognition:
    """Give full-width letters, digits and marks of ASCII their half-width form, and dashes the one that is meant.

    The picture of a dash tells its width, and not what it is for, so its place decides: between two letters or digits
    it is a hyphen, whatever was read (2019—2020, 2019一2020, 2019－2020 become 2019-2020). Elsewhere a long dash stays
    long, a double one double, and the numeral 一 itself.
    """
    plain = "".join(map(_plain, (char.char for char in line.chars)))
    text = _BETWEEN.sub("-", plain)
    if text == line.text:
        return line
    chars = tuple(_renamed(char, new) for char, new in zip(line.chars, text, strict=True))
    return replace(line, text=text, chars=chars)


def _plain(char: str) -> str:
    return normalise(char, "halfwidth").translate(DASHES)


def _renamed(char: RecognizedChar, new: str) -> RecognizedChar:
    """Give a character another form; alternatives that then are the same are left out, the likeliest kept."""
    others: dict[str, Alternative] = {}
    for other in char.alternatives:
        form = _plain(other.char)
        if form != new:
            others.setdefault(form, replace(other, char=form))
    return replace(char, char=new, alternatives=tuple(others.values()))

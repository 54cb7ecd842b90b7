"""A page's boxes: ICDAR 2015's, MLT's and SROIE's ``x1,y1,…,x4,y4,text``; ``left, top, right, bottom, "text"``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ocrcc.annotations.entries import BadLabelError, Entry, Problem, image_beside, make_entry, malformed
from ocrcc.annotations.names import shorten
from ocrcc.encodings import open_text
from ocrcc.outlines import clockwise, rectangle
from ocrcc.types import Outline

_NUMBER = r"-?\d+(?:\.\d+)?"
_QUAD = re.compile(rf"\s*({_NUMBER}(?:,\s*{_NUMBER}){{7}}),(.*)", re.DOTALL)
_BOX = re.compile(rf'\s*({_NUMBER}(?:[,\s]\s*{_NUMBER}){{3}}),?\s+"(.*)"\s*', re.DOTALL)
_SCRIPTS = re.compile("(?:Arabic|Bangla|Chinese|Hindi|Japanese|Korean|Latin|Mixed|None|Symbols),")


def is_quad(line: str) -> bool:
    """Tell whether a line is a box's."""
    return bool(_QUAD.fullmatch(line) or _BOX.fullmatch(line))


def page_of(name: str) -> str:
    """Return what a file of boxes is called after: the page is called as it is, but for ``gt_`` and ``res_``."""
    return name.removeprefix("gt_").removeprefix("res_")


def read_quads(path: Path, images: Path, encoding: str) -> Iterator[Entry | Problem]:
    """Read a page's file."""
    lines = [(number, line) for number, line in open_text(path, encoding).lines() if line is None or line.strip()]
    scripts = all(line is None or (found := _QUAD.fullmatch(line)) and _SCRIPTS.match(found[2]) for _, line in lines)
    name = image_beside(path.with_name(page_of(path.name)))
    for number, line in lines:
        where = f"{path}:{number}"
        try:
            if line is None:
                raise BadLabelError("line in another encoding")
            found = _QUAD.fullmatch(line) or _BOX.fullmatch(line)
            if not found:
                raise BadLabelError("not x1,y1,…,x4,y4,text", f": {shorten(line)}")
            sides = [float(number) for number in re.findall(_NUMBER, found[1])]
            text = _SCRIPTS.sub("", found[2], count=1) if scripts else found[2]
            if text in ("###", "*"):
                raise BadLabelError("marked as illegible")
            points = rectangle(*sides) if len(sides) == 4 else tuple(zip(sides[::2], sides[1::2], strict=True))
            yield make_entry(
                images, name, text, where, outline=Outline(points, ordered=clockwise(points)), anywhere=True
            )
        except BadLabelError as error:
            yield malformed(where, error)

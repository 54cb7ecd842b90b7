"""Files of readings, as ``ocrcc predict --format json`` writes them, read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ocrcc.errors import DataError
from ocrcc.files import check_regular
from ocrcc.types import Alternative, Box, Doubt, Page, PageChar, PageLine, Recognition, RecognizedChar

_CHANCES = ("wrong", "lookalike", "dropped")


def read_readings(path: Path) -> Iterator[Recognition | Page]:
    """Read a file of readings, object by object.

    Raises:
        DataError: It is not such a file; the line is named.
    """
    check_regular(path)
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                values = json.loads(raw.decode("utf-8-sig"))
                yield _page(values) if "lines" in values else _line(values)
            except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError):
                raise DataError(
                    f"{path}:{number}: no reading", "give what ocrcc predict --format json wrote, or images"
                ) from None


def _line(values: Any) -> Recognition:
    return Recognition(
        path=_text(values["path"]),
        text=_text(values["text"]),
        confidence=_number(values["confidence"]),
        chars=tuple(RecognizedChar(**_char(each)) for each in values["chars"]),
        upside_down=values.get("upside_down") is True,
        unmatched=values.get("unmatched") is True,
        second=_second(values),
    )


def _page(values: Any) -> Page:
    lines = tuple(
        PageLine(
            text=_text(line["text"]),
            confidence=_number(line["confidence"]),
            chars=tuple(PageChar(**_char(each), box=_box(each["box"])) for each in line["chars"]),
            box=_box(line["box"]),
            unmatched=line.get("unmatched") is True,
            second=_second(line),
        )
        for line in values["lines"]
    )
    return Page(path=_text(values["path"]), width=int(values["width"]), height=int(values["height"]), lines=lines)


def _second(values: Any) -> str | None:
    return None if values.get("second") is None else _text(values["second"])


def _char(values: Any) -> dict[str, Any]:
    left, right = int(values["left"]), int(values["right"])
    if not 0 <= left < right:
        raise ValueError
    margin, doubt = values.get("margin"), values.get("doubt")
    return {
        "char": _text(values["char"]),
        "confidence": _number(values["confidence"]),
        "left": left,
        "right": right,
        "margin": None if margin is None else float(margin),
        "alternatives": tuple(
            Alternative(char=_text(other["char"]), confidence=_number(other["confidence"]))
            for other in values.get("alternatives", ())
        ),
        "doubt": None if doubt is None else Doubt(**{name: _number(doubt[name]) for name in _CHANCES}),
    }


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # half a surrogate pair is no text
    return value


def _number(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _box(value: Any) -> Box:
    a, b, c, d = ((int(x), int(y)) for x, y in value)
    return a, b, c, d

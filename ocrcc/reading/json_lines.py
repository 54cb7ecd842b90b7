"""Readings as JSON Lines."""

from __future__ import annotations

from ocrcc.harmless import json_text
from ocrcc.types import Page, Recognition


def json_line(result: Recognition | Page) -> str:
    """Write one line image or page as one line of JSON."""
    return json_text(result, default=_keys) + "\n"


def _keys(result: object) -> dict[str, object]:
    """Give a dataclass's fields, which are the format's keys, in its order; what is seldom so only where it is so."""
    seldom = {"upside_down": False, "doubt": None, "unmatched": False, "second": None}
    found = vars(result).items()
    return {key: value for key, value in found if key != "evidence" and (key not in seldom or value != seldom[key])}

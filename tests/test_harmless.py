"""Texts of strangers do nothing to who looks at them, and JSON loses nothing of them."""

from __future__ import annotations

import json
import unicodedata
from itertools import chain

from ocrcc.cli.page_formats import choose_writer
from ocrcc.harmless import harmless, json_text
from ocrcc.types import Recognition

HOSTILE = "a\x1b[31m\x9b31m\u202e\u2066\u2028\x7f\ufeff\U000e0067\udcffb"
SHAPELESS = ("Cc", "Cf", "Cs", "Zl", "Zp")
ALL = "".join(map(chr, chain(range(0x3100), range(0xD700, 0x11200), range(0xE0000, 0xE0200))))


def test_nothing_without_a_shape_is_left_and_nothing_else_changes():
    kept = [char for char in ALL if unicodedata.category(char) not in SHAPELESS]
    assert harmless("".join(kept)) == "".join(kept)
    assert not {char for char in harmless(ALL) if unicodedata.category(char) in SHAPELESS}
    assert harmless(HOSTILE) == ("a\\x1b[31m\\x9b31m\\u202e\\u2066\\u2028\\x7f\\ufeff\\U000e0067\\udcffb")


def test_json_shows_what_has_a_shape_escapes_what_has_none_and_loses_nothing():
    for text in (HOSTILE, "已己巳 café 🏴\U000e0067\U000e0062", '\\x9b " \\" \n'):
        written = json_text({"text": text})
        assert json.loads(written) == {"text": text}
        assert not {char for char in written if unicodedata.category(char) in SHAPELESS}
    assert "已己巳 café" in json_text(["已己巳 café"])
    assert json_text({"a": [1]}, indent=2) == '{\n  "a": [\n    1\n  ]\n}'


def written(format_name: str | None, text: str) -> str:
    result = Recognition(path="=cmd.png", text=text, confidence=1.0, chars=())
    return "".join(choose_writer(format_name, single=False)([result]))


def test_tables_escape_what_controls_or_turns_and_keep_joiners():
    assert "a\\x1b[31m\\x9b31m\\u202e\\u2066\\u2028\\x7f" in written("tsv", HOSTILE)
    assert "می\u200cخواهم" in written("tsv", "می\u200cخواهم")
    assert "\x9b" not in written("json", HOSTILE)
    assert json.loads(written("json", HOSTILE))["text"] == HOSTILE


def test_what_begins_like_a_formula_is_written_as_it_was_read():
    for text in ("-12,50", "+49 30", "=A1", "@home"):
        assert written("tsv", text).splitlines()[1].split("\t")[:2] == ["=cmd.png", text]

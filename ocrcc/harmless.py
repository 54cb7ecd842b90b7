"""Texts of strangers made harmless for whoever looks at them: labels, file names and readings are data.

Control characters (U+009B begins a terminal's command), such as change the direction of what follows (U+202E turns
``gpj.exe`` into what looks like a picture's name) and separators of lines are shown by their code; in JSON that is
one of its own escapes, and nothing is lost.

A cell of a table that begins with ``=``, ``+``, ``-`` or ``@`` stays as it is, though a spreadsheet may take it for a
formula: amounts begin so, and what is written must be what was read. Programs that read our tables see no formulas; in
a spreadsheet, such a file is imported with its columns as text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_SHAPELESS = ("Cc", "Cf", "Cs", "Zl", "Zp")
_MAYBE = re.compile("[^ -~\xa1-\xac\xae-\u05ff\u2e80-\ud7ff]")
"""What can be shapeless; of most texts, no character has to be looked up."""


def harmless(text: str) -> str:
    r"""Make control and direction-changing characters visible.

    >>> harmless("a\x1b[31mb\n")
    'a\\x1b[31mb\\x0a'
    """
    return _MAYBE.sub(lambda found: _shown(found.group()), text)


def _shown(char: str) -> str:
    if unicodedata.category(char) not in _SHAPELESS:
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def json_text(value: Any, **options: Any) -> str:
    r"""Write JSON that people can read, and that does nothing to a terminal that shows it.

    Args:
        value: What to write.
        **options: Of `json.dumps`.

    >>> json_text({"text": "已\x9b31m\u202e"})
    '{"text": "已\\u009b31m\\u202e"}'
    """
    import json  # ocrcc --help writes none

    return _MAYBE.sub(lambda found: _escaped(found.group()), json.dumps(value, ensure_ascii=False, **options))


def _escaped(char: str) -> str:
    # Line ends between values are JSON's own; those in texts are escaped already.
    plain = char == "\n" or unicodedata.category(char) not in _SHAPELESS
    if plain:
        return char
    import json

    return json.dumps(char)[1:-1]

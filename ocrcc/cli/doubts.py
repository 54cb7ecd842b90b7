"""The list of characters that a person should look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ocrcc.cli.page_formats import one_line
from ocrcc.places import marked, output
from ocrcc.reading.doubts import Doubtful, reason

HEADER = ("path", "line", "position", "char", "check", "worth", "confidence", "alternatives", "left", "right", "text")
LIST = marked("list of doubts", "\t".join(HEADER).encode())


def write_doubts(path: Path, chosen: Sequence[Doubtful]) -> None:
    """Write a TSV list, `HEADER` first; what would break a table stands there by its code.

    Raises:
        ConfigError: Something else is there.
        DataError: It cannot be written.
    """
    rows = [
        (
            one.path,
            str(one.line),
            str(one.position),
            one.char.char,
            reason(one.char),
            f"{one.worth:.4f}",
            f"{one.char.confidence:.4f}",
            "".join(other.char for other in one.char.alternatives),
            str(one.char.left),
            str(one.char.right),
            one.text,
        )
        for one in chosen
    ]
    with output(path, LIST) as aside:
        text = "".join("\t".join(map(one_line, row)) + "\n" for row in (HEADER, *rows))
        aside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")

"""``ocrcc charset``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ocrcc.charset import Charset, charset_from_text, generate, lint, load_charset
from ocrcc.cli import render
from ocrcc.cli.completion import completion
from ocrcc.config.setting import INPUT, OUTPUT
from ocrcc.errors import CharsetError, ConfigError
from ocrcc.places import marked, output

_FILE = marked("charset")
"""Made to be edited by hand, so that none is ever replaced."""
_SCRIPTS: dict[str, Callable[[str], bool]] = {
    "ASCII": lambda char: char.isascii(),
    "ideographs": lambda char: "\u3400" <= char <= "\u9fff" or "\U00020000" <= char <= "\U0003ffff",
    "others": lambda _char: True,
}


def command(
    charset: Annotated[
        str,
        typer.Argument(
            metavar="CHARSET", help="A shipped charset, a file, or from-data.", autocompletion=completion("CHARSET")
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="LMDB",
            rich_help_panel=INPUT,
            help="Datasets for from-data; repeat it for several.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="Write it, one character a line."),
    ] = None,
) -> None:
    """Count a charset's characters, report the doubtful ones, and write it to a file that can be edited.

    Give such a file to pretrain with --charset FILE. The order of the lines is that of the classes.

    Examples:
        ocrcc charset gb2312
        ocrcc charset from-data -d train.lmdb -o mine.txt
    """
    found = _load(charset, data or [])
    left = list(found)
    rows = [("all", f"{len(found):,}")]
    for name, belongs in _SCRIPTS.items():
        rows.append((name, f"{sum(map(belongs, left)):,}"))
        left = [char for char in left if not belongs(char)]
    render.out.print(render.table(found.name, ("characters", "count"), rows))
    for oddity in lint(found):
        render.warn(oddity)
    if out is not None:
        _write(out, found.symbols)
        render.notice(f"wrote {out}")


def _load(charset: str, data: list[Path]) -> Charset:
    if charset != "from-data":
        if data:
            raise ConfigError("--data is for from-data", f"ocrcc charset from-data --data {data[0]}")
        try:
            return Charset(generate(charset), name=charset)
        except CharsetError:
            return load_charset(charset)
    if not data:
        raise ConfigError("from-data needs datasets", "--data train.lmdb")
    from ocrcc.data.lmdb_store import LmdbDataset

    return charset_from_text(char for path in data for char in LmdbDataset(path).characters)


def _write(path: Path, symbols: str) -> None:
    with output(path, _FILE) as aside:
        aside.write_text("".join(f"{char}\n" for char in symbols), encoding="utf-8", newline="\n")

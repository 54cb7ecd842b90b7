"""``ocrcc predict``."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, Device, with_config_options
from ocrcc.config import PredictConfig
from ocrcc.errors import DataError, SomeInputsFailedError

if TYPE_CHECKING:
    from ocrcc.types import Recognition

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    0x09: "\\t",
    0x0A: "\\n",
    0x0D: "\\r",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


@with_config_options()
def command(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Images, folders, globs; - for paths on standard input.")
    ],
    settings: PredictConfig,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", envvar="OCRCC_MODEL", help="A .safetensors file, a run folder, or hf://owner/name."
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "tsv", "json"] | None, typer.Option(help="By default text, and a table on a terminal.")
    ] = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Read images of text lines.

    The text of a single image is printed as it is; that of several as path<TAB>text. tsv adds the confidence
    and a header; json gives one object a line, with each character's confidence and its pixel columns in the
    upright image, as EXIF turns it. In text and tsv, tabs, newlines and other control characters are escaped.

    Results keep the order of the input. What cannot be read is named on stderr, and the exit code is 1.
    """
    from ocrcc.workflows.inputs import STDIN, find_images

    failures = _Failures()
    found = find_images(
        paths,
        sys.stdin.buffer,
        on_missing=failures.add,
        on_passed_over=lambda path, message: render.notice(f"{path}: {message}"),
    )
    first = next(found, None)
    if first is None:
        raise DataError("nothing to read", "give image files, folders, globs, or - for paths on standard input")
    from ocrcc.workflows.predict import LineReader, Unreadable, default_model

    reader = LineReader.load(model or default_model(), device=device, config=settings)
    table: list[Recognition] | None = [] if format is None and _on_terminal() else None
    images: Iterable[str] = itertools.chain([first], found)
    total = None
    if sys.stderr.isatty() and STDIN not in paths:
        images = list(images)
        total = len(images)
    write = _writer(format, single=len(paths) == 1 and Path(paths[0]).is_file())
    # On a terminal a moving bar and lines of results would overwrite one another.
    bar = render.show_progress("predict") if table is not None or not _on_terminal() else nullcontext(_no_report)
    with bar as report, closing(reader.stream(images)) as results:
        for done, result in enumerate(results, start=1):
            if isinstance(result, Unreadable):
                failures.add(result.path, result.message)
            elif table is not None:
                table.append(result)
            else:
                write(result)
            report(done, total)
    if table:
        rows = [(result.path, result.text, f"{result.confidence:.3f}") for result in table]
        render.out.print(render.table("", ("image", "text", "confidence"), rows, left=2))
    failures.finish()


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _no_report(_done: int, _total: int | None) -> None:
    pass


class _Failures:
    """Names on stderr what cannot be read, as it comes, and counts it."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, path: str, message: str) -> None:
        """Name one."""
        self.count += 1
        render.notice(message if message.startswith(path) else f"{path}: {message}")

    def finish(self) -> None:
        """Make them the command's exit code."""
        if self.count:
            raise SomeInputsFailedError(f"{self.count} of the inputs could not be read")


def _writer(format_name: str | None, *, single: bool) -> Callable[[Recognition], None]:
    """Choose how a reading is written to stdout; write what comes before the first."""
    if format_name == "json":
        return _write_json
    if format_name == "tsv":
        _write_line("path\ttext\tconfidence")
        return lambda result: _write_columns(result.path, result.text, f"{result.confidence:.4f}")
    if single:
        return lambda result: _write_columns(result.text)
    return lambda result: _write_columns(result.path, result.text)


def _write_json(result: Recognition) -> None:
    # The dataclasses' fields are the format's keys, in its order.
    _write_line(json.dumps(result, default=vars, ensure_ascii=False))


def _write_columns(*columns: str) -> None:
    escape = render.harmless if _on_terminal() else _one_line
    _write_line("\t".join(map(escape, columns)))


def _write_line(line: str) -> None:
    # Flushed, so that whoever reads at the other end of a pipe need not wait for more.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _one_line(text: str) -> str:
    return text.translate(_ESCAPES)

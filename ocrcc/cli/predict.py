"""``ocrcc predict``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, Device, with_config_options
from ocrcc.cli.page_formats import PAGE_FORMATS, Result, choose_writer, one_line, rows
from ocrcc.config import PredictConfig
from ocrcc.errors import ConfigError, DataError, SomeInputsFailedError
from ocrcc.places import check_file, marked, output
from ocrcc.types import Recognition

if TYPE_CHECKING:
    from ocrcc.reading.reader import Unreadable


_READINGS = marked("file of readings")
"""It says nowhere that it is ours, so none is ever replaced."""


@with_config_options()
def command(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Images, PDFs, folders, globs; - for paths on standard input."),
    ],
    settings: PredictConfig,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="MODEL",
            envvar="OCRCC_MODEL",
            help="A .safetensors file, a run folder, or hf://owner/name.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "tsv", "json", "hocr", "alto"] | None,
        typer.Option(help="By default text, and a table on a terminal."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write the results there; else to stdout.")
    ] = None,
    visualize: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw what was read, with its boxes, into pictures in a new folder."),
    ] = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Read images of text lines, and pages: screenshots, scans, TIFF and PDF files of many pages.

    What holds more than one line is a page: its lines are found, which needs pip install 'ocrcc[page]', and given
    in reading order, whichever way it lies. --layout says it where the image does not. Pages of a file are called
    scan.pdf#2.

    The text of a single file is printed as it is, with a form feed between the pages of a document; that of several
    files as path<TAB>text. tsv adds the confidence, the corners of a page's line, and a header. json gives one object
    a line image, with each character's confidence and its pixel columns in the upright image, as EXIF turns it, and
    one a page, with such lines and their boxes; upside_down where a line image is. hocr and alto give one XML
    document. In text and tsv, tabs, newlines and other control characters are escaped.

    Results keep the order of the input. What cannot be read is named on stderr, and the exit code is 1.
    """
    from ocrcc.reading.inputs import STDIN, find_images

    if out is not None:
        check_file(out, _READINGS)
    if visualize is not None and visualize.exists():
        raise ConfigError(f"{visualize} exists", "choose another folder")
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
    from ocrcc.pages.reader import PageReader
    from ocrcc.reading.reader import LineReader, default_model

    if format != "json" and not settings.center_share and settings.lookalikes == PredictConfig.lookalikes:
        # Nothing that will be shown needs the groups; bringing them together takes a tenth of a cold start.
        settings = replace(settings, lookalikes="")
    lines = LineReader.load(model or default_model(), device=device, config=settings)
    hints: list[str] = []
    unmatched: list[str] = []
    reader = PageReader(
        lines,
        lines_as_pages=format in PAGE_FORMATS,
        on_hint=lambda path, hint: hints.append(f"{path}: {hint}"),
    )
    to_terminal = out is None and _on_terminal()
    table: list[Result] | None = [] if format is None and to_terminal else None
    images: Iterable[str] = itertools.chain([first], found)
    total = None
    if sys.stderr.isatty() and STDIN not in paths:
        images = list(images)
        total = len(images)
    single = len(paths) == 1 and Path(paths[0]).is_file()
    write = choose_writer(format, single=single, escape=render.harmless if to_terminal else one_line)
    # On a terminal a moving bar and lines of results would overwrite one another.
    bar = render.show_progress("predict") if table is not None or not to_terminal else nullcontext(_no_report)
    with bar as report, closing(reader.stream(images)) as results, _opened(out) as place:
        report(0, total)
        readable = _readable(
            results, failures, unmatched, lambda done: report(done, None if total is None else max(done, total))
        )
        if visualize is not None:
            readable = _drawn(readable, visualize, settings)
        if table is not None:
            table.extend(readable)
        else:
            for piece in write(readable):
                # Flushed, so that whoever reads at the other end of a pipe need not wait for more.
                place.write(piece)
                place.flush()
    if table:
        shown = [row[:3] for result in table for row in rows(result)]
        render.out.print(render.table("", ("image", "text", "confidence"), shown, left=2))
    render.warn_each("images may be read wrongly" if len(hints) > 1 else "image may be read wrongly", hints)
    render.warn_each(
        "lines match no pattern or check digit, and keep their text"
        if len(unmatched) > 1
        else "line matches no pattern or check digit, and keeps its text",
        unmatched,
    )
    failures.finish()


def _readable(
    results: Iterable[Result | Unreadable], failures: _Failures, unmatched: list[str], report: Callable[[int], None]
) -> Iterator[Result]:
    """Pass on what was read, name what was not and what keeps to no rule, and count them."""
    from ocrcc.reading.reader import Unreadable

    for done, result in enumerate(results, start=1):
        if isinstance(result, Unreadable):
            failures.add(result.path, result.message)
        else:
            lines = [result] if isinstance(result, Recognition) else result.lines
            unmatched += [f"{result.path}: {line.text}" for line in lines if line.unmatched]
            yield result
        report(done)


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """Open the file that results go to, which appears when all are there; stdout without one."""
    if out is None:
        yield sys.stdout
        return
    with output(out, _READINGS) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        yield file


def _drawn(results: Iterable[Result], folder: Path, settings: PredictConfig) -> Iterator[Result]:
    """Draw each result on its image, which is opened again, and pass it on."""
    from ocrcc.glyphs.fonts import font_for
    from ocrcc.pages.documents import Frame, open_frames
    from ocrcc.pages.drawing import draw

    folder.mkdir(parents=True)
    frames: Iterator[Frame] = iter(())
    opened = ""
    for number, result in enumerate(results, start=1):
        file = result.path if Path(result.path).exists() else result.path.rpartition("#")[0]
        if file != opened or file == result.path:
            frames, opened = open_frames(file, dpi=settings.dpi, max_pixels=settings.max_pixels), file
        image = next(frame for frame in frames if frame.path == result.path).load()
        text = result.text if isinstance(result, Recognition) else "".join(line.text for line in result.lines)
        picture = draw(image, result, font_for(text))
        picture.save(folder / f"{number:04d}-{_plain_name(result.path)}.png")
        yield result


def _plain_name(path: str) -> str:
    """Return what a file's picture is called: without its suffix, and with the number of its page."""
    name, _, page = Path(path).name.partition("#")
    return Path(name).stem + (f"-{page}" if page else "")


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

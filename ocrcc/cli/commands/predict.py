"""``ocrcc predict``."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

from ocrcc.cli import render
from ocrcc.cli.completion import completion
from ocrcc.cli.doubts import LIST, write_doubts
from ocrcc.cli.on_cluster import Ray, predict_on_ray
from ocrcc.cli.options import MODEL_KINDS, ConfigFile, Device, with_config_options
from ocrcc.cli.page_formats import PAGE_FORMATS, READINGS, Result, choose_writer, one_line, rows
from ocrcc.config import PredictConfig
from ocrcc.config.setting import MODEL, OUTPUT
from ocrcc.errors import ConfigError, DataError, SomeInputsFailedError
from ocrcc.places import check_file, new_folder, output
from ocrcc.reading.doubts import BUDGET, Doubts, lines_of
from ocrcc.types import Page, Recognition

_FORMATS: dict[str, Literal["tsv", "json", "hocr", "pdf"]] = {
    ".tsv": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".hocr": "hocr",
    ".pdf": "pdf",
}
"""What a file's suffix means where no format is given."""
_LONGEST = 230
"""Bytes of a picture's name beside its number and suffix; file systems take 255."""

if TYPE_CHECKING:
    from ocrcc.reading.reader import Unreadable


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
            rich_help_panel=MODEL,
            autocompletion=completion("MODEL"),
            help=f"{MODEL_KINDS}.",
        ),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "tsv", "json", "hocr", "alto", "pdf"] | None,
        typer.Option(
            "--format",
            "-f",
            rich_help_panel=OUTPUT,
            help="By default what FILE ends in, else text; a table on a terminal.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Write the results there, once all are there; else to stdout.",
        ),
    ] = None,
    visualize: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=OUTPUT,
            help="Draw what was read, with its boxes, into pictures in a new folder.",
        ),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="List the characters that a person should look at, the worst first, as TSV.",
        ),
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="NUMBER",
            rich_help_panel=OUTPUT,
            help="Share of the characters that --review lists, and a table on a terminal colours.",
        ),
    ] = BUDGET,
    ray: Ray = None,
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
    document, and pdf the pages themselves with invisible text over them, to be searched (pip install 'ocrcc[pdf]').
    In text and tsv, tabs, newlines and other control characters are escaped. FILE may replace a file that an earlier
    run has made, except plain text, which does not say who made it.

    --review is best after ocrcc calibrate: it comes first to what nobody notices in the text, look-alikes and
    characters that are missing. Without, it can only go by confidence.

    --second-model lets another model, of any make, read the lines that the first one doubts. Where the two differ, the
    likelier reading counts, and the other is named among its alternatives. --second-doubt 0 lets it read all of them.

    Results keep the order of the input. What cannot be read is named on stderr, and the exit code is 1.

    With --ray (pip install 'ocrcc[ray]' here and on every worker), PATH may also be a file or folder of an object
    store (s3://bucket/scans/), or a Parquet file with a column path. FILE is readings.parquet or JSON Lines, and has a
    record with its error for each input that cannot be read. --threads are those of a worker.

    Examples:
        ocrcc predict scan.png
        ocrcc predict scans -m runs/finetune -o readings.jsonl
        ocrcc predict contract.pdf -o searchable.pdf
        ocrcc predict serials --allow 0123456789ABCDEF --review doubts.tsv
        ocrcc predict scans --second-model rapidocr/ppocr-v6-small --review doubts.tsv
    """
    if ray is not None:
        elsewhere = None if device == "auto" else device  # workers choose their own
        given = {"--format": format, "--visualize": visualize, "--review": review, "--device": elsewhere}
        unused = [name for name, value in given.items() if value is not None]
        predict_on_ray(ray, paths, out, model, settings, unused)
        return
    from ocrcc.reading.inputs import STDIN, find_images

    if out is not None:
        check_file(out, READINGS)
        format = format or _FORMATS.get(out.suffix.lower())  # noqa: A001
    if format == "pdf" and out is None:
        raise ConfigError("a PDF goes into a file", "name it: -o searchable.pdf")
    if review is not None:
        check_file(review, LIST)
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

    to_terminal = out is None and _on_terminal()
    table: list[Result] | None = [] if format is None and to_terminal else None
    doubts = Doubts(budget) if review is not None or table is not None else None
    # Calibrated chances go by the groups too, and two models are weighed by them.
    asks_groups = format == "json" or doubts is not None or settings.second_model or settings.center_share
    if not asks_groups and settings.lookalikes == PredictConfig.lookalikes:
        # Nothing needs them, and bringing them together takes a tenth of a cold start.
        settings = replace(settings, lookalikes="")
    lines = LineReader.load(model or default_model(), device=device, config=settings)
    hints: list[str] = []
    unmatched: list[str] = []
    reader = PageReader(
        lines,
        lines_as_pages=format in PAGE_FORMATS,
        on_hint=lambda path, hint: hints.append(f"{path}: {hint}"),
    )
    images: Iterable[str] = itertools.chain([first], found)
    total = None
    if sys.stderr.isatty() and STDIN not in paths:
        images = list(images)
        total = len(images)
    single = len(paths) == 1 and paths[0] != STDIN and Path(paths[0]).is_file()
    write = choose_writer(format, single=single, escape=render.harmless if to_terminal else one_line)
    # On a terminal a moving bar and lines of results would overwrite one another.
    bar = render.show_progress("predict") if table is not None or not to_terminal else nullcontext(_no_report)
    with bar as report, closing(reader.stream(images)) as results:
        report(0, total)
        readable = _readable(
            results, failures, unmatched, lambda done: report(done, None if total is None else max(done, total))
        )
        if doubts is not None:
            readable = _doubted(readable, doubts)
        if visualize is not None:
            readable = _drawn(readable, visualize, settings)
        if table is not None:
            table.extend(readable)
        elif format == "pdf" and out is not None:
            _write_pdf(readable, out, settings)
        else:
            with _opened(out) as place:
                for piece in write(readable):
                    # Flushed, so that whoever reads at the other end of a pipe need not wait for more.
                    place.write(piece)
                    place.flush()
    chosen = doubts.chosen() if doubts is not None else []
    if table:
        # A model that is not calibrated is sure of most of what is wrong: its doubts would mislead.
        marked_chars = {id(one.char) for one in chosen} if doubts is not None and doubts.calibrated else set()
        shown = [
            (path, render.coloured((char.char, id(char) in marked_chars) for char in chars), confidence)
            for result in table
            for (path, _, confidence, _), chars in zip(
                rows(result), [line.chars for line in lines_of(result)] or [()], strict=True
            )
        ]
        render.out.print(render.table("", ("image", "text", "confidence"), shown, left=2))
    if review is not None and doubts is not None:
        write_doubts(review, chosen)
        render.notice(f"{review}: {len(chosen)} of {doubts.count} characters to look at, the worst first")
        if not settings.lookalikes:
            render.warn("--lookalikes '' switches a model's calibration off, so these are the least confident ones")
        elif not doubts.calibrated:
            render.warn("the model is not calibrated, so these are the least confident ones")
            render.notice("  ocrcc calibrate MODEL --data LABELLED_LINES finds more of the errors")
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


def _doubted(results: Iterable[Result], doubts: Doubts) -> Iterator[Result]:
    """Pass on what was read, and take note of what is doubtful."""
    for result in results:
        doubts.add(result)
        yield result


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """Open the file that results go to, which appears when all are there; stdout without one."""
    if out is None:
        yield sys.stdout
        return
    with (
        output(out, READINGS) as aside,
        # Names of files are bytes, and some of them no UTF-8.
        aside.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file,
    ):
        yield file


def _write_pdf(results: Iterable[Result], out: Path, settings: PredictConfig) -> None:
    from ocrcc.pages.documents import open_again
    from ocrcc.pages.searchable import SearchablePdf

    with output(out, READINGS) as aside, SearchablePdf(settings.dpi) as pdf:
        for result, frame in open_again(results, dpi=settings.dpi, max_pixels=settings.max_pixels):
            assert isinstance(result, Page)  # as for all formats of pages
            pdf.add(result, frame)
        pdf.save(aside)
    if pdf.with_text_before:
        render.notice(f"{pdf.with_text_before} pages had text already and stay as they are")


def _drawn(results: Iterable[Result], folder: Path, settings: PredictConfig) -> Iterator[Result]:
    """Draw each result on its image, which is opened again, and pass it on."""
    from ocrcc.glyphs.fonts import font_for
    from ocrcc.pages.documents import open_again
    from ocrcc.pages.drawing import draw

    again = open_again(results, dpi=settings.dpi, max_pixels=settings.max_pixels)
    with new_folder(folder) as aside:
        for number, (result, frame) in enumerate(again, start=1):
            text = result.text if isinstance(result, Recognition) else "".join(line.text for line in result.lines)
            draw(frame.load(), result, font_for(text)).save(aside / f"{number:04d}-{_plain_name(result.path)}.png")
            yield result


def _plain_name(path: str) -> str:
    """Return what a file's picture is called: without its suffix, with the number of its page, and cut to what fits."""
    name, _, page = Path(path).name.partition("#")
    stem, end = Path(name).stem, f"-{page}" if page else ""
    while len(os.fsencode(stem + end)) > _LONGEST:
        stem, end = (stem[:-1], end) if stem else (stem, end[:-1])
    return stem + end


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

"""What is given to review, told apart: readings, a list of disputed labels, or images to be read now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from ocrcc.config import PredictConfig, ReviewConfig
from ocrcc.errors import DataError
from ocrcc.review.lines import DoubtfulLine, Source, doubtful_lines
from ocrcc.review.readings import read_readings
from ocrcc.types import Page, Recognition

_LIST = b"source\tposition\tcharacter\t"
"""What a list of disputed labels begins with; whoever reads it looks closer, for which torch has to be there."""
_ALTERNATIVES = 4
"""Other characters that are named for each, beside its look-alikes."""


def find_lines(
    paths: Sequence[str],
    config: ReviewConfig,
    *,
    model: str | None = None,
    device: str = "auto",
    complain: Callable[[str], None],
    report: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> list[DoubtfulLine]:
    """Find the doubtful lines of what was given.

    Args:
        paths: Files of readings, lists of disputed labels; all others are images, folders and globs.
        config: Which characters are doubtful.
        model: Reads images; the shipped one by default.
        device: Where it reads.
        complain: Told of lines that are left out, and why.
        report: Told how many images are read.

    Raises:
        ConfigError: The model cannot read here.
        DataError: There is no such file, or it is damaged.
    """
    found: list[DoubtfulLine] = []
    images = []
    for path in paths:
        kind = _kind(path)
        if kind == "readings":
            source = Source(beside=Path(path).parent, dpi=config.dpi)
            found += doubtful_lines(read_readings(Path(path)), source, unsure=config.unsure, complain=complain)
        elif kind == "list":
            from ocrcc.review.disputed import disputed_lines

            found += disputed_lines(Path(path), complain)
        else:
            images.append(path)
    if images:
        results = _read(images, config, model, device, complain, report)
        found += doubtful_lines(results, Source(dpi=config.dpi), unsure=config.unsure, complain=complain)
    return list({line.key: line for line in found}.values())


def _kind(path: str) -> str:
    if not Path(path).is_file():
        return "images"
    with open(path, "rb") as file:
        start = file.read(4096)
    if start.startswith(_LIST):
        return "list"
    return "readings" if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else "images"


def _read(
    paths: Sequence[str],
    config: ReviewConfig,
    model: str | None,
    device: str,
    complain: Callable[[str], None],
    report: Callable[[int, int | None], None],
) -> list[Recognition | Page]:
    from ocrcc.pages.reader import PageReader
    from ocrcc.reading.inputs import find_images
    from ocrcc.reading.reader import LineReader, Unreadable, default_model

    images = list(find_images(paths, on_missing=lambda path, message: complain(f"{path}: {message}")))
    if not images:
        raise DataError("nothing to review", "give a file of readings, or image files, folders and globs")
    # A person's time is dearer than the machine's: the second model reads what the first is sure of, too.
    settings = PredictConfig(
        alternatives=_ALTERNATIVES, dpi=config.dpi, second_model=config.second_model, second_doubt=0.0
    )
    reader = PageReader(LineReader.load(model or default_model(), device=device, config=settings))
    found: list[Recognition | Page] = []
    with closing(reader.stream(images)) as results:
        for done, result in enumerate(results, start=1):
            if isinstance(result, Unreadable):
                complain(
                    result.message if result.message.startswith(result.path) else f"{result.path}: {result.message}"
                )
            else:
                found.append(result)
            report(done, len(images))
    return found

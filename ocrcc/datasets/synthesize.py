"""``ocrcc synth``: rendered lines straight into a dataset, by any number of processes and machines."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.errors import ConfigError, DataError
from ocrcc.places import PICTURE, SOFTWARE, output
from ocrcc.processes import Pool, cores, in_order, stoppable
from ocrcc.synth.degrade import JPEG_BYTES
from ocrcc.synth.source import SynthSource

_CHUNK = 64
"""Lines that a worker renders at once."""
_AGAIN = "the same command makes the same lines; --shard makes them in parts"
_SHEET_WIDTH = 1600
_SHEET_LINES = 150


@dataclass(frozen=True)
class Record:
    """A rendered line as it is stored.

    Attributes:
        image: An encoded image: the very JPEG if the line ended as one, else a PNG.
        label: Its text.
        source: ``synth:documents#17``.
        size: Width and height.
    """

    image: bytes
    label: str
    source: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Memory:
    """What is held in memory at a moment.

    Attributes:
        resident: Bytes, with the pages of font files, which all processes share.
        own: Bytes without these.
        lines: How many lines were written by then.
    """

    resident: int
    own: int
    lines: int = 0


@dataclass(frozen=True, kw_only=True)
class SynthResult:
    """What was made.

    Attributes:
        path: The dataset.
        lines: How many lines it has.
        first: Number of its first line in the whole set.
        seconds: How long it took, without start-up.
        fonts: How many faces were drawn with.
        memory: What this process and the worker that came last held after the first chunk, after a tenth of
            the lines, when the caches of glyphs are filling, and at the end.
    """

    path: Path
    lines: int
    first: int
    seconds: float
    fonts: int
    memory: tuple[Memory, ...]

    @property
    def lines_per_second(self) -> float:
        """Lines made a second."""
        return self.lines / self.seconds if self.seconds else 0.0


def shard_range(count: int, shard: int, shards: int, *, pairs: bool = False) -> range:
    """Return the numbers of the lines that a shard has; all shards together have each line once.

    Args:
        count: Lines of the whole set.
        shard: 1 to ``shards``.
        shards: How many.
        pairs: Keep lines 2k and 2k + 1 together.

    >>> [list(shard_range(5, shard, 2)) for shard in (1, 2)]
    [[0, 1], [2, 3, 4]]
    """
    if not 1 <= shard <= shards:
        raise ConfigError(f"shard {shard}/{shards} is not one of 1/{shards} to {shards}/{shards}")
    unit = 2 if pairs else 1
    units = -(-count // unit)
    first, last = (units * part // shards * unit for part in (shard - 1, shard))
    return range(first, min(last, count))


def synthesise(
    source: SynthSource,
    out: Path,
    count: int,
    *,
    shard: tuple[int, int] = (1, 1),
    workers: int = 0,
    overwrite: bool = False,
    pool: Pool | None = None,
    report: Callable[[int, int | None], None] | None = None,
) -> SynthResult:
    """Render lines into a dataset. The same seed gives the same records, whatever the workers and shards.

    Args:
        source: Renders the lines.
        out: The dataset to be.
        count: Lines of the whole set; a shard has its part of them.
        shard: I and N: the I-th of N parts.
        workers: Processes; 0 means one per core, 1 renders in this one.
        overwrite: Replace a dataset that is there.
        pool: Where to render, instead of in processes of this machine.
        report: Told how many lines are written.

    Raises:
        ConfigError: The shard is impossible or empty, or ``out`` exists.
        DataError: The dataset cannot be written, or a line cannot be drawn.
        StoppedError: Ctrl-C or SIGTERM; nothing is left behind.
    """
    numbers = shard_range(count, *shard, pairs=source.config.minimal_pairs)
    if not numbers:
        raise ConfigError(f"shard {shard[0]}/{shard[1]} of {count} lines is empty", "make fewer shards")
    workers = min(workers or cores(), -(-len(numbers) // _CHUNK))
    if pool is None and workers > 1:
        pool = partial(in_order, workers=workers)
    begun = time.perf_counter()
    memory: list[Memory] = []
    with stoppable(_AGAIN) as finish, LmdbWriter(out, overwrite=overwrite) as writer:
        for records, theirs in _render_all(source, numbers, pool):
            for record in records:
                writer.add(record.image, record.label, source=record.source, size=record.size)
            if len(writer) >= len(numbers) * (0.0, 0.1, 1.0)[len(memory)]:
                ours = memory_of_process()
                memory.append(Memory(ours.resident + theirs.resident, ours.own + theirs.own, len(writer)))
            if report is not None:
                report(len(writer), len(numbers))
        finish()
    return SynthResult(
        path=out,
        lines=len(numbers),
        first=numbers[0],
        seconds=time.perf_counter() - begun,
        fonts=source.faces,
        memory=tuple(memory),
    )


def _render_all(source: SynthSource, numbers: range, pool: Pool | None) -> Iterator[tuple[list[Record], Memory]]:
    """Yield the records of all lines in order, in chunks, each with the memory of the worker that made it."""
    chunks = (numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK))
    if pool is None:
        for chunk in chunks:
            yield [encode(source, number) for number in chunk], Memory(0, 0)
        return
    with closing(pool(_render_chunk, chunks, set_up=_adopt, arguments=(source,))) as rendered:
        yield from rendered


_source: SynthSource | None = None
"""What a worker renders from."""


def _adopt(source: SynthSource) -> None:
    global _source
    _source = source


def _render_chunk(numbers: range) -> tuple[list[Record], Memory]:
    assert _source is not None
    return [encode(_source, number) for number in numbers], memory_of_process()


def encode(source: SynthSource, number: int) -> Record:
    """Render a line and encode it as it is stored."""
    line = source.line(number)
    data = line.image.info.get(JPEG_BYTES)
    if data is None:
        buffer = io.BytesIO()
        line.image.save(buffer, "PNG", compress_level=3)
        data = buffer.getvalue()
    return Record(data, line.label, line.source, line.image.size)


def memory_of_process() -> Memory:
    """Return what this process holds now; at its highest where the system does not say; 0 where it says nothing."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident, shared = (int(pages) * os.sysconf("SC_PAGE_SIZE") for pages in file.read().split()[1:3])
            return Memory(resident, resident - shared)
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows tells it to no module of Python
        return Memory(0, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = peak if sys.platform == "darwin" else peak * 1024
    return Memory(peak, peak)


def write_preview(source: SynthSource, path: Path, first: int = 0, count: int = _SHEET_LINES) -> None:
    """Draw a sheet of a set's first lines to look at.

    Args:
        source: Renders the lines.
        path: The picture to be, PNG or JPEG by its suffix.
        first: Number of the first line.
        count: Lines.

    Raises:
        DataError: The picture cannot be written.
    """
    images = [source.line(number).image for number in range(first, first + count)]
    gap, x, y, tallest = 6, 0, 0, 0
    places = []
    for image in images:
        if x and x + image.width > _SHEET_WIDTH:
            x, y, tallest = 0, y + tallest + gap, 0
        places.append((x, y))
        x, tallest = x + image.width + gap, max(tallest, image.height)
    sheet = Image.new("RGB", (_SHEET_WIDTH, y + tallest), (110, 150, 210))
    for image, place in zip(images, places, strict=True):
        sheet.paste(image.convert("RGB"), place)
    try:
        with output(path, PICTURE) as aside:
            made = PngInfo()
            made.add_text("Software", SOFTWARE)
            sheet.save(aside, pnginfo=made, comment=SOFTWARE)
    except ValueError as error:
        raise DataError(f"{path}: cannot be written: {error}", "give a name that ends in .png") from None

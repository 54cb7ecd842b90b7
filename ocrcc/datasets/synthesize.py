"""``ocrcc synth``: rendered lines straight into a dataset, by any number of processes and machines."""

from __future__ import annotations

import io
import itertools
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from rapidfuzz.distance import Levenshtein

from ocrcc.config import PredictConfig
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.errors import ConfigError, DataError
from ocrcc.places import PICTURE, SOFTWARE, output
from ocrcc.processes import Pool, cores, in_order, stoppable
from ocrcc.reading.reader import LineReader
from ocrcc.synth.degrade import JPEG_BYTES
from ocrcc.synth.source import SynthSource
from ocrcc.types import Line

_CHUNK = 64
"""Lines that a worker renders at once."""
_ILLEGIBLE = 0.5
"""Of a line's characters: where more are misread than these and two, nobody could learn it."""
_IN_VAIN = 20_000
"""Lines in a row that a model reads right, after which no other is looked for."""
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
        rendered: How many were drawn for these.
        first: Number of its first line in the whole set.
        seconds: How long it took, without start-up.
        fonts: How many faces were drawn with.
        memory: What this process and the worker that came last held after the first chunk, after a tenth of
            the lines, when the caches of glyphs are filling, and at the end.
    """

    path: Path
    lines: int
    rendered: int
    first: int
    seconds: float
    fonts: int
    memory: tuple[Memory, ...]

    @property
    def lines_per_second(self) -> float:
        """Lines made a second."""
        return self.lines / self.seconds if self.seconds else 0.0


class Maker:
    """Makes records of rendered lines.

    Args:
        source: Renders them.
        misread_by: A model; lines that it reads right, or that are illegible, are left out, and what it took the others
            for is drawn in their likeness. Empty for all lines.

    Raises:
        OcrccError: The model cannot be used.
    """

    def __init__(self, source: SynthSource, misread_by: str = "") -> None:
        self._source = source
        self._reader: LineReader | None = None
        if misread_by:
            once = PredictConfig(second_look=0.0, lookalikes="", layout="line", workers=1, threads=1)
            self._reader = LineReader.load(misread_by, config=once)

    def records(self, numbers: range) -> list[Record]:
        """Render lines, twins of minimal pairs together, and return those that are wanted."""
        lines = [self._source.line(number) for number in numbers]
        records = [encode(line) for line in lines]
        if self._reader is None:
            return records
        charset = self._reader.charset
        texts = [line.text for line in self._reader.recognize([record.image for record in records])]
        misread = [
            _is_misread(charset.normalise(line.label), text) and not charset.missing(line.label)
            for line, text in zip(lines, texts, strict=True)
        ]
        if self._source.config.minimal_pairs:
            pairs = zip(misread[::2], misread[1::2], strict=True)
            return list(itertools.compress(records, [either for one, other in pairs for either in 2 * [one or other]]))
        wanted = []
        for number, line, record, text in itertools.compress(zip(numbers, lines, records, texts, strict=True), misread):
            wanted.append(record)
            if twin := self._taken_for(line, number, text):
                wanted.append(twin)
        return wanted

    def _taken_for(self, line: Line, number: int, text: str) -> Record | None:
        """Draw a line as it was read, if characters were taken for others.

        A model that learned from what it misreads alone would say the rarer of two look-alikes wherever it may be: it
        is the rarer that is misread.
        """
        assert self._reader is not None
        said = self._reader.charset.normalise(line.label)
        other_form = unicodedata.normalize("NFKC", said) == unicodedata.normalize("NFKC", text)
        if not len(line.label) == len(said) == len(text) or other_form or self._source.charset.missing(text):
            return None
        drawn = self._source.retold(line, number, text)
        return None if drawn is None else encode(drawn)


def _is_misread(label: str, text: str) -> bool:
    return 0 < Levenshtein.distance(label, text) <= max(2, _ILLEGIBLE * len(label))


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
    misread_by: str = "",
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
        misread_by: A model; only lines that it misreads are kept, each beside what it was taken for, and so many are
            drawn as are needed for that. Shards have other lines each, but not together those of the whole set.
        shard: I and N: the I-th of N parts.
        workers: Processes; 0 means one per core, 1 renders in this one.
        overwrite: Replace a dataset that is there.
        pool: Where to render, instead of in processes of this machine.
        report: Told how many lines are written.

    Raises:
        ConfigError: The shard is impossible or empty, or ``out`` exists.
        DataError: The dataset cannot be written, a line cannot be drawn, or the model misreads none.
        ModelError: The model cannot be used.
        StoppedError: Ctrl-C or SIGTERM; nothing is left behind.
    """
    numbers = shard_range(count, *shard, pairs=source.config.minimal_pairs)
    if not numbers:
        raise ConfigError(f"shard {shard[0]}/{shard[1]} of {count} lines is empty", "make fewer shards")
    wanted, rendered, last = len(numbers), 0, 0
    if misread_by:
        starts: Iterable[int] = itertools.count((shard[0] - 1) * _CHUNK, shard[1] * _CHUNK)
        chunks = (range(start, start + _CHUNK) for start in starts)
    else:
        chunks = (numbers[start : start + _CHUNK] for start in range(0, wanted, _CHUNK))
        workers = min(workers or cores(), -(-wanted // _CHUNK))
    if pool is None and (workers := workers or cores()) > 1:
        pool = partial(in_order, workers=workers)
    begun = time.perf_counter()
    memory: list[Memory] = []
    with (
        stoppable(_AGAIN) as finish,
        LmdbWriter(out, overwrite=overwrite) as writer,
        closing(_made(source, misread_by, chunks, pool)) as made,
    ):
        for drawn, records, theirs in made:
            rendered += drawn
            for record in records[: wanted - len(writer)]:
                writer.add(record.image, record.label, source=record.source, size=record.size)
                last = rendered
            if len(writer) >= wanted * (0.0, 0.1, 1.0)[len(memory)]:
                ours = memory_of_process()
                memory.append(Memory(ours.resident + theirs.resident, ours.own + theirs.own, len(writer)))
            if report is not None:
                report(len(writer), wanted)
            if len(writer) == wanted or rendered - last >= _IN_VAIN:
                break
        if not len(writer):
            raise DataError(
                f"{misread_by} misreads none of {rendered} lines", "draw harder ones, with another --preset"
            )
        finish()
    return SynthResult(
        path=out,
        lines=len(writer),
        rendered=rendered,
        first=numbers[0],
        seconds=time.perf_counter() - begun,
        fonts=source.faces,
        memory=tuple(memory),
    )


def _made(
    source: SynthSource, misread_by: str, chunks: Iterable[range], pool: Pool | None
) -> Generator[tuple[int, list[Record], Memory], None, None]:
    """Yield for each chunk, in order: how many lines were drawn, their records, the memory of the worker."""
    if pool is None:
        maker = Maker(source, misread_by)
        for chunk in chunks:
            yield len(chunk), maker.records(chunk), Memory(0, 0)
        return
    with closing(pool(_make_chunk, chunks, set_up=_adopt, arguments=(source, misread_by))) as made:
        yield from made


_maker: Maker | None = None
"""What a worker makes records with."""


def _adopt(source: SynthSource, misread_by: str) -> None:
    global _maker
    _maker = Maker(source, misread_by)


def _make_chunk(numbers: range) -> tuple[int, list[Record], Memory]:
    assert _maker is not None
    return len(numbers), _maker.records(numbers), memory_of_process()


def encode(line: Line) -> Record:
    """Encode a rendered line as it is stored."""
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


def write_preview(source: SynthSource, path: Path, misread_by: str = "", count: int = _SHEET_LINES) -> None:
    """Draw a sheet of a set's first lines to look at.

    Args:
        source: Renders the lines.
        path: The picture to be, PNG or JPEG by its suffix.
        misread_by: As for `synthesise`.
        count: Lines.

    Raises:
        DataError: The picture cannot be written.
        ModelError: The model cannot be used.
    """
    chunks = (range(start, start + _CHUNK) for start in range(0, _IN_VAIN, _CHUNK))
    with closing(_made(source, misread_by, chunks, None)) as found:
        records = itertools.chain.from_iterable(each for _, each, _ in found)
        images = [Image.open(io.BytesIO(record.image)) for record in itertools.islice(records, count)]
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

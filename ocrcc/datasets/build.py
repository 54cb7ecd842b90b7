"""Turn labelled images, or datasets that are there already, into one verified dataset, or two."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from PIL import Image

from ocrcc.annotations.entries import Problem, check_text
from ocrcc.config import BuildConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter, check_output, close_all
from ocrcc.datasets.report import DatasetReport, LineNotes, Report, describe_dataset, image_hash
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import page_of, read_small
from ocrcc.images.cutting import cut_line
from ocrcc.images.opening import MOST_BYTES, open_image
from ocrcc.labels.find import Labels, find_labels
from ocrcc.pages.documents import Document
from ocrcc.processes import Pool, cores, in_order, stoppable
from ocrcc.types import Outline

_CHUNK = 32  # lines that a worker verifies at once
_NAMED = 1000  # skipped lines that the result names
_TRIED, _WORTH = 0.1, 1.0  # seconds of verifying after which what is left is known; for which processes are started


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """What a build made.

    Attributes:
        sources: The label files, folders of pairs and datasets that were read, with format and encoding.
        train: The dataset.
        val: The dataset of the validation share, if one was asked for.
        skipped: How many lines were left out, by reason, the most frequent first.
        skipped_lines: The first of them, with file, line and reason.
    """

    sources: tuple[str, ...]
    train: DatasetReport
    val: DatasetReport | None
    skipped: dict[str, int]
    skipped_lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """A line that is to be verified: an image, a part of one, or a line of a dataset."""

    path: Path
    where: str
    text: str = ""
    index: int | None = None
    outline: Outline | None = None
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Verified:
    """A line whose image opens."""

    where: str
    text: str
    image: bytes
    size: tuple[int, int]
    hash: int


def build_lmdb(
    sources: Sequence[Path],
    out: Path,
    config: BuildConfig | None = None,
    *,
    images: Path | None = None,
    merge: bool = False,
    force: bool = False,
    charset: str = "",
    pool: Pool | None = None,
    report: Report = lambda _done, _total: None,
) -> BuildResult:
    """Build a dataset.

    Lines keep the order of their sources, however many workers verify them. Images are stored byte for byte.
    Which lines are for validation depends on the seed and each image's bytes alone, so equal images are never
    on both sides, and adding data moves no line from one to the other.

    Args:
        sources: Label files or folders; datasets if ``merge``.
        out: The dataset's folder. Lines for validation go beside it: ``train.lmdb``, ``train-val.lmdb``.
        config: How.
        images: What the paths in label files are relative to; by default the folder of each file.
        merge: Put datasets together.
        force: Replace datasets that are there.
        charset: To compare the characters with, by name or file.
        pool: Where to open the images, instead of in processes of this machine.
        report: Told how many lines are done, of how many.

    Raises:
        ConfigError: ``out`` exists, or options do not fit together.
        DataError: A source cannot be read, no line can be used, or ``strict`` found one that cannot.
        StoppedError: Ctrl-C or SIGTERM; nothing is left behind.
    """
    config = config or BuildConfig()
    _check_output(out, sources, force)
    outputs = [out]
    if config.val_fraction:
        outputs.append(val_path(out))
        _check_output(outputs[1], sources, force)
    jobs, described = _open_sources(sources, config, images, merge)
    total = jobs.count()
    skipped, named = Counter[str](), list[str]()
    notes = [LineNotes() for _ in outputs]
    with stoppable("the same command builds it anew") as finish, ExitStack() as stack:
        writers: list[LmdbWriter] = []
        for path in outputs:
            writers.append(LmdbWriter(path, overwrite=force))
            stack.callback(writers[-1].abandon)  # does nothing to a dataset that has its name
        verified = stack.enter_context(closing(_verified(jobs(), total, config, pool)))
        for done, line in enumerate(verified, start=1):
            if isinstance(line, Problem):
                if config.strict:
                    raise DataError(str(line), "mend or remove the line, or build without --strict")
                skipped[line.reason] += 1
                if len(named) < _NAMED:
                    named.append(str(line))
            else:
                side = _side(line.hash, config)
                writers[side].add(line.image, line.text, source=line.where, size=line.size)
                notes[side].add(line.text, line.hash)
            report(done, total)
        finish()
        _check_lines([len(writer) for writer in writers], total, named, _hint(skipped, images))
        close_all(writers)
    reports = [
        describe_dataset(LmdbDataset(path), charset=charset, notes=taken)
        for path, taken in zip(outputs, notes, strict=True)
    ]
    return BuildResult(
        sources=tuple(described),
        train=reports[0],
        val=reports[1] if len(reports) > 1 else None,
        skipped=dict(skipped.most_common()),
        skipped_lines=tuple(named),
    )


def val_path(out: Path) -> Path:
    """Return where the validation share of a build goes.

    >>> val_path(Path("data/train.lmdb")).name
    'train-val.lmdb'
    """
    out = out if out.name else out.resolve()  # the working directory
    return out.with_name(f"{out.stem}-val{out.suffix}")


def _check_output(path: Path, sources: Sequence[Path], force: bool) -> None:
    check_output(path, force)
    if path.exists() and any(source.exists() and source.samefile(path) for source in sources):
        raise ConfigError(f"{path} is a source too", "choose another name")


@dataclass(frozen=True)
class _Jobs:
    """All lines of the sources, as often as they are asked for."""

    labels: tuple[Labels, ...] = ()
    datasets: tuple[LmdbDataset, ...] = ()

    def __call__(self) -> Iterator[_Job | Problem]:
        for labels in self.labels:
            for entry in labels:
                if isinstance(entry, Problem):
                    yield entry
                else:
                    yield _Job(entry.path, entry.where, entry.text, outline=entry.outline, image=entry.image)
        for dataset in self.datasets:
            for index in range(len(dataset)):
                yield _Job(dataset.path, f"{dataset.path}#{index + 1}", index=index)

    def count(self) -> int:
        return sum(labels.count() for labels in self.labels) + sum(map(len, self.datasets))


def _open_sources(
    sources: Sequence[Path], config: BuildConfig, images: Path | None, merge: bool
) -> tuple[_Jobs, list[str]]:
    if merge:
        if images is not None or config.format != "auto" or config.encoding != "auto":
            raise ConfigError("--merge takes datasets: --images, --format and --encoding mean nothing to it")
        datasets = tuple(LmdbDataset(path) for path in sources)
        odd = [f"{dataset.path}: {oddity}" for dataset in datasets for oddity in dataset.oddities]
        if config.strict and odd:
            raise DataError(odd[0], "build without --strict to put together what there is")
        return _Jobs(datasets=datasets), [f"{dataset.path}: {len(dataset)} lines" for dataset in datasets]
    found = tuple(
        labels
        for source in sources
        for labels in find_labels(source, images=images, format=config.format, encoding=config.encoding)
    )
    return _Jobs(labels=found), [_describe_labels(labels) for labels in found]


def _describe_labels(labels: Labels) -> str:
    encoding = "" if labels.encoding in ("auto", "utf-8") else f", {labels.encoding.upper()}"
    return f"{labels.path}: format {labels.format}{encoding}" + (f" {labels.reason}" if labels.reason else "")


def _side(image: int, config: BuildConfig) -> int:
    """Return 1 for an image whose line is for validation."""
    drawn = blake2b(image.to_bytes(8), digest_size=8, key=str(config.seed).encode()).digest()
    return int(int.from_bytes(drawn) < config.val_fraction * 2**64)


def _check_lines(sizes: Sequence[int], total: int, named: Sequence[str], hint: str | None) -> None:
    if not total:
        raise DataError("no lines in these sources", "a label file has lines such as path<TAB>text")
    if not sum(sizes):
        raise DataError(f"not one of {total} lines can be used; the first: {named[0]}", hint)
    if 0 in sizes:
        side = "training" if not sizes[0] else "validation"
        raise DataError(f"of {sum(sizes)} lines none fell to {side}", "change --val-fraction, or --seed")


def _hint(skipped: Counter[str], images: Path | None) -> str | None:
    """Say what helps against what most lines were left out for."""
    match next(iter(skipped.most_common(1)), ("", 0))[0]:
        case "no such image":
            return "give the folder that the paths are relative to: --images DIR" if images is None else None
        case "line in another encoding":
            return "name the encoding: --encoding gb18030"
        case "not read by anybody yet" | "nobody has labelled it yet":
            return "only lines with a text that somebody has entered are of use"
    return None


def _verified(
    jobs: Iterable[_Job | Problem], total: int, config: BuildConfig, pool: Pool | None
) -> Generator[_Verified | Problem, None, None]:
    """Open all images, in the order of the jobs, with a bounded number of them under way.

    Processes take a second to start; the first lines tell whether what is left takes longer.
    """
    verify = partial(_verify, config=config)
    iterator = iter(jobs)
    chunks = iter(lambda: list(islice(iterator, _CHUNK)), [])
    workers = config.workers or cores()
    done, seconds = 0, 0.0
    while pool is None:
        started = time.perf_counter()
        found = verify(next(chunks, []))
        seconds += time.perf_counter() - started
        if not found:
            return
        yield from found
        done += len(found)
        if workers > 1 and seconds > _TRIED and seconds / done * (total - done) > _WORTH:
            pool = partial(in_order, workers=workers)
    with closing(pool(verify, chunks)) as verified:
        for chunk_verified in verified:
            yield from chunk_verified


def _verify(jobs: Sequence[_Job | Problem], *, config: BuildConfig) -> list[_Verified | Problem]:
    return [job if isinstance(job, Problem) else _verify_one(job, config) for job in jobs]


def _verify_one(job: _Job, config: BuildConfig) -> _Verified | Problem:
    try:
        if job.outline is not None:
            return _cut(job, job.outline, _open_page(job, config))
        if job.index is None:
            encoded = _encoded(job, config)
            text, where, name = job.text, job.where, str(job.path)
        else:
            dataset = _dataset(job.path)
            encoded, text = dataset.image_bytes(job.index), dataset.label(job.index)
            where = name = dataset.source(job.index)
        if problem := check_text(text):
            return Problem(where, problem, problem)
        size = open_image(encoded, name=name, max_pixels=config.max_pixels).size
    except OSError as error:
        reason = "no such image" if isinstance(error, FileNotFoundError) else "image that cannot be read"
        return Problem(job.where, f"{job.path}: {error.strerror or error}", reason)
    except ValueError as error:  # a path with a NUL
        return Problem(job.where, f"{str(job.path)!r}: {error}", "image that cannot be read")
    except DataError as error:
        return Problem(job.where, error.message, "image that cannot be read")
    return _Verified(where, text, encoded, size, image_hash(encoded))


def _encoded(job: _Job, config: BuildConfig) -> bytes:
    """Return a line's image as a file has it; one that is a document's page is drawn."""
    if job.image is None and page_of(job.path):
        return _png(_open_page(job, config))
    return _read_image(job.path) if job.image is None else job.image


def _read_image(path: Path) -> bytes:
    try:
        return read_small(path, MOST_BYTES)
    except DataError:
        path.stat()  # one that is not there has a reason of its own
        raise


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def _cut(job: _Job, outline: Outline, page: Image.Image) -> _Verified | Problem:
    """Cut a labelled line out of its page."""
    try:
        line = cut_line(page, outline, chars=len(job.text), name=str(job.path))
    except DataError as error:
        return Problem(job.where, error.message, "line that is not on its image")
    encoded = _png(line)
    return _Verified(job.where, job.text, encoded, line.size, image_hash(encoded))


def _open_page(job: _Job, config: BuildConfig) -> Image.Image:
    file, number = page_of(job.path) or (job.path, None)
    changed = file.stat().st_mtime_ns if job.image is None else 0
    return _page(file, number, job.image, config.dpi, config.max_page_pixels, changed)


@lru_cache(maxsize=1)
def _page(path: Path, number: int | None, image: bytes | None, dpi: int, most: int, changed: int) -> Image.Image:
    """Open a page, once for all of its lines, which follow one another."""
    if number is not None:
        return _document(path, dpi, most, changed).page(number)
    return open_image(_read_image(path) if image is None else image, name=str(path), max_pixels=most)


@lru_cache(maxsize=1)
def _document(path: Path, dpi: int, most: int, changed: int) -> Document:  # noqa: ARG001 - part of the key
    """Open a document, once for all of its pages, which follow one another too."""
    return Document(str(path), dpi=dpi, max_pixels=most)


@lru_cache(maxsize=16)
def _dataset(path: Path) -> LmdbDataset:
    return LmdbDataset(path)

"""Labels that hold their images: Parquet and Arrow files, as of Hugging Face's ``datasets``, and WebDataset's tars."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrcc.annotations.entries import Entry, Problem, make_entry
from ocrcc.annotations.names import IMAGE_NAME, PATH_COLUMNS, TEXT_COLUMNS, pick
from ocrcc.errors import ConfigError, DataError

_ROWS = 64  # read at once
_MOST_BYTES = 1 << 28  # of one member of a tar
_TEXTS = ("txt", "text", "label", "transcript", "json", "cls")  # the likeliest first


def read_parquet(path: Path, images: Path) -> Iterator[Entry | Problem]:
    """Read a Parquet or Arrow file: one column of images, encoded or by path, and one of texts."""
    arrow = _pyarrow(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == b"PAR1":
                from pyarrow import parquet

                table = parquet.ParquetFile(file)
                columns, batches = table.schema_arrow.names, table.iter_batches
                names = _columns(path, columns)
                yield from _rows(path, images, names, batches(batch_size=_ROWS, columns=names))
                return
            try:
                stream = arrow.ipc.open_stream(file)
            except arrow.ArrowInvalid:  # the other of Arrow's two ways to write a file
                file.seek(0)
                whole = arrow.ipc.open_file(file)
                stream = (whole.get_batch(number) for number in range(whole.num_record_batches))
                yield from _rows(path, images, _columns(path, whole.schema.names), stream)
                return
            yield from _rows(path, images, _columns(path, stream.schema.names), stream)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: damaged: {error}") from None


def count_rows(path: Path) -> int | None:
    """Return how many rows a Parquet file says it has; None for an Arrow file.

    Raises:
        ConfigError: The extra ``parquet`` is not installed.
        DataError: The file is damaged.
    """
    arrow = _pyarrow(path)
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            if file.read(4) != b"PAR1":
                return None
        return parquet.ParquetFile(path).metadata.num_rows
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: damaged: {error}") from None


def _pyarrow(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError:
        raise ConfigError(f"{path}: reading it needs the package pyarrow", "pip install 'ocrcc[parquet]'") from None
    return pyarrow


def _columns(path: Path, names: list[str]) -> list[str]:
    found = [pick(names, wanted) for wanted in (PATH_COLUMNS, TEXT_COLUMNS)]
    for name, kind, wanted in zip(found, ("images", "texts"), (PATH_COLUMNS, TEXT_COLUMNS), strict=True):
        if name is None:
            raise DataError(
                f"{path}: no column of {kind} among {', '.join(names[:20])}", f"such as {', '.join(wanted[:9])}"
            )
    return [name for name in found if name is not None]


def _rows(path: Path, images: Path, names: list[str], batches: Any) -> Iterator[Entry | Problem]:
    number = 0
    for batch in batches:
        shown, written = (batch.column(batch.schema.names.index(name)) for name in names)
        for image, text in zip(shown, written, strict=True):
            number += 1
            yield _row(images, image.as_py(), text.as_py(), f"{path}#{number}")


def _row(images: Path, image: Any, text: Any, where: str) -> Entry | Problem:
    name = ""
    if isinstance(image, dict):  # an Image of Hugging Face's datasets
        name, image = image.get("path") or "", image.get("bytes")
    elif isinstance(image, str):
        name, image = image, None
    if not isinstance(text, str):
        problem = "no text in it" if text is None else "its text is no string"
        return Problem(where, problem, problem)
    if image is None and not name:
        return Problem(where, "no image in it", "no image in it")
    if image is not None and not isinstance(image, bytes):
        problem = "its image is neither encoded nor a path"
        return Problem(where, problem, problem)
    return make_entry(images, name or where, text, where, image=image, anywhere=True)


def read_tar(path: Path, encoding: str = "auto") -> Iterator[Entry | Problem]:
    """Read a WebDataset: members of one name up to its first dot make a sample, an image and a text, or several."""
    key, sample = "", dict[str, bytes]()
    codec = "utf-8-sig" if encoding in ("auto", "utf-8") else encoding
    try:
        # As a stream: shards may be compressed. Nothing is ever written to where a member's name says.
        with tarfile.open(path, "r|*") as shard:
            for member in shard:
                content = shard.extractfile(member) if member.isfile() else None
                folder, slash, base = member.name.rpartition("/")
                if content is None or base.startswith("."):
                    continue
                if member.size > _MOST_BYTES:
                    yield Problem(f"{path}#{member.name}", f"{member.size >> 20} MB large", "member that is too large")
                    continue
                stem, _, kind = base.partition(".")
                if f"{folder}{slash}{stem}" != key:
                    yield from _sample(path, key, sample, codec)
                    key, sample = f"{folder}{slash}{stem}", {}
                front, dot, suffix = kind.rpartition(".")
                if (kind := f"{front}{dot}{suffix.lower()}") in sample:
                    yield Problem(f"{path}#{member.name}", "a second member of this name", "second member of a name")
                    continue
                sample[kind] = content.read()
        yield from _sample(path, key, sample, codec)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: damaged tar: {error}") from None


def _sample(path: Path, key: str, sample: Mapping[str, bytes], codec: str) -> Iterator[Entry | Problem]:
    """Read what has one name up to its first dot: a line, or lines whose names have more dots."""
    lines: dict[str, dict[str, bytes]] = {}
    for kind, content in sample.items():
        lines.setdefault(f".{kind}".rpartition(".")[0].removesuffix(".gt"), {})[kind] = content
    if any(_images(line) and _texts(line) for line in lines.values()):
        for name, line in lines.items():
            yield from _line(path, key, f"{path}#{key}{name}", line, codec)
    else:
        yield from _line(path, key, f"{path}#{key}", sample, codec)


def _images(sample: Mapping[str, bytes]) -> list[str]:
    return [kind for kind in sample if IMAGE_NAME.fullmatch(f"x.{kind}")]


def _texts(sample: Mapping[str, bytes]) -> list[str]:
    """Return the members that may be a line's text, the likeliest first."""
    return [kind for suffix in _TEXTS for kind in sample if kind.rpartition(".")[2] == suffix]


def _line(path: Path, key: str, where: str, line: Mapping[str, bytes], codec: str) -> Iterator[Entry | Problem]:
    images, texts = _images(line), _texts(line)
    if not (images or texts):
        return
    try:
        text = _text(line, texts, codec)
    except UnicodeDecodeError:
        yield Problem(where, f"its text is not {codec.removesuffix('-sig').upper()}", "line in another encoding")
        return
    except (ValueError, RecursionError):
        yield Problem(where, "its JSON is damaged", "not JSON")
        return
    if not images:
        if text is not None:  # else JSON that says something else
            yield Problem(where, "no image beside this label", "label without an image")
        return
    if text is None:
        yield Problem(where, "an image without a label beside it", "image without a label")
        return
    yield make_entry(path.parent, f"{key}.{images[0]}", text, where, image=line[images[0]])
    for other in images[1:]:
        yield Problem(f"{path}#{key}.{other}", f"{key}.{images[0]} is taken for this label", "second image of a label")
    for other in texts[1:]:
        if other.endswith("txt"):  # a table of JSON beside it says more of the same line
            yield Problem(f"{path}#{key}.{other}", f"{key}.{texts[0]} is taken for this image", "second label")


def _text(line: Mapping[str, bytes], texts: list[str], codec: str) -> str | None:
    for kind in texts:
        suffix, written = kind.rpartition(".")[2], line[kind].decode(codec)
        if suffix != "json":
            return written.rstrip("\r\n")
        values = json.loads(written)
        name = pick(values, TEXT_COLUMNS) if isinstance(values, dict) else None
        if name is not None and isinstance(values[name], str):
            return values[name]
    return None

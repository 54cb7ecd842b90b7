"""Labels that hold their images: Parquet and Arrow files, as of Hugging Face's ``datasets``, and WebDataset's tars."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ocrcc.errors import ConfigError, DataError
from ocrcc.labels.entries import Entry, Problem, make_entry
from ocrcc.labels.lines import IMAGE_NAME, PATH_COLUMNS, TEXT_COLUMNS, pick

_ROWS = 64  # read at once
_MOST_BYTES = 1 << 28  # of one member of a tar


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


def read_tar(path: Path) -> Iterator[Entry | Problem]:
    """Read a WebDataset: members of one name up to its first dot make a sample, an image and a text."""
    key, sample = "", dict[str, bytes]()
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
                    yield from _sample(path, key, sample)
                    key, sample = f"{folder}{slash}{stem}", {}
                sample[kind.lower()] = content.read()
        yield from _sample(path, key, sample)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path}: damaged tar: {error}") from None


def _sample(path: Path, key: str, sample: Mapping[str, bytes]) -> Iterator[Entry | Problem]:
    where = f"{path}#{key}"
    image = next((kind for kind in sample if IMAGE_NAME.fullmatch(f"x.{kind}")), None)
    if not sample or (image is None and not {"txt", "json"} & {kind.rpartition(".")[2] for kind in sample}):
        return
    if image is None:
        yield Problem(where, "no image beside this label", "label without an image")
        return
    try:
        text = _sample_text(sample)
    except UnicodeDecodeError:
        yield Problem(where, "its text is not UTF-8", "line in another encoding")
        return
    except (ValueError, RecursionError):
        yield Problem(where, "its JSON is damaged", "not JSON")
        return
    if text is None:
        yield Problem(where, "an image without a label beside it", "image without a label")
        return
    yield make_entry(path.parent, f"{key}.{image}", text, where, image=sample[image])


def _sample_text(sample: Mapping[str, bytes]) -> str | None:
    last = {kind.rpartition(".")[2]: kind for kind in reversed(list(sample))}
    for kind in ("txt", "text", "label", "transcript"):
        if kind in last:
            return sample[last[kind]].decode("utf-8-sig").rstrip("\r\n")
    if "json" in sample:
        values = json.loads(sample["json"])
        name = pick(values, TEXT_COLUMNS) if isinstance(values, dict) else None
        return values[name] if name is not None and isinstance(values[name], str) else None
    return sample["cls"].decode("utf-8-sig").rstrip("\r\n") if "cls" in sample else None

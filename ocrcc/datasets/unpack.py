"""``ocrcc unpack``: a dataset back into image files and a label file, to look at or to correct."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ocrcc.annotations.entries import check_text
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError
from ocrcc.harmless import json_text
from ocrcc.images.opening import identify
from ocrcc.places import new_folder

UnpackFormat = Literal["tab", "csv", "jsonl", "pairs", "parquet", "tar"]
Write = Callable[[int, bytes, str], object]
"""Writes a line: its number, its encoded image, its label."""

_ROWS = 256  # of a Parquet file, written at once


@dataclass(frozen=True, kw_only=True)
class UnpackResult:
    """What was unpacked.

    Attributes:
        lines: How many lines were written.
        skipped: Lines that were not, and why.
    """

    lines: int
    skipped: tuple[str, ...]


def unpack(
    dataset: LmdbDataset,
    out: Path,
    *,
    format: UnpackFormat = "tab",
    limit: int = 0,
    report: Callable[[int, int | None], None] = lambda _done, _total: None,
) -> UnpackResult:
    """Write a dataset's images, as they are stored, and their labels into a new folder.

    ``build-lmdb`` makes the same dataset of it again.

    Args:
        dataset: What to write.
        out: The folder; it appears whole or not at all.
        format: ``tab`` for ``labels.txt`` (path, tab, text), ``csv`` for ``labels.csv``, ``jsonl`` for Hugging Face's
            ``metadata.jsonl``, ``pairs`` for ``x.gt.txt`` beside each image, ``parquet`` for the same's ``datasets``,
            ``tar`` for WebDataset.
        limit: Only so many lines; 0 for all of them.
        report: Told how many lines are written.

    Raises:
        ConfigError: ``out`` exists, or the extra ``parquet`` is not installed.
        DataError: The dataset is damaged, or the disk is full.
    """
    count = min(limit, len(dataset)) if limit else len(dataset)
    skipped = []
    with new_folder(out) as aside, ExitStack() as stack:
        write = _WRITERS[format](aside, stack)
        for index in range(count):
            try:
                raw, label = dataset.image_bytes(index), dataset.label(index)
                if problem := check_text(label):
                    raise DataError(f"{dataset.source(index)}: {problem}")
                write(index + 1, raw, label)
            except DataError as error:
                skipped.append(error.message)
            report(index + 1, count)
    return UnpackResult(lines=count - len(skipped), skipped=tuple(skipped))


def _image_writer(folder: Path) -> Callable[[int, bytes], str]:
    """Write images into ``images``; what comes back is each one's path in the folder."""
    (folder / "images").mkdir()

    def write(number: int, image: bytes) -> str:
        name = f"images/{number:06d}.{suffix_of(image)}"
        (folder / name).write_bytes(image)
        return name

    return write


def _tab(folder: Path, stack: ExitStack) -> Write:
    image = _image_writer(folder)
    labels = stack.enter_context((folder / "labels.txt").open("w", encoding="utf-8", newline="\n"))
    return lambda number, raw, label: labels.write(f"{image(number, raw)}\t{label}\n")


def _csv(folder: Path, stack: ExitStack) -> Write:
    image = _image_writer(folder)
    rows = csv.writer(stack.enter_context((folder / "labels.csv").open("w", encoding="utf-8", newline="")))
    rows.writerow(("file_name", "text"))
    return lambda number, raw, label: rows.writerow((image(number, raw), label))


def _jsonl(folder: Path, stack: ExitStack) -> Write:
    image = _image_writer(folder)
    labels = stack.enter_context((folder / "metadata.jsonl").open("w", encoding="utf-8", newline="\n"))

    def write(number: int, raw: bytes, label: str) -> None:
        labels.write(json_text({"file_name": image(number, raw), "text": label}) + "\n")

    return write


def _pairs(folder: Path, stack: ExitStack) -> Write:  # noqa: ARG001 - every file is closed at once
    def write(number: int, raw: bytes, label: str) -> None:
        (folder / f"{number:06d}.{suffix_of(raw)}").write_bytes(raw)
        (folder / f"{number:06d}.gt.txt").write_bytes(label.encode() + b"\n")

    return write


def _parquet(folder: Path, stack: ExitStack) -> Write:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError("writing Parquet needs the package pyarrow", "pip install 'ocrcc[parquet]'") from None
    # What Hugging Face's datasets knows an image by.
    features = {"image": {"_type": "Image"}, "text": {"dtype": "string", "_type": "Value"}}
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema(
        [("image", image), ("text", pyarrow.string())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    file = stack.enter_context(parquet.ParquetWriter(folder / "train-00000-of-00001.parquet", schema))
    rows: list[dict[str, object]] = []

    def flush() -> None:
        file.write_table(pyarrow.Table.from_pylist(rows, schema))
        rows.clear()

    def write(number: int, raw: bytes, label: str) -> None:
        rows.append({"image": {"bytes": raw, "path": f"{number:06d}.{suffix_of(raw)}"}, "text": label})
        if len(rows) >= _ROWS:
            flush()

    stack.callback(flush)
    return write


def _tar(folder: Path, stack: ExitStack) -> Write:
    shard = stack.enter_context(tarfile.TarFile(folder / "train-000000.tar", "w"))

    def write(number: int, raw: bytes, label: str) -> None:
        for kind, content in ((suffix_of(raw), raw), ("txt", label.encode())):
            member = tarfile.TarInfo(f"{number:09d}.{kind}")
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))

    return write


_WRITERS: dict[str, Callable[[Path, ExitStack], Write]] = {
    "tab": _tab,
    "csv": _csv,
    "jsonl": _jsonl,
    "pairs": _pairs,
    "parquet": _parquet,
    "tar": _tar,
}


def suffix_of(raw: bytes) -> str:
    """Return what the name of a file with an encoded image ends in."""
    try:
        image, _ = identify(raw)
    except DataError:
        return "bin"
    with image:
        kind = (image.format or "bin").lower()
    return {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif", "jpeg2000": "jp2"}.get(kind, kind)

r"""Labels as people have them: which image shows which text, in any of the field's formats.

``tab``    ``path<TAB>text``; PaddleOCR's JSON list of images may stand in the place of a path
``space``  ``path text``
``csv``    a header names the columns; commas, semicolons or tabs
``jsonl``  one JSON object a line; also Hugging Face's ``metadata.jsonl``
``icdar``  ``path, "text"``
``pairs``  ``x.png`` beside ``x.gt.txt`` (or ``x.txt``), in a folder or folders of them

They are told apart by content, not by suffix.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import get_args

from ocrcc.errors import ConfigError, DataError
from ocrcc.labels.encodings import TextFile, open_text
from ocrcc.labels.lines import (
    IMAGE_NAME,
    PATH_COLUMNS,
    TEXT_COLUMNS,
    BadLineError,
    Format,
    Table,
    looks_like,
    parse_header,
    parse_line,
    shorten,
)

FORMATS: tuple[str, ...] = ("auto", *get_args(Format))

_LABEL_FILES = (
    *("labels.tsv", "labels.txt", "labels.csv", "labels.jsonl", "label.txt", "label.tsv", "label.csv"),
    *("metadata.jsonl", "metadata.csv", "gt.txt", "rec_gt.txt", "rec_gt_train.txt", "rec_gt_test.txt"),
)
_SAMPLE = 200  # lines that tell the format


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled image, not yet opened.

    Attributes:
        path: The image.
        text: What it shows, exactly as it was written.
        where: ``labels.txt:17``.
    """

    path: Path
    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that gives no entry.

    Attributes:
        where: ``labels.txt:17``, or a file.
        message: What is wrong with it.
        reason: The kind of problem, without particulars; for counting.
    """

    where: str
    message: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass(frozen=True)
class Labels:
    """One label file, or one folder of pairs.

    Iterating reads it, line by line.

    Attributes:
        path: The label file or the folder.
        format: How it is written.
        images: What its paths are relative to.
        encoding: Which codec of Python decodes it; ``auto`` for pairs, each file of which tells its own.
        reason: Why this encoding, where it is not plain UTF-8; else empty.
    """

    path: Path
    format: Format
    images: Path
    encoding: str = "auto"
    reason: str = ""

    def __iter__(self) -> Iterator[Entry | Problem]:
        if self.format == "pairs":
            return _read_pairs(self.path, self.encoding)
        return _read_lines(self)


def find_labels(
    source: Path, *, images: Path | None = None, format: str = "auto", encoding: str = "auto"
) -> list[Labels]:
    """Find the labels that a path stands for, and tell their formats.

    Args:
        source: A label file, a folder with one or with pairs, or a folder of such folders.
        images: What paths are relative to; by default the folder of their label file.
        format: One of `FORMATS`.
        encoding: A codec of Python, or ``auto``.

    Raises:
        ConfigError: There is no such format or codec.
        DataError: There is no such file, it has no labels, or in no known format.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown label format {format!r}", f"one of {', '.join(FORMATS)}")
    if images is not None and not images.is_dir():
        raise DataError(f"{images}: no such folder of images")
    if source.is_dir():
        found = list(_in_folder(source, images, format, encoding))
        if not found:
            raise DataError(
                f"{source}: no labels in this folder",
                "it needs a labels.tsv (path<TAB>text) or metadata.jsonl, or x.gt.txt beside each x.png",
            )
        return found
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if source.name.endswith(".gt.txt") and format in ("auto", "pairs"):
        return [Labels(source, "pairs", source.parent, encoding)]
    if format == "pairs":
        raise DataError(f"{source}: pairs are x.png beside x.gt.txt", "give their folder")
    if IMAGE_NAME.fullmatch(source.name):
        raise DataError(f"{source}: an image, not labels", "give a label file or a folder")
    return [_label_file(source, images, format, encoding)]


def _in_folder(folder: Path, images: Path | None, format: str, encoding: str) -> Iterator[Labels]:
    """Find label files to any depth; a folder without one may hold pairs."""

    def complain(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}")

    for parent, folders, files in os.walk(folder, onerror=complain):
        folders.sort()
        if "data.mdb" in files:
            raise DataError(f"{parent}: an LMDB, not labels", "to put LMDBs together: --merge")
        known = [name for name in _LABEL_FILES if name in files] if format != "pairs" else []
        if len(known) > 1:
            raise DataError(f"{parent}: has {' and '.join(known)}", "name the one you mean instead of the folder")
        if known:
            yield _label_file(Path(parent, known[0]), images, format, encoding)
            folders.clear()  # the images of this label file
        elif format in ("auto", "pairs") and _has_pairs(files):
            yield Labels(Path(parent), "pairs", Path(parent), encoding)


def _label_file(path: Path, images: Path | None, format: str, encoding: str) -> Labels:
    text = open_text(path, encoding)
    told = _tell_format(text) if format == "auto" else format
    return Labels(path, told, images or path.parent, text.encoding, text.reason)  # type: ignore[arg-type]


def _tell_format(text: TextFile) -> Format:
    sample = list(islice(((number, line) for number, line in text.lines() if line and line.strip()), _SAMPLE))
    if not sample:
        raise DataError(f"{text.path}: no labels in it", "a label file has lines such as path<TAB>text")
    lines = [line for _, line in sample]
    if lines[0].lstrip().startswith("{"):
        return "jsonl"
    if parse_header(lines[0]):
        return "csv"
    votes: dict[Format, int] = {
        name: sum(looks_like(name, line) for line in lines) for name in ("tab", "icdar", "space")
    }
    if not max(votes.values()) and _all_files(text.path, lines):  # paths without an image's suffix
        votes["space"] = len(lines)
    best = max(votes, key=lambda name: votes[name])  # of equals the first, which is the surer sign
    if not votes[best]:
        raise DataError(f"{text.path}:{sample[0][0]}: no known label format: {shorten(lines[0])}", _advice(lines[0]))
    return best


def _all_files(path: Path, lines: Sequence[str]) -> bool:
    return all((path.parent / line.split(" ", 1)[0]).is_file() for line in lines[:5])


def _advice(line: str) -> str:
    if line.lstrip().startswith("["):
        return 'JSON needs one object a line, such as {"file_name": "a.png", "text": "…"}'
    for sign, name in ((",", "commas"), (";", "semicolons")):
        if sign in line:
            return f"a table with {name} needs a header line that names its columns: path{sign}text"
    return f'lines are path<TAB>text, path text, or path, "text"; or name one: --format {"|".join(FORMATS[1:])}'


def _read_lines(labels: Labels) -> Iterator[Entry | Problem]:
    text = TextFile(labels.path, labels.encoding)
    table: Table | None = None
    for number, line in text.lines():
        where = f"{labels.path}:{number}"
        if line is None:
            yield Problem(where, f"not {labels.encoding.upper()}", "line in another encoding")
        elif not line.strip(" \r"):
            continue
        elif labels.format == "csv" and table is None:
            table = parse_header(line)
            if table is None:
                raise DataError(
                    f"{where}: this header names no path and text columns: {shorten(line)}",
                    f"names for paths: {', '.join(PATH_COLUMNS[:9])}; for texts: {', '.join(TEXT_COLUMNS[:8])}",
                )
        else:
            try:
                rows = parse_line(labels.format, line, table)
            except BadLineError as error:
                yield Problem(where, str(error), error.reason)
            else:
                yield from (_entry(labels.images, path, label, where) for path, label in rows)


def _entry(folder: Path, name: str, text: str, where: str) -> Entry | Problem:
    problem = check_text(text)
    if not name.strip():
        problem = "the path is empty"
    if problem:
        return Problem(where, problem, problem)
    path = folder / name
    if "\\" in name and not path.exists():  # written on Windows
        path = folder / name.replace("\\", "/")
    return Entry(path, text, where)


def check_text(text: str) -> str:
    """Say why a text can be no line's label; empty if it can."""
    if not text.strip():
        return "the label is empty" if not text else "the label is only spaces"
    if "\n" in text or "\r" in text:
        return "the label has more than one line"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the label is no Unicode text (half a surrogate pair)"
    return ""


def _has_pairs(files: Sequence[str]) -> bool:
    names = set(files)
    return any(
        name.endswith(".gt.txt") or (IMAGE_NAME.fullmatch(name) and f"{Path(name).stem}.txt" in names) for name in files
    )


def _read_pairs(path: Path, encoding: str) -> Iterator[Entry | Problem]:
    """Read the pairs of one folder, in the order of their names; or the one of a ``.gt.txt`` file."""
    folder = path if path.is_dir() else path.parent
    files = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    present = set(files)
    images: dict[str, list[str]] = {}  # by the name of the label file
    for name in files:
        if IMAGE_NAME.fullmatch(name):
            stem = Path(name).stem
            # Calamari's and kraken's x.nrm.png and x.bin.png belong to x.gt.txt, if there is no x.nrm.gt.txt
            stems = (stem, stem.removesuffix(".nrm"), stem.removesuffix(".bin"))
            labels = [one + suffix for suffix in (".gt.txt", ".txt") for one in stems]
            images.setdefault(next((label for label in labels if label in present), name), []).append(name)
    images |= {name: [] for name in files if name.endswith(".gt.txt") and name not in images}
    for label in sorted(images) if path.is_dir() else [path.name]:
        found = sorted(images.get(label, []), key=lambda name: (name.count("."), ".bin." in name, name))
        if label in found:
            yield Problem(str(folder / label), "an image without a label beside it", "image without a label")
        elif not found:
            yield Problem(str(folder / label), "no image beside this label", "label without an image")
        else:
            yield _pair(folder / label, folder / found[0], encoding)
            for other in found[1:]:
                yield Problem(str(folder / other), f"{found[0]} is taken for {label}", "second image of a label")


def _pair(label: Path, image: Path, encoding: str) -> Entry | Problem:
    try:
        lines = [line for _, line in open_text(label, encoding).lines()]
    except DataError as error:
        return Problem(str(label), error.message.removeprefix(f"{label}: "), "label that is no text")
    while len(lines) > 1 and lines[-1] == "":
        lines.pop()
    if None in lines:
        return Problem(f"{label}:{lines.index(None) + 1}", "in another encoding", "line in another encoding")
    return _entry(image.parent, image.name, "\n".join(map(str, lines)), f"{label}:1")

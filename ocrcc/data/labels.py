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

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from ocrcc.data.encodings import TextFile, open_text
from ocrcc.errors import ConfigError, DataError

Format = Literal["tab", "space", "csv", "jsonl", "icdar", "pairs"]
FORMATS: tuple[str, ...] = ("auto", *get_args(Format))

_PATH_COLUMNS = (
    *("file_name", "filename", "path", "file", "image_path", "img_path", "image_file", "image", "img"),
    *("image_name", "img_name", "filepath", "file_path", "图片", "文件名", "文件", "路径"),
)
_TEXT_COLUMNS = (
    *("text", "label", "transcription", "transcript", "ground_truth", "gt", "words", "word", "labels"),
    *("sentence", "content", "value", "文本", "标签", "内容"),
)
_LABEL_FILES = (
    *("labels.tsv", "labels.txt", "labels.csv", "labels.jsonl", "label.txt", "label.tsv", "label.csv"),
    *("metadata.jsonl", "metadata.csv", "gt.txt", "rec_gt.txt", "rec_gt_train.txt", "rec_gt_test.txt"),
)
_SUFFIXES = (
    "png",
    "jpg",
    "jpeg",
    "jpe",
    "bmp",
    "tif",
    "tiff",
    "webp",
    "gif",
    "jp2",
    "pbm",
    "pgm",
    "pnm",
    "ppm",
    "avif",
)
_SUFFIX = rf"\.(?:{'|'.join(_SUFFIXES)})"
_SPACE = re.compile(rf"(.+?{_SUFFIX}|\S+) (.*)", re.IGNORECASE | re.DOTALL)
_SPACE_SURE = re.compile(rf".+?{_SUFFIX} .*", re.IGNORECASE | re.DOTALL)
_ICDAR = re.compile(r'(.+?), ?"(.*)"\s*', re.DOTALL)
_IMAGE_NAME = re.compile(rf".+{_SUFFIX}", re.IGNORECASE)
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
    if _IMAGE_NAME.fullmatch(source.name):
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
    if _header(lines[0]):
        return "csv"
    votes: dict[Format, int] = {
        "tab": sum("\t" in line for line in lines),
        "icdar": sum(bool(_ICDAR.fullmatch(line)) for line in lines),
        "space": sum(bool(_SPACE_SURE.fullmatch(line)) for line in lines),
    }
    if 2 * votes["tab"] < len(lines) and not max(votes.values()):  # paths without a suffix
        votes["space"] = sum(bool(_SPACE.fullmatch(line)) for line in lines) if _all_files(text.path, lines) else 0
    best = max(votes, key=lambda name: votes[name])  # of equals the first, which is the surer sign
    if not votes[best]:
        raise DataError(f"{text.path}:{sample[0][0]}: no known label format: {_short(lines[0])}", _advice(lines[0]))
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


def _short(line: str) -> str:
    return repr(line if len(line) <= 60 else line[:59] + "…")


def _read_lines(labels: Labels) -> Iterator[Entry | Problem]:
    text = TextFile(labels.path, labels.encoding)
    table: _Table | None = None
    for number, line in text.lines():
        where = f"{labels.path}:{number}"
        if line is None:
            yield Problem(where, f"not {labels.encoding.upper()}", "line in another encoding")
        elif not line.strip(" \r"):
            continue
        elif labels.format == "csv" and table is None:
            table = _header(line)
            if table is None:
                raise DataError(
                    f"{where}: this header names no path and text columns: {_short(line)}",
                    f"names for paths: {', '.join(_PATH_COLUMNS[:9])}; for texts: {', '.join(_TEXT_COLUMNS[:8])}",
                )
        else:
            try:
                rows = _parse(labels.format, line, table)
            except _BadLineError as error:
                yield Problem(where, str(error), error.reason)
            else:
                yield from (_entry(labels.images, path, label, where) for path, label in rows)


class _BadLineError(Exception):
    def __init__(self, reason: str, particulars: str = "") -> None:
        super().__init__(reason + particulars)
        self.reason = reason


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


def _parse(format: Format, line: str, table: _Table | None) -> list[tuple[str, str]]:
    """Return the paths and texts of a line; more than one only for PaddleOCR's lists of images."""
    match format:
        case "tab":
            return _parse_tab(line)
        case "space":
            found = _SPACE.fullmatch(line)
            if not found:
                raise _BadLineError("no space between path and text", f": {_short(line)}")
            return [(found[1], found[2])]
        case "icdar":
            found = _ICDAR.fullmatch(line)
            if not found:
                raise _BadLineError('not path, "text"', f": {_short(line)}")
            return [(found[1], re.sub(r'\\(["\\])', r"\1", found[2]))]
        case "jsonl":
            return [_parse_json(line)]
        case _:
            assert table is not None
            return [table.row(line)]


def _parse_tab(line: str) -> list[tuple[str, str]]:
    path, tab, text = line.partition("\t")
    if not tab:
        raise _BadLineError("no tab between path and text", f": {_short(line)}")
    if text.startswith("[{") and '"transcription"' in text and '"points"' in text:
        raise _BadLineError("boxes of a page, not the text of a line")
    if path.startswith("["):
        try:
            paths = json.loads(path)
        except ValueError:
            paths = None
        if isinstance(paths, list) and all(isinstance(one, str) for one in paths):
            return [(one, text) for one in paths]
    return [(path, text)]


def _parse_json(line: str) -> tuple[str, str]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _BadLineError("not JSON", f": {error}") from None
    if not isinstance(values, dict):
        raise _BadLineError("not a JSON object", f": {_short(line)}")
    names = [_pick(values, columns) for columns in (_PATH_COLUMNS, _TEXT_COLUMNS)]
    for name, kind, columns in zip(names, ("path", "text"), (_PATH_COLUMNS, _TEXT_COLUMNS), strict=True):
        if name is None:
            raise _BadLineError(f"no {kind} in it", f"; it may be named {', '.join(columns[:6])}")
        if not isinstance(values[name], str):
            raise _BadLineError(f"its {kind} is no string", f": {_short(json.dumps(values[name]))}")
    return values[names[0]], values[names[1]]


def _pick(columns: Iterable[str], wanted: Sequence[str]) -> str | None:
    """Return the column of the best-known name."""
    by_name = {column.strip().casefold(): column for column in columns}
    return next((by_name[name] for name in wanted if name in by_name), None)


@dataclass(frozen=True)
class _Table:
    """Where path and text stand in the rows of a table."""

    delimiter: str
    width: int
    path: int
    text: int

    def row(self, line: str) -> tuple[str, str]:
        cells = _cells(line, self.delimiter)
        if len(cells) != self.width:
            more = f"; a text with {self.delimiter!r} needs quotes" if len(cells) > self.width else ""
            raise _BadLineError("another number of columns than the header", f": {len(cells)}, not {self.width}{more}")
        return cells[self.path], cells[self.text]


def _header(line: str) -> _Table | None:
    for delimiter in ("\t", ",", ";"):
        if delimiter in line:
            try:
                cells = _cells(line, delimiter)
            except _BadLineError:
                continue
            path, text = _pick(cells, _PATH_COLUMNS), _pick(cells, _TEXT_COLUMNS)
            if path is not None and text is not None:
                return _Table(delimiter, len(cells), cells.index(path), cells.index(text))
    return None


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == "\t":
        return [_unquote(cell) for cell in line.split("\t")]
    try:
        # Line by line: an unclosed quote spoils its own line, not the rest of the file.
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise _BadLineError("quotes that do not match", f": {error}") from None


def _unquote(cell: str) -> str:
    """Undo the quotes that a table of tabs has only around texts with quotes; others are the text's own."""
    inner = cell[1:-1]
    if len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell


def _has_pairs(files: Sequence[str]) -> bool:
    names = set(files)
    return any(
        name.endswith(".gt.txt") or (_IMAGE_NAME.fullmatch(name) and f"{Path(name).stem}.txt" in names)
        for name in files
    )


def _read_pairs(path: Path, encoding: str) -> Iterator[Entry | Problem]:
    """Read the pairs of one folder, in the order of their names; or the one of a ``.gt.txt`` file."""
    folder = path if path.is_dir() else path.parent
    files = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    present = set(files)
    images: dict[str, list[str]] = {}  # by the name of the label file
    for name in files:
        if _IMAGE_NAME.fullmatch(name):
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

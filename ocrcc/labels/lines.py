"""One line of a label file: its paths and its text, in each of the formats that have lines."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from ocrcc.annotations.entries import BadLabelError
from ocrcc.annotations.names import PATH_COLUMNS, SUFFIX, TEXT_COLUMNS, pick, shorten
from ocrcc.encodings import TextFile
from ocrcc.errors import DataError
from ocrcc.outlines import points_in
from ocrcc.types import Outline

Format = Literal[
    "tab", "space", "csv", "jsonl", "icdar", "mjsynth", "pairs", "quads", "ppocrlabel", "page", "alto", "hocr", "cvat",
    "labelme", "labelstudio", "json", "parquet", "tar",
]  # fmt: skip

_SPACE = re.compile(rf"(.+?{SUFFIX}|\S+) +(.*)", re.IGNORECASE | re.DOTALL)
_SPACE_SURE = re.compile(rf".+?{SUFFIX} .*", re.IGNORECASE | re.DOTALL)
_MJSYNTH = re.compile(r"(.*/?\d+_([^/_]+)_(\d+)\.jpg) \3")
_ICDAR = re.compile(r'(.+?),( ?)"(.*)"\s*', re.DOTALL)
_CLOSES = re.compile(r'[^"]*(?:""[^"]*)*"(?!")')
_OPEN = ("quotes that do not match", ": a cell with a line break, or a quote that nothing closes: ")


def looks_like(format: Format, line: str) -> bool:
    """Tell whether a line bears the sign of a format without a header."""
    match format:
        case "tab":
            return "\t" in line
        case "icdar":
            return _ICDAR.fullmatch(line) is not None
        case "csv":
            return headless(line) is not None
        case "mjsynth":
            return _MJSYNTH.fullmatch(line) is not None
        case _:
            return _SPACE_SURE.fullmatch(line) is not None


def parse_line(format: Format, line: str, table: Table | None) -> list[tuple[str, str]]:
    """Parse a line.

    Args:
        format: Of its file.
        line: Without its ending.
        table: What the header says, for ``csv``.

    Returns:
        Paths and texts; more than one only for PaddleOCR's lists of images.

    Raises:
        BadLabelError: The line is malformed.
    """
    match format:
        case "tab":
            return _parse_tab(line)
        case "space":
            found = _SPACE.fullmatch(line)
            if not found:
                raise BadLabelError("no space between path and text", f": {shorten(line)}")
            return [(found[1], found[2])]
        case "icdar":
            found = _ICDAR.fullmatch(line)
            if not found:
                raise BadLabelError('not path, "text"', f": {shorten(line)}")
            path, text = found[1], f'"{found[3]}"'
            if _quoted(path):  # a table without a header, all of whose cells are quoted
                return [(_inner(path), _inner(text))]
            if not found[2] and '""' in found[3] and _quoted(text):  # or all of whose texts are
                return [(path, _inner(text))]
            return [(path, re.sub(r'\\(["\\])', r"\1", found[3]))]
        case "mjsynth":  # the text stands in the path, and its place in a word list both there and behind it
            found = _MJSYNTH.fullmatch(line)
            if not found:
                raise BadLabelError("not path/number_TEXT_place.jpg place", f": {shorten(line)}")
            return [(found[1], found[2])]
        case "jsonl":
            return [_parse_json(line)]
        case _:
            assert table is not None
            return [table.row(line)]


def _parse_tab(line: str) -> list[tuple[str, str]]:
    path, tab, text = line.partition("\t")
    if not tab:
        raise BadLabelError("no tab between path and text", f": {shorten(line)}")
    text = text.rstrip("\t")  # empty cells of a spreadsheet
    if _quoted(path):
        return [(_inner(path), _inner(text) if _quoted(text) else text)]  # a tool that quotes every cell
    if path.startswith("["):
        try:
            paths = json.loads(path)
        except (ValueError, RecursionError):
            paths = None
        if isinstance(paths, list) and all(isinstance(one, str) for one in paths):
            return [(one, text) for one in paths]
    return [(path, text)]


def _parse_json(line: str) -> tuple[str, str]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLabelError("not JSON", f": {error}") from None
    return record(values)


def record(values: Any) -> tuple[str, str]:
    """Return path and text of an object of JSON.

    Raises:
        BadLabelError: It has none, or it is no object.
    """
    if not isinstance(values, dict):
        raise BadLabelError("not a JSON object", f": {shorten(json.dumps(values))}")
    names = [pick(values, columns) for columns in (PATH_COLUMNS, TEXT_COLUMNS)]
    for name, kind, columns in zip(names, ("path", "text"), (PATH_COLUMNS, TEXT_COLUMNS), strict=True):
        if name is None:
            raise BadLabelError(f"no {kind} in it", f"; it may be named {', '.join(columns[:6])}")
        if not isinstance(values[name], str):
            raise BadLabelError(f"its {kind} is no string", f": {shorten(json.dumps(values[name]))}")
    return values[names[0]], values[names[1]]


@dataclass(frozen=True)
class Table:
    """Where path and text stand in the rows of a table.

    Attributes:
        delimiter: Between columns.
        width: How many columns there are.
        path: Column, from 0.
        text: Column, from 0.
        cut: Whether rows are cut at the first delimiter, and quotes are the text's own, as EasyOCR has it.
        box: Column of a page's line, where `ocrcc predict --format tsv` wrote the table.
    """

    delimiter: str
    width: int
    path: int
    text: int
    cut: bool = False
    box: int | None = None

    def outline(self, line: str) -> Outline | None:
        """Return where on its page a row's text stands; None if its image is the line."""
        points = () if self.box is None else points_in(_cells(line, self.delimiter)[self.box])
        return Outline(points, ordered=True) if len(points) == 4 else None

    def row(self, line: str) -> tuple[str, str]:
        """Return a row's path and text."""
        if self.cut:
            path, delimiter, text = line.partition(self.delimiter)
            if not delimiter:
                raise BadLabelError(f"no {self.delimiter!r} between path and text", f": {shorten(line)}")
            if _ends_open(line, self.delimiter):
                raise BadLabelError(_OPEN[0], _OPEN[1] + shorten(line))
            return path, text
        cells = _cells(line, self.delimiter)
        if len(cells) != self.width:
            more = f"; a text with {self.delimiter!r} needs quotes" if len(cells) > self.width else ""
            raise BadLabelError("another number of columns than the header", f": {len(cells)}, not {self.width}{more}")
        return cells[self.path], cells[self.text]


def parse_header(line: str) -> Table | None:
    """Understand a line as a table's header; None if it names no columns of paths and texts."""
    for delimiter in ("\t", ",", ";"):
        if delimiter in line:
            try:
                cells = _cells(line, delimiter)
            except BadLabelError:
                continue
            path, text = pick(cells, PATH_COLUMNS), pick(cells, TEXT_COLUMNS)
            if path is not None and text is not None:
                box = 3 if cells == ["path", "text", "confidence", "box"] else None
                return Table(delimiter, len(cells), cells.index(path), cells.index(text), box=box)
    return None


def headless(line: str) -> Table | None:
    """Understand a line as a row of image and text, by comma or semicolon, of a table without a header."""
    found = re.match(rf"[^,;\t]+{SUFFIX}([,;])", line, re.IGNORECASE)
    return Table(found[1], 2, 0, 1) if found else None


def read_header(text: TextFile, line: str, where: str) -> Table:
    """Understand the first line of a table, and from its rows how they were written.

    Raises:
        DataError: It names no columns of paths and texts, and is no row of them.
    """
    header = parse_header(line)
    table = header or headless(line)
    if table is None:
        raise DataError(
            f"{where}: this header names no path and text columns: {shorten(line)}",
            f"names for paths: {', '.join(PATH_COLUMNS[:9])}; for texts: {', '.join(TEXT_COLUMNS[:8])}",
        )
    rows = (row for _, row in text.lines() if row and row.strip(" \r") and (row != line or not header))
    return _choose_cut(table, rows)


def _choose_cut(table: Table, rows: Iterable[str]) -> Table:
    """Tell whether the rows of a table of path and text were written without any quoting.

    They were if more of them make sense only that way (``b.png,Hello, world``) than only with quotes undone. A cell
    with a line break says neither, nor do the lines that it goes on in.
    """
    delimiter = table.delimiter
    if delimiter == "\t" or (table.width, table.path, table.text) != (2, 0, 1):
        return table
    bare, quoted, within = 0, 0, False
    for row in rows:
        if within and not headless(row):
            within = _CLOSES.match(row) is None
            continue
        if within := _ends_open(row, delimiter):
            continue
        try:
            cells = _cells(row, delimiter)
        except BadLabelError:
            cells = []
        text = row.partition(delimiter)[2]
        if len(cells) != 2:
            bare += 1
        elif delimiter in cells[1] or (_quoted(text) and '""' in text[1:-1]):
            quoted += 1
    return replace(table, cut=bare > quoted)


def has_boxes(line: str) -> bool:
    """Tell whether a line is PPOCRLabel's: an image, a tab, and the boxes of its lines."""
    text = line.partition("\t")[2]
    return re.match(r"\[\s*\{", text) is not None and '"transcription"' in text and '"points"' in text


def _ends_open(line: str, delimiter: str) -> bool:
    """Tell whether a row's last cell begins with a quote that the row does not close."""
    cell = rf'(?:"(?:[^"]|"")*"|(?!")[^{delimiter}]*)'
    return re.fullmatch(rf'(?:{cell}{delimiter})*"(?:[^"]|"")*', line) is not None


def _quoted(cell: str) -> bool:
    return len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in cell[1:-1].replace('""', "")


def _inner(cell: str) -> str:
    return cell[1:-1].replace('""', '"')


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == "\t":
        cells = line.split("\t")
        return [_inner(cell) for cell in cells] if all(map(_quoted, cells)) else [_unquote(cell) for cell in cells]
    if _ends_open(line, delimiter):
        raise BadLabelError(_OPEN[0], _OPEN[1] + shorten(line))
    try:
        # Line by line: an unclosed quote spoils its own line, not the rest of the file.
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadLabelError("quotes that do not match", f": {error}") from None


def _unquote(cell: str) -> str:
    """Undo the quotes that a table of tabs has only around texts with quotes; others are the text's own."""
    inner = cell[1:-1]
    if len(cell) > 3 and cell[0] == cell[-1] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell

"""Tell the format of a label file from its content."""

from __future__ import annotations

import codecs
import json
import re
import tarfile
from itertools import islice
from pathlib import Path
from typing import get_args

from ocrcc.annotations.names import PATH_COLUMNS, TEXT_COLUMNS, pick, shorten
from ocrcc.annotations.quads import is_quad
from ocrcc.encodings import TextFile, open_text
from ocrcc.errors import DataError
from ocrcc.files import check_regular, is_file
from ocrcc.labels.lines import Format, has_boxes, looks_like, parse_header

DOCUMENTS = ("page", "alto", "hocr", "cvat", "quads", "labelme", "labelstudio", "json", "parquet", "tar")
"""Formats that are no lines of text."""

_SAMPLE = 200  # lines that tell the format
_HEAD = 1 << 16  # bytes that tell it
_SIGNS: tuple[tuple[Format, str], ...] = (
    ("page", r"<(?:\w+:)?PcGts[\s>]"),
    ("alto", r"<(?:\w+:)?alto[\s>]"),
    ("hocr", r"""class\s*=\s*["']ocr_page\b"""),
    ("cvat", r"<annotations>(?s:.*)<image "),
)
_TASK = re.compile(r'\[.*"(?:annotations|completions|annotation_id|annotator)"|\{.*"from_name"', re.DOTALL)
_SHAPES = re.compile(r'\{.*"(?:shapes|imageData)"', re.DOTALL)
_JSON = re.compile(
    r'\{.*"(?:data_list|shape_attributes|utf8_string|imgs|categories)"|\{\s*"[^"]+\.(?:png|jpe?g)"\s*:\s*"', re.DOTALL
)
"""MMOCR; VIA; COCO-Text and its like; docTR."""


def tell_file(path: Path) -> Format | None:
    """Tell a file of pages or of records by how it begins; None for anything else, lines of text among it.

    Raises:
        DataError: It cannot be read.
    """
    check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    if head.startswith((b"PAR1", b"ARROW1")) or (
        path.suffix.lower() == ".arrow" and head.startswith(b"\xff\xff\xff\xff")
    ):
        return "parquet"
    if (head[257:262] == b"ustar" or head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"))) and tarfile.is_tarfile(path):
        return "tar"
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    start = head.decode("utf-16" if wide else "utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    if start.startswith("<"):
        return next((kind for kind, sign in _SIGNS if re.search(sign, start)), None)
    first_line = start.partition("\n")[0]
    if {"annotator", "annotation_id"} <= set(re.split(r"[,\t\r]", first_line)):  # Label Studio's CSV and TSV
        return "labelstudio"
    if is_quad(first_line.rstrip("\r")):
        return "quads"
    if start[:1] not in ("{", "[") or _is_record(first_line):
        return None
    signs: tuple[tuple[Format, re.Pattern[str]], ...] = (("labelme", _SHAPES), ("labelstudio", _TASK), ("json", _JSON))
    told = next((kind for kind, sign in signs if sign.match(start)), None)
    inner = re.match(r"\[\s*(?=\{)", start)
    return "json" if told is None and inner and _is_record(start[inner.end() :], more=True) else told


def _is_record(line: str, *, more: bool = False) -> bool:
    """Tell whether a line is JSON with a path and a text, or begins so and has ``more`` behind it."""
    try:
        values = json.JSONDecoder().raw_decode(line)[0] if more else json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and all(pick(values, wanted) for wanted in (PATH_COLUMNS, TEXT_COLUMNS))


def tell_text(path: Path, format: str, encoding: str) -> tuple[TextFile, Format]:
    """Tell encoding and format of a file of lines.

    Args:
        path: The file.
        format: The format, if it is known; else ``auto``.
        encoding: A codec of Python, or ``auto``.

    Raises:
        ConfigError: There is no such codec.
        DataError: It cannot be read, has no labels, or in no known format.
    """
    text = open_text(path, encoding)
    return text, _tell_format(text) if format == "auto" else format  # type: ignore[return-value]


def _tell_format(text: TextFile) -> Format:
    sample = list(islice(((number, line) for number, line in text.lines() if line and line.strip()), _SAMPLE))
    if not sample:
        raise DataError(f"{text.path}: no labels in it", "a label file has lines such as path<TAB>text")
    lines = [line for _, line in sample]
    if lines[0].lstrip().startswith("{"):
        return "jsonl"
    if parse_header(lines[0]):
        return "csv"
    if any(map(has_boxes, lines)) and all(line.partition("\t")[2].startswith("[") for line in lines if "\t" in line):
        return "ppocrlabel"
    votes: dict[Format, int] = {
        name: sum(looks_like(name, line) for line in lines) for name in ("tab", "icdar", "csv", "mjsynth", "space")
    }
    # paths without an image's suffix
    if not max(votes.values()) and all(is_file(text.path.parent / line.split(" ", 1)[0]) for line in lines[:5]):
        votes["space"] = len(lines)
    best = max(votes, key=lambda name: votes[name])  # of equals the first, which is the surer sign
    if not votes[best]:
        raise DataError(f"{text.path}:{sample[0][0]}: no known label format: {shorten(lines[0])}", _advice(lines[0]))
    tabs = {line.rstrip("\t").count("\t") for line in lines}
    if best == "tab" and len(lines) > 1 and len(tabs) == 1 and min(tabs) > 1:
        raise DataError(
            f"{text.path}: {min(tabs) + 1} columns, and no header that names them",
            "put one before them, such as path<TAB>text<TAB>…; or --format tab, if the tabs belong to the texts",
        )
    return best


def _advice(line: str) -> str:
    if line.lstrip().startswith("["):
        return 'JSON needs one object a line, such as {"file_name": "a.png", "text": "…"}'
    if line.lstrip().startswith("<"):
        return "of XML and HTML, PAGE, ALTO and hOCR are read"
    for sign, name in ((",", "commas"), (";", "semicolons")):
        if sign in line:
            return f"a table with {name} needs a header line that names its columns: path{sign}text"
    return f'lines are path<TAB>text, path text, or path, "text"; or name one: --format {"|".join(get_args(Format))}'

"""How readings are written: text, tsv, JSON Lines, hOCR and ALTO, piece by piece as they come."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape as escape_markup
from itertools import chain, islice
from urllib.parse import quote

import ocrcc
from ocrcc.places import marked
from ocrcc.reading.json_lines import json_line
from ocrcc.types import Box, Page, PageChar, PageLine, Recognition

Result = Recognition | Page
Writer = Callable[[Iterable[Result]], Iterator[str]]

PAGE_FORMATS = ("hocr", "alto", "pdf")
"""Those that know only pages; a line image is a page of one line there."""

_HEADER = "path\ttext\tconfidence\tbox\n"
_STRING = r'"(?:[^"\\]|\\.)*"'
_OBJECT = (
    rf'\A{{"path": {_STRING}, (?:"text": {_STRING}, "confidence": \d|"width": \d+, "height": \d+, "lines": |"error": ")'
)
READINGS = marked(
    "file of readings",
    re.compile(rb"\A\Z"),  # as JSON Lines and text are if nothing could be read
    re.compile(rf"\A{_HEADER}".encode()),
    re.compile(_OBJECT.encode()),
    b'<meta name="ocr-system" content="ocrcc ',
    b"<softwareName>ocrcc</softwareName>",
    b"/OcrccReadings",
)
"""What a file of readings may replace. Plain text says nowhere that it is ours, and is never replaced."""

_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))},
    **{code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *_DIRECTIONS)},
    **{0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"},
}
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCES = {code: f"&#{code};" for code in _ESCAPES if not _NO_XML.match(chr(code))}


def one_line(text: str) -> str:
    """Escape what would end a line or a column, turn the direction of what follows, or control a terminal.

    Joiners stay, which Persian and the languages of India write with; what begins like a formula does too, see
    `ocrcc.harmless`.
    """
    return text.translate(_ESCAPES)


def choose_writer(format_name: str | None, *, single: bool, escape: Callable[[str], str] = one_line) -> Writer:
    """Choose how results become pieces of output, each ending in a newline.

    Args:
        format_name: ``json``, ``tsv``, ``hocr``, ``alto``, or anything else for text.
        single: Whether all comes from one file, whose name then need not stand in text.
        escape: Makes a column harmless.
    """
    if format_name == "json":
        return lambda results: (json_line(result) for result in results)
    if format_name == "hocr":
        return lambda results: write_hocr(_pages(results))
    if format_name == "alto":
        return lambda results: write_alto(_pages(results))
    if format_name == "tsv":
        return lambda results: chain([_HEADER], _columns(results, (0, 1, 2, 3), escape))
    return lambda results: _page_breaks(results, escape) if single else _columns(results, (0, 1), escape)


def rows(result: Result) -> list[tuple[str, str, str, str]]:
    """Give path, text, confidence and corners of a line, or of each line of a page; of an empty page one row."""
    if isinstance(result, Recognition):
        return [(result.path, result.text, f"{result.confidence:.4f}", "")]
    return [
        (result.path, line.text, f"{line.confidence:.4f}", " ".join(f"{x},{y}" for x, y in line.box))
        for line in result.lines
    ] or [(result.path, "", "", "")]


def _page_breaks(results: Iterable[Result], escape: Callable[[str], str]) -> Iterator[str]:
    """Put a form feed between the pages of a document, as pdftotext does."""
    for number, result in enumerate(results):
        yield "\f" * (number > 0) + "".join(f"{escape(text)}\n" for _, text, _, _ in rows(result))


def _columns(results: Iterable[Result], chosen: Sequence[int], escape: Callable[[str], str]) -> Iterator[str]:
    for result in results:
        text = ["\t".join(escape(row[column]) for column in chosen) + "\n" for row in rows(result)]
        yield "".join(text)


def _pages(results: Iterable[Result]) -> Iterator[Page]:
    for result in results:
        if not isinstance(result, Page):
            raise TypeError(f"{result.path} was not read as a page")
        yield result


def write_hocr(pages: Iterable[Page]) -> Iterator[str]:
    """Write an hOCR document: well-formed XHTML with lines, words and characters (``ocrx_cinfo``)."""
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" '
        '"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n<head>\n<title></title>\n'
        '<meta http-equiv="Content-Type" content="text/html;charset=utf-8" />\n'
        f'<meta name="ocr-system" content="ocrcc {ocrcc.__version__}" />\n'
        '<meta name="ocr-capabilities" content="ocr_page ocr_line ocrx_word ocrx_cinfo" />\n</head>\n<body>\n'
    )
    for number, page in enumerate(pages, start=1):
        # hOCR has no escape for quotes within its titles, and XML none for bytes that are no UTF-8.
        plain = '"' not in page.path and not _NO_XML.search(page.path)
        named = f'image "{page.path if plain else _address(page.path)}"'
        title = _xml(f"{named}; bbox 0 0 {page.width} {page.height}; ppageno {number - 1}").translate(_REFERENCES)
        lines = [_hocr_line(line, f"{number}_{index}") for index, line in enumerate(page.lines, start=1)]
        yield f'<div class="ocr_page" id="page_{number}" title="{title}">\n{"".join(lines)}</div>\n'
    yield "</body>\n</html>\n"


def _hocr_line(line: PageLine, number: str) -> str:
    words = []
    for index, word in enumerate(_words(line.chars), start=1):
        chars = "".join(
            f'<span class="ocrx_cinfo" title="x_bboxes {_bbox([char.box])}; x_conf {100 * char.confidence:.2f}">'
            f"{_xml(char.char)}</span>"
            for char in word
        )
        confidence = round(100 * min(char.confidence for char in word))
        title = f"bbox {_bbox([char.box for char in word])}; x_wconf {confidence}"
        words.append(f'<span class="ocrx_word" id="word_{number}_{index}" title="{title}">{chars}</span>')
    corners = " ".join(f"{x} {y}" for x, y in (*line.box, line.box[0]))
    title = f"bbox {_bbox([line.box])}; poly {corners}"
    return f'<span class="ocr_line" id="line_{number}" title="{title}">{" ".join(words)}</span>\n'


def write_alto(pages: Iterable[Page]) -> Iterator[str]:
    """Write an ALTO 4 document.

    ALTO names one source image. That of a single page stands there; each of several pages names its own in its
    text block's ``xlink:href``.
    """
    coming = iter(pages)
    first = list(islice(coming, 2))
    # References of XML name the file as it is called, and do nothing to a terminal.
    source = f"<fileName>{_xml(first[0].path).translate(_REFERENCES)}</fileName>" if len(first) == 1 else ""
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" xmlns:xlink="http://www.w3.org/1999/xlink"\n'
        '  xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\n  xsi:schemaLocation='
        '"http://www.loc.gov/standards/alto/ns-v4# http://www.loc.gov/standards/alto/v4/alto-4-4.xsd">\n'
        "<Description>\n<MeasurementUnit>pixel</MeasurementUnit>\n"
        f"<sourceImageInformation>{source}</sourceImageInformation>\n"
        '<Processing ID="ocr"><processingSoftware><softwareName>ocrcc</softwareName>'
        f"<softwareVersion>{ocrcc.__version__}</softwareVersion></processingSoftware></Processing>\n"
        "</Description>\n<Layout>\n"
    )
    for number, page in enumerate(chain(first, coming), start=1):
        size = f'WIDTH="{page.width}" HEIGHT="{page.height}"'
        lines = [_alto_line(line, f"{number}_{index}") for index, line in enumerate(page.lines, start=1)]
        href = _address(page.path)
        block = f'<TextBlock ID="block_{number}" {_place([line.box for line in page.lines])} xlink:href="{href}">\n'
        yield (
            f'<Page ID="page_{number}" PHYSICAL_IMG_NR="{number}" {size} PROCESSINGREFS="ocr">\n'
            f'<PrintSpace HPOS="0" VPOS="0" {size}>\n'
            + (f"{block}{''.join(lines)}</TextBlock>\n" if lines else "")
            + "</PrintSpace>\n</Page>\n"
        )
    yield "</Layout>\n</alto>\n"


def _address(path: str) -> str:
    """Write a path so that it is percent-decoded to the bytes that the file is called by."""
    try:
        raw = os.fsencode(path)
    except UnicodeEncodeError:  # no file can be called so
        raw = path.encode(errors="backslashreplace")
    return quote(raw, safe="/#:")


def _alto_line(line: PageLine, number: str) -> str:
    strings = []
    for word in _words(line.chars):
        glyphs = "".join(
            f'<Glyph CONTENT="{_xml(char.char)}" GC="{char.confidence:.4f}" {_place([char.box])}/>' for char in word
        )
        confidence = min(char.confidence for char in word)
        place = _place([char.box for char in word])
        text = _xml("".join(char.char for char in word))
        strings.append(f'<String CONTENT="{text}" WC="{confidence:.4f}" {place}>{glyphs}</String>\n')
    corners = " ".join(f"{x},{y}" for x, y in line.box)
    place = _place([line.box])
    return (
        f'<TextLine ID="line_{number}" {place}>\n<Shape><Polygon POINTS="{corners}"/></Shape>\n'
        + ("<SP/>\n".join(strings) or f'<String CONTENT="" {place}/>\n')
        + "</TextLine>\n"
    )


def _words(chars: Sequence[PageChar]) -> Iterator[list[PageChar]]:
    """Split at white space."""
    word: list[PageChar] = []
    for char in chars:
        if not char.char.isspace():
            word.append(char)
        elif word:
            yield word
            word = []
    if word:
        yield word


def _extent(boxes: Iterable[Box]) -> tuple[int, int, int, int]:
    points = list(chain.from_iterable(boxes))
    across, down = zip(*points, strict=True)
    return min(across), min(down), max(across), max(down)


def _bbox(boxes: Iterable[Box]) -> str:
    return " ".join(map(str, _extent(boxes)))


def _place(boxes: Sequence[Box]) -> str:
    if not boxes:
        return ""
    left, top, right, bottom = _extent(boxes)
    return f'HPOS="{left}" VPOS="{top}" WIDTH="{right - left}" HEIGHT="{bottom - top}"'


def _xml(text: str) -> str:
    """Escape markup; what XML cannot hold becomes the replacement character."""
    return escape_markup(_NO_XML.sub("\ufffd", text), quote=True)

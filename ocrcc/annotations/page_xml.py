"""PAGE XML (2010 to 2019), ALTO (2 to 4), hOCR and CVAT: lines of a page with their outlines, baselines and texts.

Namespaces are passed over, so that every version is read; what a newer one adds does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from lxml import etree, html

from ocrcc.annotations.entries import Entry, Problem, find_image, image_beside, make_entry
from ocrcc.annotations.names import TEXT_COLUMNS, pick
from ocrcc.errors import DataError
from ocrcc.files import is_there, read_small
from ocrcc.outlines import clockwise, has_area, is_level, is_upright, number, points_in, rectangle, turned, with_bands
from ocrcc.types import Outline, Points

_LINE_CLASSES = {"ocr_line", "ocrx_line", "ocr_header", "ocr_caption", "ocr_textfloat", "ocr_footer"}
_MOST = 1 << 28  # bytes of a file that is parsed as a whole


def parse_xml(path: Path) -> Any:
    """Parse a file whose text may be hostile: no entity is expanded, nothing is fetched.

    Returns:
        Its root element.

    Raises:
        DataError: It cannot be read, or is not well-formed.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(read_small(path, _MOST), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DataError(f"{path}: damaged XML: {error}") from None
    if next(root.iter(etree.Entity), None) is not None:
        raise DataError(f"{path}: its text has entities of its own, which are not expanded", "save it without them")
    return root


def read_page_xml(path: Path, images: Path) -> Iterator[Entry | Problem]:
    """Read a PAGE XML file."""
    for page in _all(parse_xml(path), "Page"):
        names = _spellings(page.get("imageFilename") or "")
        size = _size(page, "imageWidth", "imageHeight")
        lines = list(_all(page, "TextLine"))
        drawn = [_page_outline(line) for line in lines]
        for line, outline, (_, baseline) in zip(lines, with_bands(drawn), drawn, strict=True):
            yield _entry(path, images, names, _page_text(line), f"{path}:{line.sourceline}", outline, baseline, size)


def _page_outline(line: Any) -> tuple[Points, Points]:
    outline = _points(_child(line, "Coords"))
    return outline if has_area(outline) else (), _points(_child(line, "Baseline"))


def _page_text(line: Any) -> str:
    """Return a line's best text; that of its words, where only they have one."""
    if (text := _best_text(line)) is not None:
        return text
    words = [_best_text(word) or _glyphs(word) for word in line if _name(word) == "Word"]
    return " ".join(word for word in words if word)


def _glyphs(word: Any) -> str:
    return "".join(_best_text(glyph) or "" for glyph in word if _name(glyph) == "Glyph")


def _best_text(element: Any) -> str | None:
    """Return the text of the lowest index; None if there is none."""
    found = [each for each in element if _name(each) == "TextEquiv"]
    for each in sorted(found, key=_index):
        for kind in ("Unicode", "PlainText"):
            text = _child(each, kind)
            if text is not None and text.text:
                return _flat(text.text)
    return None


def _index(element: Any) -> int:
    written = element.get("index") or ""
    return int(written) if re.fullmatch("[0-9]{1,9}", written) else 0


def read_alto(path: Path, images: Path) -> Iterator[Entry | Problem]:
    """Read an ALTO file."""
    root = parse_xml(path)
    unit = next((each.text or "" for each in _all(root, "MeasurementUnit")), "pixel").strip()
    if unit not in ("pixel", "mm10", "inch1200"):
        raise DataError(f"{path}: measures in {unit!r}, not in pixel, mm10 or inch1200")
    named = next((each.text or "" for each in _all(root, "fileName")), "").strip()
    for page in _all(root, "Page"):
        size = _size(page, "WIDTH", "HEIGHT")
        if unit != "pixel" and size is None:
            raise DataError(f"{path}: measures in {unit} and does not say how large its page is")
        for block in _all(page, "TextBlock"):
            # An address is encoded, a file's name is not; some tools write the one in the place of the other.
            address = _spellings(block.get("{http://www.w3.org/1999/xlink}href") or "")
            names = (named, *address[::-1], *_spellings(named))
            lines = list(_all(block, "TextLine"))
            drawn = [_alto_outline(line) for line in lines]
            for line, outline, (_, baseline) in zip(lines, with_bands(drawn), drawn, strict=True):
                where = f"{path}:{line.sourceline}"
                yield _entry(path, images, names, _alto_text(line), where, outline, baseline, size)


def _alto_outline(line: Any) -> tuple[Points, Points]:
    """Return a line's polygon, or else its box, and its baseline."""
    shape = _child(line, "Shape")
    polygon = None if shape is None else _child(shape, "Polygon")
    outline = () if polygon is None else _points(polygon, "POINTS")
    box = [number(line.get(key)) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    if not has_area(outline) and None not in box:
        left, top, width, height = (float(value or 0) for value in box)
        outline = rectangle(left, top, left + width, top + height)
    outline = outline if has_area(outline) else ()
    return outline, _alto_baseline(line, outline)


def _alto_baseline(line: Any, outline: Points) -> Points:
    """Read a baseline: points since ALTO 4.1, before that one height."""
    written = line.get("BASELINE") or ""
    if (level := number(written)) is not None and outline:
        across = [x for x, _ in outline]
        return (min(across), level), (max(across), level)
    return points_in(written)


def _alto_text(line: Any) -> str:
    parts = [(_name(each), each) for each in line if _name(each) in ("String", "SP", "HYP")]
    if not any(kind == "SP" for kind, _ in parts):
        words = " ".join(each.get("CONTENT") or "" for kind, each in parts if kind == "String")
        return _flat(words + "".join(each.get("CONTENT") or "-" for kind, each in parts if kind == "HYP"))
    missing = {"SP": " ", "HYP": "-"}
    return _flat("".join(each.get("CONTENT") or missing.get(kind, "") for kind, each in parts))


def read_hocr(path: Path, images: Path) -> Iterator[Entry | Problem]:
    """Read an hOCR file, of XHTML or any HTML."""
    try:
        root = html.document_fromstring(
            read_small(path, _MOST),
            parser=html.HTMLParser(no_network=True, huge_tree=False, encoding=_html_encoding(path)),
        )
    except (etree.ParserError, etree.XMLSyntaxError, ValueError) as error:
        raise DataError(f"{path}: damaged HTML: {error}") from None
    for page in root.iter():
        if "ocr_page" not in _classes(page):
            continue
        about = _title(page)
        names = _spellings(re.sub(r"""\A(["'])(.*)\1\Z""", r"\2", about.get("image", "").strip(), flags=re.DOTALL))
        corners = points_in(about.get("bbox", ""))
        size = corners[1] if len(corners) == 2 and corners[0] == (0, 0) and min(corners[1]) > 0 else None
        for line in page.iter():
            if _classes(line) & _LINE_CLASSES:
                box = _title(line)
                polygon, ordered = _hocr_outline(box)
                text = _flat("".join(map(str, line.itertext())))
                yield _entry(path, images, names, text, f"{path}:{line.sourceline}", polygon, (), size, ordered)


def read_cvat(path: Path, images: Path) -> Iterator[Entry | Problem]:
    """Read CVAT's export for images: boxes and polygons, with the text as an attribute."""
    for image in _all(parse_xml(path), "image"):
        size = _size(image, "width", "height")
        for shape in image:
            if _name(shape) not in ("box", "polygon"):
                continue
            texts = {each.get("name") or "": each.text or "" for each in shape if _name(each) == "attribute"}
            text = texts.get(pick(texts, TEXT_COLUMNS) or next(iter(texts), ""), "")
            polygon = _points(shape) if _name(shape) == "polygon" else _cvat_box(shape)
            where = f"{path}:{shape.sourceline}"
            yield _entry(path, images, (image.get("name") or "",), text, where, polygon, (), size, clockwise(polygon))


def _cvat_box(shape: Any) -> Points:
    """Return a box's corners, turned around its middle."""
    sides = [number(shape.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")]
    if None in sides:
        return ()
    left, top, right, bottom = (float(side or 0) for side in sides)
    middle = (left + right) / 2, (top + bottom) / 2
    return turned(rectangle(left, top, right, bottom), number(shape.get("rotation")) or 0, middle)


def _html_encoding(path: Path) -> str | None:
    """Return UTF-8 for what is UTF-8, as libxml2 takes HTML that does not say for Latin-1."""
    try:
        read_small(path, _MOST).decode()
    except UnicodeDecodeError:
        return None
    return "utf-8"


def _hocr_outline(title: dict[str, str]) -> tuple[Points, bool]:
    polygon = points_in(title.get("poly", ""))
    if len(polygon) >= 3:
        closed = polygon[:-1] if polygon[0] == polygon[-1] else polygon
        return closed, len(closed) == 4
    corners = points_in(title.get("bbox", ""))
    return (rectangle(*corners[0], *corners[1]), True) if len(corners) == 2 else ((), False)


def _title(element: Any) -> dict[str, str]:
    parts = re.findall(r'(?:"[^"]*"|[^;])+', element.get("title") or "")
    return {key: value for key, _, value in (part.strip().partition(" ") for part in parts)}


def _classes(element: Any) -> set[str]:
    return set((element.get("class") or "").split()) if isinstance(element.tag, str) else set()


def _spellings(name: str) -> tuple[str, str]:
    """Return a name as it is written, and as it is if that is a percent-encoded address."""
    return name, unquote(name, errors="surrogateescape")


def _entry(
    path: Path,
    images: Path,
    names: Sequence[str],
    text: str,
    where: str,
    polygon: Points,
    baseline: Points,
    size: tuple[float, float] | None,
    ordered: bool = False,
) -> Entry | Problem:
    """Make an entry, of the first name that there is; else of what is called as the labels are."""
    if len(polygon) < 3:
        alone = ", only a baseline, and no neighbours to tell its height by" if baseline else ""
        return Problem(where, "the line has no outline" + alone, "the line has no outline")
    if is_upright(polygon) and (not baseline or is_level(baseline)):
        baseline, ordered = (), True
    outline = Outline(polygon, baseline, size, ordered)
    known = [*filter(None, names), image_beside(path)]
    name = next((each for each in known if is_there(find_image(images, each, anywhere=True))), known[0])
    return make_entry(images, name, text, where, outline=outline, anywhere=True)


def _size(element: Any, width: str, height: str) -> tuple[float, float] | None:
    sides = number(element.get(width)), number(element.get(height))
    return (sides[0], sides[1]) if sides[0] and sides[1] and min(sides[0], sides[1]) > 0 else None


def _points(element: Any, key: str = "points") -> Points:
    """Read a chain of points: of an attribute, or of the Point elements of PAGE before 2013."""
    if element is None:
        return ()
    if written := element.get(key):
        return points_in(written)
    corners = [(number(each.get("x")), number(each.get("y"))) for each in element if _name(each) == "Point"]
    return tuple((x, y) for x, y in corners if x is not None and y is not None)


def _flat(text: str) -> str:
    """Bring line breaks and indents of the file to one space."""
    return re.sub(r"[ \t\r\n\f\v]+", " ", text).strip(" ")


def _name(element: Any) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _child(element: Any, name: str) -> Any:
    return next((each for each in element if _name(each) == name), None)


def _all(element: Any, name: str) -> Iterator[Any]:
    return (each for each in element.iter() if _name(each) == name)

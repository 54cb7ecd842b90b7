from __future__ import annotations

import json
import os
from dataclasses import replace
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree

import pytest
from PIL import Image
from read_labels import read

from ocrcc.cli.page_formats import READINGS, choose_writer, rows
from ocrcc.types import Page, PageChar, PageLine, Recognition, RecognizedChar

HTML = "{http://www.w3.org/1999/xhtml}"
ALTO = "{http://www.loc.gov/standards/alto/ns-v4#}"
HREF = "{http://www.w3.org/1999/xlink}href"
HOSTILE = "a\"<b>&'\x1b\n\ud800.png"


def box(left, top, right, bottom):
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def line(text, left=10, top=20):
    chars = tuple(
        PageChar(
            char=char,
            confidence=0.5 + 0.01 * index,
            left=left + 10 * index,
            right=left + 10 * index + 10,
            box=box(left + 10 * index, top, left + 10 * index + 10, top + 12),
        )
        for index, char in enumerate(text)
    )
    right = left + max(10, 10 * len(text))
    confidence = min((char.confidence for char in chars), default=1.0)
    return PageLine(text=text, confidence=confidence, chars=chars, box=box(left, top, right, top + 12))


def page(*texts, path="page.png"):
    return Page(path=path, width=640, height=480, lines=tuple(line(text, top=20 * n) for n, text in enumerate(texts)))


def written(form, results, single=False):
    return "".join(choose_writer(form, single=single)(results))


def parse(form, results):
    text = written(form, results)
    return ElementTree.fromstring(text.encode("utf-8"))


def text_of(element):
    return "".join(element.itertext())


def test_text_gives_a_line_for_each_line_of_a_page():
    pages = [page("ab", "c d"), page(path="blank.png"), page("x\ty", path="t\tx.png")]
    assert written("text", pages) == "page.png\tab\npage.png\tc d\nblank.png\t\nt\\tx.png\tx\\ty\n"
    assert written("text", pages[:2], single=True) == "ab\nc d\n\f\n"
    assert written("tsv", pages[:1]) == (
        "path\ttext\tconfidence\tbox\n"
        + "".join(
            f"page.png\t{line.text}\t0.5000\t{' '.join(f'{x},{y}' for x, y in line.box)}\n" for line in pages[0].lines
        )
    )
    assert written("tsv", pages[:1]).splitlines()[1].startswith("page.png\tab\t0.5000\t")
    assert written("tsv", []) == "path\ttext\tconfidence\tbox\n"


def test_lines_and_pages_may_be_mixed_in_text_and_json():
    char = RecognizedChar(char="z", confidence=0.25, left=0, right=9)
    results = [Recognition(path="line.png", text="z", confidence=0.25, chars=(char,)), page("ab")]
    assert written("text", results) == "line.png\tz\npage.png\tab\n"
    first, second = map(json.loads, written("json", results).splitlines())
    assert list(first) == ["path", "text", "confidence", "chars"]
    turned = json.loads(written("json", [replace(results[0], upside_down=True)]))
    assert list(turned) == ["path", "text", "confidence", "chars", "upside_down"]
    assert [each["text"] for each in second["lines"]] == ["ab"]
    assert rows(results[0]) == [("line.png", "z", "0.2500", "")]


def test_hocr_has_pages_lines_words_and_characters():
    root = parse("hocr", [page("ab cd", "e"), page(path="blank.png")])
    pages = [each for each in root.iter(f"{HTML}div") if each.get("class") == "ocr_page"]
    assert pages[0].get("title") == 'image "page.png"; bbox 0 0 640 480; ppageno 0'
    assert len(list(pages[1])) == 0
    kinds = {kind: [each for each in pages[0].iter(f"{HTML}span") if each.get("class") == kind]
             for kind in ("ocr_line", "ocrx_word", "ocrx_cinfo")}  # fmt: skip
    assert [text_of(each) for each in kinds["ocr_line"]] == ["ab cd", "e"]
    assert kinds["ocr_line"][0].get("title").startswith("bbox 10 0 60 12; poly 10 0 60 0 60 12 10 12 10 0")
    assert [text_of(each) for each in kinds["ocrx_word"]] == ["ab", "cd", "e"]
    assert kinds["ocrx_word"][1].get("title") == "bbox 40 0 60 12; x_wconf 53"
    assert [text_of(each) for each in kinds["ocrx_cinfo"]] == list("abcde")
    assert kinds["ocrx_cinfo"][1].get("title") == "x_bboxes 20 0 30 12; x_conf 51.00"
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids)) == 7


def test_alto_has_pages_lines_strings_and_glyphs():
    root = parse("alto", [page("ab cd", "", "e")])
    assert root.find(f".//{ALTO}fileName").text == "page.png"
    (sheet,) = root.iter(f"{ALTO}Page")
    assert (sheet.get("WIDTH"), sheet.get("HEIGHT"), sheet.get("PHYSICAL_IMG_NR")) == ("640", "480", "1")
    lines = list(root.iter(f"{ALTO}TextLine"))
    assert [[child.tag.removeprefix(ALTO) for child in each] for each in lines] == [
        ["Shape", "String", "SP", "String"],
        ["Shape", "String"],
        ["Shape", "String"],
    ]
    assert [each.get("CONTENT") for each in root.iter(f"{ALTO}String")] == ["ab", "cd", "", "e"]
    assert [each.get("CONTENT") for each in root.iter(f"{ALTO}Glyph")] == list("abcde")
    second = list(root.iter(f"{ALTO}Glyph"))[1]
    assert [second.get(key) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT", "GC")] == ["20", "0", "10", "12", "0.5100"]
    assert root.find(f".//{ALTO}Polygon").get("POINTS") == "10,0 60,0 60,12 10,12"


def test_each_of_several_alto_pages_names_its_image():
    root = parse("alto", [page("a", path="两 页.pdf#1"), page("b", path="x.png"), page(path="blank.png")])
    assert root.find(f".//{ALTO}fileName") is None
    assert [each.get(HREF) for each in root.iter(f"{ALTO}TextBlock")] == ["%E4%B8%A4%20%E9%A1%B5.pdf#1", "x.png"]
    assert len(list(root.iter(f"{ALTO}Page"))) == 3


def test_alto_names_files_as_they_are_called():
    path = "a\u200e\tb\x9b\u2028 100%.png"
    assert parse("alto", [page("a", path=path)]).find(f".//{ALTO}fileName").text == path
    assert not set("\u200e\x9b\u2028") & set(written("alto", [page("a", path=path)]))
    wild = os.fsdecode(b"\xff\x1b\n\xe4\xb8\xad.png")
    root = parse("alto", [page("a", path=one) for one in (path, wild)])
    named = [unquote_to_bytes(each.get(HREF)) for each in root.iter(f"{ALTO}TextBlock")]
    assert named == [path.encode(), b"\xff\x1b\n\xe4\xb8\xad.png"]


ODD = (
    *(
        "50%.png",
        "A%20B.png",
        "A B.png",
        "%E6%97%A5.png",
        "日.png",
        "a#1.png",
        "semi;colon.png",
        'say "hi".png',
        "it's",
    ),
    *(" lead.png", "line\nbreak.png", "\u202ertl.png", "cafe\u0301.png", "'quoted'.png", os.fsdecode(b"\xff.png")),
)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("form", ["hocr", "alto"])
def test_whatever_an_image_is_called_its_readings_are_labels_of_it(form, together, tmp_path):
    for number, name in enumerate(ODD):
        Image.new("L", (700, 500), number).save(tmp_path / name, "PNG")
    pages = [page(f"text {number}", path=name) for number, name in enumerate(ODD)]
    found = {}
    for some in [pages] if together else [[one] for one in pages]:
        (tmp_path / "read.xml").write_text(written(form, some), encoding="utf-8")
        found |= {entry.text: entry.path for entry in read(tmp_path / "read.xml")}
    assert found == {f"text {number}": tmp_path / name for number, name in enumerate(ODD)}


@pytest.mark.parametrize("form", ["hocr", "alto"])
def test_nothing_hostile_breaks_the_markup(form):
    hostile = page("<b>&\"'\x00\x1b\ufffe]]>己", path=HOSTILE)
    for pages in ([hostile], [hostile, hostile], [], [page()]):
        root = parse(form, pages)
        assert "\x1b" not in written(form, pages)
        if pages and pages[0] is hostile:
            tag, key = (f"{HTML}span", None) if form == "hocr" else (f"{ALTO}String", "CONTENT")
            first = next(root.iter(tag))
            assert (first.get(key) if key else text_of(first)) == "<b>&\"'\ufffd\ufffd\ufffd]]>己"


@pytest.mark.parametrize("form", ["text", "json", "hocr", "alto"])
def test_pages_are_written_as_they_come(form):
    taken = []

    def coming():
        for number in range(5):
            taken.append(number)
            yield page("a", path=f"{number}.png")

    pieces = choose_writer(form, single=False)(coming())
    seen = ""
    while "2.png" not in seen:
        seen += next(pieces)
    assert len(taken) <= 4


@pytest.mark.parametrize("form", ["tsv", "json", "hocr", "alto"])
def test_a_file_of_readings_is_known_as_ours(form, tmp_path):
    path = tmp_path / "readings"
    for pages in ([page()], [page('say "己"\\', path='a"b\tc.png'), page("b")]):
        path.write_text(written(form, pages), encoding="utf-8")
        assert READINGS.ours(path)


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_file_of_no_readings_may_be_replaced(form, tmp_path):
    path = tmp_path / "readings"
    path.write_text(written(form, []))
    assert READINGS.ours(path)


def test_a_reading_is_known_as_ours_however_long_it_is(tmp_path):
    path = tmp_path / "readings"
    long = Recognition(path="long.png", text="长" * 5000 + '"\\', confidence=0.5, chars=())
    path.write_text(written("json", [long]), encoding="utf-8")
    assert READINGS.ours(path)
    path.write_text(json.dumps({"path": "a.png", "text": "a" * 5000, "label": 1}) + "\n")
    assert not READINGS.ours(path), "of somebody else"
    path.write_text('{"path": "a.png", "text": "' + "a" * 5000)
    assert not READINGS.ours(path)


@pytest.mark.parametrize(
    "text",
    [
        "\n",
        "some text",
        "path\ttext\n",
        '{"path": "a.png", "label": "x"}\n',
        '{"text": "a", "path": "b"}',
        "<html/>",
        "{",
    ],
)
def test_a_file_of_somebody_else_is_not(text, tmp_path):
    path = tmp_path / "readings"
    path.write_text(text)
    assert not READINGS.ours(path)

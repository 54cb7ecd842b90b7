"""PDF that is searched: the text, where it lies, and that the page looks as before."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ocrcc.pages.documents import open_again, open_frames
from ocrcc.places import output
from ocrcc.types import Page, PageChar, PageLine

pikepdf = pytest.importorskip("pikepdf")
pdfium = pytest.importorskip("pypdfium2")

from ocrcc.cli.page_formats import READINGS  # noqa: E402
from ocrcc.pages.searchable import SearchablePdf  # noqa: E402

TEXTS = ("己已巳 0O", "\U00020000末 1lI", "a<b>&c")


def line(text: str, left: int, top: int, size: int = 40, *, step: int = 50, standing: bool = False) -> PageLine:
    """A line of boxes with gaps between them; a space has a box as others have."""
    chars = []
    for number, char in enumerate(text):
        start = number * step
        if standing:
            right, low = left + size, top + start
            box = ((right, low), (right, low + size), (left, low + size), (left, low))
        else:
            x = left + start
            box = ((x, top), (x + size, top), (x + size, top + size), (x, top + size))
        xs = [x for x, _ in box]
        chars.append(PageChar(char=char, confidence=1.0, left=min(xs), right=max(xs), box=box))
    corners = (chars[0].box[0], chars[-1].box[1], chars[-1].box[2], chars[0].box[3])
    return PageLine(text=text, confidence=1.0, chars=tuple(chars), box=corners)


def page_of(path: str, size: tuple[int, int]) -> Page:
    lines = tuple(line(text, 60, 50 + 100 * number) for number, text in enumerate(TEXTS))
    return Page(path=path, width=size[0], height=size[1], lines=lines)


def picture(path, size=(600, 400), mode="L", **options):
    image = Image.new(mode, size, "white")
    ImageDraw.Draw(image).rectangle((100, 300, 200, 350), fill="black")
    image.save(path, **options)
    return image


def written(results, out, dpi=72):
    with output(out, READINGS) as aside, SearchablePdf(dpi) as pdf:
        for page, frame in open_again(results, dpi=dpi, max_pixels=10**8):
            pdf.add(page, frame)
        pdf.save(aside)
    return pdf


def texts_of(path) -> list[str]:
    with pdfium.PdfDocument(path) as document:
        return [page.get_textpage().get_text_bounded() for page in document]


def boxes_of(path, index=0) -> dict[str, tuple[float, float, float, float]]:
    """Where each character lies on the page as it is shown, from its top left."""
    with pdfium.PdfDocument(path) as document:
        page = document[index]
        text = page.get_textpage()
        height = page.get_height()
        found = {}
        for number in range(text.count_chars()):
            left, bottom, right, top = text.get_charbox(number, loose=True)
            found[text.get_text_range(number, 1)] = (left, height - top, right, height - bottom)
        return found


@pytest.mark.parametrize("name", ["page.png", "page.jpg", "page.tif"])
def test_what_was_read_is_found_and_the_page_looks_as_before(tmp_path, name):
    image = picture(tmp_path / name)
    out = tmp_path / "out.pdf"
    written([page_of(str(tmp_path / name), image.size)], out)
    assert texts_of(out)[0].split("\r\n") == list(TEXTS)
    with pdfium.PdfDocument(out) as document:
        shown = np.asarray(document[0].render(scale=1).to_pil().convert("L"), int)
    assert shown.shape == (400, 600)
    assert np.abs(shown - np.asarray(image, int)).mean() < 1
    assert out.stat().st_size < 12_000  # no font of the language is in it


def test_characters_lie_where_they_were_read_and_reach_to_the_next(tmp_path):
    picture(tmp_path / "page.png")
    out = tmp_path / "out.pdf"
    written([page_of(str(tmp_path / "page.png"), (600, 400))], out)
    boxes = boxes_of(out)
    for char, left, top, right, bottom in (("己", 60, 50, 110, 90), ("O", 310, 50, 350, 90), ("c", 310, 250, 350, 290)):
        assert boxes[char] == pytest.approx((left, top, right, bottom), abs=1), char


def test_a_line_from_top_to_bottom_is_found(tmp_path):
    picture(tmp_path / "page.png")
    page = Page(path=str(tmp_path / "page.png"), width=600, height=400, lines=(line("未末己", 60, 50, standing=True),))
    written([page], tmp_path / "out.pdf")
    assert "".join(texts_of(tmp_path / "out.pdf")[0].split()) == "未末己"
    assert boxes_of(tmp_path / "out.pdf")["末"] == pytest.approx((60, 100, 100, 150), abs=1)


def scan_of_pages(path, rotations=(0, 90, 180, 270), text=""):
    """A PDF whose pages inherit their resources, have a box of their own to be shown, and leave the state dirty."""
    pdf = pikepdf.new()
    for rotation in rotations:
        page = pdf.add_blank_page(page_size=(700, 500))
        page.obj.CropBox = [50, 60, 650, 460]
        page.obj.Rotate = rotation
        shown = f"BT /F 20 Tf 100 100 Td ({text}) Tj ET" if text else ""
        page.contents_add(f"{shown} 0.5 0 0 0.5 9 9 cm 0 g 200 200 100 100 re f".encode())
        del page.obj["/Resources"]
    font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
    pdf.Root.Pages.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F=font))
    pdf.save(path)


def pages_of(path, dpi=72):
    for frame in list(open_frames(str(path), dpi=dpi)):
        yield frame.path


def test_pages_of_a_pdf_stay_what_they_are_whichever_way_they_lie(tmp_path):
    scan, out = tmp_path / "scan.pdf", tmp_path / "out.pdf"
    scan_of_pages(scan)
    sizes = [frame.load().size for frame in open_frames(str(scan), dpi=144)]
    pages = [page_of(f"{scan}#{number}", size) for number, size in enumerate(sizes, start=1)]
    pdf = written(pages, out, dpi=144)
    assert pdf.with_text_before == 0
    with pdfium.PdfDocument(scan) as before, pdfium.PdfDocument(out) as after:
        for old, new in zip(before, after, strict=True):
            assert old.render(scale=1).to_numpy().tolist() == new.render(scale=1).to_numpy().tolist()
            assert new.get_size() == old.get_size()
    for text in texts_of(out):
        assert "".join(text.split()) == "".join("".join(TEXTS).split())


@pytest.mark.parametrize(
    ("media", "crop"),
    [
        ([700, 500, 0, 0], [50, 60, 650, 460]),
        ([0, 500, 700, 0], [650, 60, 50, 460]),
        ([0, 0, 700, 500], [650, 460, 50, 60]),
    ],
)
def test_the_text_lies_the_same_whichever_corners_of_a_page_are_given(tmp_path, media, crop):
    scan, out = tmp_path / "scan.pdf", tmp_path / "out.pdf"
    scan_of_pages(scan)
    sizes = [frame.load().size for frame in open_frames(str(scan), dpi=72)]
    pages = [page_of(f"{scan}#{number}", size) for number, size in enumerate(sizes, start=1)]
    written(pages, out)
    wanted = [boxes_of(out, number) for number in range(4)]
    with pikepdf.open(scan, allow_overwriting_input=True) as pdf:
        for page in pdf.pages:
            page.obj.MediaBox, page.obj.CropBox = media, crop
        pdf.save()
    written(pages, out)
    for number, boxes in enumerate(wanted):
        found = boxes_of(out, number)
        assert found.keys() == boxes.keys()
        assert all(found[char] == pytest.approx(box, abs=0.1) for char, box in boxes.items())


def test_a_page_that_has_text_gets_no_second_one(tmp_path):
    scan, out = tmp_path / "scan.pdf", tmp_path / "out.pdf"
    scan_of_pages(scan, (0,), text="born digital")
    pdf = written([page_of(f"{scan}#1", (600, 400))], out)
    assert pdf.with_text_before == 1
    assert texts_of(out)[0].split() == ["born", "digital"]


def test_it_replaces_what_is_ours_and_nothing_else(tmp_path):
    picture(tmp_path / "page.png")
    out = tmp_path / "out.pdf"
    for _ in range(2):
        written([page_of(str(tmp_path / "page.png"), (600, 400))], out)
    scan_of_pages(out)
    before = out.read_bytes()
    with pytest.raises(Exception, match="no file of readings that ocrcc made"):
        written([page_of(str(tmp_path / "page.png"), (600, 400))], out)
    assert out.read_bytes() == before

from __future__ import annotations

import builtins
import io

import numpy as np
import pytest
from drawn_lines import draw_line, png
from drawn_pages import draw_page
from PIL import Image

from ocrcc.errors import ConfigError, DataError
from ocrcc.images.opening import identify
from ocrcc.pages import documents
from ocrcc.pages.documents import open_again, open_frames
from ocrcc.types import Recognition

LOCKED = (
    b"%PDF-1.4\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n"
    b"2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj\n"
    b"3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 99 99]>> endobj\n"
    b"4 0 obj <</Filter /Standard /V 1 /R 2 /P -4 /O <" + b"41" * 32 + b"> /U <" + b"42" * 32 + b">>> endobj\n"
    b"trailer <</Root 1 0 R /Size 5 /Encrypt 4 0 R /ID [<00> <00>]>>\n%%EOF\n"
)


def pdf(pages, **options):
    file = io.BytesIO()
    pages[0].save(file, "PDF", save_all=True, append_images=pages[1:], **options)
    return file.getvalue()


def blank_pdf(width, height):
    return (
        b"%%PDF-1.4\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n"
        b"2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj\n"
        b"3 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d]>> endobj\n"
        b"trailer <</Root 1 0 R /Size 4>>\n%%%%EOF\n" % (width, height)
    )


def opened(path, dpi=200):
    return [(frame.path, frame.load()) for frame in open_frames(str(path), dpi=dpi)]


def test_an_image_is_one_frame_and_its_own_file(tmp_path):
    (tmp_path / "line.png").write_bytes(png(draw_line("123")))
    (frame,) = open_frames(str(tmp_path / "line.png"), dpi=200)
    assert (frame.path, frame.alone) == (str(tmp_path / "line.png"), True)
    assert frame.size == draw_line("123").size


def test_each_page_of_a_tiff_is_counted_and_upright(tmp_path):
    lines = [draw_line(text) for text in ("1", "22", "333")]
    path = tmp_path / "fax.tif"
    lines[0].save(path, save_all=True, append_images=lines[1:], compression="tiff_lzw")
    found = opened(path)
    assert [name for name, _ in found] == [f"{path}#1", f"{path}#2", f"{path}#3"]
    for (_, image), line in zip(found, lines, strict=True):
        assert np.array_equal(np.asarray(image), np.asarray(line))
    lines[0].save(path)
    assert [name for name, _ in opened(path)] == [str(path)]


def test_pages_are_found_again_however_often_their_file_was_named(tmp_path):
    path = tmp_path / "fax.tif"
    draw_line("1").save(path, save_all=True, append_images=[draw_line("22")])
    names = [f"{path}#1", f"{path}#2", f"{path}#1", f"{path}#2", f"{path}#2"]
    results = [Recognition(path=name, text="", confidence=1.0) for name in names]
    assert [frame.path for _, frame in open_again(results, dpi=200, max_pixels=10**8)] == names
    draw_line("1").save(path)
    with pytest.raises(DataError, match=r"fax\.tif#2: no longer there"):
        list(open_again(results[1:2], dpi=200, max_pixels=10**8))


def test_one_damaged_page_of_a_tiff_leaves_the_others(tmp_path):
    path = tmp_path / "fax.tif"
    pages = [Image.new("RGB", (64, 64), color) for color in ("red", "lime", "blue")]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_deflate")
    with Image.open(path) as image:
        image.seek(1)
        offset, length = image.tag_v2[273][0], image.tag_v2[279][0]
    content = bytearray(path.read_bytes())
    content[offset : offset + length] = bytes(length)
    path.write_bytes(content)
    frames = open_frames(str(path), dpi=200)
    assert next(frames).load().getpixel((5, 5)) == (255, 0, 0)
    with pytest.raises(DataError, match=r"fax\.tif#2: damaged"):
        next(frames).load()
    assert next(frames).load().getpixel((5, 5)) == (0, 0, 255)


def test_an_animation_is_no_document(tmp_path):
    path = tmp_path / "spin.gif"
    Image.new("L", (60, 60)).save(path, save_all=True, append_images=[Image.new("L", (60, 60), 255)])
    with pytest.raises(DataError, match="2 pages or frames"):
        opened(path)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0\x08\0\0\0\xff\xff", b"\x89PNG\r\n"])
def test_what_is_no_image_is_an_error(tmp_path, content):
    path = tmp_path / "broken.tif"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.tif"):
        opened(path)


def test_pages_of_a_pdf_are_drawn_at_the_resolution_asked_for(tmp_path):
    pytest.importorskip("pypdfium2")
    pages = [draw_page(10), draw_page(20, ink=235).convert("RGB")]
    path = tmp_path / "no suffix"
    path.write_bytes(pdf(pages, resolution=100))
    for dpi in (100, 50, 200):
        found = opened(path, dpi)
        assert [name for name, _ in found] == [f"{path}#1", f"{path}#2"]
        for (_, image), page in zip(found, pages, strict=True):
            assert image.mode == "RGB"
            assert np.abs(np.array(image.size) * 100 / dpi - page.size).max() <= 2
            small = [np.asarray(each.convert("L").resize((70, 40)), dtype=float) for each in (image, page)]
            assert np.abs(small[0] - small[1]).mean() < 12


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no PDF"),
        (b"%PDF-1.7\nbroken", "damaged"),
        (png(draw_line("1")), "no PDF"),
        (LOCKED, "encrypted"),
        (blank_pdf(14400, 14400), r"\#1: 40000 x 40000 pixels .* --dpi"),
    ],
)
def test_pdfs_that_cannot_be_read_are_errors(tmp_path, content, message):
    pytest.importorskip("pypdfium2")
    (tmp_path / "doc.pdf").write_bytes(content)
    with pytest.raises(DataError, match=rf"doc\.pdf.*{message}"):
        opened(tmp_path / "doc.pdf")
    with pytest.raises(DataError, match="no such file"):
        opened(tmp_path / "gone.pdf")


def test_a_long_document_is_read_whole(tmp_path, monkeypatch):
    pytest.importorskip("pypdfium2")
    monkeypatch.setattr(documents, "_PAGES_AT_ONCE", 3)
    greys = list(range(40, 250, 30))
    (tmp_path / "doc.pdf").write_bytes(pdf([Image.new("L", (60, 40), grey) for grey in greys]))
    found = opened(tmp_path / "doc.pdf", 72)
    assert [int(name.rpartition("#")[2]) for name, _ in found] == [1, 2, 3, 4, 5, 6, 7]
    assert max(abs(image.getpixel((20, 20))[0] - grey) for (_, image), grey in zip(found, greys, strict=True)) < 4


def test_a_document_may_be_left_before_its_end(tmp_path):
    pytest.importorskip("pypdfium2")
    (tmp_path / "doc.pdf").write_bytes(pdf([draw_page(4)] * 30, resolution=100))
    frames = open_frames(str(tmp_path / "doc.pdf"), dpi=100)
    assert next(frames).load().height == draw_page(4).height
    frames.close()  # the file too, or Windows could not remove it
    (tmp_path / "doc.pdf").unlink()


def test_without_the_extra_a_pdf_says_what_to_install(tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *rest, **kwargs):
        if name == "pypdfium2":
            raise ImportError(name=name)
        return original(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "doc.pdf").write_bytes(blank_pdf(100, 100))
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path / "doc.pdf")
    assert "ocrcc[page]" in caught.value.hint


def test_pages_are_opened_by_number_and_a_file_is_gone_through_once_while_they_rise(tmp_path, monkeypatch):
    pages = [Image.new("L", (30, 20), 50 * number) for number in range(5)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    opened = []
    monkeypatch.setattr(documents, "identify", lambda path: opened.append(path) or identify(path))
    document = documents.Document(str(tmp_path / "a.tif"), dpi=200)
    for number, times in ((0, 1), (1, 1), (3, 1), (3, 2), (4, 2), (0, 3)):
        assert document.page(number).getpixel((0, 0)) == 50 * number
        assert len(opened) == times
    for number in (7, 5):
        with pytest.raises(DataError, match=f"a.tif#{number + 1}: the file has 5 pages"):
            document.page(number)
    assert document.page(4).getpixel((0, 0)) == 200


def test_a_damaged_document_is_said_to_be_damaged_whichever_page_is_asked_for(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0 and nothing")
    document = documents.Document(str(tmp_path / "a.tif"), dpi=200)
    said = []
    for number in (0, 1):
        with pytest.raises(DataError) as raised:
            document.page(number)
        said.append(raised.value.message)
    assert said[0] == said[1]
    assert "pages" not in said[0]

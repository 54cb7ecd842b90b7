"""Reading from Python, as people write it."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawn_pages import CHARSET, PLAIN, STRIDE, read_stripes, stripe_page, stripes
from PIL import Image

import ocrcc
from ocrcc.config import PredictConfig
from ocrcc.errors import DataError, OcrccWarning
from ocrcc.pages import api
from ocrcc.reading.reader import LineReader, Unreadable
from ocrcc.types import Page

TEXTS = ["badge", "cafe", "face", "deaf"]


@pytest.fixture
def reader(monkeypatch):
    _, quads = stripe_page(TEXTS)
    monkeypatch.setattr("ocrcc.pages.reader.load_detector", lambda *_: lambda _: quads)
    return api.Reader(
        LineReader(read_stripes, CHARSET, PLAIN, width_stride=STRIDE, config=PredictConfig(second_look=0))
    )


def of_every_kind(image, folder):
    image.save(folder / "line.png")
    file = io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    yield from (str(folder / "line.png"), folder / "line.png", file.getvalue(), image, image.convert("RGB"))
    yield from (np.asarray(image), np.asarray(image)[..., None], np.asarray(image.convert("RGB")))
    yield np.asarray(image.convert("RGBA"))


def test_one_image_gives_one_reading_and_many_a_list(reader, tmp_path):
    kinds = list(of_every_kind(stripes("badge"), tmp_path))
    assert [reader.recognize(image).text for image in kinds] == ["badge"] * len(kinds)
    assert [line.text for line in reader.recognize(kinds)] == ["badge"] * len(kinds)
    assert reader.recognize([]) == []
    found = list(reader.stream([kinds[0], None, tmp_path / "gone.png", kinds[1]]))
    assert [isinstance(each, Unreadable) for each in found] == [False, True, True, False]
    with pytest.raises(DataError, match="None is no image"):
        reader.recognize(None)


def test_a_page_gives_its_lines_and_boxes(reader, tmp_path):
    image, quads = stripe_page(TEXTS)
    image.save(tmp_path / "page.png")
    for source in (tmp_path / "page.png", image, np.asarray(image.convert("RGB"))):
        page = reader.read_page(source)
        assert [line.text for line in page.lines] == TEXTS
        for line, quad in zip(page.lines, quads, strict=True):
            # each stripe has a black one after it, and a line's feet are black: a margin like the detector's
            inked = quad - [[0, 0], [STRIDE, 0], [STRIDE, 6], [0, 6]]
            assert np.array_equal(np.array(line.box), inked)
            assert "".join(char.char for char in line.chars) == line.text
            for number, char in enumerate(line.chars):
                left = int(quad[0, 0]) + number * 5 * STRIDE
                assert (
                    np.abs(np.array(char.box)[[0, 2]] - [[left, quad[0, 1]], [left + 16, inked[2, 1]]]).max() <= STRIDE
                )
    (page,) = reader.read_pages(tmp_path / "page.png")
    assert isinstance(page, Page)
    assert [line.text for line in page.lines] == TEXTS
    (gone,) = reader.read_pages(tmp_path / "gone.pdf")
    assert isinstance(gone, Unreadable)


def test_opencvs_colours(reader, monkeypatch):
    seen = []
    monkeypatch.setattr(reader._lines, "on_open", lambda _, image: seen.append(image.getpixel((0, 0))))
    pixels = np.zeros((32, 40, 3), np.uint8)
    pixels[..., 0] = 200  # blue, to OpenCV
    reader.recognize(pixels, bgr=True)
    reader.recognize([pixels, np.dstack([pixels, np.full((32, 40), 255, np.uint8)])], bgr=True)
    assert seen == [(0, 0, 200)] * 3


def test_a_page_that_is_handed_over_as_a_line_is_told(reader):
    image = Image.new("L", (600, 800), 255)
    pixels = np.array(image)
    for row in range(40, 700, 60):
        pixels[row : row + 20, 40:560:6] = 0
        pixels[row : row + 20, 41:560:6] = 0
    with pytest.warns(OcrccWarning, match="image 1: looks like a page, .*read_page"):
        reader.recognize(Image.fromarray(pixels))


def test_threads_may_share_a_reader(reader):
    image, _ = stripe_page(TEXTS)
    lines = ["badge", "cafe", "deadbeef", "a", "hgfedcba"] * 6
    with ThreadPoolExecutor(8) as pool:
        pages = [pool.submit(reader.read_page, image) for _ in range(16)]
        read = [pool.submit(reader.recognize, stripes(text)) for text in lines]
        assert [each.result().text for each in read] == lines
        assert all([line.text for line in each.result().lines] == TEXTS for each in pages)


def test_the_package_is_typed_and_its_reader_reads(model):
    from importlib.resources import files

    assert (files(ocrcc) / "py.typed").is_file()
    reader = ocrcc.load_recognizer(str(model))
    assert isinstance(reader.recognize(Image.new("L", (90, 32), 255)).text, str)
    assert reader.charset
    assert reader.config == PredictConfig()

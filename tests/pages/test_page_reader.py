from __future__ import annotations

import builtins
import json
import socket

import numpy as np
import pytest
from drawn_lines import draw_line
from drawn_pages import (
    CHARSET,
    PLAIN,
    STRIDE,
    draw_page,
    read_standing_stripes,
    read_stripes,
    stand,
    stripe_page,
    stripe_reader,
    stripes,
)
from PIL import Image, ImageDraw

from ocrcc.config import PredictConfig
from ocrcc.errors import ConfigError
from ocrcc.images.cutting import cut_out
from ocrcc.images.opening import open_image
from ocrcc.pages.detect import load_detector
from ocrcc.pages.reader import PageReader
from ocrcc.reading.reader import LineReader, Unreadable
from ocrcc.types import Page, Recognition

TEXTS = ["badge", "cafe", "face", "bedhead", "a"]


def reader(quads, **options):
    config = {"layout": options.pop("layout", "auto")}
    return PageReader(stripe_reader(**config), detector=lambda image: list(quads), **options)


@pytest.fixture
def detector():
    pytest.importorskip("rapidocr")
    return load_detector(1)


def test_lines_of_a_page_are_read_where_they_stand():
    image, quads = stripe_page(TEXTS)
    page = reader(quads[::-1]).read_page(image, "page.png")
    assert (page.path, page.width, page.height) == ("page.png", *image.size)
    assert [line.text for line in page.lines] == TEXTS
    for line, quad in zip(page.lines, quads, strict=True):
        assert line.box == tuple((int(x), int(y)) for x, y in quad)
        assert 0.9 < line.confidence <= 1
        for number, char in enumerate(line.chars):
            # solid stripes leave no paper to tell ink from; tests/decoding/test_boxes.py says where boxes end
            assert 30 + 20 * number <= (char.left + char.right) / 2 <= 70 + 20 * number
            (a, b), (c, _), (_, d), _ = char.box
            assert (a, c) == (char.left, char.right)
            assert (b, d) == (line.box[0][1], line.box[2][1])


@pytest.mark.parametrize("quarters", [0, 2])
def test_boxes_leave_out_the_margin_that_the_detector_has_around_lines(monkeypatch, quarters):
    image, quads = stripe_page(["hehghegh"])
    if quarters:
        image = image.transpose(Image.Transpose.ROTATE_180)
        quads = [np.roll(np.array(image.size) - quad, 2, axis=0).astype(np.float32) for quad in quads]
    room = np.array([[-9, -7], [9, -7], [9, 7], [-9, 7]], np.float32)
    monkeypatch.setattr("ocrcc.pages.reader.load_detector", lambda *_: lambda _: [quad + room for quad in quads])
    (line,) = PageReader(stripe_reader()).read_page(image).lines
    (left, top), (right, bottom) = quads[0].min(axis=0), quads[0].max(axis=0)
    found = np.array(line.box)
    assert (found.min(axis=0).tolist(), found.max(axis=0).tolist()) == (
        # each stripe has a black one after it, and a line's feet are black
        ([left, top], [right - STRIDE, bottom - 6]) if not quarters else ([left + STRIDE, top + 6], [right, bottom])
    )
    assert {(char.box[0][1], char.box[2][1]) for char in line.chars} == {(line.box[0][1], line.box[2][1])}


@pytest.mark.parametrize("turn", [90, 270])
def test_a_line_on_its_side_is_turned_and_placed(turn):
    image, quads = stripe_page(["badgehead"])
    low, high = quads[0].min(axis=0), quads[0].max(axis=0)
    if turn == 270:  # clockwise: it is read from top to bottom
        image = image.transpose(Image.Transpose.ROTATE_270)
        left, top, right, bottom = image.width - high[1], low[0], image.width - low[1], high[0]
    else:
        image = image.transpose(Image.Transpose.ROTATE_90)
        left, top, right, bottom = low[1], image.height - high[0], high[1], image.height - low[0]
    quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)
    hints = []
    page = reader([quad], on_hint=lambda path, hint: hints.append((path, hint))).read_page(image, "page")
    (line,) = page.lines
    assert line.text == ("badgehead" if turn == 270 else "daehegdab")
    tops = [min(y for _, y in char.box) for char in line.chars]
    assert tops == sorted(tops)
    assert all(char.left == line.chars[0].left for char in line.chars)
    assert hints[0][0] == "page"
    assert "top to bottom" in hints[0][1]


TURNS = [None, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_90]


@pytest.mark.parametrize("quarters", range(4))
def test_pages_lie_any_way(quarters):
    image, quads = stripe_page(["badgehead", "cafebabe", "faced", "bed"])
    width, height = image.size

    def turned(points):  # clockwise
        x, y = np.asarray(points, dtype=np.float32).T
        return np.stack([(x, y), (height - y, x), (width - x, height - y), (y, width - x)][quarters], axis=1)

    page = image if quarters == 0 else image.transpose(TURNS[quarters])
    found = [np.roll(turned(quad), quarters, axis=0) for quad in quads]  # from the upper left, as detectors give them
    hints = []
    lines = stripe_reader(read_standing_stripes)
    given = PageReader(lines, detector=lambda _: found[::-1], on_hint=lambda *hint: hints.append(hint)).read_page(page)
    upright = PageReader(lines, detector=lambda _: list(quads)).read_page(image)
    assert [line.text for line in given.lines] == ["badgehead", "cafebabe", "faced", "bed"]
    for line, wanted in zip(given.lines, upright.lines, strict=True):
        np.testing.assert_allclose(line.box, turned(wanted.box), atol=1)
        assert line.confidence == pytest.approx(wanted.confidence, abs=0.03)
        for char, other in zip(line.chars, wanted.chars, strict=True):
            np.testing.assert_allclose(char.box, turned(other.box), atol=5)
            assert (char.left, char.right) == (min(x for x, _ in char.box), max(x for x, _ in char.box))
    said = ["", "runs from top to bottom", "is upside down", "runs from bottom to top"][quarters]
    assert hints == ([("page", f"{said}, and was read so")] if quarters else [])


def test_a_line_upside_down_on_a_page_that_is_not():
    image, quads = stripe_page(["badge", "cafe", "face", "bed"])
    low, high = quads[1].min(axis=0).astype(int).tolist(), quads[1].max(axis=0).astype(int).tolist()
    image.paste(image.crop((*low, *high)).transpose(Image.Transpose.ROTATE_180), tuple(low))
    hints = []
    pages = PageReader(
        stripe_reader(read_standing_stripes), detector=lambda _: list(quads), on_hint=lambda *hint: hints.append(hint)
    )
    page = pages.read_page(image)
    assert [line.text for line in page.lines] == ["badge", "cafe", "face", "bed"]
    assert hints == []
    assert page.lines[1].box == tuple(tuple(map(int, corner)) for corner in np.roll(quads[1], 2, axis=0))
    first = page.lines[1].chars[0]
    assert abs(first.right - high[0]) <= 5
    assert first.box[0] == (first.right, high[1])


def test_a_line_image_upside_down_is_read_with_a_hint(tmp_path):
    stand(stripes("badge")).transpose(Image.Transpose.ROTATE_180).save(tmp_path / "line.png")
    stand(stripes("cafe")).save(tmp_path / "other.png")
    hints = []
    lines = stripe_reader(read_standing_stripes)
    paths = [str(tmp_path / name) for name in ("line.png", "other.png")]
    results = list(PageReader(lines, on_hint=lambda *hint: hints.append(hint)).stream(paths))
    assert [(result.text, result.upside_down) for result in results] == [("badge", True), ("cafe", False)]
    assert hints == [(paths[0], "is upside down, and was read so")]
    (upright,) = lines.recognize([stand(stripes("badge"))])
    assert [(60 - char.right, 60 - char.left) for char in upright.chars] == [
        (char.left, char.right) for char in results[0].chars
    ]
    (as_page,) = PageReader(lines, lines_as_pages=True).stream(paths[:1])
    assert as_page.lines[0].box == ((60, 32), (0, 32), (0, 0), (60, 0))
    (once,) = stripe_reader(read_standing_stripes, second_look=0).recognize([paths[0]])
    assert not once.upside_down


def test_lines_and_pages_come_in_the_order_of_the_input(tmp_path):
    image, quads = stripe_page(TEXTS)
    image.save(tmp_path / "page.png")
    for text in TEXTS:
        stripes(text).save(tmp_path / f"{text}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    frames = [stripes(text).resize((len(text) * 18, 48), Image.Resampling.NEAREST) for text in ("gab", "hag")]
    frames[0].save(tmp_path / "fax.tif", save_all=True, append_images=frames[1:])
    names = ["badge.png", "cafe.png", "broken.png", "face.png", "fax.tif", "gone.png", "a.png"]
    paths = [str(tmp_path / name) for name in names]
    results = list(reader(quads).stream(paths))
    found = [getattr(result, "text", None) for result in results]
    assert found == ["badge", "cafe", None, "face", "gab", "hag", None, "a"]
    expected = [*paths[:4], paths[4] + "#1", paths[4] + "#2", *paths[5:]]
    assert [result.path for result in results] == expected
    assert [type(result) for result in results[2::4]] == [Unreadable, Unreadable]
    paged = list(reader(quads, layout="page").stream([str(tmp_path / "page.png"), paths[4]]))
    assert [type(result) for result in paged] == [Page] * 3
    assert [line.text for line in paged[0].lines] == TEXTS
    assert paged[2].path == paths[4] + "#2"


def test_line_images_may_be_given_as_pages(tmp_path):
    stripes("badge").save(tmp_path / "line.png")
    (page,) = reader([], lines_as_pages=True).stream([str(tmp_path / "line.png")])
    assert (page.width, page.height) == (60, 32)
    assert page.lines[0].text == "badge"
    assert page.lines[0].box == ((0, 0), (60, 0), (60, 32), (0, 32))
    (alone,) = reader([]).stream([str(tmp_path / "line.png")])
    assert [(char.left, char.right) for char in page.lines[0].chars] == [
        (char.left, char.right) for char in alone.chars
    ]


def test_a_page_is_recognised_unless_the_layout_is_given(tmp_path):
    draw_page().save(tmp_path / "page.png")
    path = str(tmp_path / "page.png")
    hints = []
    (page,) = reader([], on_hint=lambda *hint: hints.append(hint)).stream([path])
    assert page.lines == ()
    assert hints == [(path, "no lines were found on this page; --layout line reads it as one")]
    (line,) = reader([], layout="line").stream([path])
    assert isinstance(line, Recognition)


def test_a_vertical_line_is_read_with_a_hint(tmp_path):
    image = Image.new("L", (40, 260), 235)
    for number, char in enumerate("3579"):
        image.paste(draw_line(char, 40).resize((24, 40)), (8, 8 + number * 62))
    image.save(tmp_path / "tall.png")
    hints = []
    (result,) = reader([], on_hint=lambda *hint: hints.append(hint)).stream([str(tmp_path / "tall.png")])
    assert isinstance(result, Page)
    assert result.lines[0].box == ((40, 0), (40, 260), (0, 260), (0, 0))
    assert [hint for _, hint in hints] == [
        "runs from top to bottom, and was read so; --layout line reads it from left to right"
    ]


def test_upright_characters_of_a_column_are_read_where_they_stand():
    """An engine that is sure of stripes that stand, and of nothing that lies."""
    column = Image.new("L", (40, 260), 0)
    for number, text in enumerate("bad"):
        column.paste(stripes(text, frames=7).crop((0, 0, 28, 28)), (6, 20 + 80 * number))

    def read(images):
        features, logits = read_stripes(images)
        lies = np.ptp(images[:, 0], axis=1).mean(axis=1) > 0.3  # rows that differ
        return features, np.where(lies[:, None, None], logits / 100, logits)

    lines = LineReader(read, CHARSET, PLAIN, width_stride=STRIDE, config=PredictConfig(second_look=0, layout="page"))
    quad = np.array([[0, 0], [40, 0], [40, 260], [0, 260]], dtype=np.float32)
    page = PageReader(lines, detector=lambda _: [quad], padding=0).read_page(column)
    assert page.lines[0].text == "bad"
    for number, char in enumerate(page.lines[0].chars):
        ys = [y for _, y in char.box]
        assert abs(min(ys) - (20 + 80 * number)) <= 8
        assert abs(max(ys) - (48 + 80 * number)) <= 8


@pytest.mark.parametrize("size", [(1, 1), (300, 8), (1200, 1600)])
def test_blank_images_read_as_empty(tmp_path, size):
    Image.new("L", size, 0).save(tmp_path / "blank.png")
    (result,) = reader([]).stream([str(tmp_path / "blank.png")])
    assert result.text == ""


def test_without_the_extra_a_page_says_what_to_install_and_lines_are_read(tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *rest, **kwargs):
        if name == "rapidocr":
            raise ImportError(name=name)
        return original(name, *rest, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    draw_page().save(tmp_path / "page.png")
    stripes("face").save(tmp_path / "line.png")
    paths = [str(tmp_path / name) for name in ("page.png", "line.png", "page.png")]
    results = list(PageReader(stripe_reader()).stream(paths))
    assert [type(result) for result in results] == [Unreadable, Recognition, Unreadable]
    assert "pip install 'ocrcc[page]'" in results[0].message
    assert "--layout line" in results[0].message
    with pytest.raises(ConfigError):
        PageReader(stripe_reader()).read_page(draw_page())


def test_a_straight_line_is_cut_out_as_it_is():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8))
    quad = np.array([[50, 60], [150, 60], [150, 110], [50, 110]], dtype=np.float32)
    cut, pad = cut_out(image, quad)
    assert pad == 2
    assert np.array_equal(np.asarray(cut), np.asarray(image)[58:112, 48:152])


@pytest.mark.parametrize("angle", [3, -10, 30])
def test_a_line_askew_is_set_straight(angle):
    line = draw_line("48 57 139 26", 60)
    page = Image.new("L", (800, 600), 235)
    page.paste(line, (200, 250))
    page = page.rotate(angle, resample=Image.Resampling.BICUBIC, fillcolor=235)
    corners = np.array([[200, 250], [200 + line.width, 250], [200 + line.width, 310], [200, 310]]) - (400, 300)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    quad = (corners @ np.array([[cos, -sin], [sin, cos]]) + (400, 300)).astype(np.float32)
    cut, pad = cut_out(page, quad)
    inner = cut.crop((round(pad), round(pad), cut.width - round(pad), cut.height - round(pad))).resize(line.size)
    difference = np.abs(np.asarray(inner, dtype=float) - np.asarray(line, dtype=float))
    assert difference.mean() < 8


def test_nothing_black_is_added_at_the_edges_of_a_page():
    page = draw_page(2, 30).rotate(2, expand=False, fillcolor=235)
    width, height = page.size
    for left, top, right, bottom in ((0, 0, width, 40), (-3, 50, 90, 90), (width - 60, height - 30, width, height + 2)):
        quad = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)
        assert min(np.asarray(cut_out(page, quad)[0])[-1]) > 0


def test_json_of_a_page_has_lines_like_those_of_lines():
    image, quads = stripe_page(TEXTS[:2])
    written = json.loads(json.dumps(reader(quads).read_page(image), default=vars))
    assert list(written) == ["path", "width", "height", "lines"]
    assert set(written["lines"][0]) == {"text", "confidence", "chars", "box", "unmatched", "second"}
    char = written["lines"][0]["chars"][0]
    keys = {"char", "confidence", "left", "right", "margin", "alternatives", "box", "doubt", "evidence"}
    assert set(char) == keys
    assert np.array(char["box"]).shape == np.array(written["lines"][0]["box"]).shape == (4, 2)


def test_the_detector_finds_drawn_lines_and_fetches_nothing(monkeypatch):
    pytest.importorskip("rapidocr")

    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    detect = load_detector(1)
    page = draw_page(8, 24)
    quads = detect(page)
    assert len(quads) == 8
    for number, quad in enumerate(sorted(quads, key=lambda quad: quad[:, 1].min())):
        assert abs(quad[:, 1].mean() - (20 + 48 * number + 16)) < 10
        assert quad[:, 0].min() < 25
    image = Image.new("RGB", (200, 4000), "white")
    ImageDraw.Draw(image).text((5, 5), "text")
    for size in ((1, 1), (1, 3000), (3000, 1), (20, 20)):
        assert detect(image.crop((0, 1000, size[0], 1000 + size[1]))) == []


@pytest.mark.data
def test_the_detector_finds_the_lines_of_real_pages(real_data, detector):
    found, known = 0, 0
    for text in sorted((real_data / "pages").rglob("*.txt")):
        lines = [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
        boxes = len(detector(open_image(text.with_suffix(".jpg"))))
        assert abs(boxes - len(lines)) <= 1, text
        found, known = found + boxes, known + len(lines)
    assert known > 30

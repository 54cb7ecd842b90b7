from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from spaces import make_shown, make_space

from ocrcc.errors import ConfigError
from ocrcc.projection.page import write_page
from ocrcc.projection.picture import write_picture
from ocrcc.projection.points import TILE, view_panel
from ocrcc.projection.tiles import center_tile, sheet, tile


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.within = [], {}, ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.within = tag

    def handle_data(self, data):
        self.texts[self.within] = self.texts.get(self.within, "") + data


def test_plots_of_models_stand_side_by_side(tmp_path):
    shown = make_shown()
    sizes = {}
    for name, spaces in (("one", ["a"]), ("two", ["a", "b"])):
        path = tmp_path / f"{name}.png"
        write_picture(path, shown, [make_space(shown, space) for space in spaces])
        with Image.open(path) as picture:
            picture.load()
            sizes[name] = picture.size
            assert len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 50
    write_picture(tmp_path / "panel.png", make_shown("aabb", ("ab",)), [make_space(make_shown("aabb", ("ab",)))])
    with Image.open(tmp_path / "panel.png") as picture:
        width, height = picture.size
    assert sizes["one"] == (2 * width, height)  # two panels in a row
    assert width + 300 < sizes["two"][0] < 2 * width
    assert sizes["two"][1] == 2 * height


def test_outliers_are_those_nearer_to_another_center():
    shown = make_shown("aabb", ("ab",))
    features = np.array([[0, 0], [0.9, 0], [1, 0], [1.2, 0]], dtype=np.float32)
    view = view_panel(shown, make_space(shown, features=features, centers=np.array([[0.0, 0], [1, 0]])), "ab")
    assert view.oddest(2).tolist() == [1, 3]
    assert view.own_share == 0.75
    assert view.plainest(0, 5).tolist() == [0, 1]


def test_a_character_without_company_is_drawn(tmp_path):
    shown = make_shown("a", ("a",))
    write_picture(tmp_path / "a.png", shown, [make_space(shown)])
    write_page(tmp_path / "a.html", shown, [make_space(shown)])


def test_a_page_holds_every_point_and_loads_nothing(tmp_path):
    shown = make_shown()
    spaces = [make_space(shown, "before"), make_space(shown, "after", margin=np.full(6, np.nan), siblings=[""] * 6)]
    write_page(tmp_path / "p.html", shown, spaces)
    page = Page((tmp_path / "p.html").read_text(encoding="utf-8"))
    circles = [attributes["data-row"] for tag, attributes in page.elements if tag == "circle"]
    assert sorted(circles) == sorted([str(row) for row in range(6)] * 2)
    assert not [attributes for _, attributes in page.elements if {"src", "href"} & attributes.keys()]
    data = json.loads((tmp_path / "p.html").read_text(encoding="utf-8").split('id="data">')[1].split("</script>")[0])
    assert data["chars"] == list("aabbcc")
    assert data["models"][1]["margin"] == [None] * 6
    uri = page.texts["style"].split("data:image/png;base64,")[1].split(")")[0]
    with Image.open(io.BytesIO(base64.b64decode(uri))) as crops:
        assert np.array_equal(np.asarray(crops)[:TILE, TILE : 2 * TILE], shown.crops[1])


def test_hostile_texts_stay_texts(tmp_path):
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\x1b\ud800"
    shown = make_shown('<"&>', panels=('<"', "&>"), source=attack + "{}")
    write_page(tmp_path / "p.html", shown, [make_space(shown, predicted=list("<>'&"))])
    text = (tmp_path / "p.html").read_text(encoding="utf-8")
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not [tag for tag, _ in page.elements if tag == "img"]
    assert "\x1b" not in text
    data = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert data["lines"][0].startswith("</script><script>alert(1)")


def test_tiles_keep_shape_and_all_of_a_crop():
    crop = np.zeros((32, 10), dtype=np.uint8)
    square = tile(crop)
    assert square.shape == (TILE, TILE)
    assert (square == 0).sum() == 320
    wide = tile(np.zeros((16, 64, 3), dtype=np.uint8))
    assert wide.shape == (TILE, TILE, 3)
    assert (wide[12:20] == 0).all()
    assert (wide[:12] == 255).all()
    assert tile(np.zeros((1, 500), dtype=np.uint8)).shape == (TILE, TILE)


def test_a_center_looks_like_the_mean_of_its_class_and_unlike_a_character():
    dark, light = np.full((TILE, TILE), 100, dtype=np.uint8), np.full((TILE, TILE), 200, dtype=np.uint8)
    mean = center_tile(np.stack([dark, light]))
    assert mean[16, 16] in (105, 106)
    assert mean[0, 0] == 255


def test_sheets_are_filled_row_by_row():
    tiles = np.stack([np.full((4, 4), shade, dtype=np.uint8) for shade in (1, 2, 3)])
    assert sheet(tiles)[::4, ::4].tolist() == [[1, 2], [3, 0]]


def test_a_file_that_cannot_be_written(tmp_path):
    shown = make_shown()
    for write, name in ((write_picture, "p.png"), (write_page, "p.html")):
        with pytest.raises(ConfigError, match="there is no folder"):
            write(tmp_path / "nowhere" / name, shown, [make_space(shown)])

from __future__ import annotations

import numpy as np
import pytest
from drawn_lines import draw_line
from drawn_pages import draw_page
from PIL import Image, ImageDraw, ImageFont

from ocrcc.images.opening import open_image
from ocrcc.pages.layout import find_layout


@pytest.mark.data
def test_no_real_line_is_taken_for_a_page(real_data):
    images = sorted(path for path in (real_data / "real").rglob("*") if path.suffix in (".png", ".jpg"))
    assert len(images) > 500
    found = {str(path): find_layout(open_image(path)) for path in images}
    assert {path: layout for path, layout in found.items() if layout != "line"} == {}


@pytest.mark.data
def test_every_real_page_is_taken_for_one(real_data):
    images = sorted((real_data / "pages").rglob("*.jpg"))
    assert len(images) >= 8
    for path in images:
        image = open_image(path)
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
        askew = image.convert("L").rotate(0.5, expand=True, fillcolor=255, resample=Image.Resampling.BICUBIC)
        assert [find_layout(each) for each in (image, half, askew)] == ["page"] * 3, path


@pytest.mark.parametrize("ink", [20, 235])
@pytest.mark.parametrize(("lines", "size"), [(2, 12), (2, 40), (3, 20), (30, 20), (60, 30)])
def test_running_text_is_a_page(lines, size, ink):
    assert find_layout(draw_page(lines, size, width=size * 40, ink=ink)) == "page"


@pytest.mark.parametrize("angle", [2, -4, 90])
def test_a_large_page_may_hang_askew(angle):
    page = draw_page(30, 20, width=1100)
    assert find_layout(page.rotate(angle, expand=True, fillcolor=235)) == "page"


@pytest.mark.parametrize("text", ["1", "i", "g", "8", "=", ":", "mmm", "12:30", "a = b", "--- === ---"])
@pytest.mark.parametrize("height", [24, 48, 200])
def test_lines_of_any_length_and_size_are_lines(text, height):
    assert find_layout(draw_line(text, height)) == "line"


def test_a_line_with_rules_and_the_rests_of_its_neighbours_is_a_line():
    text = " ".join(map(str, range(10, 40)))
    line = draw_line(text, 40)
    image = Image.new("L", (line.width, 64), 235)
    image.paste(line.crop((0, 26, line.width, 40)), (0, 0))
    image.paste(line, (0, 16))
    ImageDraw.Draw(image).line((0, 60, line.width, 60), fill=0, width=3)
    assert find_layout(image) == "line"


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (2000, 3000), (64, 64), (40, 2)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_nothing_on_it_is_a_line_that_reads_as_empty(size, grey):
    assert find_layout(Image.new("L", size, grey)) == "line"


def test_paper_without_text_is_not_a_small_page():
    noise = np.random.default_rng(0).normal(200, 4, (300, 400)).clip(0, 255).astype(np.uint8)
    assert find_layout(Image.fromarray(noise)) == "line"


def test_a_line_from_top_to_bottom_is_vertical():
    image = Image.new("RGB", (40, 240), "white")
    for number, char in enumerate("ABCDEF"):
        ImageDraw.Draw(image).text((8, number * 40), char, fill="black", font=ImageFont.load_default(size=32))
    assert find_layout(image) == "vertical"
    assert find_layout(image.rotate(90, expand=True)) == "line"

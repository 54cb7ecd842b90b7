from __future__ import annotations

import math
import time

import numpy as np
import pytest
from drawn_lines import draw_line
from PIL import Image, ImageDraw, ImageFilter

from ocrcc.errors import DataError
from ocrcc.images.cutting import cut_line
from ocrcc.types import Outline

TEXT = "Handwritten by nobody"
PAPER = 235


def alike(cut, line):
    """Correlation of two lines' pixels, brought to one size, and blurred, as half a pixel beside itself is nothing."""
    sized = (each.convert("L").resize((400, 32)).filter(ImageFilter.GaussianBlur(1.5)) for each in (cut, line))
    one, other = (np.asarray(each, dtype=float).ravel() for each in sized)
    return np.corrcoef(one, other)[0, 1]


def askew(angle, size=(600, 500), at=(300.0, 250.0)):
    """A page with one line turned clockwise by an angle around its middle, and the line's corners."""
    line = draw_line(TEXT)
    turned = line.rotate(-angle, Image.Resampling.BICUBIC, expand=True, fillcolor=PAPER)
    page = Image.new("L", size, PAPER)
    page.paste(turned, (round(at[0] - turned.width / 2), round(at[1] - turned.height / 2)))
    radians = math.radians(angle)
    along, down = np.array([math.cos(radians), math.sin(radians)]), np.array([-math.sin(radians), math.cos(radians)])
    half = line.width / 2 * along, line.height / 2 * down
    corners = [np.array(at) + x * half[0] + y * half[1] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return page, line, [tuple(corner.tolist()) for corner in corners]


@pytest.mark.parametrize("angle", [0, 3, -12, 44, 90, -90])
@pytest.mark.parametrize("known", ["corners", "corners from elsewhere", "outline", "baseline"])
def test_a_line_that_lies_askew_is_set_straight(angle, known):
    page, line, corners = askew(angle)
    if known == "corners":
        # Of a line from top to bottom, tools name the upper left corner of its box first.
        first = corners[3:] + corners[:3] if angle == 90 else corners
        if angle == -90:
            pytest.skip("of a line alone, nobody can tell whether it runs up or down")
        outline = Outline(tuple(first), ordered=True)
    elif known == "corners from elsewhere":
        if angle == -90:
            pytest.skip("of a line alone, nobody can tell whether it runs up or down")
        outline = Outline((corners[2], corners[1], corners[0], corners[3]))
    elif known == "outline":
        if angle == -90:
            pytest.skip("of a line alone, nobody can tell whether it runs up or down")
        between = [tuple((np.array(a) + b) / 2) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
        outline = Outline(tuple(point for pair in zip(corners, between, strict=True) for point in pair))
    else:
        feet = [tuple(0.8 * np.array(corners[low]) + 0.2 * np.array(corners[high])) for low, high in ((3, 0), (2, 1))]
        outline = Outline(tuple(corners), tuple(feet))
    cut = cut_line(page, outline, chars=len(TEXT))
    assert abs(cut.width - line.width) <= 4
    assert abs(cut.height - line.height) <= 4
    assert alike(cut, line) > 0.95


def test_a_bent_line_is_cut_along_its_baseline():
    line = draw_line(TEXT)
    pixels = np.asarray(line)
    page = np.full((200, 400), PAPER, np.uint8)
    bend = [round(16 * math.sin(math.pi * x / line.width)) for x in range(line.width)]
    for x, lift in enumerate(bend):
        page[100 - lift : 100 - lift + line.height, 50 + x] = pixels[:, x]
    places = [*range(0, line.width, 12), line.width - 1]
    baseline = tuple((50.0 + x, 100.0 - bend[x] + 26) for x in places)
    upper = [(50.0 + x, 100.0 - bend[x]) for x in places]
    lower = [(x, y + line.height) for x, y in reversed(upper)]
    cut = cut_line(Image.fromarray(page), Outline((*upper, *lower), baseline))
    straight = cut_line(Image.fromarray(page), Outline((*upper, *lower)))
    assert cut.height < 1.35 * line.height
    assert alike(cut, line) > 0.75 > alike(straight, line) + 0.15


def test_what_lies_outside_of_the_outline_is_covered_with_paper():
    page = Image.new("RGB", (300, 100), (220, 210, 190))
    ImageDraw.Draw(page).rectangle((40, 40, 200, 55), fill=(10, 20, 30))
    ImageDraw.Draw(page).rectangle((216, 20, 260, 36), fill=(200, 0, 0))  # the neighbour's
    outline = Outline(((20, 30), (195, 30), (215, 38), (280, 38), (280, 65), (20, 65)), ((20, 56), (280, 56)))
    cut = np.asarray(cut_line(page, outline))
    assert cut.shape == (35, 260, 3)
    assert (cut[:, :, 0] < 205).any()
    assert not ((cut[:, :, 0] == 200) & (cut[:, :, 1] == 0)).any()
    assert tuple(cut[0, -1]) == (220, 210, 190)


def test_a_baseline_drawn_from_right_to_left_does_not_turn_the_line():
    page, line, corners = askew(0)
    low, high = [tuple(0.8 * np.array(corners[a]) + 0.2 * np.array(corners[b])) for a, b in ((3, 0), (2, 1))]
    assert alike(cut_line(page, Outline(tuple(corners), (high, low))), line) > 0.95
    turned = page.rotate(180)
    upside_down = [(600 - x, 500 - y) for x, y in corners]
    feet = [(600 - x, 500 - y) for x, y in (low, high)]
    assert alike(cut_line(turned, Outline(tuple(upside_down), tuple(feet))), line) > 0.95


def test_one_narrow_character_is_no_line_from_top_to_bottom():
    page = Image.new("L", (100, 100), PAPER)
    outline = Outline(((40, 10), (48, 10), (48, 40), (40, 40)), ordered=True)
    assert cut_line(page, outline, chars=1).size == (8, 30)
    assert cut_line(page, outline, chars=3).size == (30, 8)


@pytest.mark.parametrize(
    ("polygon", "words"),
    [
        ((), "no area"),
        (((0, 0), (9, 9)), "no area"),
        (((5, 5), (50, 5), (70, 5)), "no area"),
        (((5, 5), (float("nan"), 5), (70, 9)), "no numbers"),
        (((500, 5), (550, 5), (570, 9)), "outside of the image"),
        (((-80, 5), (50, 5), (50, 20), (-80, 20)), "outside of the image"),
    ],
)
def test_outlines_that_outline_nothing(polygon, words):
    with pytest.raises(DataError, match=words):
        cut_line(Image.new("L", (100, 100)), Outline(polygon), name="page.png")


def test_an_outline_may_reach_a_little_beyond_the_image():
    page = Image.new("L", (100, 100), PAPER)
    assert cut_line(page, Outline(((-5, 80), (60, 80), (60, 108), (-5, 108)), ordered=True)).size == (60, 20)
    assert cut_line(page, Outline(((-5, 80), (30, 79), (60, 80), (60, 108), (-5, 108)))).size == (60, 21)


def test_a_thousand_lines_take_less_than_a_minute():
    page, _, corners = askew(2, size=(2480, 3508))
    between = [tuple((np.array(a) + b) / 2) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    outline = Outline(
        tuple(point for pair in zip(corners, between, strict=True) for point in pair), tuple(corners[3:1:-1])
    )
    start = time.perf_counter()
    for _ in range(50):
        cut_line(page, outline)
    assert time.perf_counter() - start < 3

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from ocrcc.pages.order import reading_order


def quad(left, top, width, height=20):
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32)


def turned(quads, degrees):
    angle = math.radians(degrees)
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    return [each @ matrix for each in quads]


def column(left, top, count, width=300, step=30):
    return [quad(left, top + step * number, width) for number in range(count)]


LAYOUTS = {
    "one line": [quad(0, 0, 50)],
    "paragraphs": [*column(0, 0, 3), quad(0, 90, 80), *column(40, 150, 3, 260)],
    "rows": [quad(left, top + left % 7, 60) for top in range(0, 300, 40) for left in (0, 111, 222, 333)],
    "a form": [quad(left, top, width) for top in range(0, 300, 40) for left, width in ((0, 70), (160, 250))],
    "two columns": [*column(0, 0, 9), *column(340, 8, 7)],
    "three columns": [*column(0, 0, 9), *column(330, 8, 7), *column(660, 3, 8)],
    "title, columns, footer": [
        quad(100, 0, 440, 40), *column(0, 70, 9), *column(340, 70, 9), quad(250, 360, 150),
    ],
    "two sections": [
        quad(0, 0, 640), *column(0, 50, 4), *column(340, 50, 4),
        quad(0, 200, 640), *column(0, 250, 4), *column(340, 250, 4),
    ],
    "text, then a table": [
        *column(0, 0, 5, 640),
        *(quad(left, top, 60) for top in range(160, 320, 32) for left in (0, 200, 400)),
    ],
    "overlapping boxes": column(0, 0, 6, step=18),
}  # fmt: skip


@pytest.mark.parametrize("degrees", [0, 2, -3])
@pytest.mark.parametrize("name", LAYOUTS)
def test_lines_are_read_in_order(name, degrees):
    quads = turned(LAYOUTS[name], degrees)
    shuffled = np.random.default_rng(3).permutation(len(quads))
    order = reading_order([quads[index] for index in shuffled])
    assert [int(shuffled[index]) for index in order] == list(range(len(quads)))


def test_every_line_comes_once_whatever_the_boxes():
    rng = np.random.default_rng(1)
    for count in (0, 1, 2, 50, 200):
        quads = [quad(*rng.uniform(0, 500, 2), *rng.uniform(0, 200, 2)) for _ in range(count)]
        assert sorted(reading_order(quads)) == list(range(count))


def test_a_thousand_lines_take_no_time():
    started = time.perf_counter()
    reading_order([*column(0, 0, 500), *column(340, 8, 500)])
    assert time.perf_counter() - started < 20

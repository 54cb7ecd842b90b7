from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ocrcc.pages.columns import lay_out


def column(*characters, gap=6, ink=0):
    """A column of characters, 30 of 60 pixels wide: the heights of their strokes and of what is between those."""
    rows = [[255] * 10]
    for strokes in characters:
        for number, height in enumerate(strokes):
            rows.append([ink if number % 2 == 0 else 255] * height)
        rows.append([255] * gap)
    shades = np.concatenate([np.array(part, np.uint8) for part in rows])
    image = np.full((len(shades), 60), 255, np.uint8)
    image[:, 15:45] = shades[:, None]
    return Image.fromarray(image)


WHOLE, TWO, THREE, ONE = (30,), (4, 20, 4), (4, 8, 4, 8, 4), (4,)


@pytest.mark.parametrize("characters", [(WHOLE,) * 4, (TWO, THREE, WHOLE), (THREE, TWO), (WHOLE, ONE, WHOLE), (WHOLE,)])
def test_strokes_of_a_character_stay_together_and_characters_apart(characters):
    image = column(*characters)
    laid = lay_out(image)
    heights = [sum(strokes) for strokes in characters]
    assert [bottom - top for _, _, top, bottom in laid.places] == heights
    starts = [10 + sum(heights[:at]) + 6 * at for at in range(len(heights))]
    assert [top for _, _, top, _ in laid.places] == starts
    for left, right, top, bottom in laid.places:
        middle = (laid.image.height - (bottom - top)) // 2
        part = laid.image.crop((left, middle, right, middle + bottom - top))
        assert np.array_equal(np.asarray(part), np.asarray(image.crop((0, top, 60, bottom))))
        assert laid.rows(left, right) == (top, bottom)


def test_characters_that_touch_are_split():
    image = column((30,), (30,), (30,), gap=0)
    assert [round((bottom - top) / 10) for _, _, top, bottom in lay_out(image).places] == [3, 3, 3]


def test_nothing_is_laid_out_of_an_empty_column():
    assert lay_out(Image.new("L", (60, 200), 255)) is None

"""Lines that are read unsurely are looked at again: closer, wider, from below."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_lines import draw_line
from drawn_pages import CHARSET, PLAIN, STRIDE, read_standing_stripes, stand, stripe_reader, stripes
from PIL import Image
from wild import random_lines as wild_lines

from ocrcc.config import PredictConfig
from ocrcc.errors import ConfigError
from ocrcc.reading.reader import LineReader


class Unsure:
    """Reads one character a third of each line, by the line's width: which, and whether it is sure."""

    def __init__(self, **sure):
        self.text_at = {int(width.removeprefix("at")): text for width, text in sure.items()}
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        logits = np.zeros((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), np.float32)
        logits[:, :, 0] = 9
        for line, image in zip(logits, images, strict=True):
            width = int(np.flatnonzero(image[0, 0]).max()) + 1  # padding is 0
            frames = width / STRIDE
            for number, char in enumerate(self.text_at.get(width, "dab")):
                own = slice(round(number * frames / 3), round((number + 0.5) * frames / 3))
                line[own] = 0
                line[own, CHARSET.id(char)] = 9 if width in self.text_at else 1
        return logits[..., :1], logits


def look_at(image, sure):
    """Read a line of which only one view is read surely; the widths that were looked at, and what was read."""
    engine = Unsure(**{sure: "bad"})
    (found,) = stripe_reader(engine).recognize([image])
    assert found.text == "bad"
    return [shape[3] for shape in engine.shapes], found


def assert_stands_at_thirds(found, within):
    """Its three characters begin, in pixels of the image as it was given, at the thirds of 96."""
    assert found.confidence > 0.9
    for char, left in zip(found.chars, (0, 32, 64), strict=True):
        assert abs(char.left - left) <= within


def test_unsure_lines_are_read_again_wider_and_the_surest_reading_counts():
    image = stripes("bad", frames=4, blanks=4)  # 96 pixels
    for sure, widths in (("at96", [96]), ("at125", [96, 128]), ("at144", [96, 128, 160])):
        looked_at, found = look_at(image, sure)
        assert looked_at == widths
        assert_stands_at_thirds(found, STRIDE)
        for char, right in zip(found.chars, (16, 48, 80), strict=True):
            assert abs(char.right - right) <= STRIDE
    never = Unsure(at125="bad")
    (found,) = stripe_reader(never, second_look=0).recognize([image])
    assert found.text == "dab"
    assert [shape[3] for shape in never.shapes] == [96]


def test_a_line_with_blank_rows_is_looked_at_closer_before_it_is_widened():
    line = Image.new("L", (96, 32), 255)
    line.paste(0, (0, 9, 96, 23))
    for sure, widths in (("at192", [96, 192]), ("at250", [96, 192, 256])):
        assert look_at(line, sure)[0] == widths


def test_a_line_of_which_more_than_half_is_blank_is_looked_at_without_that_first():
    line = Image.new("L", (96, 32), 255)
    line.paste(0, (0, 10, 96, 20))  # 12 of 32 with one at either side
    for sure, widths in (("at256", [256]), ("at96", [256, 96]), ("at333", [256, 96, 352])):
        looked_at, found = look_at(line, sure)
        assert looked_at == widths
        assert_stands_at_thirds(found, 7)  # the ink has no gaps; a character is 16 wide


def test_a_second_look_that_is_no_surer_changes_nothing():
    images = [stripes("bad", frames=4, blanks=4), stripes("cafe")]
    assert (
        stripe_reader(Unsure()).recognize(images)[0].text
        == stripe_reader(Unsure(), second_look=0).recognize(images)[0].text
    )


def test_of_unsure_looks_the_text_counts_that_is_likeliest_on_average():
    chances = {32: (0.65, 0.30), 42: (0.30, 0.68), 48: (0.60, 0.30)}  # of a and b; the surest look reads b

    def one_character(images):
        logits = np.full((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), -30, np.float32)
        logits[:, :, 0] = 0
        for line, image in zip(logits, images, strict=True):
            width = int(np.flatnonzero(image[0, 0]).max()) + 1  # padding is 0
            line[2, 1:3] = np.log(chances[width])
            line[2, 0] = np.log(1 - sum(chances[width]))
        return logits[..., :1], logits

    (found,) = stripe_reader(one_character).recognize([Image.new("L", (32, 32), 255)])
    assert found.text == "a"
    assert found.confidence == pytest.approx(0.65, abs=1e-3)
    chances[48] = (0.05, 0.72)
    (found,) = stripe_reader(one_character).recognize([Image.new("L", (32, 32), 255)])
    assert found.text == "b"
    assert found.confidence == pytest.approx(0.72, abs=1e-3)


def test_second_looks_do_not_depend_on_the_batch(wild_model):
    images = [draw_line(text) for text in wild_lines(24)]
    loaded = [LineReader.load(wild_model, config=PredictConfig(batch_size=size, second_look=1)) for size in (1, 24)]
    alone, together = (each.recognize(images) for each in loaded)
    assert [line.text for line in alone] == [line.text for line in together]
    once = LineReader.load(wild_model, config=PredictConfig(second_look=0)).recognize(images)
    assert [line.text for line in once] != [line.text for line in together]


def test_no_line_is_widened_beyond_what_the_model_takes():
    narrow = replace(PLAIN, max_width=100)
    engine = Unsure()
    config = PredictConfig(second_look=0.7)
    line = LineReader(engine, CHARSET, narrow, width_stride=STRIDE, config=config)
    line.recognize([stripes("badbadba")])
    assert {width for *_, width in engine.shapes} == {96, 128}  # 96 as it is, 100 at most, padded to 128


def test_a_line_is_upside_down_only_if_it_is_surely_read_so():
    image = stand(stripes("badge")).transpose(Image.Transpose.ROTATE_180)

    def read_doubtfully(images):
        features, logits = read_standing_stripes(images)
        return features, 0.2 * logits

    for engine, upside_down in ((read_standing_stripes, True), (read_doubtfully, False)):
        (found,) = stripe_reader(engine).recognize([image])
        assert found.upside_down == upside_down
        assert (found.text == "badge") == upside_down


@pytest.mark.parametrize(
    ("confidence", "second_look", "turned"),
    [(0.4, 0.7, True), (0.6, 0.7, False), (0.6, 0.9, False), (0.4, 0.45, True), (0.4, 0.3, False)],
)
def test_only_a_line_that_is_hardly_read_is_turned_upside_down(confidence, second_look, turned):
    """What is read with 0.5 or more is not lost; it is looked at wider, but never from below."""
    image = Image.new("L", (64, 32), 255)
    image.paste(0, (40, 0, 64, 32))  # black at its right end, and at its left one if it is turned

    def read(images):
        logits = np.full((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), -30, np.float32)
        logits[:, :, 0] = 0
        for line, pixels in zip(logits, images, strict=True):
            upright = pixels[0, 0, 0] > 0
            sure = confidence if upright else 0.99
            line[1, [0, 3]] = np.log((1 - sure) / 2)
            line[1, 1 if upright else 2] = np.log(sure)
        return logits[..., :1], logits

    (found,) = stripe_reader(read, second_look=second_look).recognize([image])
    assert found.upside_down == turned
    assert found.text == ("b" if turned else "a")
    assert found.confidence == pytest.approx(0.99 if turned else confidence, abs=1e-3)


def test_a_frame_that_a_line_begins_counts_when_looks_are_compared():
    chances = {9: (0.6, 0.1), 12: (0.3, 0.65), 14: (0.35, 0.3)}  # of c and d on the third frame, by the look's width

    def read(images):
        logits = np.full((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), -30, np.float32)
        logits[:, 0, 1] = logits[:, 1, 2] = logits[:, 3:, 0] = 0
        for line, image in zip(logits, images, strict=True):
            width = int(np.flatnonzero(image[0, 0]).max()) + 1  # padding is 0
            line[2, 3:5] = np.log(chances[width])
            line[2, 0] = np.log(1 - sum(chances[width]))
        return logits[..., :1], logits

    assert stripe_reader(read).recognize([Image.new("L", (9, 32), 255)])[0].text == "abc"


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_second_look_below_no_share_is_refused(share):
    with pytest.raises(ConfigError, match="second_look"):
        PredictConfig(second_look=share)

"""From frames back to the pixels of the image, and what is said of each character."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from drawn_pages import CHARSET, PLAIN, STEP, STRIDE, read_blurred_stripes, read_stripes, stripe_reader, stripes
from PIL import Image

from ocrcc.reading.reader import LineReader


@pytest.mark.parametrize("height", [16, 32, 64, 96])
def test_spans_are_pixels_of_the_input_image(height):
    scale = height / 32
    (reading,) = stripe_reader(read_blurred_stripes).recognize([stripes("fhgh", frames=2, blanks=3, height=height)])
    assert reading.text == "fhgh"
    for position, char in enumerate(reading.chars):
        assert (char.left, char.right) == (position * 20 * scale, (position * 20 + 8) * scale)


def test_spans_stay_within_the_image_and_are_never_empty():
    tiny = Image.fromarray(np.full((64, 3), 2 * STEP, np.uint8))  # scaled to 4 pixels, wider than it is
    squeezed = replace(PLAIN, max_width=64)
    wide = stripes("abcdefgh", frames=24, blanks=0)
    for image, preprocessing in ((tiny, PLAIN), (wide, squeezed)):
        read = LineReader(read_stripes, CHARSET, preprocessing, width_stride=STRIDE)
        (reading,) = read.recognize([image])
        assert reading.chars
        for char in reading.chars:
            assert 0 <= char.left < char.right <= image.width
    assert (
        stripe_reader().recognize([tiny])[0].chars[0].left,
        stripe_reader().recognize([tiny])[0].chars[0].right,
    ) == (0, 3)


@pytest.mark.parametrize(("width", "text"), [(12, "abc"), (11, "abc"), (9, "abc"), (8, "ab")])
def test_a_frame_that_a_line_begins_is_read(width, text):
    def read(images):
        count, frames = len(images), images.shape[3] // STRIDE
        logits = np.zeros((count, frames, CHARSET.num_classes), np.float32)
        logits[:, np.arange(frames), 1 + np.arange(frames) % 8] = 9
        return logits[..., :1], logits

    (found,) = stripe_reader(read).recognize([Image.new("L", (width, 32), 255)])
    assert found.text == text


def test_alternatives_and_json_keys():
    (reading,) = stripe_reader(alternatives=2).recognize([stripes("d", frames=3)])
    assert [other.char for other in reading.chars[0].alternatives] == ["c", "e"]
    assert stripe_reader().recognize([stripes("d")], alternatives=1)[0].chars[0].alternatives[0].char in "ce"
    assert stripe_reader().recognize([stripes("d")])[0].chars[0].alternatives == ()
    written = json.loads(json.dumps(reading, default=vars))
    assert list(written) == ["path", "text", "confidence", "chars", "upside_down", "unmatched", "second"]
    keys = ["char", "confidence", "left", "right", "margin", "alternatives", "doubt", "evidence"]
    assert list(written["chars"][0]) == keys
    assert list(written["chars"][0]["alternatives"][0]) == ["char", "confidence"]
    assert written["confidence"] == written["chars"][0]["confidence"] > 0.9


def test_an_empty_line_has_no_characters():
    (reading,) = stripe_reader().recognize([stripes("")])
    assert (reading.text, reading.chars) == ("", ())
    assert reading.confidence > 0.9

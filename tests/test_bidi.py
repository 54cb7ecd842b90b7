from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from drawn_pages import PLAIN, STEP, STRIDE
from PIL import Image

from ocrcc.bidi import as_typed, has_right_to_left, on_the_line
from ocrcc.charset import Charset, charset_from_text, load_charset
from ocrcc.config import PredictConfig
from ocrcc.models.contract import describe, parse_contract
from ocrcc.reading.reader import LineReader


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("אבג", "גבא"),
        ("אבג 123", "123 גבא"),
        ("(אבג)", "(גבא)"),
        ("שלום abc", "abc םולש"),
        ("abcdef שלום", "abcdef םולש"),
        ("سعر 12.50 ريال", "لاير 12.50 رعس"),
        ("abc (12)", "abc (12)"),
        ("己已巳", "己已巳"),
    ],
)
def test_typed_and_on_the_line(typed, line):
    assert on_the_line(typed) == line


def test_what_is_read_is_typed_again():
    rng = random.Random(0)
    wrong = 0
    for _ in range(2000):
        words = ["".join(rng.choices("אבגדהוזחט", k=rng.randrange(1, 6))) for _ in range(rng.randrange(1, 5))]
        words += [str(rng.randrange(10_000))] * rng.randrange(2) + rng.choices(["abc", "(אב)", "-", "2,5%"], k=1)
        rng.shuffle(words)
        text = " ".join(words)
        found = as_typed(on_the_line(text))
        assert sorted(place for place, _ in found) == list(range(len(text)))
        wrong += "".join(char for _, char in found) != text
    assert wrong <= 2000 * 0.04  # numbers beside Latin words or signs can be typed in two orders for one line


def test_charsets_know_whether_their_letters_run_from_right_to_left(tmp_path):
    (tmp_path / "he.txt").write_text("\n".join("אבג(1"), encoding="utf-8")
    assert load_charset(str(tmp_path / "he.txt")).bidi
    assert charset_from_text(["אב", "a"]).bidi
    assert not charset_from_text(["己", "a"]).bidi
    assert not load_charset("gb2312").bidi
    assert Charset("abc").merge("אב").bidi
    assert not Charset("אב").merge("ג").bidi  # trained on labels as they stand
    charset = charset_from_text(["אב12"])
    assert charset.normalise("אב 12") == "12 בא"
    assert parse_contract(describe("x", charset, PLAIN), "m")[1] == charset
    old = describe("x", charset, PLAIN)
    del old["charset"]["bidi"]
    assert not parse_contract(old, "m")[1].bidi
    assert has_right_to_left("a א")
    assert not has_right_to_left("a 1 己")


def test_a_line_is_read_as_it_is_typed_and_its_characters_stand_where_they_are():
    charset = charset_from_text(["אבג1 "])
    greys = [step for char in "1 גבא" for step in [charset.id(char) * STEP] * 2 + [0]]
    line = Image.fromarray(np.tile(np.repeat(np.array(greys, np.uint8), STRIDE), (32, 1)))

    def read(images):
        columns = ((images[:, 0, 16] * PLAIN.std + PLAIN.mean) * 255).reshape(len(images), -1, STRIDE).mean(axis=2)
        distances = np.abs(columns[..., None] / STEP - np.arange(charset.num_classes))
        return columns[..., None].astype(np.float32), (-5 * distances).astype(np.float32)

    config = PredictConfig(second_look=0)
    reading = LineReader(read, charset, PLAIN, width_stride=STRIDE, config=config).recognize([line])[0]
    assert reading.text == "אבג 1"
    assert [char.left for char in reading.chars] == pytest.approx([48, 36, 24, 12, 0], abs=2)  # the palest is cut
    plain = LineReader(read, replace(charset, bidi=False), PLAIN, width_stride=STRIDE, config=config)
    assert plain.recognize([line])[0].text == "1 גבא"

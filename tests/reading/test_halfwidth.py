from __future__ import annotations

import numpy as np
import pytest

from ocrcc.charset import Charset
from ocrcc.config import PredictConfig, Preprocessing
from ocrcc.reading.halfwidth import half_width
from ocrcc.reading.reader import LineReader
from ocrcc.types import Alternative, Recognition, RecognizedChar


def line(text: str, **alternatives: str) -> Recognition:
    chars = tuple(
        RecognizedChar(
            char=char,
            confidence=0.9,
            left=at,
            right=at + 1,
            alternatives=tuple(Alternative(char=other, confidence=0.1) for other in alternatives.get(f"at{at}", "")),
        )
        for at, char in enumerate(text)
    )
    return Recognition(path="p", text=text, confidence=0.9, chars=chars)


@pytest.mark.parametrize(
    ("read", "given"),
    [
        ("ＡＢ：（１，２）％", "AB:(1,2)%"),
        ("2019—2020", "2019-2020"),
        ("2019一2020", "2019-2020"),
        ("2019－2020", "2019-2020"),
        ("A–B − C", "A-B - C"),
        ("后话了——新的", "后话了——新的"),
        ("基金—申购", "基金—申购"),
        ("统一编号1一", "统一编号1一"),
        ("一1", "一1"),
        ("1——2", "1——2"),
        ("①℃、。", "①℃、。"),
        ("", ""),
    ],
)
def test_what_is_meant(read, given):
    found = half_width(line(read))
    assert found.text == given
    assert "".join(char.char for char in found.chars) == given
    assert [(char.left, char.right) for char in found.chars] == [(at, at + 1) for at in range(len(given))]


def test_alternatives_follow_and_are_not_named_twice():
    found = half_width(line("１，", at0="1lＩI", at1=",、"))
    assert [other.char for other in found.chars[0].alternatives] == ["l", "I"]
    assert [other.char for other in found.chars[1].alternatives] == ["、"]


def test_a_reader_gives_half_width_forms_if_it_is_asked_to():
    charset = Charset("１—２")

    def engine(images):
        logits = np.full((len(images), 12, 4), -9.0, np.float32)
        for frame, best in enumerate((1, 0, 2, 0, 3)):
            logits[:, 2 * frame : 2 * frame + 2, best] = 9.0
        logits[:, 10:, 0] = 9.0
        return logits, logits

    pixels = np.full((32, 48), 255, np.uint8)
    pixels[10:20, 4:40] = 0
    for wanted, text in ((False, "１—２"), (True, "1-2")):
        config = PredictConfig(half_width=wanted, second_look=0.0)
        reader = LineReader(engine, charset, Preprocessing(polarity="keep"), width_stride=4, config=config)
        assert [found.text for found in reader.recognize([pixels])] == [text]

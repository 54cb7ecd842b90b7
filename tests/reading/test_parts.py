from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from drawn_lines import draw_line
from drawn_pages import CHARSET, PLAIN, STEP, STRIDE, read_stripes
from PIL import Image

from ocrcc.charset import Charset
from ocrcc.config import PredictConfig
from ocrcc.reading.parts import Part, cut_at_gaps, join
from ocrcc.reading.reader import LineReader
from ocrcc.types import Recognition, RecognizedChar

NARROW = replace(PLAIN, max_width=128)


def spaced(text):
    """Stripes of two frames a character, with three black ones between them."""
    greys = np.concatenate([[CHARSET.id(char) * STEP] * 2 + [0] * 3 for char in text]).astype(np.uint8)
    return Image.fromarray(np.tile(np.repeat(greys, STRIDE), (32, 1)))


@pytest.mark.parametrize("batch", [1, 3, 32])
def test_a_line_longer_than_the_model_takes_is_read_in_parts(batch):
    config = PredictConfig(second_look=0, batch_size=batch)
    reader = LineReader(read_stripes, CHARSET, NARROW, width_stride=STRIDE, config=config)
    texts = ["badgefacecafedeadbeef" * 3, "abc", "hhgfedcba" * 5, "a"]
    readings = reader.recognize([spaced(text) for text in texts])
    assert [reading.text for reading in readings] == texts
    whole = LineReader(read_stripes, CHARSET, PLAIN, width_stride=STRIDE, config=config)
    for parted, single in zip(readings, whole.recognize([spaced(text) for text in texts]), strict=True):
        for one, other in zip(parted.chars, single.chars, strict=True):  # frames begin where a part does
            assert max(abs(one.left - other.left), abs(one.right - other.right)) <= 2 * STRIDE
        assert parted.confidence == pytest.approx(min(char.confidence for char in parted.chars))


def test_lines_are_cut_at_their_widest_gaps():
    line = draw_line("several words " * 12)
    parts = cut_at_gaps(line, replace(PLAIN, max_width=400))
    assert len(parts) > 2
    assert [part.left for part in parts] == [0, *(part.right for part in parts[:-1])]
    assert parts[-1].right == line.width
    pixels = np.asarray(line)
    for part in parts[:-1]:
        assert part.gap >= 5
        assert (pixels[:, part.right - 2 : part.right + 2] == 235).all()
    assert cut_at_gaps(line, PLAIN) == [Part(left=0, right=line.width)]


def test_a_line_without_gaps_is_cut_all_the_same():
    parts = cut_at_gaps(Image.effect_noise((1000, 32), 90), replace(PLAIN, max_width=300))
    assert all(part.right - part.left <= 300 for part in parts)
    assert parts[-1].right == 1000


def reading(text, left=0):
    chars = [RecognizedChar(char=char, confidence=0.9, left=left + 10 * at, right=left + 10 * at + 10)
             for at, char in enumerate(text)]  # fmt: skip
    return Recognition(path="x", text=text, confidence=0.9, chars=tuple(chars))


@pytest.mark.parametrize(
    ("texts", "gap", "joined"),
    [(("to", "be"), 12, "to be"), (("to", "be"), 3, "tobe"), (("己", "已"), 12, "己已"), (("to ", "be"), 12, "to be"),
     (("a", ""), 12, "a"), (("", ""), 12, "")],
)  # fmt: skip
def test_a_wide_gap_between_words_is_a_space(texts, gap, joined):
    parts = [(Part(left=0, right=40, gap=gap), reading(texts[0])), (Part(left=40, right=80), reading(texts[1]))]
    found = join(parts, 32)
    assert found.text == "".join(char.char for char in found.chars) == joined
    lefts = [char.left for char in found.chars]
    assert lefts == sorted(lefts)
    if texts[1]:
        assert found.chars[-1].left == 40 + 10 * (len(texts[1]) - 1)


@pytest.mark.parametrize(("half_width", "text"), [(False, "Ａ１，己"), (True, "A1,己")])
def test_full_width_forms_are_given_in_half_width_where_that_is_wanted(half_width, text):
    charset = Charset("Ａ１，己efgh")
    config = PredictConfig(second_look=0, half_width=half_width)
    reader = LineReader(read_stripes, charset, PLAIN, width_stride=STRIDE, config=config)
    (read,) = reader.recognize([spaced("abcd")])
    assert read.text == text == "".join(char.char for char in read.chars)

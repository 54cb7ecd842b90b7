"""Short strings of every shape occur among the texts that training draws: what never occurs is never learned."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from ocrcc.charset import Charset, load_charset
from ocrcc.config import SynthConfig
from ocrcc.dice import Dice
from ocrcc.synth.presets import load_config
from ocrcc.texts.corpus import Texts

GB2312 = load_charset("gb2312")
DRAWS = 150_000
CORES = ("4", "54", "4.4")
WITH_LETTERS = ("codes", "words", "list marks", "marked list marks", "dashes")
"""Groups in which any letters and ideographs will do."""
EXAMPLES = {
    "numbers": "4 | 54 | 123 | 4.4 | 54.4 | 4.54 | 54.54 | 123.4 | 4,4 | 54,4 | 4,123 | 54,123 | 4.123 | "
    ".4 | 1,234.5 | 00",
    "zeros": "0 | 0.0 | 0.00 | 00 | 000 | 0% | 0.0%",
    "brackets": "(4.4) | （4.4） | [4.4] | 【4.4】 | 〔4.4〕 | <4.4> | '4.4' | “4.4” | (4) | （4） | [4] | "
    "(54) | (-4) | (4%)",
    "two numbers": "0 3 | 4-4 | 4/4 | 4:4 | 4.4 | 4,4 | 4、4 | 4，4 | 4~4 | 4～4 | 4—4 | 4－4 | 4×4 | 4x4 | "
    "4+4 | 4=4 | 4*4 | 4·4 | 4——4 | 4 - 4 | 4 / 4 | 4--4",
    "three numbers": "1 2 3 | 1-2-3 | 1/2/3 | 1.2.3 | 12 34 56",
    "dates": "1-1 | 1/1 | 1.1 | 1月1日 | 10-10 | 10/1 | 1月 | 1日 | 10月 | 24年 | 2024年 | 2024-1 | 2024.1 | "
    "24.1.1 | 24-1-1 | 2024-1-1 | 2024/1/1 | 2024.1.1 | 2024-10-10 | 2024年1月1日 | '24",
    "times": "12:34 | 1:34 | 1:34:56 | 12:34:56 | 1时1分 | 1点",
    "list marks": "(4) | （4） | (54) | (一) | （一） | (十一) | (A) | (b) | [A] | ① | #4 | *4 | 第4页 | "
    "第一条 | 1.字字 | 1、字",
    "codes": "A | b | AB | Ab | A.B | A.B. | A.B.C | a.b | A1 | A-1 | A/1 | A.1 | A:1 | A_1 | A#1 | 1A | "
    "1-A | 1/A | 1.A | 1x | A? | A! | A' | A& | V1.2 | A 1 | 1 A | A & B",
    "words": "字： | 字: | 字. | 字、 | 字， | 字。 | “字” | 《字》 | （字） | (字) | 【字】 | [字] | 字4 | "
    "字4.4 | 字：4 | 字:4 | 字(4) | 字（4） | 4字 | 4.4字",
    "dashes": "- | — | —— | － | -- | --- | 一 | 一一 | ~ | … | …… | · | • | / | = | _ | 字—字 | 字——字 | "
    "字-字 | 字－字 | 字一字 | 4—4 | 4——4 | 4－4 | 4一4 | -4- | —4— | ——字 | —字 | -字 | 字—— | 字— | a—a | "
    "a-a | - 4 - | — 4 — | - 字 | — 字 | a - a",
}
"""Examples by group, with a bar between two; any digits will do, and in some groups any letters."""
PRODUCTS = {
    "signed": (("-", "+", "±", "~", "－", "≤", "=", "- ", "+ ", "￥", "$", "€", "US$", "￥ "), CORES),
    "followed": (
        CORES,
        ("%", "％", "‰", "℃", "°", "元", "万", "kg", "m", " kg", ".", ",", "，", "、", ":", "：", ")", "*"),
    ),
    "signed and followed": (("-", "+", "±"), ("4", "4.4"), ("%", "℃")),
    "marked list marks": (("4", "54", "A", "b", "一", "十一", "Ⅰ"), (".", "．", "、", ")", "）", ":", "：")),
}
CASES = {name: text.split(" | ") for name, text in EXAMPLES.items()} | {
    name: ["".join(parts) for parts in product(*factors)] for name, factors in PRODUCTS.items()
}


def shape(text: str) -> str:
    """Write 0 for any digit, A and a for any letter of a code, 字 for any ideograph.

    >>> shape("¥4.4"), shape("Qx9 kg"), shape("十二、")
    ('¥0.0', 'Aa0 aa', '字字、')
    """
    for pattern, sign in ((r"\d", "0"), ("[A-Z]", "A"), ("[a-z]", "a"), ("[\u4e00-\u9fff]", "字")):
        text = re.sub(pattern, sign, text)
    return text


def exact(text: str) -> str:
    """Write 0 for any digit, and leave the rest.

    >>> exact("54kg")
    '00kg'
    """
    return re.sub(r"\d", "0", text)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Counter[str]]:
    texts = Texts(SynthConfig(texts={"short": 1.0}), GB2312)
    found = [texts.draw(Dice(0, index)) for index in range(DRAWS)]
    return {"shape": Counter(map(shape, found)), "exact": Counter(map(exact, found)), "as it is": Counter(found)}


@pytest.mark.parametrize("name", CASES)
def test_no_shape_is_missing(drawn, name):
    how = shape if name in WITH_LETTERS else exact
    assert [text for text in CASES[name] if not drawn[how.__name__][how(text)]] == []


def test_every_mark_letter_and_digit_of_the_charset_stands_alone(drawn):
    alone = [char for char in GB2312 if not "\u4e00" <= char <= "\u9fff" and char != " "]
    assert len(alone) > 150
    assert [char for char in alone if not drawn["as it is"][char]] == []


def test_every_number_of_two_digits_with_a_point_occurs(drawn):
    pairs = [f"{first}{mark}{second}" for first, second in product(range(10), repeat=2) for mark in ".,"]
    assert [text for text in pairs if not drawn["as it is"][text]] == []


@pytest.mark.parametrize("preset", ["documents", "second", "lookalikes"])
def test_what_training_mixes_has_short_strings_too(preset):
    texts = Texts(replace(load_config(preset), corpus=()), GB2312)
    counts = Counter(exact(texts.draw(Dice(0, index))) for index in range(40_000))
    wanted = ("0.0", "0,0", "00.0", "00%", "-0", "(0)", "0、", "0 0", "00℃")
    assert [text for text in wanted if not counts[text]] == []


def test_a_charset_without_marks_or_ideographs_has_short_strings_of_its_own():
    texts = Texts(SynthConfig(texts={"short": 1.0}), Charset("0123456789."))
    found = {texts.draw(Dice(0, index)) for index in range(6000)}
    assert {"4", "4.4", "54", "."} <= found
    assert set("".join(found)) <= set("0123456789.")

from __future__ import annotations

import re

import pytest

from ocrcc.dice import Dice
from ocrcc.errors import ConfigError
from ocrcc.texts.templates import Vocabulary, parse

WORDS = Vocabulary({"field": ("申购", "赎回"), "surname": ("王",), "given": ("伟",)}, "己已巳")


def draws(template: str, count: int = 60) -> list[str]:
    parsed = parse(template, WORDS)
    return [parsed.draw(Dice(1, index)) for index in range(count)]


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("{digits:6}", r"\d{6}"),
        ("{digits:2-4}", r"\d{2,4}"),
        ("{upper:3}{lower:2}", r"[A-Z]{3}[a-z]{2}"),
        ("{alnum:8}", r"[A-Z0-9]{8}"),
        ("{narrow:3}", r"[iljtfrI1()\[\]!.:,']{3}"),
        ("{hanzi:2}", r"[己已巳]{2}"),
        ("{int:-5-7}", r"-[1-5]|[0-7]"),
        ("{decimal:4}", r"\d+\.\d{4}"),
        ("{amount}", r"\d{1,3}(,\d{3})*\.\d\d"),
        ("{money}", r"\d+\.\d\d"),
        ("{percent}", r"\d+(\.\d+)?%"),
        ("{time}", r"[0-2]\d:[0-5]\d(:[0-5]\d)?"),
        ("{idcard}", r"\d{17}[0-9X]"),
        ("{field}：{person}", r"(申购|赎回)：王(伟|[己已巳])"),
        ("{choice:a|b{digits:1}|}", r"a|b\d|"),
        ("{{{digits:1}}}", r"\{\d\}"),
        ("plain", "plain"),
    ],
)
def test_every_draw_has_the_form(template, pattern):
    for text in draws(template):
        assert re.fullmatch(pattern, text), text


def test_dates_phones_and_cards_are_of_several_forms():
    assert len({re.sub(r"\d", "9", text) for text in draws("{date}", 200)}) >= 8
    assert len({re.sub(r"\d", "9", text) for text in draws("{phone}", 200)}) >= 4
    assert all(re.fullmatch(r"[\d ]+", text) for text in draws("{card}"))


def test_capital_numerals_never_repeat_zeros_or_end_in_one():
    for text in draws("{capitals}", 500):
        assert "零零" not in text
        assert "零元" not in text
        assert re.match(r"[壹贰叁肆伍陆柒捌玖]", text)


def test_a_choice_reaches_all_its_options():
    assert set(draws("{choice:a|b|c}", 200)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("abc{digits:3", "column 4: the brace is never closed"),
        ("abc}", "column 4: a closing brace"),
        ("{nothing}", "column 2: unknown field 'nothing'"),
        ("ab{digits:x}", "column 4: {digits:x} needs a number"),
        ("{digits:5-2}", "empty or impossible range"),
        ("{amount:3}", "takes no argument"),
        ("{choice:a|{wrong}}", "column 11.*unknown field 'wrong'"),
        ("{int:}", "needs a number"),
    ],
)
def test_a_malformed_template_is_shown_where(template, message):
    with pytest.raises(ConfigError, match=f"t.txt:3: .*{message}"):
        parse(template, WORDS, "t.txt:3")

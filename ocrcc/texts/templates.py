"""A small language for the numbers, dates, names and codes that documents are full of.

A template is text with fields in braces: ``{name}`` or ``{name:argument}``; ``{{`` and ``}}`` are braces.

    {digits:6} {digits:7-21}         so many digits; a range gives any length in it
    {upper:3} {lower:3} {letters:3}  Latin letters; {alnum:8} adds digits, {code:8} also - / _ .
    {narrow:3}                       thin letters and marks, which have few frames each
    {hanzi:2} {mark:1}               ideographs, or marks, of the charset, each as likely as the others
    {int:1-500} {decimal:4}          a number of a range; a number with so many decimals
    {amount} {money} {percent}       1,234.56; 1234.56; 3.25%
    {number}                         4; 54; 4.4; 4,4; 1,234.5: of any length from one on, each form as likely
    {sign} {money_sign} {after}      what stands before and after a number
    {between}                        what stands between two
    {numeral} {roman} {listed}       十二; Ⅳ; one of these, a small number or a letter
    {date} {time}                    in one of the usual forms
    {phone} {idcard} {card}          Chinese telephone numbers, identity numbers, bank card numbers
    {capitals}                       an amount in the capital numerals of cheques
    {person} {company} {fund}        composed names
    {identifier}                     a word of programs and menus, or two in one: MainWindow
    {choice:a|b|{date}}              one of several templates
    {section}                        a word of that section of the lexicon
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ocrcc.dice import Dice
from ocrcc.errors import ConfigError

Part = Callable[[Dice], str]
_COMPOSED = {
    "number": (
        "{digits:1}",
        "{digits:2}",
        "{digits:1-6}",
        "{digits:1}.{digits:1}",
        "{digits:1}.{digits:1-4}",
        "{digits:2}.{digits:1-3}",
        "{digits:1-5}.{digits:1-4}",
        "{digits:1},{digits:1}",
        "{digits:1-3},{digits:1-3}",
        "{digits:1-3},{digits:3}",
        "{digits:1-3},{digits:3}{choice:|,{digits:3}}.{digits:1-2}",
        "{choice:.|,}{digits:1-3}",
    ),
    "sign": (*"---+±－~≤≥<>=≈×*", "- ", "+ "),
    "money_sign": (*"¥￥$€£", "US$", "HK$", "RMB"),
    "after": (
        *("%", "%", "％", "‰", "°", "℃", "℃", "°C", "+", "-", "*", "元", "万", "亿", "万元", "份", "个", "倍"),
        *("mm", "cm", "m", "km", "g", "kg", "t", "L", "ml", "V", "A", "W", "kW", "Hz", "h", "s", "x", "K", "M", "GB"),
        *(" %", " kg", " m", " mm"),
        *"'\"#.,，。、:：;；)）]/",
    ),
    "between": (*"-/:.,、，~～—－×x+=*·;：|_&<>", "——", " - ", " / ", ", ", " x ", " + ", " = ", "--", "..."),
    "numeral": (
        "{choice:一|二|三|四|五|六|七|八|九|十}",
        "十{choice:一|二|三|四|五|六|七|八|九}",
        "{choice:二|三}十{choice:|一|二|三|四|五|六|七|八|九}",
    ),
    "roman": (*"ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ", "I", "II", "III", "IV", "V", "VI", "i", "ii", "iii", "iv", "v"),
    "listed": ("{int:1-99}", "{int:1-9}", "{numeral}", "{letters:1}", "{roman}"),
    "identifier": ("{word}", "{word}{word}"),
    "person": ("{surname}{given}", "{surname}{given}", "{surname}{hanzi:1}"),
    "company": (
        "{city}{brand}{trade}{suffix}",
        "{brand}{trade}{suffix}",
        "{fund_house}基金管理有限公司",
        "{fund_house}基金管理{choice:有限责任|股份有限|有限}公司",
        "{city}{brand}{choice:（集团）|(集团)|}{trade}{suffix}",
        "{fund_house}证券股份有限公司",
    ),
    "fund": (
        "{fund_house}{fund_theme}{fund_kind}",
        "{fund_house}{fund_theme}{fund_theme}{fund_kind}",
        "{fund_house}{fund_theme}",
        "{fund_house}{fund_theme}{fund_kind}{choice:A|B|C|E}",
        "{fund_house}{fund_theme}{choice:A|B|C}",
    ),
}


@dataclass(frozen=True)
class Template:
    """A parsed template.

    Args:
        parts: Functions that each draw a piece of the text.
    """

    parts: tuple[Part, ...]

    def draw(self, dice: Dice) -> str:
        """Draw one text."""
        return "".join(part(dice) for part in self.parts)


@dataclass(frozen=True)
class Vocabulary:
    """What templates draw words from.

    Attributes:
        sections: Words by section name.
        hanzi: Characters for ``{hanzi}``.
        marks: Characters for ``{mark}``.
    """

    sections: Mapping[str, Sequence[str]]
    hanzi: str
    marks: str = ""


def parse(text: str, vocabulary: Vocabulary, where: str = "template") -> Template:
    """Parse a template.

    Args:
        text: The template.
        vocabulary: What its fields draw from.
        where: Names the template in errors, for instance ``templates.txt:3``.

    Raises:
        ConfigError: The template is malformed; the column is named.
    """
    parts: list[Part] = []
    literal = ""
    at = 0
    while at < len(text):
        char = text[at]
        if text[at : at + 2] in ("{{", "}}"):
            literal += char
            at += 2
        elif char == "}":
            raise ConfigError(
                f"{where}: column {at + 1}: a closing brace without an opening one", "write }} for a brace"
            )
        elif char == "{":
            end = _closing(text, at, where)
            if literal:
                parts.append(_constant(literal))
                literal = ""
            parts.append(_field(text[at + 1 : end], vocabulary, where, at + 1))
            at = end + 1
        else:
            literal += char
            at += 1
    if literal or not parts:
        parts.append(_constant(literal))
    return Template(tuple(parts))


def _closing(text: str, start: int, where: str) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if not depth:
            return at
    raise ConfigError(f"{where}: column {start + 1}: the brace is never closed", "write {{ for a brace")


def _constant(text: str) -> Part:
    return lambda _dice: text


def _field(body: str, vocabulary: Vocabulary, where: str, column: int) -> Part:
    name, colon, argument = body.partition(":")
    place = f"{where}: column {column + 1}"
    if name == "choice":
        return _choice(argument, vocabulary, where, column + len("choice:"))
    if name in _ALPHABETS or name in ("hanzi", "mark"):
        alphabet = _ALPHABETS.get(name) or (vocabulary.hanzi if name == "hanzi" else vocabulary.marks)
        if not alphabet:
            raise ConfigError(f"{place}: {{{name}}} needs {_NEEDS[name]}, and the charset has none")
        return _run(alphabet, *_range(argument, place, name))
    if name == "int":
        low, high = _range(argument, place, name)
        return lambda dice: str(dice.between(low, high))
    if name == "decimal":
        places, most = _range(argument, place, name)
        return lambda dice: f"{10 ** dice.uniform(-1, 4):.{dice.between(places, most)}f}"
    if colon:
        raise ConfigError(f"{place}: {{{name}}} takes no argument", _known(vocabulary))
    if name in _SIMPLE:
        return _SIMPLE[name]
    if name in _COMPOSED and name not in vocabulary.sections:
        return _alternatives([parse(text, vocabulary, f"{place}: {{{name}}}") for text in _COMPOSED[name]])
    if name in vocabulary.sections:
        words = vocabulary.sections[name]
        return lambda dice: dice.pick(words)
    raise ConfigError(f"{place}: unknown field {name!r}", _known(vocabulary))


def _known(vocabulary: Vocabulary) -> str:
    names = {*_ALPHABETS, *_SIMPLE, *_COMPOSED, *vocabulary.sections, *_NEEDS, "choice", "int", "decimal"}
    return "fields: " + ", ".join(sorted(names))


def _choice(argument: str, vocabulary: Vocabulary, where: str, column: int) -> Part:
    options, depth, start = [], 0, 0
    for at, char in enumerate(argument + "|"):
        depth += (char == "{") - (char == "}")
        if char == "|" and not depth:
            options.append(parse(argument[start:at], vocabulary, f"{where}: column {column + start + 1}"))
            start = at + 1
    return _alternatives(options)


def _alternatives(options: Sequence[Template]) -> Part:
    return lambda dice: dice.pick(options).draw(dice)


def _range(argument: str, place: str, name: str) -> tuple[int, int]:
    """Read ``6`` or ``7-21``; the low end may be negative."""
    low, _, high = argument[1:].partition("-")
    try:
        first = int(argument[:1] + low)
        last = int(high) if high else first
    except ValueError:
        raise ConfigError(
            f"{place}: {{{name}:{argument}}} needs a number or a range", f"{{{name}:6}} or {{{name}:1-8}}"
        ) from None
    if last < first or (name != "int" and first < 0) or last > 10**12:
        raise ConfigError(f"{place}: {{{name}:{argument}}} is an empty or impossible range")
    return first, last


def _run(alphabet: str, low: int, high: int) -> Part:
    return lambda dice: "".join(dice.pick(alphabet) for _ in range(dice.between(low, high)))


def _number(dice: Dice) -> float:
    return round(10 ** dice.uniform(-2, 8.5), 2)


def _date(dice: Dice) -> str:
    year, month, day = dice.between(1985, 2030), dice.between(1, 12), dice.between(1, 28)
    forms = (
        f"{year}-{month:02d}-{day:02d}",
        f"{year}-{month:02d}-{day:02d}",
        f"{year}{month:02d}{day:02d}",
        f"{year}年{month:02d}月{day:02d}日",
        f"{year}年{month}月{day}日",
        f"{year}/{month:02d}/{day:02d}",
        f"{year}.{month:02d}.{day:02d}",
        f"{year}-{month:02d}",
        f"{month:02d}-{day:02d}",
        f"{day:02d}/{month:02d}/{year}",
        f"{year} {month:02d} {day:02d}",
        f"{year}年{month}月",
        f"{month}月{day}日",
    )
    return dice.pick(forms)


def _time(dice: Dice) -> str:
    clock = f"{dice.below(24):02d}:{dice.below(60):02d}"
    return clock + f":{dice.below(60):02d}" if dice.chance(0.75) else clock


def _phone(dice: Dice) -> str:
    match dice.below(4):
        case 0:
            return "1" + dice.pick("3456789") + _digits(dice, 9)
        case 1:
            return f"0{dice.between(10, 999)}-{_digits(dice, dice.between(7, 8))}"
        case 2:
            return f"400-{_digits(dice, 3)}-{_digits(dice, 4)}"
        case _:
            return f"(0{dice.between(10, 99)}){_digits(dice, 8)}"


def _digits(dice: Dice, count: int) -> str:
    return "".join(dice.pick(string.digits) for _ in range(count))


def _idcard(dice: Dice) -> str:
    birth = f"{dice.between(1940, 2015)}{dice.between(1, 12):02d}{dice.between(1, 28):02d}"
    return f"{dice.between(11, 65)}{_digits(dice, 4)}{birth}{_digits(dice, 3)}{dice.pick('0123456789X')}"


def _card(dice: Dice) -> str:
    number = dice.pick(("62", "4", "5", "9558")) + _digits(dice, dice.between(12, 16))
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4)) if dice.chance(0.3) else number


def _capitals(dice: Dice) -> str:
    """Write a plausible amount in capital numerals, as cheques do."""
    numerals, places = "零壹贰叁肆伍陆柒捌玖", ("", "拾", "佰", "仟", "万", "拾", "佰", "仟", "亿")
    number = str(dice.between(1, 10 ** dice.between(1, 9) - 1))
    text = ""
    for at, digit in enumerate(number):
        place = places[len(number) - 1 - at]
        if digit != "0":
            text += numerals[int(digit)] + place
        elif place in ("万", "亿"):
            text = text.rstrip("零") + place
        elif not text.endswith("零"):
            text += "零"
    text = text.rstrip("零") + dice.pick("元圆")
    if dice.chance(0.5):
        return text + dice.pick("整正")
    return f"{text}{dice.pick(numerals[1:])}角{dice.pick(numerals[1:])}分"


_ALPHABETS = {
    "digits": string.digits,
    "upper": string.ascii_uppercase,
    "lower": string.ascii_lowercase,
    "letters": string.ascii_letters,
    "alnum": string.ascii_uppercase + string.digits,
    "narrow": "iljtfrI1()[]!.:,'",
    "code": string.ascii_letters + string.digits * 3 + "-/_.",
}
_NEEDS = {"hanzi": "ideographs", "mark": "marks"}
_SIMPLE: dict[str, Part] = {
    "amount": lambda dice: f"{_number(dice):,.2f}",
    "money": lambda dice: f"{_number(dice):.2f}",
    "percent": lambda dice: f"{10 ** dice.uniform(-2, 2):.{dice.below(5)}f}%",
    "date": _date,
    "time": _time,
    "phone": _phone,
    "idcard": _idcard,
    "card": _card,
    "capitals": _capitals,
}

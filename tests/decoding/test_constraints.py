from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocrcc.charset import Charset
from ocrcc.decoding import constraints
from ocrcc.decoding.acceptors import CHECKS, Both, matches
from ocrcc.decoding.constraints import Rule, best_path
from ocrcc.decoding.greedy import collapse, decode
from ocrcc.decoding.likelihood import log_likelihoods, log_softmax
from ocrcc.decoding.patterns import Pattern
from ocrcc.errors import ConfigError

CHARSET = Charset("0123456789OIXS.¥ ")
VALID = {
    "id-card": ("11010519491231002X", "440524188001010014"),
    "bank-card": ("4111111111111111", "378282246310005", "5555 5555 5555 4444"),
    "iban": (
        "DE89370400440532013000",
        "GB82 WEST 1234 5698 7654 32",
        "NO9386011117947",
        "MT31MALT01100000000000000000123",
    ),
    "vin": ("1M8GDM9AXKP042788", "11111111111111111"),
}


def rule(charset=CHARSET, **given):
    made = Rule.of(charset, **given)
    assert made is not None
    return made


def frames(text, doubts=(), charset=CHARSET, sure=0.99):
    """Logits (1, T, C) of a text, a blank around each character: (position, other, posterior of the other)."""
    others = {position: (charset.id(other), share) for position, other, share in doubts}
    rows = []
    for position, char in enumerate(text):
        row = np.full(charset.num_classes, (1 - sure) / charset.num_classes)
        row[charset.id(char)] = sure
        if position in others:
            row[others[position][0]] = others[position][1]
            row[charset.id(char)] = 1 - others[position][1]
        blank = np.full(charset.num_classes, min(1e-4, 1 - sure))
        blank[0] = 1
        rows += [blank, row]
    rows.append(blank)
    return np.log(np.array([rows]))


def read(logits, made, charset=CHARSET):
    (found,) = decode(logits, np.array([logits.shape[1]]), charset, rule=made)
    return found


@pytest.mark.parametrize(("check", "text"), [(check, text) for check, texts in VALID.items() for text in texts])
def test_check_digits_of_known_numbers(check, text):
    acceptor = CHECKS[check]()
    assert matches(acceptor, text)
    assert not matches(acceptor, text[:-1])
    assert check == "bank-card" or not matches(acceptor, text + "0")  # cards are of many lengths
    for at in (at for at, char in enumerate(text) if char.isdigit()):
        for other in set("0123456789") - {text[at]}:
            assert not matches(acceptor, text[:at] + other + text[at + 1 :]), (at, other)


def test_an_iban_has_at_most_34_characters():
    """As many as the standard allows; no country has so many, so the check digits are made here."""
    for count, one in ((34, True), (35, False)):
        body = "0" * (count - 4)
        checks = 98 - int(f"{body}102900") % 97  # A and T are 10 and 29
        assert matches(CHECKS["iban"](), f"AT{checks:02}{body}") == one


def test_probabilities_are_added():
    for one, other in ((0.2, 0.3), (0.5, 0.001), (0.1, 0.1)):
        assert np.exp(constraints._add(np.log(one), np.log(other))) == pytest.approx(one + other)
        assert constraints._add(np.log(other), np.log(one)) == constraints._add(np.log(one), np.log(other))
    assert constraints._add(-np.inf, -1.0) == -1.0
    assert constraints._add(-np.inf, -np.inf) == -np.inf


def test_of_a_part_only_what_is_allowed_holds():
    assert rule(pattern="[0-9]+").for_parts is None
    part = rule(pattern="[0-9]+", allow="0123").for_parts
    assert part.acceptor is None
    assert part.holds("012")
    assert read(frames("12O", [(2, "0", 0.1)]), part).text == "120"


def test_cards_have_thirteen_digits_at_least():
    assert matches(CHECKS["bank-card"](), "4222222222222")
    assert not matches(CHECKS["bank-card"](), "422222222224")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("text", ["", " ", "  ", "中", "½", "１" * 18, "-1", "0" * 60, "X" * 18, "a" * 17])
def test_what_is_no_number_at_all(check, text):
    assert not matches(CHECKS[check](), text)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("strange", ["-", "É", "中", "١", "²", "_"])
def test_a_strange_character_ends_a_number_wherever_it_stands(check, strange):
    acceptor = CHECKS[check]()
    for text in VALID[check]:
        assert not any(matches(acceptor, text[:at] + strange + text[at:]) for at in range(len(text) + 1))


PATTERNS = (
    "[0-9]{2,3}", r"\d+\.\d\d", "^(a|b)*c$", "¥?[0-9]{1,3}(,[0-9]{3})*", ".*5", "[^0-9]+", "a?b+|cc", "[一-龥]{1,2}",
    r"x\$",
    r"[0-9.-]+",
    r"\$[-\-a\.]x{,2}",
    "a+?b*?|[]x]|[^]x-]5",
    r"(?:a|b){2}\,x?\\?$",
    r"[\U00100000-\U0010ffff]+",
    r"\w+", r"\W+", r"\d+", r"\D+", r"\s+", r"\S*", r"[\w-]+", r"[^\d]+", r"[^\w\s]*", r"[\s\d]+", r"[\W\d]+",
    r"[\u4e00-\u9fff]+", r"[^\u4e00-\u9fff]+", r"[\U00020000-\U0002a6df龥]", r"\u4e2d\x61?", r"[\x30-\x39\0]+",
    r"\0?\a\061", r"[\b\101-\103]\N{YEN SIGN}?", r"\A\w\Z", r"\A\d|中\Z", ".+", r"(?P<one>中|\d){1,02}[一{}]?",
    r"a{,}{x", "^a$|^5$", "(^a|x)c?$", "(?:^[0-9]+$)", "(^a)+|(5$)*", "a?^c",
)  # fmt: skip
FOREIGN = "５٣²½éßЖ가𠀀\u3000\xa0\u2003\u200b\u2028\x1c\n\t\0\a\b_ABC{}！，\U00040000\U0010ffff"


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(PATTERNS), st.text("0159abcx.,-]¥$\\一龥中" + FOREIGN, max_size=6))
def test_patterns_match_as_python_has_them(pattern, text):
    assert matches(Pattern(pattern), text) == bool(re.fullmatch(pattern, text))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_have_python_s_classes_of_characters(pattern):
    made = Pattern(pattern)
    words = ["中文", "１２", "a{x", "\x071", "B¥"]
    for text in ("", "中 文", "中\u3000文", "a\n", "中\n", *words, *"019azAZ_-.,{}中龥一" + FOREIGN):
        assert matches(made, text) == bool(re.fullmatch(pattern, text)), text


@pytest.mark.parametrize(
    "pattern",
    [
        r"(",
        r"[",
        r"(a)\1",
        r"(?P<a>b)(?P=a)",
        r"a\Zb",
        r"(?>a)b",
        r"(?=a)b",
        r"(?i)a",
        r"\bx",
        r"*",
        r"[]",
        r"a^b",
        r"a*+b",
        r"[[:digit:]]+",
        r"\d{100000}",
    ],
)
def test_patterns_that_are_none_or_no_automaton_s(pattern):
    with pytest.raises(ConfigError):
        Pattern(pattern)


WORDS = [f"street {number}" for number in range(3000)]


@pytest.mark.parametrize(
    ("pattern", "is_one", "is_none"),
    [
        ("|".join(WORDS), WORDS[2999], "street 3000"),
        ("[0-9]{1,3000}", "7" * 2000, "7" * 3001),
        ("(a|b)*a(a|b){20}", "ba" + "a" * 20, "ab" + "a" * 20),
        (r"(\w{1,50}\s){1,50}", "to the letter ", "to the letter"),
    ],
    ids=["words", "counted", "exponential", "nested"],
)
def test_patterns_are_ready_at_once_however_many_states_they_have(pattern, is_one, is_none):
    made = Pattern(pattern)  # to make all its states first took minutes, or all memory
    assert matches(made, is_one)
    assert not matches(made, is_none)


def test_an_acceptor_can_be_asked_with_another():
    both = Both(Pattern("4.*"), CHECKS["bank-card"]())
    assert matches(both, "4111111111111111")
    assert not matches(both, "5555555555554444")


SMALL = Charset("ab")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(["(ab|ba)a?", "a*", "b?a?b?", "aa|bb|ab", "[ab]{3}", "(aa)*b"]))
def test_what_is_found_is_the_likeliest_of_all_texts_that_match(seed, pattern):
    """Against going through all texts, with their exact probabilities."""
    rng = np.random.default_rng(seed)
    posteriors = log_softmax(rng.normal(size=(5, 3)) * 1.5)
    texts = [list(each) for length in range(6) for each in itertools.product((1, 2), repeat=length)]
    fitting = [ids for ids in texts if re.fullmatch(pattern, SMALL.decode(ids))]
    scores = log_likelihoods([posteriors] * len(fitting), fitting)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constraints, "_CHANGED", 99.0)
        patch.setattr(constraints, "_AN_EDIT", 99.0)
        patch.setattr(constraints, "_A_STATE", 99)
        path = rule(SMALL, pattern=pattern).path(posteriors, [1])
    if not np.isfinite(scores).any():
        assert path is None
        return
    found = collapse(path[None], np.array([5])).classes.tolist()
    assert log_likelihoods([posteriors], [found])[0] == pytest.approx(scores.max(), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.integers(1, 2), max_size=3))
def test_the_best_path_is_the_best_of_all(seed, target):
    posteriors = log_softmax(np.random.default_rng(seed).normal(size=(6, 3)))
    paths = [np.array(path) for path in itertools.product(range(3), repeat=6)]
    own = [path for path in paths if collapse(path[None], np.array([6])).classes.tolist() == target]
    best = max(posteriors[np.arange(6), path].sum() for path in own)
    found = best_path(posteriors, target)
    assert collapse(found[None], np.array([6])).classes.tolist() == target
    assert posteriors[np.arange(6), found].sum() == pytest.approx(best)


def test_look_alikes_are_told_by_a_pattern():
    logits = frames("1O.5O", [(1, "0", 0.3), (4, "0", 0.001)])
    assert read(logits, None).text == "1O.5O"
    found = read(logits, rule(pattern=r"\d+\.\d\d"))
    assert (found.text, found.unmatched) == ("10.50", False)
    assert [(span.start, span.end) for span in found.spans] == [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]
    assert found.spans[1].confidence == pytest.approx(0.3, abs=0.01)  # it decides what, not how sure that is
    assert found.confidence < 0.01


def test_a_check_digit_finds_the_doubt_that_is_not_the_greatest():
    """One digit is wrong and quite sure, another right and unsure: only the sum tells which."""
    wrong = "11010519491231" + "S" + "02X"
    logits = frames(wrong, [(3, "7", 0.4), (14, "0", 0.2)])
    assert read(logits, rule(check="id-card")).text == "11010519491231002X"
    card = frames("4111111111111171", [(2, "7", 0.45), (14, "1", 0.05)])
    assert read(card, rule(check="bank-card")).text == "4111111111111111"


def test_pattern_and_check_digit_hold_together():
    logits = frames("411111111111111I", [(15, "1", 0.1)])
    assert read(logits, rule(pattern="4[0-9]*", check="bank-card")).text == "4111111111111111"
    surely = frames("4111111111111111", sure=1 - 1e-7)  # as models are of what they read right
    assert read(surely, rule(pattern="5[0-9]*", check="bank-card")).unmatched


@pytest.mark.parametrize("text", ["¥10.50", "SOS", "123456 10.50"])
def test_where_nothing_plausible_matches_the_text_stays(text):
    found = read(frames(text, sure=1 - 1e-7), rule(pattern=r"\d{1,2}\.\d\d"))
    assert (found.text, found.unmatched) == (text, True)


@pytest.mark.parametrize(
    ("text", "holds"), [("1OO", True), ("OOO", False), ("O", True), ("1OO1", True), ("1OOO", False)]
)
def test_half_of_a_line_may_change(text, holds):
    logits = frames(text, [(place, "0", 0.4) for place, char in enumerate(text) if char == "O"])
    found = read(logits, rule(pattern=r"\d+"))
    assert (found.text, found.unmatched) == (text.replace("O", "0") if holds else text, not holds)


def test_characters_without_a_blank_between_are_told_from_one_twice():
    apart = frames("12O4")[:, 1::2]  # no frame is blank
    apart[0, 2, CHARSET.id("0")] = np.log(0.1)
    assert read(apart, rule(pattern="[0-9]{4}")).text == "1204"
    twice = frames("11O")
    twice[0, 5, CHARSET.id("0")] = np.log(0.1)
    assert read(twice, rule(pattern="[0-9]{3}")).text == "110"


def test_as_many_candidates_as_are_looked_at():
    many = Charset("".join(chr(0x4E00 + number) for number in range(60)))
    logits = np.full((1, 1, many.num_classes), -99.0)
    logits[0, 0, 1 : constraints._CANDIDATES + 1] = np.linspace(0, -1, constraints._CANDIDATES)
    found = read(logits, rule(many, pattern=many.char(constraints._CANDIDATES)), many)
    assert (found.text, found.unmatched) == (many.char(constraints._CANDIDATES), False)


def test_only_what_is_allowed_is_read():
    logits = frames("1O.5S", [(1, "0", 0.3), (4, "5", 0.2)])
    found = read(logits, rule(allow="0123456789."))
    assert (found.text, found.unmatched) == ("10.55", False)
    assert found.spans[1].confidence == pytest.approx(0.3, abs=0.01)
    both = read(logits, rule(allow="0123456789.", pattern=".*"))
    assert both.text == "10.55"


def test_what_keeps_to_the_rule_is_left_alone():
    logits = frames("10.50", [(1, "O", 0.4)])
    assert read(logits, rule(pattern=r"\d+\.\d\d")) == read(logits, None)


def test_lines_of_a_batch_do_not_mix():
    texts = ["1O.50", "SOS.I", "12.34"]
    logits = np.concatenate([frames(text, [(1, "0", 0.2)] if text == "1O.50" else []) for text in texts])
    found = decode(logits, np.array([11, 11, 11]), CHARSET, rule=rule(pattern=r"\d+\.\d\d"), alternatives=2)
    assert [(each.text, each.unmatched) for each in found] == [("10.50", False), ("SOS.I", True), ("12.34", False)]


def test_what_the_model_cannot_read_cannot_be_allowed():
    with pytest.raises(ConfigError, match="U\\+4E2D"):
        Rule.of(CHARSET, allow="0中")
    assert Rule.of(CHARSET) is None


def test_no_line_and_no_frame():
    made = rule(pattern="[0-9]+")
    found = decode(np.zeros((0, 4, CHARSET.num_classes)), np.zeros(0, int), CHARSET, rule=made)
    assert found == []

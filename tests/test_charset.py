"""Charsets: lookups, normalisation, what is wrong in a file and where, and the shipped ones."""

from __future__ import annotations

import re
import warnings

import pytest

from ocrcc import packaged
from ocrcc.charset import Charset, charset_from_text, describe, generate, lint, load_charset, normalise
from ocrcc.errors import CharsetError


def test_blank_is_zero_and_symbols_follow():
    charset = Charset("abc")
    assert (charset.num_classes, len(charset), charset.id("a"), charset.char(0), charset.char(3)) == (4, 3, 1, "", "c")
    assert charset.encode("cab") == [3, 1, 2]
    assert charset.decode([0, 3, 3, 0, 1]) == "cca"
    assert ("b" in charset, "d" in charset) == (True, False)


def test_all_missing_characters_are_named_once():
    with pytest.raises(CharsetError, match=r"'己' \(U\+5DF1\), '已' \(U\+5DF2\) of the text 'a己已己'") as caught:
        Charset("a").encode("a己已己")
    assert "from-data" in caught.value.hint


@pytest.mark.parametrize(("symbols", "message"), [("", "is empty"), ("aba", r"'a' \(U\+0061\) more than once")])
def test_malformed_charsets_are_refused(symbols, message):
    with pytest.raises(CharsetError, match=message):
        Charset(symbols)


def test_unknown_normalisation_is_refused():
    with pytest.raises(CharsetError, match="unknown normalisation 'nfd'"):
        Charset("a", "nfd")


def test_merge_keeps_known_classes():
    merged = Charset("ab", "nfc", "mine").merge("bcac")
    assert (merged.symbols, merged.normalisation, merged.name) == ("abc", "nfc", "mine")


@pytest.mark.parametrize(
    ("policy", "expected"), [("none", "Ａ①é　"), ("nfc", "Ａ①é　"), ("nfkc", "A1é "), ("halfwidth", "A①é ")]
)
def test_normalisation(policy, expected):
    text = "Ａ①e\u0301　" if policy in ("nfc", "nfkc") else "Ａ①é　"
    assert normalise(text, policy) == expected


@pytest.mark.parametrize(
    ("symbols", "policy", "expected"),
    [
        ("1-—", "halfwidth", "1-1-1—1"),
        ("1-—", "nfkc", "1-1-1—1"),
        ("1-–", "halfwidth", "1–1-1―1"),  # nothing to become of a long one; a known one stays
        ("1-—", "none", "1–1−1―1"),
    ],
)
def test_dashes_that_a_charset_lacks_become_those_it_has_where_widths_are_folded(symbols, policy, expected):
    assert Charset(symbols, policy).normalise("1–1−1―1") == expected


@pytest.mark.parametrize(
    ("char", "kind"),
    [
        ("\x07", "control"),
        ("\u0301", "combining"),
        ("\u00a0", "no-break"),
        ("\u200b", "zero-width"),
        ("\ue000", "private-use"),
        ("\ufffd", "wrong decoding"),
        ("\uf900", "NFC"),
    ],
)
def test_lint_names_doubtful_characters(char, kind):
    assert lint("ab 己") == []
    assert [found for found in lint("ab" + char) if kind in found and f"U+{ord(char):04X}" in found]


def test_lint_finds_both_widths_only_together():
    assert lint("！") == []
    assert any("half-width" in found for found in lint("！!"))


@pytest.mark.parametrize(
    ("content", "symbols", "message"),
    [
        ("a\n\nb\n", "ab", "1 lines left out: line 2: empty"),
        ("a\nbc\n", "a", "line 2: 'bc' is 2 characters"),
        ("a\nb\r\na\n", "ab", r"line 3: 'a' \(U\+0061\) stands already in line 1"),
        ("a\n🇨🇳\nb\n", "ab", "line 2: '🇨🇳' is 2 characters"),
        ("a\nb \nc\t\n \n\u3000\ne\u0301\n", "abc \u3000é", ""),
    ],
)
def test_files_of_others_are_read_and_what_is_no_character_is_named(tmp_path, content, symbols, message):
    (tmp_path / "odd.txt").write_bytes(content.encode())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert load_charset(str(tmp_path / "odd.txt")).symbols == symbols
    assert len(said) == bool(message)
    assert all(re.search(rf"odd\.txt: .*{message}", str(each.message)) for each in said)


@pytest.mark.parametrize(
    ("content", "message"),
    [("a\n中\n".encode("gb18030"), r"bad\.txt: not UTF-8"), (b"ab\ncd\n", "no characters"), (b"", "no characters")],
)
def test_files_that_are_no_charset(tmp_path, content, message):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(CharsetError, match=message):
        load_charset(str(tmp_path / "bad.txt"))


def test_files_may_have_a_mark_crlf_and_a_space(tmp_path):
    (tmp_path / "mine.txt").write_bytes("\ufeffa\r\n \r\n己".encode())
    charset = load_charset(str(tmp_path / "mine.txt"), "halfwidth")
    assert (charset.symbols, charset.name, charset.normalisation) == ("a 己", "mine", "halfwidth")


def test_unknown_names_get_a_suggestion():
    with pytest.raises(CharsetError, match="no charset named 'gb2313'") as caught:
        load_charset("gb2313")
    assert "did you mean gb2312?" in caught.value.hint


def test_from_text_is_sorted_and_normalised():
    assert charset_from_text(["ｂ1", "a1"], "halfwidth").symbols == "1ab"


def test_shipped_charsets_are_what_is_derived():
    names = packaged.names("charsets", ".txt")
    assert names == ["ascii", "digits", "gb18030-l1", "gb2312"]
    for name in names:
        assert load_charset(name).symbols == generate(name)
    hanzi = [char for char in generate("gb2312") if "\u4e00" <= char <= "\u9fff"]
    assert len(hanzi) == 6763


def test_descriptions_are_cut():
    assert describe("abc", limit=1) == "'a' (U+0061) and 2 more"

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from ocrcc import packaged
from ocrcc.charset import Charset, load_charset
from ocrcc.config import SynthConfig
from ocrcc.dice import Dice
from ocrcc.errors import CharsetError, ConfigError, DataError
from ocrcc.texts.corpus import CorpusFile, Texts, _shipped_lexicon, read_lexicon, read_templates
from ocrcc.texts.templates import Vocabulary

GB2312 = load_charset("gb2312")


def only(kind: str, **settings) -> SynthConfig:
    return SynthConfig(texts={kind: 1.0}, **settings)


def test_pieces_are_pieces_of_the_lines(tmp_path):
    lines = ["投资者应当认真阅读基金合同", "abc def", "短"]
    path = tmp_path / "c.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    file = CorpusFile(path)
    pieces = {file.piece(Dice(0, index)) for index in range(300)}
    assert all(any(piece in line for line in lines) for piece in pieces)
    assert set(lines) <= pieces
    assert all(file.piece(Dice(0, index), whole_lines=True) in lines for index in range(300))


@pytest.mark.parametrize(
    ("codec", "text"), [("gb18030", "基金管理有限公司"), ("big5", "臺灣銀行統一編號"), ("cp932", "株式会社の請求書")]
)
def test_what_is_no_utf_8_is_read(tmp_path, codec, text):
    path = tmp_path / "c.txt"
    path.write_bytes((text * 100).encode(codec))
    assert set(CorpusFile(path).piece(Dice(0, 1))) <= set(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\x00three\n", r"c\.txt:2: control character"),
        (b"one\ntwo\n\xff\xff\xff\xff\n", r"c\.txt:3: neither UTF-8 nor GB 18030"),
        (b"", "empty"),
    ],
)
def test_a_corpus_that_is_no_text_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "c.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        CorpusFile(path)


def test_bytes_across_a_reading_step_are_no_error(tmp_path):
    path = tmp_path / "c.txt"
    path.write_bytes(b"a" * ((1 << 20) - 1) + "金".encode() * 5)
    assert CorpusFile(path)
    path.write_bytes(b"a" * ((1 << 20) - 1) + "金".encode()[:2] + b"\xff")
    with pytest.raises(DataError, match=r"c\.txt:1"):
        CorpusFile(path)


def test_a_missing_corpus_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.txt"):
        CorpusFile(tmp_path / "gone.txt")


def test_every_text_can_be_said_and_has_plain_spaces():
    texts = Texts(SynthConfig(), GB2312)
    for index in range(3000):
        text = texts.draw(Dice(3, index))
        assert text
        assert text == " ".join(text.split())
        assert not GB2312.missing(text)
        assert sum(0.5 if char.isascii() else 1 for char in text) <= 40


def test_characters_that_the_charset_lacks_are_cut_out(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("己已☃巳未\n", encoding="utf-8")
    texts = Texts(only("corpus", corpus=(str(path),)), Charset("己已巳未"))
    drawn = {texts.draw(Dice(0, index)) for index in range(200)}
    assert "己已" in drawn
    assert not any("☃" in text for text in drawn)


def test_a_charset_that_folds_width_may_draw_full_width_forms(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("２０１８，\n", encoding="utf-8")
    config = only("corpus", corpus=(str(path),))
    folding = Texts(config, Charset("2018,", "halfwidth"))
    assert any("２" in folding.draw(Dice(0, index)) for index in range(50))
    strict = Texts(config, Charset("2018,"))
    assert not any("２" in strict.draw(Dice(0, index)) for index in range(50))


def test_balanced_text_has_every_class_equally_often():
    charset = Charset("己已巳未末01 ")
    texts = Texts(only("balanced"), charset)
    counts = Counter(char for index in range(4000) for char in texts.balanced(Dice(0, index)))
    assert " " not in counts
    assert set(counts) == set("己已巳未末01")
    expected = sum(counts.values()) / 7
    assert all(abs(count - expected) < 0.08 * expected for count in counts.values())


def test_balanced_text_may_be_of_what_texts_words_and_groups_have(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("鳖与黿\n", encoding="utf-8")
    charset = Charset("别別黄黃鳖鱉黿未末 ")
    config = replace(only("balanced"), balanced_over="texts", corpus=(str(path),))
    texts = Texts(config, charset, alike="末")
    counts = Counter(char for index in range(2000) for char in texts.balanced(Dice(0, index)))
    assert set(counts) == set("鳖黿末") | ((set(charset) - {" "}) & lexicon())
    assert not set(counts) & set("別黃鱉")
    expected = counts.total() / len(counts)
    assert all(abs(count - expected) < 0.15 * expected for count in counts.values())
    alone = Texts(replace(config, corpus=()), Charset("鱉"))  # nobody has it
    assert set(alone.balanced(Dice(0, 1))) == {"鱉"}


def lexicon() -> set[str]:
    return {char for words in _shipped_lexicon().values() for word in words for char in word}


def test_words_are_drawn_whole(tmp_path):
    path = tmp_path / "w.txt"
    path.write_text("申购确认\n赎回\n", encoding="utf-8")
    texts = Texts(only("words", words=(str(path),)), GB2312)
    assert {texts.draw(Dice(0, index)) for index in range(100)} == {"申购确认", "赎回"}


def test_some_english_prose_is_set_in_capitals(tmp_path):
    path = tmp_path / "c.txt"
    path.write_text("the ground floor\n基金 abc 合同\n" * 200, encoding="utf-8")
    texts = Texts(only("corpus", corpus=(str(path),)), GB2312)
    drawn = [texts.draw(Dice(0, index)) for index in range(1000)]
    english = [text for text in drawn if text.isascii() and len(text) > 3]
    assert 0.06 < sum(text.isupper() for text in english) / len(english) < 0.2
    assert not any("ABC" in text for text in drawn if not text.isascii())


def test_lengths_are_kept():
    texts = Texts(only("templates", min_length=3, max_length=5), GB2312)
    for index in range(300):
        text = texts.draw(Dice(0, index))
        assert len(text) >= 3
        assert sum(0.5 if char.isascii() else 1 for char in text) <= 5


def test_a_kind_without_sources_is_an_error():
    with pytest.raises(ConfigError, match="no kind of text has a source"):
        Texts(only("corpus"), GB2312)


def test_a_charset_of_spaces_is_an_error():
    with pytest.raises(CharsetError, match="nothing but spaces"):
        Texts(SynthConfig(), Charset(" "))


def test_own_templates_replace_the_shipped_ones(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("# mine\n3| A{digits:2}\n", encoding="utf-8")
    texts = Texts(only("templates", templates=str(path)), GB2312)
    assert all(len(texts.draw(Dice(0, index))) == 3 for index in range(20))


def test_template_files_name_the_line(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("{digits:3}\n{digits:\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"t\.txt:2: column 1"):
        read_templates(path, Vocabulary({}, "己"))
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no templates"):
        read_templates(path, Vocabulary({}, "己"))
    with pytest.raises(ConfigError, match="no such file"):
        read_templates(tmp_path / "gone.txt", Vocabulary({}, "己"))


def test_a_lexicon_needs_sections():
    assert read_lexicon("# c\n[a]\nx|y\n\nz\n", "l") == {"a": ("x", "y", "z")}
    with pytest.raises(ConfigError, match="l:1"):
        read_lexicon("x\n[a]\n", "l")


def test_the_shipped_lexicon_can_be_said_in_gb2312():
    text = (packaged.ASSETS / "synth" / "lexicon.txt").read_text(encoding="utf-8")
    words = {word for section in read_lexicon(text, "lexicon").values() for word in section}
    assert len(words) > 1000
    assert [word for word in words if GB2312.missing(word)] == []


def test_what_a_charset_lacks_of_the_sources_is_told(tmp_path):
    cyrillic, german, own = tmp_path / "r.txt", tmp_path / "d.txt", tmp_path / "o.txt"
    cyrillic.write_text("Привет мир\n" * 2000, encoding="utf-8")
    german.write_text("Die Größe der Straße\n" * 2000, encoding="utf-8")
    own.write_text("\ufeffThe size of the street\n" * 2000, encoding="utf-8")
    letters = Charset("".join(map(chr, range(33, 127))) + " ", name="letters")
    (told,) = Texts(only("corpus", corpus=(str(own), str(german))), letters).cut()
    assert told.startswith(f"{german}: charset 'letters' lacks 'ß' (U+00DF) x ")
    assert Texts(SynthConfig(texts={"short": 1.0}, corpus=(str(cyrillic),)), letters).cut() == []
    with pytest.raises(ConfigError, match=r"r\.txt: charset 'letters' lacks .* all that was looked at"):
        Texts(only("words", words=(str(cyrillic),)), letters).cut()


def test_a_western_corpus_is_not_taken_for_chinese(tmp_path):
    path = tmp_path / "d.txt"
    path.write_bytes("Plain.\nMüller Straße, Größe\n".encode("cp1252"))
    with pytest.raises(DataError, match=r"d\.txt:2: neither UTF-8 nor GB 18030"):
        CorpusFile(path)


def test_templates_may_have_a_mark_comments_and_weights_with_a_point(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes("\ufeff#comment\r\n1.5| {digits:2}\r\n0.5| a\u2028b\r\n".encode())
    found, sums = read_templates(path, Vocabulary({}, "己"))
    assert list(sums) == [1.5, 2.0]
    assert len(found[0].draw(Dice(0, 1))) == 2
    assert found[1].draw(Dice(0, 1)) == "a\u2028b"

from __future__ import annotations

import pytest

from ocrcc.errors import ConfigError
from ocrcc.synth.presets import load_config


@pytest.mark.parametrize(
    ("content", "message"),
    [("glyphs = 3", "unknown glyphs"), ("a = [", "not TOML"), ("appearance = 3.0", "appearance is 3.0"),
     ('texts = {poems = 1.0}', "unknown kinds poems"), ('latin = "much"', "mine.toml"),
     ('corpus = "a.txt"', "corpus is 'a.txt', not a list")],
)  # fmt: skip
def test_a_malformed_preset_is_named(tmp_path, content, message):
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_config(str(tmp_path / "mine.toml"))


def test_an_unknown_preset_suggests_one():
    with pytest.raises(ConfigError) as caught:
        load_config("document")
    assert "did you mean documents?" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('minimal_pairs = "no"', "minimal_pairs is 'no', not true or false"),
        ("corpus = [1]", "corpus is [1], not a list, each of it a text in quotes"),
        ('corpus = "a.txt"', "corpus is 'a.txt', not a list"),
        ("fonts = 3", "fonts is 3, not a text"),
        ('min_length = "3"', "min_length is '3', not a whole number"),
        ("min_length = true", "min_length is True, not a whole number"),
        ("latin = nan", "latin is nan, not a number"),
        ("appearance = true", "appearance is True, not a number"),
        ('height = ["a", 2]', "height is ['a', 2], not a list, each of it a whole number"),
        ("effects = 1", "effects is 1, not a table of numbers"),
        ('[texts]\ncorpus = "x"', "texts is {'corpus': 'x'}, not a table of numbers"),
    ],
)
def test_values_of_a_preset_are_of_the_kind_of_their_setting(tmp_path, line, message):
    path = tmp_path / "mine.toml"
    path.write_text(line)
    with pytest.raises(ConfigError) as raised:
        load_config(str(path))
    assert raised.value.message.startswith(f"{path}: {message}")


def test_a_preset_may_have_a_mark_and_whole_numbers_for_others(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes("\ufefflatin = 1\nheight = [20, 30]\n".encode())
    assert (load_config(str(path)).latin, load_config(str(path)).height) == (1, (20, 30))


def test_paths_of_a_preset_are_said_to_be_relative_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "mine.toml").write_text('corpus = ["book.txt"]')
    (tmp_path / "presets" / "book.txt").write_text("text")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"corpus: book\.txt: no such file") as raised:
        load_config("presets/mine.toml")
    assert "relative to the folder that you work in" in raised.value.hint
    assert load_config("presets/mine.toml", corpus=("presets/book.txt",)).corpus == ("presets/book.txt",)

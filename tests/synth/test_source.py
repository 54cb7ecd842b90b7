from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tinyfonts import CHARACTERS, build_font

from ocrcc import packaged
from ocrcc.bidi import on_the_line
from ocrcc.charset import Charset, load_charset
from ocrcc.config import KEPT_FOR_TESTS, SynthConfig
from ocrcc.dice import Dice
from ocrcc.errors import ConfigError, DataError, OcrccWarning
from ocrcc.glyphs.cache import EM
from ocrcc.glyphs.faces import FontSet
from ocrcc.lookalikes import Group, Lookalikes
from ocrcc.synth.degrade import EFFECTS, JPEG_BYTES, Degrader
from ocrcc.synth.presets import load_config
from ocrcc.synth.source import SynthSource, _setting, frames_needed, load_source, swap
from ocrcc.synth.typeset import typeset

CHARSET = Charset(CHARACTERS + " ", name="tiny")
GROUPS = Lookalikes((Group("己已巳", 0.9, "list"), Group("未末", 0.9, "list"), Group("，,", 1.0, "width")))


def source(fonts: str, seed: int = 1, **settings) -> SynthSource:
    config = SynthConfig(**{"fonts": fonts, "lookalikes": "", **settings})
    return SynthSource(config, CHARSET, seed, lookalikes=GROUPS)


def fingerprint(lines) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.label.encode() + line.image.mode.encode() + repr(line.image.size).encode())
        digest.update(line.image.tobytes())
    return digest.hexdigest()


def test_a_line_depends_on_nothing_but_seed_and_number(fonts):
    first, second = source(fonts), source(fonts)
    forwards = [first.line(index) for index in range(60)]
    backwards = [second.line(index) for index in reversed(range(60))][::-1]
    assert fingerprint(forwards) == fingerprint(backwards)
    assert fingerprint(forwards) != fingerprint([source(fonts, seed=2).line(index) for index in range(60)])
    assert len({line.label for line in forwards}) > 20


def test_a_pickled_source_and_another_hash_seed_give_the_same_lines(fonts, tmp_path):
    made = source(fonts)
    expected = fingerprint(made.line(index) for index in range(30))
    (tmp_path / "source.pickle").write_bytes(pickle.dumps(made))
    code = (
        "import pickle, sys; sys.path.insert(0, sys.argv[2]); from test_source import fingerprint\n"
        "made = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "print(fingerprint(made.line(index) for index in range(30)))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "source.pickle"), str(Path(__file__).parent)],
        env={**os.environ, "PYTHONHASHSEED": "123", "PYTHONPATH": paths},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == expected


def test_lines_are_of_the_line_source_kind(fonts):
    made = source(fonts)
    assert made.size is None
    line = made.line(2**62)
    assert line.source == f"synth#{2**62}"
    assert line.image.mode in ("L", "RGB")


def test_images_have_heights_in_range_and_frames_enough(fonts):
    made = source(fonts)
    for index in range(300):
        line = made.line(index)
        assert 16 <= line.image.height <= 64
        wide = line.image.width * 32 / line.image.height
        assert wide >= 4 * frames_needed(line.label) * 0.98, line.label
        assert np.asarray(line.image).std() > 2


def test_only_characters_of_the_charset_are_drawn(fonts):
    made = source(fonts)
    for index in range(300):
        assert not CHARSET.missing(made.line(index).label)


def test_frames_of_repeats():
    assert [frames_needed(text) for text in ("", "a", "aa", "aab", "aba")] == [0, 1, 3, 4, 3]


def test_a_jpeg_keeps_its_file(fonts):
    made = source(fonts, effects={"jpeg": 1.0})
    image = made.line(0).image
    again = Image.open(io.BytesIO(image.info[JPEG_BYTES]))
    assert np.array_equal(np.asarray(again), np.asarray(image))


def test_swapping_uses_the_group_and_nothing_else():
    siblings = {"己": ("已", "巳")}
    drawn = {swap("己a", siblings, Dice(0, index)) for index in range(60)}
    assert drawn == {"己a", "已a", "巳a"}


def test_words_and_numbers_keep_their_letters_and_digits_and_codes_do_not():
    siblings = {"O": ("0", "〇"), "0": ("O",), "l": ("1", "I"), "一": ("-", "丨")}
    drawn = {swap("LOT 100 l 一-A0", siblings, Dice(0, index)) for index in range(60)}
    assert drawn == {"LOT 100 l 一-A0", "LOT 100 l 丨-A0", "LOT 100 l 一-AO", "LOT 100 l 丨-AO"}


def test_lookalike_lines_swap_members_of_training_groups_only(fonts):
    plain = source(fonts, lookalike_fraction=0.0)
    swapped = source(fonts, lookalike_fraction=1.0)
    counts = [Counter("".join(made.line(index).label for index in range(400))) for made in (plain, swapped)]
    assert counts[0]["，"] > 0
    assert counts[1]["己"] > 0
    assert source(fonts, lookalike_fraction=1.0)._tools().siblings.keys() == set("己已巳未末")


def test_minimal_pairs_differ_in_one_twin_and_balance(fonts):
    made = source(fonts, minimal_pairs=True)
    twins = Counter()
    for pair in range(120):
        first, second = made.line(2 * pair), made.line(2 * pair + 1)
        differences = [(a, b) for a, b in zip(first.label, second.label, strict=True) if a != b]
        assert len(differences) == 1
        twins[tuple(sorted(differences[0]))] += 1
    assert {frozenset(pair) for pair in twins} == {frozenset(pair) for pair in ("己已", "己巳", "已巳", "未末")}
    assert len(twins) == 4
    assert set(twins.values()) == {30}


def test_twins_share_font_and_noise(fonts):
    made = source(fonts, minimal_pairs=True, effects=dict.fromkeys(EFFECTS, 0.0) | {"noise": 1.0, "rescaled": 0.0})
    alike = []
    for pair in range(40):
        first, second = (np.asarray(made.line(2 * pair + member).image, int) for member in (0, 1))
        if first.shape == second.shape:
            alike.append(float((first == second).mean()))
    assert len(alike) > 20
    assert np.median(alike) > 0.8


def test_a_line_with_another_text_is_the_same_in_all_else(fonts):
    made = source(fonts, minimal_pairs=True)
    for index in range(0, 40, 2):
        first, second = made.line(index), made.line(index + 1)
        retold = made.retold(first, index, second.label)
        assert retold is not None
        assert retold.label == second.label
        assert np.array_equal(np.asarray(retold.image), np.asarray(second.image))


def test_a_line_with_what_its_font_lacks_is_none(tmp_path):
    build_font(tmp_path / "Half.ttf", characters=CHARACTERS.replace("未", ""))
    made = SynthSource(SynthConfig(fonts=str(tmp_path), lookalike_fraction=0.0, lookalikes=""), CHARSET)
    line = made.line(0)
    assert made.retold(line, 0, "未" + line.label[1:]) is None
    wide = next(made.line(index) for index in range(500) if "，" in made.line(index).label)
    assert made.retold(wide, int(wide.source.partition("#")[2]), wide.label.replace("，", "己")) is not None


def test_minimal_pairs_without_groups_are_an_error(fonts):
    with pytest.raises(ConfigError, match="minimal pairs need look-alike groups"):
        SynthSource(SynthConfig(fonts=fonts, minimal_pairs=True), CHARSET, lookalikes=Lookalikes(()))


def test_minimal_pairs_leave_out_twins_that_no_font_tells_apart(tmp_path):
    build_font(tmp_path / "Half.ttf", characters=CHARACTERS.replace("未", "").replace("末", ""))
    config = SynthConfig(fonts=str(tmp_path), minimal_pairs=True)
    made = SynthSource(config, CHARSET, lookalikes=GROUPS)
    assert set("".join("".join(pair) for pair in made._tools().pairs)) == set("己已巳")


def test_no_tofu_whatever_the_font_pretends(tmp_path):
    build_font(tmp_path / "Honest.ttf")
    build_font(tmp_path / "Tofu.ttf", characters=CHARACTERS.replace("己", ""), missing="己")
    build_font(tmp_path / "Empty.ttf", characters=CHARACTERS.replace("已", ""), empty="已")
    config = SynthConfig(fonts=str(tmp_path), lookalike_fraction=0.0, lookalikes="")
    made = SynthSource(config, CHARSET)
    tools = made._tools()
    names = [face.file for face in tools.fonts.faces]
    assert tools.glyphs.glyph(names.index("Tofu.ttf"), "己") is None
    assert "已" not in tools.fonts.covered[names.index("Empty.ttf")]
    labels = "".join(made.line(index).label for index in range(200))
    assert "己" in labels
    assert "已" in labels


def test_fonts_that_cover_too_little_are_named(tmp_path):
    build_font(tmp_path / "Few.ttf", characters="己已")
    with pytest.raises(DataError, match="none of 1 fonts covers") as caught:
        SynthSource(SynthConfig(fonts=str(tmp_path)), CHARSET)
    assert "fonts-noto-cjk" in caught.value.hint


def test_font_weights_choose(fonts):
    config = SynthConfig(fonts=fonts, latin=0.0, font_weights={"One*": 0.0})
    chosen = FontSet(config, CHARSET)
    drawn = {chosen.faces[chosen.choose("己已", Dice(0, index))[0].main].file for index in range(50)}
    assert drawn == {"Two.ttf"}
    with pytest.raises(DataError, match="leave no font"):
        FontSet(SynthConfig(fonts=fonts, font_weights={"*": 0.0}), CHARSET)


def test_a_latin_font_draws_the_ascii_of_a_line(fonts):
    chosen = FontSet(SynthConfig(fonts=fonts, latin=1.0), CHARSET)
    choice, _ = chosen.choose("己0", Dice(0, 0))
    assert chosen.faces[chosen.face_of(choice, "0")].file == "Latin.ttf"
    assert chosen.faces[chosen.face_of(choice, "己")].file != "Latin.ttf"


def test_short_texts_are_not_set_as_far_apart_as_words():
    spacings = {text: [_setting(text, EM, Dice(0, at)).spacing for at in range(300)] for text in ("1234", "12345")}
    assert max(spacings["1234"]) == 0.1
    assert max(spacings["12345"]) > 0.3
    assert min(spacings["1234"]) == min(spacings["12345"]) < 0


@pytest.mark.parametrize("effect", sorted(EFFECTS))
def test_each_effect_changes_some_line(fonts, effect):
    none = dict.fromkeys(EFFECTS, 0.0)
    without, with_it = source(fonts, effects=none), source(fonts, effects=none | {effect: 1.0})
    changed = [fingerprint([without.line(index)]) != fingerprint([with_it.line(index)]) for index in range(12)]
    assert any(changed)


def test_no_appearance_is_clean_print(fonts):
    made = source(fonts, appearance=0.0)
    for index in range(30):
        pixels = np.asarray(made.line(index).image)
        assert made.line(index).image.mode == "L"
        assert pixels.max() >= 246
        assert pixels.min() < 60


def test_an_unknown_effect_is_named():
    with pytest.raises(ConfigError, match="no effect named glitter"):
        Degrader(SynthConfig(effects={"glitter": 0.5}), [])


@pytest.mark.parametrize(
    "name", [name.removeprefix("synth-") for name in packaged.names("presets", ".toml") if name.startswith("synth-")]
)
def test_shipped_presets_load_and_keep_test_fonts_out(name, fonts):
    config = load_config(name)
    assert set(KEPT_FOR_TESTS) <= set(config.exclude)
    made = load_source(f"synth:{name}", CHARSET, seed=3, fonts=fonts, lookalikes=GROUPS)
    assert made.line(0).source == f"synth:{name}#0"


def test_a_preset_file_and_overrides(fonts, tmp_path):
    (tmp_path / "mine.toml").write_text('exclude = ["Two*"]\nheight = [20, 30]\n[effects]\njpeg = 0.0\n')
    made = load_source(f"synth:{tmp_path / 'mine.toml'}", CHARSET, fonts=fonts, max_length=4, lookalikes=GROUPS)
    assert made.config.height == (20, 30)
    assert made.config.max_length == 4
    assert [face.file for face in made._tools().fonts.faces] == ["Latin.ttf", "One.ttf"]
    assert 20 <= made.line(0).image.height <= 30


def test_a_negative_seed_is_refused(fonts):
    with pytest.raises(ConfigError, match="seed is -1"):
        source(fonts, seed=-1)


def test_lines_that_cannot_be_drawn_are_an_error(fonts, monkeypatch):
    made = source(fonts)
    monkeypatch.setattr("ocrcc.synth.source.typeset", lambda *args: None)
    with pytest.raises(DataError, match="no text could be drawn for line 5"):
        made.line(5)


def test_system_fonts_with_the_shipped_charset():
    try:
        made = load_source("synth:documents", load_charset("gb2312"), seed=1)
    except DataError:
        pytest.skip("no fonts of the system cover gb2312")
    tools = made._tools()
    for index in range(60):
        label = made.line(index).label
        assert not made.charset.missing(label)
    assert len(tools.pairs) == 0
    assert not any(face.file.startswith(("gbsn00lp", "TW-Sung")) for face in tools.fonts.faces)


@pytest.mark.parametrize(
    ("characters", "named"),
    [("سلام", "U+0633"), ("हिन्दी", "U+0939"), ("Tie\u0302\u0301ng Vie\u0323\u0302t", "U+0302")],
)
def test_characters_that_depend_on_their_neighbours_are_refused(fonts, characters, named):
    charset = Charset("".join(dict.fromkeys(characters)))
    with pytest.raises(ConfigError, match=named.replace("+", r"\+")) as raised:
        SynthSource(SynthConfig(fonts=fonts, lookalikes=""), charset, 1)
    assert "NFC" in raised.value.hint


def test_a_few_of_them_are_left_out(fonts):
    charset = Charset(CHARACTERS + "\u0301س", name="tiny")
    with pytest.warns(OcrccWarning, match=r"tiny: not drawn.*U\+0301.*U\+0633"):
        drawn = SynthSource(SynthConfig(fonts=fonts, lookalikes=""), charset, 1)
    assert not any(set("\u0301س") & set(drawn.line(index).label) for index in range(20))


def test_letters_from_right_to_left_are_drawn_as_they_stand(tmp_path):
    build_font(tmp_path / "One.ttf", characters="אב1")
    charset = Charset("אב1", bidi=True)
    drawn = SynthSource(SynthConfig(fonts=str(tmp_path), lookalikes="", min_length=2), charset, 1)
    seen = []

    def keep(text, *rest):
        seen.append(text)
        return typeset(text, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ocrcc.synth.source.typeset", keep)
        labels = [drawn.line(index).label for index in range(20)]
    assert [on_the_line(label) for label in labels] == seen
    assert any(label != text for label, text in zip(labels, seen, strict=True))


def test_a_source_warns_of_texts_that_its_charset_lacks(fonts, tmp_path):
    (tmp_path / "c.txt").write_text("己已巳 Größe\n" * 50, encoding="utf-8")
    with pytest.warns(OcrccWarning, match="charset 'tiny' lacks"):
        source(fonts, corpus=(str(tmp_path / "c.txt"),))

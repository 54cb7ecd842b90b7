"""What a second model's reading makes of the doubts about a first one's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from drawn_lines import draw_line, png

from ocrcc.charset import Charset
from ocrcc.config import PredictConfig, Preprocessing
from ocrcc.lookalikes import Group, Lookalikes
from ocrcc.reading.json_lines import json_line
from ocrcc.reading.reader import LineReader, Unreadable
from ocrcc.reading.second import is_doubtful, second_opinion, together
from ocrcc.types import Alternative, Doubt, Recognition, RecognizedChar

CHARSET = Charset(" .0189:OA己已")
ALIKE = Lookalikes((Group("0O", 0.9, "list"), Group("己已", 0.9, "list")))
DOUBT = Doubt(wrong=0.05, lookalike=0.04, dropped=0.02)


def line(text: str, sure: float = 0.9, doubt: Doubt | None = None, **settings) -> Recognition:
    chars = tuple(
        RecognizedChar(char=char, confidence=sure, left=at, right=at + 1, doubt=None if char == " " else doubt)
        for at, char in enumerate(text)
    )
    return Recognition(path="p", text=text, confidence=sure, chars=chars, **settings)


def opinion(text: str, other: str, doubt: Doubt | None = DOUBT, sure: float = 0.9) -> list[Doubt | None]:
    found = second_opinion(line(text, doubt=doubt), line(other, sure), CHARSET, ALIKE)
    assert (found.text, found.second) == (text, other)
    return [char.doubt for char in found.chars]


def bayes(wrong: float, other: float) -> float:
    wrong = max(wrong, 0.01)
    return wrong * other / (wrong * other + (1 - wrong) * (1 - other))


def approx(wrong: float, lookalike: float, dropped: float) -> dict[str, float]:
    return {"wrong": pytest.approx(wrong), "lookalike": pytest.approx(lookalike), "dropped": pytest.approx(dropped)}


def test_where_both_read_the_same_a_third_of_the_doubt_is_left():
    assert [vars(doubt) for doubt in opinion("18", "18")] == [approx(0.015, 0.012, 0.006)] * 2


def test_where_they_differ_a_character_is_as_likely_wrong_as_the_two_say():
    same, twin = opinion("10", "1O")
    assert vars(same) == approx(0.015, 0.012, 0.006)
    assert vars(twin) == approx(bayes(0.05, 0.9), bayes(0.05, 0.9), 0.02)
    _, other = opinion("10", "18")  # nobody takes the one for the other
    assert vars(other) == approx(bayes(0.05, 0.9), 0.04, 0.02)
    (unsure,) = opinion("0", "O", sure=0.2)
    assert vars(unsure) == approx(0.05, 0.04, 0.02)  # a guess of the other makes no character surer


def test_nobody_is_surer_than_that_he_could_err():
    surely = Doubt(wrong=1e-9, lookalike=1e-9, dropped=1e-9)
    (found,) = opinion("0", "O", surely, sure=1.0)
    assert found.wrong == pytest.approx(bayes(0.01, 0.99))


def test_the_likelier_of_two_readings_counts():
    unsure = Doubt(wrong=0.3, lookalike=0.2, dropped=0.02)
    found = second_opinion(line("10", doubt=unsure), line("1O", 0.8), CHARSET, ALIKE)
    chance = bayes(0.3, 0.8)
    assert (found.text, found.second, found.confidence) == ("1O", "1O", 0.8)
    taken = found.chars[1]
    assert (taken.char, taken.confidence, taken.left, taken.right, taken.margin) == ("O", 0.8, 1, 2, None)
    assert taken.alternatives == (Alternative(char="0", confidence=0.9),)
    assert vars(taken.doubt) == approx(1 - chance, 1 - chance, 0.02)
    unlike = second_opinion(line("10", doubt=unsure), line("18", 0.8), CHARSET, ALIKE).chars[1]
    assert vars(unlike.doubt) == approx(1 - chance, 0.0, 0.02)
    stays = second_opinion(line("10", doubt=unsure), line("1O", 0.8), CHARSET, ALIKE, vote=False)
    assert (stays.text, stays.second, stays.confidence) == ("10", "1O", 0.9)
    assert vars(stays.chars[1].doubt) == approx(chance, chance, 0.02)


@pytest.mark.parametrize(
    ("text", "other", "both"),
    [
        ("18", "1.8", "1.8"),
        ("18", ".18", ".18"),
        ("18", "18.", "18."),
        ("18", "1..8", "1..8"),
        ("1 8", ".1 8.", ".1 8."),
    ],
)
def test_what_was_likelier_lost_than_not_is_put_in(text, other, both):
    lossy = Doubt(wrong=0.4, lookalike=0.0, dropped=0.4)
    found = second_opinion(line(text, doubt=lossy), line(other, 0.8), CHARSET, ALIKE)
    assert (found.text, "".join(char.char for char in found.chars)) == (both, both)
    assert found.confidence == 0.8
    points = [char for char in found.chars if char.char == "."]
    assert [vars(char.doubt) for char in points] == [approx(1 - bayes(0.4, 0.8), 0, 0)] * both.count(".")
    assert {char.left for char in points} <= {at for at, char in enumerate(other) if char == "."}
    kept = [char for char in found.chars if char.char in "18"]
    assert [char.doubt.dropped for char in kept] == pytest.approx([0.12] * 2)  # that nothing more was lost


def test_of_two_that_are_missing_before_and_after_the_likelier_counts():
    first, _ = opinion("18", "A1.8", sure=0.9)
    assert first.dropped == pytest.approx(bayes(0.02, 0.9))
    chars = tuple(
        RecognizedChar(char=char, confidence=sure, left=at, right=at + 1)
        for at, (char, sure) in enumerate([("A", 0.5), ("1", 0.9), (".", 0.9), ("8", 0.9)])
    )
    other = Recognition(path="p", text="A1.8", confidence=0.5, chars=chars)
    found = second_opinion(line("18", doubt=DOUBT), other, CHARSET, ALIKE)
    assert found.chars[0].doubt.dropped == pytest.approx(bayes(0.02, 0.9))


def test_what_only_the_other_reads_is_missing_after_the_character_before_it():
    four, rest = opinion("18", "1.8")
    assert vars(four) == approx(bayes(0.02, 0.9), 0.012, bayes(0.02, 0.9))
    assert vars(rest) == approx(0.015, 0.012, 0.006)
    first, _ = opinion("18", "A18")
    assert first.dropped == pytest.approx(bayes(0.02, 0.9))
    first, last = opinion("1", "1.8")[0], opinion("18", "18.")[1]
    assert (first.dropped, last.dropped) == (pytest.approx(bayes(0.02, 0.9)), pytest.approx(bayes(0.02, 0.9)))


def test_what_the_other_does_not_read_is_as_doubtful_as_that_is_sure_beside_it():
    chance = bayes(0.05, 0.9)  # of silence nobody is surer
    assert [vars(doubt) for doubt in opinion("1.8", "18", sure=0.99)] == [
        approx(0.015, 0.012, 0.006),
        approx(chance, 0.04, 0.02),
        approx(0.015, 0.012, 0.006),
    ]
    assert opinion("1.8", "18", sure=0.4)[1].wrong == pytest.approx(0.05)
    assert opinion("18.", "18", sure=0.99)[2].wrong == opinion(".18", "18", sure=0.99)[0].wrong == pytest.approx(chance)


@pytest.mark.parametrize(("text", "left"), [("1.8", "18"), (".18", "18"), ("18.", "18"), ("1 .8", "1 8")])
def test_what_is_likelier_not_there_is_left_out(text, left):
    unsure = Doubt(wrong=0.2, lookalike=0.0, dropped=0.0)
    found = second_opinion(line(text, doubt=unsure), line("18", 0.95), CHARSET, ALIKE)
    assert (found.text, "".join(char.char for char in found.chars)) == (left, left)
    stays = second_opinion(line(text, doubt=unsure), line("18", 0.95), CHARSET, ALIKE, vote=False)
    assert (stays.text, max(char.doubt.wrong for char in stays.chars)) == (text, pytest.approx(bayes(0.2, 0.9)))


def test_where_a_space_was_read_the_other_may_read_a_mark():
    found = second_opinion(line("8 10", 0.8), line("8.10", 0.9), CHARSET, ALIKE)  # not calibrated: 0.2 wrong
    assert found.text == "8.10"
    assert found.chars[1].alternatives == (Alternative(char=" ", confidence=0.8),)
    assert found.chars[1].doubt.wrong == pytest.approx(1 - bayes(0.2, 0.9))
    surely = second_opinion(line("8 10", 0.99), line("8.10", 0.9), CHARSET, ALIKE)
    assert (surely.text, surely.chars[1].doubt.wrong) == ("8 10", pytest.approx(bayes(0.01, 0.9)))
    both = second_opinion(line("8 10", 0.5), line("8.:10", 0.9), CHARSET, ALIKE)
    assert both.text == "".join(char.char for char in both.chars) == "8.10"  # a second mark was not lost before
    assert both.chars[0].doubt.dropped == pytest.approx(bayes(0.0, 0.9))


def test_of_two_lines_that_are_nothing_alike_one_counts_as_a_whole():
    nonsense = second_opinion(line("己已", 0.6), line("1098", 0.9), CHARSET, ALIKE)
    assert (nonsense.text, nonsense.second, nonsense.confidence) == ("1098", "1098", 0.9)
    assert [char.doubt.wrong for char in nonsense.chars] == pytest.approx([1 - bayes(0.4, 0.9)] * 4)
    assert second_opinion(line("己已", 0.99), line("1098", 0.9), CHARSET, ALIKE).text == "己已"
    assert second_opinion(line("己已", 0.6), line("1098", 0.9), CHARSET, ALIKE, vote=False).text == "己已"
    assert second_opinion(line("己末", 0.6), line("1098", 0.9), CHARSET, ALIKE).text != "1098"  # it cannot read 末


@pytest.mark.parametrize(("text", "other"), [("1 8", "18"), ("己：8", "己:8"), ("18", "１８"), ("1：8", "1：8")])
def test_a_space_that_the_other_lacks_and_width_are_no_difference(text, other):
    found = second_opinion(line(text, doubt=DOUBT), line(other), CHARSET, ALIKE)
    assert [round(char.doubt.wrong, 9) for char in found.chars if char.char != " "] == [0.015] * len(
        text.replace(" ", "")
    )


def test_a_space_that_the_other_alone_reads_is_a_character_like_others():
    found = second_opinion(
        line("180己", doubt=Doubt(wrong=0.2, lookalike=0.0, dropped=0.2)), line("1 80  己"), CHARSET, ALIKE
    )
    assert found.text == "1 80 己"
    assert found.chars[1].doubt.wrong == pytest.approx(1 - bayes(0.2, 0.9))
    assert found.chars[0].doubt.dropped == pytest.approx(0.3 * 0.2)
    doubted = second_opinion(line("18", doubt=DOUBT), line("1 8"), CHARSET, ALIKE)
    assert doubted.text == "18"
    assert [char.doubt.dropped for char in doubted.chars] == pytest.approx([bayes(0.02, 0.9), 0.006])
    assert second_opinion(line("18", 0.5), line("1 8"), CHARSET, ALIKE, vote=False).text == "18"
    unlike = second_opinion(
        line("己1", doubt=Doubt(wrong=0.2, lookalike=0.2, dropped=0.2)), line("已 1"), CHARSET, ALIKE
    )
    assert unlike.text == "已1"  # only between two that both read


def test_a_full_width_mark_behind_an_ascii_one_is_weighed():
    doubt = Doubt(wrong=0.2, lookalike=0.0, dropped=0.0)
    found = second_opinion(line("己1：", doubt=doubt), line("己1:"), CHARSET, ALIKE)
    assert found.text == "己1:"
    assert found.chars[2].doubt == Doubt(wrong=1 - bayes(0.2, 0.9), lookalike=0.0, dropped=0.0)
    assert found.chars[2].alternatives[0].char == "："
    assert second_opinion(line("己1:", doubt=doubt), line("己1："), CHARSET, ALIKE).text == "己1:"


def test_of_a_character_that_it_lacks_the_other_says_nothing():
    unknown, known = opinion("末1", "己1")
    assert (vars(unknown), vars(known)) == (approx(0.05, 0.04, 0.02), approx(0.015, 0.012, 0.006))


def test_a_model_that_is_not_calibrated_is_doubted_by_its_posterior():
    found = second_opinion(line("0 1末"), line("O1末", 0.8), CHARSET, ALIKE)
    wrong = [bayes(0.1, 0.8), 0.1, 0.03, 0.1]  # a space and an unknown one as they were
    assert [char.doubt.wrong for char in found.chars] == pytest.approx(wrong)


def test_what_the_other_reads_is_the_first_alternative_and_named_once():
    one = line("0", doubt=DOUBT)
    others = (Alternative(char="8", confidence=0.05), Alternative(char="O", confidence=0.02))
    one = Recognition(
        path="p",
        text="0",
        confidence=0.9,
        chars=(RecognizedChar(char="0", confidence=0.9, left=0, right=9, doubt=DOUBT, alternatives=others),),
    )
    (char,) = second_opinion(one, line("O", 0.8), CHARSET, ALIKE).chars
    assert [(other.char, other.confidence) for other in char.alternatives] == [("O", 0.8), ("8", 0.05)]
    assert (char.char, char.confidence, char.left, char.right) == ("0", 0.9, 0, 9)


def test_a_line_on_which_only_the_other_reads_something_is_doubtful():
    nothing = Recognition(path="p", text="", confidence=0.99)
    found = second_opinion(nothing, line("18", 0.8), CHARSET, ALIKE)
    assert (found.text, found.second, found.confidence) == ("", "18", pytest.approx(0.2))
    assert second_opinion(nothing, Recognition(path="p", text="", confidence=0.7), CHARSET, ALIKE).confidence == 0.99
    assert opinion("18", "") == [DOUBT, DOUBT]


def test_lines_that_were_not_read_the_same_way_up_are_not_compared():
    one = line("18", doubt=DOUBT)
    assert second_opinion(one, line("81", upside_down=True), CHARSET, ALIKE) == one


def reads(text: str, sure: float, **settings: str) -> LineReader:
    """Make a reader that reads this on every line, each character with this posterior and else its look-alike."""
    charset, twins = Charset("10O8"), {"1": "8", "0": "O", "O": "0", "8": "1"}

    def engine(images):
        logits = np.full((len(images), 12, charset.num_classes), -9.0, np.float32)
        logits[:, :, 0] = 9.0
        for place, char in enumerate(text):
            logits[:, 4 * place + 1] = -9.0
            for one, chance in ((char, sure), (twins[char], 1 - sure)):
                logits[:, 4 * place + 1, charset.id(one)] = math.log(chance)
        return logits, logits

    config = PredictConfig(second_look=0.0, **settings)
    return LineReader(engine, charset, Preprocessing(polarity="keep"), width_stride=4, config=config)


@pytest.mark.parametrize(
    ("pattern", "text", "unmatched"),
    [
        ("", "18", False),
        ("[0-9]+", "18", False),
        ("1[^8]*", "10", False),
        ("[A-Z]*[17].*", "18", False),
        ("8+", "18", True),
    ],
)
def test_the_two_together_keep_to_the_rule(pattern, text, unmatched):
    pixels = np.full((32, 48), 255, np.uint8)
    pixels[10:20, 4:40] = 0
    reader = reads("10", 0.6, pattern=pattern, second_doubt=0.0)
    reader.second = reads("18", 0.999)
    (found,) = reader.recognize([pixels])
    assert (found.text, found.second, found.unmatched) == (text, "18", unmatched)


def test_a_line_is_doubtful_by_its_worst_character():
    sure = line("18", doubt=Doubt(wrong=0.03, lookalike=0.5, dropped=0.03))
    assert not is_doubtful(sure, 0.03)
    assert is_doubtful(sure, 0.029)
    assert is_doubtful(sure, 0.0)
    lost = replace(sure.chars[1], doubt=Doubt(wrong=0.01, lookalike=0.0, dropped=0.04))
    assert is_doubtful(replace(sure, chars=(sure.chars[0], lost)), 0.03)
    wrong = replace(sure.chars[0], doubt=Doubt(wrong=0.04, lookalike=0.0, dropped=0.0))
    assert is_doubtful(replace(sure, chars=(wrong, sure.chars[1])), 0.03)
    assert is_doubtful(replace(sure, unmatched=True), 0.5)
    assert is_doubtful(line(""), 0.5)
    assert not is_doubtful(line("18", sure=0.98), 0.03)  # of a model that is not calibrated
    assert is_doubtful(line("18", sure=0.96), 0.03)


def doubted(lines: list[Recognition]) -> list[Recognition]:
    return list(together(lines, [None] * len(lines), CHARSET, ALIKE, None))


def test_the_second_model_reads_what_the_first_one_doubts_and_nothing_else(model, light_model):
    images = [png(draw_line(text)) for text in ("0O1l", "A B", "77", "A B", "l1")] + [b"no image", png(draw_line(""))]
    alone = LineReader.load(model).recognize([image for image in images if image != b"no image"])
    doubts = [[max(char.doubt.wrong, char.doubt.dropped) for char in one.chars] for one in doubted(alone)]
    worst = [max(each, default=1) for each in doubts]
    middle = sorted(worst)[len(worst) // 2]
    pair = LineReader.load(model, config=PredictConfig(second_model=str(light_model), second_doubt=middle))
    opened = []
    pair.second.on_open = lambda _, image: opened.append(image.size)
    both = [found for found in pair.stream(images) if isinstance(found, Recognition)]
    asked = [found.second is not None for found in both]
    assert asked == [doubt > middle or not one.chars for doubt, one in zip(worst, alone, strict=True)]
    assert 0 < sum(asked) < len(asked)
    assert len(opened) == sum(asked)
    sure = [(found.text, found.confidence) for found in both if found.second is None]
    assert sure == [(one.text, one.confidence) for one, also in zip(alone, asked, strict=True) if not also]
    assert all(char.doubt is not None for found in both for char in found.chars)


def test_a_reader_asks_the_second_model_about_every_line_if_it_shall(model, light_model):
    images = [png(draw_line("0O1l")), png(draw_line("A B")), b"no image", png(draw_line(""))]
    alone = list(LineReader.load(model).stream(images))
    pair = LineReader.load(model, config=PredictConfig(second_model=str(light_model), second_doubt=0.0))
    both = list(pair.stream(images))
    assert [type(found) for found in both] == [Recognition, Recognition, Unreadable, Recognition]
    others = LineReader.load(light_model).stream(images)
    for before, found, other in zip(alone, both, others, strict=True):
        if isinstance(found, Recognition):
            assert found.second == other.text
            if before.text == other.text:
                assert found.text == before.text
            assert all(char.doubt is not None for char in found.chars)
            assert '"second": ' in json_line(found)
            assert '"second"' not in json_line(before)

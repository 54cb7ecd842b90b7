"""What was read on each line, kept for reports."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ocrcc.evaluation.line_log import LineLog, LineRead, WrongRead, line_read
from ocrcc.types import CharSpan


def line(index: int, truth: str, text: str, sure: float = 0.5) -> LineRead:
    return LineRead(
        dataset=2, index=index, truth=truth, text=text, confidence=sure, source=f"line {index}", aspect=index + 0.5,
        confidences=tuple(sure + place / 100 for place in range(len(text))),
    )  # fmt: skip


def wrong(truth: str, read: str, edits: int = 1) -> WrongRead:
    return WrongRead(dataset=0, index=0, truth=truth, read=read, edits=edits, confidence=0.5, source="")


def test_lines_are_kept_as_numbers_and_the_wrong_ones_as_texts():
    log = LineLog()
    for each in (
        line(3, "己已", "己巳"),
        line(5, "10", "10", 0.75),
        line(8, "abc", "ac"),
        line(9, "", "x"),
        line(1, "1", ""),
    ):
        log.update(each)
    assert log.right.tolist() == [False, True, False, False, False]
    assert log.lengths.tolist() == [2, 2, 3, 0, 1]
    assert log.aspects.tolist() == [3.5, 5.5, 8.5, 9.5, 1.5]
    assert log.confidences.tolist() == [0.5, 0.75, 0.5, 0.5, 0.5]
    sure, right = log.characters
    assert sure.tolist() == pytest.approx([0.5, 0.51, 0.75, 0.76, 0.5, 0.51, 0.5])
    assert right.tolist() == [True, False, True, True, True, True, False]
    assert [*log.wrong] == [(2, 3), (2, 8), (2, 9), (2, 1)]
    found = log.wrong[2, 8]
    assert (found.truth, found.read, found.edits, found.source, found.place) == ("abc", "ac", 1, "line 8", (2, 8))


def test_what_is_known_of_a_line_is_brought_together():
    dataset = SimpleNamespace(widths=np.array([10, 300]), heights=np.array([0, 30]))
    chars = [CharSpan(char=char, confidence=sure, start=0, end=1) for char, sure in (("1", 0.5), ("O", 0.25))]
    found = line_read(dataset, 2, 1, "10", 0.25, chars, "line 1")
    assert found == LineRead(
        dataset=2,
        index=1,
        truth="10",
        text="1O",
        confidence=0.25,
        confidences=(0.5, 0.25),
        source="line 1",
        aspect=10.0,
    )
    assert line_read(dataset, 0, 0, "", 1.0, [], "").aspect == 10  # a height that nobody knows


@pytest.mark.parametrize(("truth", "read", "bad"), [("1", "2", 1), ("10", "1", 0.5), ("1", "1x", 0.5), ("", "", 0)])
def test_badness_is_the_share_that_is_wrong(truth, read, bad):
    assert wrong(truth, read, 1 if bad else 0).badness == bad


def test_parts_differ_where_the_texts_do():
    assert wrong("a己c", "a已已c").parts() == (
        [(True, "a"), (False, "己"), (True, "c")],
        [(True, "a"), (False, "已"), (False, "已"), (True, "c")],
    )
    assert wrong("abc", "ac").parts() == ([(True, "a"), (False, "b"), (True, "c")], [(True, "a"), (True, "c")])

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ocrcc.charset import Charset
from ocrcc.errors import ConfigError
from ocrcc.evaluation import report
from ocrcc.evaluation.report import EvaluationResult, Tally, mean_loss, standard_errors
from ocrcc.evaluation.significance import mcnemar
from ocrcc.lookalikes import Group, Lookalikes

CHARSET = Charset("自己已巳abc, ")


def tally(*lines, worst=0):
    result = Tally(CHARSET, worst=worst)
    for number, (truth, read) in enumerate(lines, start=1):
        result.update(truth, read, f"set#{number}")
    return result


def result_of(*metrics):
    return EvaluationResult(
        model="m.safetensors", charset="custom", normalisation="none", datasets=metrics, total=metrics[0]
    )


def test_strict_and_folded_differ_only_in_forms_and_spaces():
    metrics = tally(("a, b", "ａ，b"), ("己", "已")).summary("set", 2.0)
    assert (metrics.line_accuracy, metrics.folded.line_accuracy) == (0, 0.5)
    assert metrics.cer == pytest.approx(4 / 5)
    assert metrics.folded.cer == pytest.approx(1 / 4)
    assert metrics.lines_per_second == 1.0


def test_a_character_that_the_charset_lacks_stays_in_the_reference():
    metrics = tally(("自巴己", "自己"), ("巴𠮷", "")).summary("set", 1.0)
    assert metrics.missing == (("巴", 2), ("𠮷", 1))
    assert metrics.strict.characters == 5
    assert metrics.cer == pytest.approx(3 / 5)


def test_the_worst_lines_are_the_worst_however_many_there_were():
    lines = [("abcabc", "abcab" + "b" * (number % 3)) for number in range(1000)] + [("abc", ""), ("ab", "")]
    metrics = tally(*lines, worst=4).summary("set", 1.0)
    assert [(line.truth, line.read, line.source) for line in metrics.worst] == [
        ("abc", "", "set#1001"),
        ("ab", "", "set#1002"),
        ("abcabc", "abcabbb", "set#3"),
        ("abcabc", "abcabbb", "set#6"),
    ]


def test_right_lines_are_never_among_the_worst():
    metrics = tally(("a", "a"), ("", ""), ("b", "c"), worst=9).summary("set", 1.0)
    assert [line.source for line in metrics.worst] == ["set#3"]


def test_parts_add_up_to_the_whole():
    first, second = [("ab", "ac"), ("己", "已")], [("己", "已"), ("x", "a"), ("", "b")]
    merged = tally(*first, worst=3)
    other = tally(*second, worst=3)
    other.update_unreadable("set#9: truncated")
    merged.merge(other)
    found = merged.summary("total", 1.0)
    whole = tally(*first, *second, worst=3).summary("total", 1.0)
    assert (found.strict, found.folded, found.substitutions) == (whole.strict, whole.folded, whole.substitutions)
    assert (found.missing, found.insertions) == (whole.missing, whole.insertions)
    assert [line.truth for line in found.worst] == [line.truth for line in whole.worst]
    assert (found.unreadable, found.unreadable_named) == (1, ("set#9: truncated",))


def test_unreadable_lines_are_counted_but_only_the_first_are_named():
    counter = tally(("a", "a"))
    for number in range(250):
        counter.update_unreadable(f"line {number}")
    metrics = counter.summary("set", 1.0)
    assert metrics.unreadable == 250
    assert metrics.unreadable_named[:2] == ("line 0", "line 1")
    assert len(metrics.unreadable_named) == 100
    assert metrics.lines == 1


def test_json_has_the_keys_of_the_format(tmp_path):
    metrics = tally(("自己", "自已"), ("ab", "abc"), ("巴", "")).summary('we"ird\n\x1b[31m', 0.5)
    path = tmp_path / "result.json"
    result_of(metrics).write_json(path)
    text = path.read_text(encoding="utf-8")
    assert '\n  "lines": 3,\n' in text  # for people too
    written = json.loads(text)
    assert written["lines"] == 3
    assert written["line_accuracy"] == 0
    assert written["cer"] == pytest.approx(3 / 5)
    assert written["one_minus_ned"] == pytest.approx(1 - (1 / 2 + 1 / 3 + 1) / 3)
    assert written["lookalike_chars"] is written["lookalike_accuracy"] is None
    assert written["confusions"] == [{"truth": "己", "predicted": "已", "count": 1}]
    assert written["insertions"] == [{"predicted": "c", "count": 1}]
    assert written["deletions"] == [{"truth": "巴", "count": 1}]
    assert written["missing"] == [{"char": "巴", "count": 1}]
    assert written["lines_per_second"] == 6
    assert written["folded"]["cer"] == pytest.approx(3 / 5)
    assert written["datasets"][0]["name"] == 'we"ird\n\x1b[31m'
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_undefined_figures_are_null_not_nan(tmp_path):
    result_of(tally().summary("set", 0.0)).write_json(tmp_path / "r.json")
    written = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert written["lines"] == 0
    assert written["cer"] is written["line_accuracy"] is written["lines_per_second"] is None


def test_an_unwritable_json_file_is_an_error_and_leaves_nothing(tmp_path):
    with pytest.raises(ConfigError, match=r"no/such/r\.json: there is no folder"):
        result_of(tally().summary("set", 0.0)).write_json(tmp_path / "no" / "such" / "r.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ConfigError, match="no report that ocrcc made"):
        result_of(tally().summary("set", 0.0)).write_json(tmp_path / "folder.json")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.json"]


def test_lookalike_accuracy_is_the_recall_of_characters_that_have_siblings():
    lookalikes = Lookalikes((Group("己已巳", 0.9, "list"), Group("0O", 0.8, "list")))
    first, second = (Tally(Charset("自己已巳0O"), lookalikes=lookalikes) for _ in range(2))
    first.update("自己巳", "自已巳", "1")  # one of two taken for its twin
    second.update("00O", "0O", "2")  # one of three left out
    second.update("自", "O自O", "3")  # insertions are nobody's loss
    first.merge(second)
    metrics = first.summary("set", 1.0)
    assert metrics.lookalike_chars == 5
    assert metrics.lookalike_accuracy == pytest.approx(3 / 5)
    assert metrics.to_json()["lookalike_accuracy"] == pytest.approx(3 / 5)
    (pair,) = metrics.lookalike_pairs
    assert (pair.first + pair.second, pair.count) == ("己已", 1)


def test_lookalike_accuracy_of_no_lookalikes_is_undefined():
    counter = Tally(CHARSET, lookalikes=Lookalikes((Group("0O", 0.8, "list"),)))
    counter.update("自", "己", "1")
    found = counter.summary("set", 1.0).to_json()
    assert (found["lookalike_chars"], found["lookalike_accuracy"]) == (0, None)


def test_losses_are_compared_line_by_line():
    def metrics(*losses):
        return tally(("a", "a")).summary("set", 1.0, losses=np.array(losses, np.float32))

    before, now = metrics(0.1, 0.2, np.nan, 0.4), metrics(0.2, 0.2, 0.7, 0.6)
    assert mean_loss(before) == pytest.approx(0.7 / 3)
    assert mean_loss(metrics(1.0, np.inf)) == pytest.approx((1 + report._MOST_LOSS) / 2)
    risen = np.array([0.1, 0.0, 0.2])
    assert standard_errors(before, now) == pytest.approx(0.1 / (risen.std() / np.sqrt(3)), rel=1e-5)
    assert standard_errors(now, before) == pytest.approx(-0.1 / (risen.std() / np.sqrt(3)), rel=1e-5)
    assert standard_errors(before, before) == standard_errors(metrics(), metrics()) == 0.0
    assert standard_errors(metrics(1.0, 1.0), metrics(2.0, 2.0)) > 1e6  # every line by as much


def test_what_is_worse_is_said_figure_by_figure():
    lookalikes = Lookalikes((Group("0O", 0.8, "list"),))

    def result(*lines):
        counter = Tally(CHARSET, lookalikes=lookalikes)
        for truth, read in lines:
            counter.update(truth, read, "x")
        return result_of(counter.summary("set", 1.0))

    good, bad = result(("00", "00"), ("a", "a")), result(("00", "O0"), ("a", "a"))
    said = replace(bad, baseline=good).worse()
    assert said == ["lines right 100.00% -> 50.00%", "CER 0.00% -> 33.33%", "look-alikes right 100.00% -> 50.00%"]
    assert replace(good, baseline=bad).worse() == replace(good, baseline=good).worse() == good.worse() == []
    plain = result_of(tally(("a", "b")).summary("set", 1.0))
    assert replace(plain, baseline=plain).worse() == []


def test_fixed_lines_are_those_that_only_the_new_model_reads():
    def read(right):
        return result_of(tally(("a", "a")).summary("set", 1.0, right=np.array(right, np.int8)))

    before, after = read([0, 0, 0, 1, 1, -1, 0, -1]), read([1, 1, 1, 0, 1, 1, 0, 0])
    found = replace(after, baseline=before).comparison()
    assert (found.fixed, found.broken) == (3, 1)
    assert found.p_value == mcnemar(3, 1) == 0.625
    found = replace(before, baseline=after).comparison()
    assert (found.fixed, found.broken) == (1, 3)

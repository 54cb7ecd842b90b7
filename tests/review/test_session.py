from __future__ import annotations

import json

import pytest
from doubts import make_results
from hypothesis import given
from hypothesis import strategies as st

from ocrcc.config import ReviewConfig
from ocrcc.errors import DataError
from ocrcc.review.log import opened
from ocrcc.review.session import Session, StaleError, _changed_cells
from ocrcc.review.sources import find_lines

LINES = [
    ("2O24", "2024", {1: 0.6, 2: 0.8}, {1: "OQ", 2: "Z"}),
    ("I234", "1234", {0: 0.3}, {0: "Il"}),
    ("5678", "5678", {}, {}),
    ("90AB", "9OAB", {1: 0.7, 3: 0.75}, {1: "0", 3: "8"}),
]


def start(folder, log, lines=LINES, unsure=0.9, complain=None):
    results = make_results(folder, lines)
    return Session(find_lines([str(results)], ReviewConfig(unsure=unsure), complain=complain or pytest.fail), log)


@pytest.fixture
def log(tmp_path):
    with opened(tmp_path / "corrections") as log:
        yield log


def labels(log):
    return [row.partition("\t")[2] for row in (log.folder / "labels.tsv").read_text(encoding="utf-8").splitlines()]


def place(question, log):
    return question.line.key, question.doubt.position, len(log.records)


def test_the_worst_line_comes_first_and_is_gone_through(tmp_path, log):
    session = start(tmp_path, log)
    asked = []
    while (question := session.question()) is not None:
        asked.append((question.line.name, question.doubt.position))
        session.replace(*place(question, log), question.cells[question.doubt.position], "accepted")
    assert asked == [
        ("lines/001.png", 0), ("lines/000.png", 1), ("lines/000.png", 2), ("lines/003.png", 1), ("lines/003.png", 3),
    ]  # fmt: skip
    assert labels(log) == ["1234", "2024", "9OAB"]


def test_a_line_is_a_label_once_all_its_doubts_are_decided(tmp_path, log):
    session = start(tmp_path, log)
    session.replace(*place(session.question(), log), "I", "chosen")
    assert labels(log) == ["I234"]
    session.replace(*place(session.question(), log), "O", "chosen")
    assert labels(log) == ["I234"]
    assert session.progress()["labels"] == 1
    session.replace(*place(session.question(), log), "2", "accepted")
    assert labels(log) == ["I234", "2O24"]
    assert [record["open"] for record in log.records] == [0, 1, 0]


def test_it_goes_on_where_it_was(tmp_path):
    with opened(tmp_path / "corrections") as log:
        session = start(tmp_path, log)
        session.replace(*place(session.question(), log), "I", "chosen")
        session.replace(*place(session.question(), log), "O", "chosen")
    with opened(tmp_path / "corrections") as log:
        session = start(tmp_path, log)
        question = session.question()
        assert (question.line.name, question.doubt.position, question.cells) == ("lines/000.png", 2, tuple("2O24"))
        assert session.progress()["done"] == 2
        assert session.undo()
        assert session.question().cells == tuple("2024")
        assert session.undo()
        assert session.question().line.name == "lines/001.png"
        assert not session.undo()


def test_another_reading_of_a_decided_line_is_not_asked_about(tmp_path):
    with opened(tmp_path / "corrections") as log:
        session = start(tmp_path, log)
        session.replace(*place(session.question(), log), "I", "chosen")
        session.replace(*place(session.question(), log), "O", "chosen")
    other = [("2O24", "2Q24", {1: 0.6}, {1: "O"}), ("I234", "l234", {0: 0.3}, {0: "1"})]
    with opened(tmp_path / "corrections") as log:
        session = start(tmp_path, log, other)
        question = session.question()
        assert (question.line.name, question.cells) == ("lines/000.png", tuple("2Q24"))  # it was not finished
        session.replace(*place(question, log), "O", "chosen")
        assert session.question() is None
        assert labels(log) == ["I234", "2O24"]


def test_results_of_other_images_of_the_same_name_are_asked_about(tmp_path):
    with opened(tmp_path / "corrections") as log:
        session = start(tmp_path, log)
        session.replace(*place(session.question(), log), "I", "chosen")
    (tmp_path / "b").mkdir()
    with opened(tmp_path / "corrections") as log:
        session = start(tmp_path / "b", log, [("X", "Y", {0: 0.5}, {}), ("Z", "2", {0: 0.5}, {})])
        assert session.progress()["left"] == 2
        session.replace(*place(session.question(), log), "X", "typed")
        assert labels(log) == ["I234", "X"]
        session.undo()
        assert not session.undo()  # the first decision's line cannot be shown here
        assert labels(log) == ["I234"]


def test_a_missing_or_other_image_is_said(tmp_path, log):
    results = make_results(tmp_path, LINES)
    (tmp_path / "lines" / "001.png").unlink()
    rows = [json.loads(row) for row in results.read_text().splitlines()]
    rows[0]["chars"][3]["right"] = 5000
    results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = []
    session = Session(find_lines([str(results)], ReviewConfig(), complain=said.append), log)
    assert said == ["lines/001.png: no such image"]
    assert session.question().line.name == "lines/003.png"
    assert "was read on another image" in session.broken[0]
    assert session.progress() | {"pairs": []} == {
        "done": 0, "total": 2, "left": 2, "seconds": None, "labels": 0, "pairs": [], "step": 0, "broken": 1,
        "trouble": "",
    }  # fmt: skip


def test_a_doubt_can_wait_and_a_line_be_left_out(tmp_path, log):
    session = start(tmp_path, log)
    session.put_off(*place(session.question(), log))
    question = session.question()
    assert question.line.name == "lines/000.png"
    session.leave_out(*place(question, log))
    assert session.question().line.name == "lines/003.png"
    for _ in range(2):
        session.replace(*place(session.question(), log), "0", "chosen")
    assert session.question().line.name == "lines/001.png"
    assert labels(log) == ["90A0"]
    session.undo()
    session.undo()
    session.undo()
    assert session.question().line.name == "lines/000.png"


def test_pairs_can_be_asked_about_alone(tmp_path, log):
    session = start(tmp_path, log)
    assert session.progress()["pairs"][0] == {"pair": "0 O", "left": 2}
    question = session.question("0 O")
    assert (question.line.name, question.doubt.position) == ("lines/000.png", 1)
    session.replace(*place(question, log), "O", "chosen")
    question = session.question("0 O")
    assert (question.line.name, question.doubt.position) == ("lines/003.png", 1)
    session.replace(*place(question, log), "0", "chosen")
    assert session.question("0 O") is None
    assert session.progress("0 O")["left"] == 0
    assert session.progress()["left"] == 3
    assert labels(log) == []  # both lines have other doubts


def test_equal_crops_are_offered_what_the_last_one_was(tmp_path, log):
    twice = [
        ("OO", "0AAAA", {0: 0.5}, {}),
        ("O1", "0BAAA", {0: 0.6}, {}),
        ("X1", "0BAAA", {0: 0.7}, {}),
        ("O3", "QBAAA", {0: 0.8}, {}),
    ]
    session = start(tmp_path, log, twice)
    question = session.question()
    assert question.same is None
    session.replace(*place(question, log), "O", "typed")
    question = session.question()
    assert (question.line.name, question.same) == ("lines/001.png", "O")
    session.replace(*place(question, log), "O", "same")
    assert session.question().same is None  # other pixels
    session.replace(*place(session.question(), log), "X", "typed")
    assert session.question().same is None  # equal pixels, read as another
    for _ in range(3):
        session.undo()
    assert session.question().same is None


def test_an_answer_counts_once(tmp_path, log):
    session = start(tmp_path, log)
    asked = place(session.question(), log)
    session.replace(*asked, "I", "chosen")
    for stale in (asked, (asked[0], asked[1], 1), ("f" * 20, 0, 1), (session.question().line.key, 3, 1)):
        with pytest.raises(StaleError):
            session.replace(*stale, "l", "chosen")
    assert len(log.records) == 1


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\0", "\ud800", "x" * 20_000])
def test_what_no_label_can_hold_is_refused(tmp_path, log, text):
    session = start(tmp_path, log)
    with pytest.raises(DataError):
        session.replace(*place(session.question(), log), text, "typed")
    assert session.question().cells == tuple("1234")
    assert not log.records


def test_a_whole_line_can_be_rewritten(tmp_path, log):
    session = start(tmp_path, log, [("AbcdE", "AxE1", {0: 0.5, 1: 0.6, 2: 0.7, 3: 0.8}, {})])
    session.rewrite(*place(session.question(), log), "AbcdE1")
    question = session.question()
    assert (question.doubt.position, question.cells, question.open) == (2, ("A", "bcd", "E", "1"), {2, 3})
    session.rewrite(*place(question, log), "AbcdE")
    assert session.question() is None
    assert labels(log) == ["AbcdE"]
    session.undo()
    assert session.question().cells == ("A", "bcd", "E", "1")


def test_a_line_on_which_nothing_was_read(tmp_path, log):
    results = make_results(tmp_path, [("17", "", {}, {})])
    results.write_text(results.read_text().replace("0.99", "0.4"))
    session = Session(find_lines([str(results)], ReviewConfig(), complain=pytest.fail), log)
    question = session.question()
    assert (question.cells, question.view.places) == (("",), {})
    session.replace(*place(question, log), "17", "typed")
    assert labels(log) == ["17"]
    session.undo()
    session.rewrite(*place(session.question(), log), "18")
    assert labels(log) == ["18"]


def test_deciding_what_cannot_be_written_changes_nothing(tmp_path, log, monkeypatch):
    session = start(tmp_path, log)
    question = session.question()
    with monkeypatch.context() as full:
        full.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(DataError, match="No space left"):
            session.replace(*place(question, log), "I", "chosen")
        assert session.question() == question
    session.replace(*place(question, log), "I", "chosen")
    assert labels(log) == ["I234"]


@given(st.lists(st.text("ab", max_size=2), min_size=1, max_size=6), st.text("abc", max_size=8))
def test_changed_cells_give_the_new_text(cells, text):
    changed = _changed_cells(cells, text)
    assert "".join(changed.get(at, cell) for at, cell in enumerate(cells)) == text
    assert changed.keys() <= set(range(len(cells)))
    assert text != "".join(cells) or not any(changed.get(at, cell) != cell for at, cell in enumerate(cells))

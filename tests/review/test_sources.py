from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from doubts import make_results, reading
from drawn_lines import draw_line
from PIL import Image
from stored_lines import store_drawn

from ocrcc.config import ReviewConfig
from ocrcc.errors import DataError
from ocrcc.review.lines import _doubts
from ocrcc.review.readings import read_readings
from ocrcc.review.sources import find_lines
from ocrcc.types import Doubt, Recognition, RecognizedChar

LINES = [("2O24", "2024", {1: 0.6}, {1: "OQ"}), ("5678", "5678", {}, {})]


def find(*paths, unsure=0.9):
    said = []
    return find_lines([str(path) for path in paths], ReviewConfig(unsure=unsure), complain=said.append), said


def test_images_are_found_from_beside_the_results(tmp_path, monkeypatch):
    results = make_results(tmp_path, LINES)
    (line,), said = find(results)
    assert (line.name, "".join(line.read), line.doubts[0].position, line.doubts[0].choices) == (
        "lines/000.png", "2024", 1, ("O", "Q"),
    )  # fmt: skip
    assert not said
    assert line.view().image.size == (100, 32)
    assert line.view().places[1] == (0.25, 0.5)


def test_a_text_that_was_changed_by_hand_is_not_asked_about_as_it_was(tmp_path):
    results = make_results(tmp_path, [*LINES, ("A1", "Al", {1: 0.5}, {1: "1"})])
    results.write_text(results.read_text().replace('"text": "2024"', '"text": "2O24"'))
    lines, said = find(results)
    assert [line.name for line in lines] == ["lines/002.png"]
    assert said == ["lines/000.png: its text was changed by hand, and is not what its characters say"]


def test_calibrated_doubts_and_broken_rules_count(tmp_path):
    results = make_results(
        tmp_path, [("2O24", "2024", {}, {}), ("5678", "5678", {1: 0.95}, {}), ("A", "B", {0: 0.2}, {})]
    )
    rows = [json.loads(row) for row in results.read_text().splitlines()]
    rows[0]["chars"][2]["doubt"] = {"wrong": 0.4, "lookalike": 0.3, "dropped": 0.0}
    rows[1]["unmatched"] = True
    rows[2]["chars"][0]["doubt"] = {"wrong": 0.05, "lookalike": 0.0, "dropped": 0.0}
    results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines, _ = find(results)
    assert [(line.name, [(each.position, each.sure) for each in line.doubts]) for line in lines] == [
        ("lines/000.png", [(2, pytest.approx(0.6))]), ("lines/001.png", [(1, 0.95)]),
    ]  # fmt: skip


def test_a_line_is_known_again_wherever_it_lies(tmp_path):
    (line,), _ = find(make_results(tmp_path, LINES))
    (tmp_path / "lines").rename(tmp_path / "moved")
    results = tmp_path / "read.json"
    results.write_text(results.read_text().replace("lines/", "moved/"))
    (again,), _ = find(results)
    assert again.key == line.key
    (tmp_path / "b").mkdir()
    (other,), _ = find(make_results(tmp_path / "b", [("2O25", "2024", {1: 0.6}, {})]))
    assert other.key != line.key


def test_a_line_that_was_read_upside_down_is_shown_upright(tmp_path):
    results = make_results(tmp_path, LINES)
    rows = [json.loads(row) for row in results.read_text().splitlines()]
    rows[0]["upside_down"] = True
    results.write_text(json.dumps(rows[0]) + "\n")
    (line,), _ = find(results)
    view = line.view()
    upright = Image.open(tmp_path / "lines" / "000.png").rotate(180)
    assert np.array_equal(np.asarray(view.image), np.asarray(upright))
    assert view.places[1] == (0.5, 0.75)


def test_lines_of_a_page_are_cut_out(tmp_path):
    page = Image.new("L", (300, 200), 235)
    page.paste(draw_line("A1B2"), (40, 100))
    page.save(tmp_path / "page.png")
    width = draw_line("A1B2").width
    box = [[40, 100], [40 + width, 100], [40 + width, 132], [40, 132]]
    line = reading("page.png", "AIB2", {1: 0.5}, {1: "1"}, width)
    for char in line["chars"]:
        left, right = 40 + char["left"], 40 + char["right"]
        char |= {"left": left, "right": right, "box": [[left, 100], [right, 100], [right, 132], [left, 132]]}
    del line["path"]
    content = {"path": "page.png", "width": 300, "height": 200, "lines": [line | {"box": box}]}
    results = tmp_path / "read.json"
    results.write_text(json.dumps(content) + "\n")
    (found,), said = find(results)
    assert not said
    view = found.view()
    left, right = (round(share * view.image.width) for share in view.places[1])
    pixels = np.asarray(view.image.crop((left, 0, right, view.image.height)))
    own = np.asarray(page.crop((40 + width // 4, 100, 40 + width // 2, 132)))
    assert abs(float((pixels < 128).mean()) - float((own < 128).mean())) < 0.05
    results.write_text(json.dumps(content | {"width": 600}) + "\n")
    (found,), _ = find(results)
    with pytest.raises(DataError, match="of 600 x 200 pixels, not 300 x 200"):
        found.view()


@pytest.mark.parametrize(
    "row",
    [
        "{", '{"path": "a.png"}', '{"lines": 3}', "{" * 9999,
        json.dumps(reading("a.png", "ab", {0: 2.0}, {}, 50)),
        json.dumps(reading("a.png", "ab", {}, {}, 50)).replace('"left": 0', '"left": -5'),
        json.dumps(reading("a.png", "ab", {}, {}, 50)).replace('"char": "a"', '"char": 7'),
        json.dumps(reading("a.png", "ab", {}, {}, 50)).replace('"char": "a"', '"char": "\\ud800"'),
    ],
)  # fmt: skip
def test_a_damaged_results_file_is_named_by_line(tmp_path, row):
    results = make_results(tmp_path, LINES)
    results.write_text(results.read_text() + row + "\n")
    with pytest.raises(DataError, match=r"read\.json:3: no reading"):
        list(read_readings(results))


def test_a_list_of_disputed_labels(tmp_path):
    from ocrcc.space.suspects import HEADER

    data = store_drawn(tmp_path / "train.lmdb", ("1O", "22", "Ａ3"), source="labels.txt")
    rows = [
        (f"{data}#1 (labels.txt:0)", "2", "O", "0", "0.9500", "-1.0", "1O", "0.25000-0.50000", ""),
        ("train.lmdb#3 (labels.txt:2)", "1", "A", "4", "0.6000", "", "A3", "0.00000-0.50000", ""),
        (f"{data}#2 (labels.txt:1)", "1", "7", "Z", "0.9000", "-1.0", "72", "0.00000-0.50000", ""),
        (f"{data}#9 (labels.txt:8)", "1", "7", "Z", "0.9000", "-1.0", "72", "0.00000-0.50000", ""),
        ("gone.lmdb#1", "1", "7", "Z", "0.9000", "-1.0", "72", "0.00000-0.50000", ""),
    ]
    path = tmp_path / "disputed.tsv"
    path.write_text("".join("\t".join(row) + "\n" for row in (HEADER, *rows)), encoding="utf-8")
    lines, said = find(path)
    assert [("".join(line.read), line.doubts[0].position, line.doubts[0].choices) for line in lines] == [
        ("1O", 1, ("0",)), ("Ａ3", 0, ("4",)),
    ]  # fmt: skip
    assert lines[0].sure == pytest.approx(0.05)
    assert lines[0].view().places == {1: (0.25, 0.5)}
    assert [message.rpartition(": ")[2] for message in said] == [
        "has another label than when the list was made", "the dataset has no such line", "there is no such dataset",
    ]  # fmt: skip
    path.write_text(path.read_text(encoding="utf-8").replace("0.25000-0.50000", "0.5"), encoding="utf-8")
    with pytest.raises(DataError, match=r"disputed\.tsv:2: damaged"):
        find(path)


def test_images_are_asked_about_where_a_second_model_differs(tmp_path, wild_model):
    draw_line("12").save(tmp_path / "a.png")
    images = [str(tmp_path / "a.png")]
    alone, beside = (
        find_lines(images, ReviewConfig(unsure=1, second_model=second), model=str(wild_model), complain=pytest.fail)
        for second in ("", "ocrcc-zh-small")
    )
    assert "".join(alone[0].read) != "12"
    assert "".join(beside[0].read) == "12"  # nobody is surer of nonsense than another is of digits


def test_nothing_that_can_be_reviewed(tmp_path):
    with pytest.raises(DataError, match="nothing to review"):
        find(tmp_path / "no*.png")


def test_images_that_are_read_now_are_asked_about_by_calibration_too():
    def char(confidence, wrong):
        doubt = Doubt(wrong=wrong, lookalike=0.0, dropped=0.0)
        return RecognizedChar(char="4", confidence=confidence, left=0, right=4, doubt=doubt)

    line = Recognition(
        path="x.png", text="444", confidence=0.8, chars=(char(0.8, 0.01), char(0.999, 0.4), char(0.99, 0))
    )
    assert [(each.position, each.sure) for each in _doubts(line, 0.9)] == [(1, pytest.approx(0.6))]
    (least,) = _doubts(replace(line, unmatched=True), 0.5)
    assert least.position == 1

from __future__ import annotations

import csv
import json
import math

import pytest
from drawn_lines import draw_line, png
from typer.testing import CliRunner
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.cli import app
from ocrcc.cli.commands import predict
from ocrcc.config import ExportConfig
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.errors import ConfigError
from ocrcc.export.export import export
from ocrcc.reading.doubts import Doubts, reason, worth
from ocrcc.reading.reader import LineReader
from ocrcc.types import Doubt, Recognition, RecognizedChar

CHARSET = Charset("0123456789OIl")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_wild_model(tmp_path_factory.mktemp("model") / "wild.safetensors", charset=CHARSET)


@pytest.fixture(scope="module")
def lines(model, tmp_path_factory):
    """Lines of which the model reads some characters wrong, by labels that say so."""
    images = [draw_line(str(number) * (1 + number % 5)) for number in range(10, 90)]
    texts = [reading.text for reading in LineReader.load(model, device="cpu").recognize(images)]
    path = tmp_path_factory.mktemp("lines") / "lines.lmdb"
    with LmdbWriter(path) as writer:
        for number, (image, text) in enumerate(zip(images, texts, strict=True)):
            label = text[:-1] + ("7" if text[-1:] != "7" else "3") if number % 2 else text
            writer.add(png(image), label or "1", source=f"drawn:{number}", size=image.size)
    return path


@pytest.fixture(scope="module")
def calibrated(model, lines, tmp_path_factory):
    out = tmp_path_factory.mktemp("calibrated") / "mine.safetensors"
    result = run("calibrate", model, "--data", lines, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert f"{out}: calibrated on" in result.stdout
    assert "calibration error (ECE)" in result.stdout
    return out


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(6):
        draw_line(str(number) * 4).save(folder / f"line\t{number}.png")
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments), "--threads", "1", "--device", "cpu"])


def test_a_calibrated_model_doubts_and_reads_as_before(model, calibrated, images):
    before, after = (
        [json.loads(line) for line in run("predict", images, "--model", one, "--format", "json").stdout.splitlines()]
        for one in (model, calibrated)
    )
    assert [line["text"] for line in before] == [line["text"] for line in after]
    assert not [char for line in before for char in line["chars"] if "doubt" in char or "evidence" in char]
    doubts = [char["doubt"] for line in after for char in line["chars"]]
    assert doubts
    assert all(0 <= value <= 1 for doubt in doubts for value in doubt.values())
    assert set(doubts[0]) == {"wrong", "lookalike", "dropped"}
    assert not [char for line in after for char in line["chars"] if "evidence" in char]


def test_an_export_beside_is_not_forgotten(model, lines, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    ours = tmp_path / "mine.safetensors"
    ours.write_bytes(model.read_bytes())
    assert "exported" not in run("calibrate", ours, "--data", lines).stderr
    export(ours, tmp_path / "mine.onnx", ExportConfig(samples=4, rendered=0))
    result = run("calibrate", ours, "--data", lines, "--limit", "70")
    assert result.exit_code == 0, result.stderr
    assert f"make it anew: ocrcc export {ours} {tmp_path / 'mine.onnx'}" in result.stderr


def test_review_lists_the_budget_worst_first(calibrated, images, tmp_path):
    list_of = tmp_path / "review.tsv"
    result = run("predict", images, "--model", calibrated, "--format", "json", "--review", list_of, "--budget", "0.5")
    assert result.exit_code == 0, result.stderr
    chars = {
        (line["path"], place): char
        for line in map(json.loads, result.stdout.splitlines())
        for place, char in enumerate(line["chars"], start=1)
    }
    rows = list(csv.DictReader(list_of.open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == round(0.5 * len(chars))
    assert f"{len(rows)} of {len(chars)} characters to look at, the worst first" in result.stderr
    assert "not calibrated" not in result.stderr
    worths = [float(row["worth"]) for row in rows]
    assert worths == sorted(worths, reverse=True)
    expected = sorted((worth(Doubt(**char["doubt"])) for char in chars.values()), reverse=True)
    assert worths == pytest.approx(expected[: len(rows)], abs=1e-4)
    for row in rows:
        char = chars[row["path"].replace("\\t", "\t"), int(row["position"])]
        assert (row["char"], int(row["left"]), int(row["right"])) == (char["char"], char["left"], char["right"])


def test_without_a_calibration_it_goes_by_confidence_and_says_so(model, images, tmp_path):
    list_of = tmp_path / "review.tsv"
    result = run("predict", images, "--model", model, "--review", list_of, "--budget", "1")
    assert "the model is not calibrated" in result.stderr
    rows = list(csv.DictReader(list_of.open(encoding="utf-8"), delimiter="\t", quoting=csv.QUOTE_NONE))
    sure = [float(row["confidence"]) for row in rows]
    assert sure == sorted(sure)
    assert {row["check"] for row in rows} == {"unsure"}
    assert run("predict", images, "--model", model, "--review", list_of).exit_code == 0, "a list of ours is replaced"
    list_of.write_text("thesis")
    assert run("predict", images, "--model", model, "--review", list_of).exit_code == 2
    assert list_of.read_text() == "thesis"


def test_doubtful_characters_are_coloured_on_a_terminal(calibrated, model, images, monkeypatch):
    monkeypatch.setattr(predict, "_on_terminal", lambda: True)
    coloured = []
    monkeypatch.setattr(predict.render, "coloured", lambda pieces: coloured.extend(pieces) or "")
    assert run("predict", images, "--model", calibrated, "--budget", "0.25").exit_code == 0
    assert sum(doubtful for _, doubtful in coloured) == round(0.25 * len(coloured))
    coloured.clear()
    assert run("predict", images, "--model", model, "--budget", "0.25").exit_code == 0
    assert coloured
    assert not any(doubtful for _, doubtful in coloured)


def test_a_shipped_model_is_not_written_over(lines):
    result = run("calibrate", "ocrcc-zh-small", "--data", lines)
    assert result.exit_code == 2
    assert "--out mine.safetensors" in result.stderr


def test_too_few_errors_are_said(model, tmp_path):
    image = draw_line("1234")
    text = LineReader.load(model, device="cpu").recognize([image])[0].text
    path = tmp_path / "right.lmdb"
    with LmdbWriter(path) as writer:
        writer.add(png(image), text or "1", source="drawn", size=image.size)
    result = run("calibrate", model, "--data", path, "--out", tmp_path / "new.safetensors")
    assert result.exit_code == 3
    assert "too few to learn from" in result.stderr
    assert not (tmp_path / "new.safetensors").exists()


@pytest.mark.parametrize(
    ("every", "said"), [(1, "are right, too few to learn from"), (3, "only 2 lines, too few to hold one out")]
)
def test_labels_of_other_images_and_too_few_lines_are_said(model, tmp_path, every, said):
    images = [draw_line("0123456789" * 12), draw_line("9876543210" * 12)]
    with LmdbWriter(tmp_path / "two.lmdb") as writer:
        for image, read in zip(images, LineReader.load(model, device="cpu").recognize(images), strict=True):
            label = "".join("中" if at % every == 0 else char for at, char in enumerate(read.text))
            writer.add(png(image), label, source="drawn", size=image.size)
    result = run("calibrate", model, "--data", tmp_path / "two.lmdb", "--out", tmp_path / "new.safetensors")
    assert (result.exit_code, said in result.stderr) == (3, True), result.stderr
    assert not (tmp_path / "new.safetensors").exists()


def test_what_is_said_to_be_wrong_is_the_likeliest():
    def char(**doubt):
        return RecognizedChar(char="4", confidence=1.0, left=0, right=1, doubt=Doubt(**doubt) if doubt else None)

    assert reason(char(wrong=0.3, lookalike=0.2, dropped=0.01)) == "look-alike"
    assert reason(char(wrong=0.3, lookalike=0.01, dropped=0.25)) == "missing after"
    assert reason(char(wrong=0.9, lookalike=0.1, dropped=0.1)) == "unsure"
    assert reason(char()) == "unsure"
    doubts = Doubts(0.5)
    chars = [char(wrong=0.9, lookalike=0.0, dropped=0.0), char(wrong=0.2, lookalike=0.2, dropped=0.0)]
    doubts.add(Recognition(path="a", text="44", confidence=1.0, chars=tuple(chars)))
    assert [one.char for one in doubts.chosen()] == chars[1:]
    doubts.add(Recognition(path="b", text="", confidence=0.1))
    first, second = doubts.chosen()
    assert (first.path, reason(first.char), first.worth) == ("b", "nothing read", pytest.approx(0.9))
    assert second.char == chars[1]
    assert doubts.calibrated


@pytest.mark.parametrize("budget", [math.nan, -0.1, 1.1])
def test_a_budget_is_a_share(budget):
    with pytest.raises(ConfigError, match=rf"budget is {budget}, not 0\.\.1"):
        Doubts(budget)

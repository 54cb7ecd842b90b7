from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from drawn_lines import draw_line, png
from PIL import Image
from stored_lines import store
from typer.testing import CliRunner
from wild import save_wild_model

from ocrcc.charset import MISSING_HINT, Charset
from ocrcc.cli import app, scores
from ocrcc.config import PredictConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.models.checkpoint import load_model, save_model
from ocrcc.reading.reader import LineReader

CHARSET = Charset("0123456789abcdefghij，")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_wild_model(tmp_path_factory.mktemp("model") / "wild.safetensors", charset=CHARSET)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    return save_wild_model(path, arch="timm/lcnet_035+none", charset=CHARSET)


@pytest.fixture(scope="module")
def reader(model):
    return LineReader.load(model, device="cpu")


@pytest.fixture
def halves(tmp_path, reader):
    """Two datasets whose labels are what the model reads, but for one known error in each line of the second."""
    images = [draw_line(str(number) * (1 + number % 7)) for number in range(3, 23)]
    texts = [reading.text for reading in reader.recognize(images)]
    assert all(texts)
    right = store(tmp_path / "right.lmdb", zip(images, texts, strict=True))
    wrong = store(tmp_path / "wrong.lmdb", ((image, "己" + text) for image, text in zip(images, texts, strict=True)))
    return right, wrong, sum(map(len, texts))


def run(*arguments):
    return CliRunner().invoke(app, ["eval", *map(str, arguments), "--workers", "0", "--threads", "1"])


def test_figures_by_dataset_and_in_total(model, halves, tmp_path):
    right, wrong, characters = halves
    result = run(model, "--data", right, "--data", wrong, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.stderr
    titles = [line.strip() for line in result.stdout.splitlines() if line.strip() in ("right", "wrong", "total")]
    assert titles == ["right", "wrong", "total"]
    rows = [line for line in result.stdout.splitlines() if line.startswith("│ wild ")]
    assert ["100.00%" in rows[0], " 0.00%" in rows[1], "50.00%" in rows[2]] == [True] * 3
    assert max(map(len, rows)) <= 80
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [dataset["line_accuracy"] for dataset in written["datasets"]] == [1.0, 0.0]
    assert (written["lines"], written["line_accuracy"]) == (40, 0.5)
    assert written["cer"] == pytest.approx(20 / (2 * characters + 20))
    assert written["deletions"] == [{"truth": "己", "count": 20}]
    assert written["confusions"] == []
    assert "left out: 20 characters: 己 20×" in result.stdout
    assert "lacks '己' (U+5DF1) x 20; they make 20 of the errors" in result.stderr
    assert MISSING_HINT in result.stderr


def test_what_eval_reads_is_what_predict_reads(model, halves, reader):
    right, _, _ = halves
    for batch_size in ("1", "5"):
        result = run(model, "--data", right, "--batch-size", batch_size)
        assert "100.00%" in result.stdout


def test_one_dataset_has_no_total(model, halves):
    assert "total" not in run(model, "--data", halves[0]).stdout


def test_confusions_are_shown_with_counts_and_code_points(model, tmp_path, reader):
    images = [draw_line(str(number) * 4) for number in range(12)]
    texts = [reading.text for reading in reader.recognize(images)]
    twins = store(
        tmp_path / "twins.lmdb", ((image, "己" + text[1:]) for image, text in zip(images, texts, strict=True) if text)
    )
    result = run(model, "--data", twins, "--confusions", "2")
    assert "most frequent of 12 confusions" in result.stdout
    assert "'己' (U+5DF1)" in result.stdout
    assert result.stdout.count("'己' (U+5DF1)") <= 2
    assert "most frequent" not in run(model, "--data", twins, "--confusions", "0").stdout


def test_the_worst_lines_are_listed_harmlessly(model, tmp_path):
    hostile = "[red]\x1b[31m己\u202e"
    data = store(tmp_path / "[bold].lmdb", [(draw_line("123"), hostile), (draw_line("45"), "己" * 300)])
    result = run(model, "--data", data, "--worst", "5")
    assert result.exit_code == 0, result.stderr
    assert "worst lines" in result.stdout
    assert "[red]\\x1b[31m" in result.stdout
    assert "[bold].lmdb" in result.stdout
    assert not set("\x1b\u202e") & set(result.stdout + result.stderr)


def test_folded_figures_forgive_width_and_spaces(model, tmp_path, reader):
    image = draw_line("123456")
    text = reader.recognize([image])[0].text
    wide = "".join(chr(ord(char) + 0xFEE0) if char.isascii() else char for char in text)
    data = store(tmp_path / "wide.lmdb", [(image, " " + wide + "\u3000")])
    assert "0.00%" in run(model, "--data", data, "--json", tmp_path / "r.json").stdout
    assert "(folded)" in (shown := run(model, "--data", data, "--folded").stdout)
    assert "100.00%" in shown
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (written["line_accuracy"], written["folded"]["line_accuracy"]) == (0.0, 1.0)


def test_unreadable_images_make_exit_code_1_and_leave_the_figures(model, tmp_path, reader):
    image = draw_line("77")
    text = reader.recognize([image])[0].text
    path = tmp_path / "some.lmdb"
    with LmdbWriter(path) as writer:
        writer.add(png(image), text, source="good", size=image.size)
        writer.add(png(image)[:70], "12", source="cut short", size=image.size)
    result = run(model, "--data", path, "--json", tmp_path / "r.json")
    assert result.exit_code == 1
    assert "1 of 2 lines could not be read" in result.stderr
    assert "100.00%" in result.stdout
    assert json.loads((tmp_path / "r.json").read_text())["unreadable"] == 1


def test_lookalike_columns_come_with_groups(model, halves, tmp_path):
    groups = tmp_path / "groups.tsv"
    groups.write_text("group\tcharacters\tscore\tsource\n1\t己已巳\t0.9\tlist\n", encoding="utf-8")
    result = run(model, "--data", halves[1], "--lookalikes", groups, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.stderr
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (written["lookalike_chars"], written["lookalike_accuracy"]) == (20, 0.0)
    assert "0.00% of 20" in result.stdout
    without = run(model, "--data", halves[1], "--lookalikes", "").stdout
    assert "0.00% of 20" not in without
    assert "advice: 20 lines are wrong: first, look at how lines are cut" in without
    assert written["scorecard"]["kinds"]["left out"] == 20
    assert "advice: 0 of 20 wrong lines are wrong by look-alikes alone" in result.stdout


def test_two_models_are_shown_side_by_side(model, other, halves, tmp_path):
    both = ("--data", halves[0], "--data", halves[1])
    result = run(model, *both, "--compare", other, "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.stderr
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    alone = json.loads((tmp_path / "alone.json").read_text()) if run(
        other, *both, "--json", tmp_path / "alone.json"
    ).exit_code == 0 else None  # fmt: skip
    for key in ("model", "line_accuracy", "cer", "confusions"):
        assert written["baseline"][key] == alone[key]
    right = [round(one["line_accuracy"] * one["lines"]) for one in (written, alone)]
    comparison = written["comparison"]
    assert comparison["fixed"] - comparison["broken"] == right[0] - right[1]
    assert comparison["fixed"] >= 1
    assert 0 <= comparison["p_value"] <= 1
    assert f"against {other.stem}: {comparison['fixed']} lines fixed, {comparison['broken']} broken" in "".join(
        result.stdout.splitlines()
    )
    rows = [line.split()[1] for line in result.stdout.splitlines() if line.startswith(("│ wild ", "│ other "))]
    assert rows == ["other", "wild"] * 3


def test_two_models_together_are_measured_as_they_predict(model, other, halves, tmp_path):
    right, wrong, _ = halves
    images = [each.image for data in (right, wrong) for each in _lines(data)]
    labels = [each.label for data in (right, wrong) for each in _lines(data)]
    both = LineReader.load(model, device="cpu", config=PredictConfig(second_model=str(other), lookalikes="gb2312"))
    read = [reading.text for reading in both.recognize(images)]
    report, written = tmp_path / "r.html", tmp_path / "r.json"
    result = run(
        model, "--second-model", other, "--compare", model, "--data", right, "--data", wrong, "--json", written,
        "--report", report,
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = json.loads(written.read_text(encoding="utf-8"))
    assert found["line_accuracy"] == sum(map(str.__eq__, read, labels)) / len(read)
    assert found["line_accuracy"] != found["baseline"]["line_accuracy"] == 0.5
    assert (found["second_model"], found["lines"]) == (str(other), 40)
    assert "second_model" not in found["baseline"]
    assert "│ wild + other " in result.stdout
    assert f"{other}" in report.read_text(encoding="utf-8")


def test_a_line_that_cannot_be_opened_is_in_no_figure_of_two_models(model, other, halves, tmp_path):
    right, *_ = halves
    with LmdbWriter(tmp_path / "broken.lmdb") as writer:
        for number, line in enumerate(_lines(right)):
            image = b"no image" if number == 3 else png(line.image)
            writer.add(image, line.label, source=f"line {number}", size=line.image.size)
    result = run(model, "--second-model", other, "--data", tmp_path / "broken.lmdb", "--json", tmp_path / "r.json")
    assert result.exit_code == 1, result.stderr
    found = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (found["lines"], found["unreadable"]) == (19, 1)
    assert "line 3" in result.stderr


def _lines(path):
    data = LmdbDataset(path)
    return [data.line(index) for index in range(len(data))]


def test_a_control_stands_between_before_and_after(model, other, halves, tmp_path):
    """Three models in one table; each of the first two is compared with the last."""
    control = tmp_path / "control.safetensors"
    control.write_bytes(other.read_bytes())
    arguments = ("--data", halves[0], "--compare", other, "--compare", control, "--json", tmp_path / "r.json")
    result = run(model, *arguments)
    assert result.exit_code == 0, result.stderr
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert written["baseline"]["model"] == str(other)
    (beside,) = written["others"]
    assert (beside["model"], beside["cer"]) == (str(control), written["baseline"]["cer"])
    rows = [line.split()[1] for line in result.stdout.splitlines() if line.startswith(("│ wild", "│ other", "│ cont"))]
    assert rows == ["other", "control", "wild"]
    fixed = written["comparison"]["fixed"]
    assert f"against other: {fixed} lines fixed" in result.stdout
    assert f"against control: {fixed} lines fixed" in result.stdout


def test_mended_lines_are_drawn(model, other, halves, tmp_path):
    picture = tmp_path / "mended.png"
    result = run(model, "--data", halves[0], "--compare", other, "--mended", picture)
    assert result.exit_code == 0, result.stderr
    fixed = re.search(r"(\d+) lines fixed", result.stdout)[1]
    assert int(fixed) >= 3
    assert f"up to three of the {fixed} mended lines" in result.stderr
    with Image.open(picture) as drawn:
        three = np.asarray(drawn.convert("L"))
    nothing = run(model, "--data", halves[0], "--compare", model, "--mended", picture)  # ours is replaced
    assert nothing.exit_code == 0, nothing.stderr
    with Image.open(picture) as drawn:
        assert drawn.height * 3 == three.shape[0]
    assert (three < 128).sum() > 1000
    alone = run(model, "--data", halves[0], "--mended", picture)
    assert (alone.exit_code, "--compare" in alone.stderr) == (2, True)
    thesis = tmp_path / "thesis.png"
    thesis.write_text("not ours")
    refused = run(model, "--data", halves[0], "--compare", other, "--mended", thesis)
    assert (refused.exit_code, thesis.read_text()) == (2, "not ours")


def test_a_worse_model_can_fail_a_build(model, other, halves):
    worse = run(other, "--data", halves[0], "--compare", model, "--fail-if-worse")
    assert worse.exit_code == 1
    assert "lines right 100.00% ->" in worse.stderr
    assert run(model, "--data", halves[0], "--compare", other, "--fail-if-worse").exit_code == 0
    assert run(model, "--data", halves[0], "--compare", model, "--fail-if-worse").exit_code == 0
    alone = run(model, "--data", halves[0], "--fail-if-worse")
    assert (alone.exit_code, "--compare" in alone.stderr) == (2, True)


def test_a_run_is_named_by_its_folder(model, halves, tmp_path):
    (tmp_path / "my-run").mkdir()
    (tmp_path / "my-run" / "best.safetensors").write_bytes(model.read_bytes())
    assert "│ my-run " in run(tmp_path / "my-run", "--data", halves[0]).stdout


def test_lookalikes_taken_for_one_another_are_shown_both_ways(model, tmp_path, reader):
    images = [draw_line(str(number) * 3) for number in range(10, 20)]
    texts = [reading.text for reading in reader.recognize(images)]
    read = max("".join(texts), key="".join(texts).count)
    path = store(
        tmp_path / "pairs.lmdb", ((image, text.replace(read, "己")) for image, text in zip(images, texts, strict=True))
    )
    groups = tmp_path / "groups.tsv"
    groups.write_text(f"group\tcharacters\tscore\tsource\n1\t己{read}\t0.9\tlist\n", encoding="utf-8")
    result = run(model, "--data", path, "--lookalikes", groups, "--json", tmp_path / "r.json")
    first, second = sorted(("己", read))
    count = "".join(texts).count(read)
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["lookalike_pairs"] == [
        {
            "first": first,
            "second": second,
            "first_as_second": count if first == "己" else 0,
            "second_as_first": count if second == "己" else 0,
        }
    ]
    assert f"{count} look-alike confusions" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{model}", "--data", "no-such.lmdb"], 3, "no-such.lmdb"),
        (["{model}", "--data", "{model}"], 3, "wild.safetensors"),
        (["no-model", "--data", "{right}"], 4, "no-model"),
        (["{right}", "--data", "{right}"], 4, "right.lmdb"),
        (["{model}", "--data", "{right}", "--json", "no/such/r.json"], 2, "no/such"),
        (["{model}", "--data", "{right}", "--lookalikes", "no-such-groups"], 3, "no-such-groups"),
        (["{model}", "--data", "{right}", "--compare", "no-other"], 4, "no-other"),
        (["{model}", "--data", "{right}", "--batch-size", "0"], 2, "batch_size"),
        (["{model}"], 2, "--data"),
        (["{model}", "--data", "{right}", "--device", "abacus"], 4, "abacus"),
    ],
)
def test_bad_input_is_told_in_one_line(model, halves, arguments, code, words):
    result = run(*(word.format(model=model, right=halves[0]) for word in arguments))
    assert result.exit_code == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_centers_can_have_a_share_in_reading(model, halves, tmp_path):
    """With a center of each class far from all features but that of the class to be read, they decide alone."""
    result = run(model, "--data", halves[0], "--center-share", "1")
    assert result.exit_code == 4
    assert "no class centers" in result.stderr
    loaded = load_model(model, device="cpu")
    centers = torch.full((CHARSET.num_classes, loaded.recognizer.feature_width), 1e3)
    wanted = CHARSET.id("0")  # the first of the siblings that are kept of each
    centers[wanted] = 0
    path = tmp_path / "centers.safetensors"
    save_model(
        path, recognizer_state=loaded.recognizer.state_dict(), arch=loaded.arch, charset=CHARSET,
        preprocessing=loaded.preprocessing, info={}, centers=centers, center_counts=torch.ones(CHARSET.num_classes),
    )  # fmt: skip
    groups = tmp_path / "groups.tsv"
    everyone = CHARSET.symbols
    groups.write_text(f"group\tcharacters\tscore\tsource\n1\t{everyone}\t0.9\tlist\n", encoding="utf-8")
    found = {}
    for share in ("0", "1"):
        result = run(
            path, "--data", halves[0], "--lookalikes", groups, "--center-share", share, "--json", tmp_path / "r.json"
        )
        assert result.exit_code == 0, result.stderr
        found[share] = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert found["0"]["line_accuracy"] == 1
    assert found["1"]["line_accuracy"] < 1
    assert {pair["predicted"] for pair in found["1"]["confusions"]} == {"0"}


def test_labels_keep_their_name_wherever_a_dataset_is_named(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_line("012").save(tmp_path / "a.png")
    (tmp_path / "zw.tsv").write_text("a.png\tzz\n", encoding="utf-8")
    result = run(model, "-d", "zw.tsv", "--worst", "3", "--json", "r.json", "--failures", "wrong", "--report", "r.html")
    assert result.exit_code == 0, result.stderr
    written = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert [dataset["name"] for dataset in written["datasets"]] == ["zw.tsv"]
    assert "zw.tsv#1 (zw.tsv:1)" in (tmp_path / "wrong" / "failures.tsv").read_text(encoding="utf-8")
    assert "zw.tsv#1 (zw.tsv:1)" in result.stdout
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "zw.tsv" in page
    assert "zw.lmdb" not in page + result.stdout + result.stderr + json.dumps(written)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (b"a.png\tx\n", "give the folder that the paths are relative to: ocrcc build-lmdb … --images DIR"),
        (b"a\tb\0" * 9, "for UTF-16 without a mark: ocrcc build-lmdb … --encoding utf-16-le or utf-16-be"),
        (b"a.png\t\x81\xff\n" * 9, "save it as UTF-8, or name its encoding: ocrcc build-lmdb … --encoding big5"),
    ],
)
def test_what_helps_with_labels_is_an_option_of_build_lmdb(model, tmp_path, labels, hint):
    (tmp_path / "labels.tsv").write_bytes(labels)
    result = run(model, "-d", tmp_path / "labels.tsv")
    assert result.exit_code == 3
    assert f"hint: {hint}" in result.stderr
    again = CliRunner().invoke(app, ["build-lmdb", str(tmp_path / "labels.tsv"), str(tmp_path / "a.lmdb")])
    assert f"hint: {hint.replace('ocrcc build-lmdb … ', '')}" in again.stderr


def test_models_with_different_names_have_them_in_the_tables(model, halves, tmp_path):
    names = [f"{first}-run-with-a-long-name-of-many-steps" for first in ("a", "b")]
    paths = [tmp_path / f"{name}.safetensors" for name in names]
    for path in paths:
        path.write_bytes(model.read_bytes())
    result = run(paths[0], "--compare", paths[1], "--data", halves[0])
    assert all(f"│ {name} " in result.stdout for name in names)
    assert f"against {names[1]}: 0 lines fixed" in result.stdout


def test_names_are_cut_only_where_they_still_differ():
    ends = ["general-charset-run-1", "general-charset-run-2"]
    assert scores._cut(ends) == ["general…et-run-1", "general…et-run-2"]
    assert scores._cut(["short", *ends[:1], *ends[:1]]) == ["short", "general…et-run-1", "general…et-run-1"]
    middle = ["general-charset-1-long-run", "general-charset-2-long-run"]
    assert scores._cut(middle) == middle

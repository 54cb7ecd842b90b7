from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from drawn_lines import draw_line, png
from PIL import Image, ImageChops
from typer.testing import CliRunner
from wild import random_lines, save_wild_model

from ocrcc.charset import Charset
from ocrcc.cli import app, render
from ocrcc.cli.commands import predict
from ocrcc.reading.reader import LineReader

ONE_LOOK = ["--second-look", "0"]
HOSTILE = "[red]\x1b[31m\ttab\nline.png"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Twelve lines in the working directory's folder ``lines``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OCRCC_MODEL", raising=False)
    (tmp_path / "lines").mkdir()
    for number, text in enumerate(random_lines(12)):
        draw_line(text).save(tmp_path / "lines" / f"{number:02d}.png")
    return tmp_path / "lines"


def ocrcc_reads(image):
    """Read a line by the shipped model."""
    return LineReader.load("ocrcc-zh-small").recognize([image])[0].text


@pytest.fixture
def run(wild_model, monkeypatch):
    def invoke(*arguments, stdin=None, with_model=True):
        options = ["--model", str(wild_model)] if with_model else []
        return CliRunner().invoke(app, ["predict", *map(str, arguments), *options], input=stdin)

    return invoke


def test_a_single_image_gives_just_its_text(run, folder):
    result = run("lines/03.png")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("\n") == 1
    assert "\t" not in result.stdout
    assert len(result.stdout) > 3
    assert result.stderr == ""


def test_several_images_give_path_and_text_in_order(run, folder):
    result = run("lines/05.png", "lines/01.png")
    alone = [run(f"lines/{number}.png").stdout.rstrip("\n") for number in ("05", "01")]
    assert result.stdout == f"lines/05.png\t{alone[0]}\nlines/01.png\t{alone[1]}\n"


def test_folders_globs_and_standard_input_mean_the_same_images(run, folder):
    expected = run("lines").stdout
    assert expected.count("\n") == 12
    assert len({line.split("\t")[1] for line in expected.splitlines()}) == 12
    assert run("lines/*.png").stdout == expected
    names = "".join(f"lines/{number:02d}.png\r\n" for number in range(12))
    assert run("-", stdin=names).stdout == expected


def test_one_path_on_standard_input_still_gets_its_name(run, folder):
    assert run("-", stdin="lines/00.png\n").stdout.startswith("lines/00.png\t")


def test_a_file_that_is_called_as_standard_input_is_does_not_change_what_is_printed(run, folder, tmp_path):
    (tmp_path / "-").write_bytes((folder / "01.png").read_bytes())
    expected = run("lines").stdout
    names = "".join(f"lines/{number:02d}.png\n" for number in range(12))
    assert run("-", stdin=names).stdout == expected
    assert "\t" not in run("./-").stdout


def test_json_has_one_object_a_line_with_characters_and_pixels(run, folder):
    result = run("lines", "--format", "json", "--alternatives", "2")
    readings = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(readings) == 12
    for reading in readings:
        assert list(reading) == ["path", "text", "confidence", "chars"]
        assert "".join(char["char"] for char in reading["chars"]) == reading["text"]
        assert reading["confidence"] == min(char["confidence"] for char in reading["chars"])
        width = 0
        for char in reading["chars"]:
            assert list(char) == ["char", "confidence", "left", "right", "margin", "alternatives"]
            assert width - 8 <= char["left"] < char["right"]
            width = char["right"]
            assert char["margin"] is None
            others = [other["char"] for other in char["alternatives"]]
            assert 2 <= len(others) == len(set(others)) <= 2 + 3  # two asked for, and look-alikes
            assert char["char"] not in others
            assert char["char"] not in [other["char"] for other in char["alternatives"]]
            assert char["confidence"] >= char["alternatives"][0]["confidence"] >= char["alternatives"][1]["confidence"]


def test_tsv_has_a_header_and_four_columns(run, folder):
    lines = run("lines", "--format", "tsv").stdout.splitlines()
    assert lines[0] == "path\ttext\tconfidence\tbox"
    assert len(lines) == 13
    assert all(line.count("\t") == 3 and 0 <= float(line.split("\t")[2]) <= 1 for line in lines[1:])


def test_results_go_to_a_file_that_replaces_readings_alone(run, folder, tmp_path):
    shown = run("lines", "--format", "tsv").stdout
    (tmp_path / "read.tsv").write_text("path\ttext\nmine\t1\n")
    refused = run("lines", "-o", "read.tsv")
    assert refused.exit_code == 2
    assert "no file of readings that ocrcc made" in refused.stderr
    assert (tmp_path / "read.tsv").read_text() == "path\ttext\nmine\t1\n"
    (tmp_path / "read.tsv").unlink()
    for _ in range(2):
        result = run("lines", "-o", "read.tsv")  # the name says the format
        assert result.exit_code == 0, result.stderr
        assert result.stdout == ""
        assert (tmp_path / "read.tsv").read_text(encoding="utf-8") == shown
    assert run("lines", "-o", "read.txt").exit_code == 0
    assert run("lines", "-o", "read.txt").exit_code == 2  # it may be anybody's


def test_pdf_needs_a_file_and_has_the_lines(run, folder, tmp_path):
    pytest.importorskip("pikepdf")
    pdfium = pytest.importorskip("pypdfium2")
    assert run("lines/01.png", "--format", "pdf").exit_code == 2
    result = run("lines/01.png", "lines/02.png", "-o", "read.pdf")
    assert result.exit_code == 0, result.stderr
    read = json.loads(run("lines/02.png", "--format", "json").stdout)["text"]
    with pdfium.PdfDocument(tmp_path / "read.pdf") as document:
        assert len(document) == 2
        assert "".join(document[1].get_textpage().get_text_range().split()) == "".join(read.split())


def test_what_was_read_is_drawn(run, folder, tmp_path):
    (folder / "04.png").write_bytes(b"broken")
    assert run("lines", "--visualize", "drawn").exit_code == 1
    pictures = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in pictures][:5] == [
        "0001-00.png",
        "0002-01.png",
        "0003-02.png",
        "0004-03.png",
        "0005-05.png",
    ]
    with Image.open(folder / "00.png") as line, Image.open(pictures[0]) as picture:
        assert picture.size == (line.width, 2 * line.height)
        assert ImageChops.difference(
            picture.crop((0, line.height, *picture.size)), Image.new("RGB", line.size, "white")
        ).getbbox()
    assert run("lines", "--visualize", "drawn").exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="paths are too short there")
def test_pictures_of_files_with_the_longest_names_are_drawn(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines").mkdir()
    for name in ("a" * 251, "中" * 83, "#" + "b" * 250):
        draw_line("12").save(tmp_path / "lines" / f"{name}.png")
    result = run("lines", "--visualize", "drawn")
    assert result.exit_code == 0, result.stderr
    pictures = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert pictures == [f"0001--{'b' * 229}.png", f"0002-{'a' * 230}.png", f"0003-{'中' * 76}.png"]


def test_a_review_without_look_alikes_says_what_that_switches_off(run, folder):
    result = run("lines", "--lookalikes", "", "--review", "doubts.tsv")
    assert result.exit_code == 0, result.stderr
    assert "--lookalikes '' switches a model's calibration off" in result.stderr
    assert "not calibrated" not in result.stderr
    assert "the model is not calibrated" in run("lines", "--review", "doubts.tsv").stderr


def test_a_second_model_is_weighed_against_the_first(run, folder):
    alone = [json.loads(row) for row in run("lines", "-f", "json").stdout.splitlines()]
    two = ("--second-model", "ocrcc-zh-small", "--second-doubt", "0")
    result = run("lines", "-f", "json", *two, "--review", "doubts.tsv", "--budget", "1")
    assert result.exit_code == 0, result.stderr
    both = [json.loads(row) for row in result.stdout.splitlines()]
    assert [row["second"] for row in both] == [ocrcc_reads(path) for path in sorted(folder.iterdir())]
    assert [row["text"] for row in both] != [row["text"] for row in alone]
    assert all("second" not in row for row in alone)
    assert "not calibrated" not in result.stderr  # every character has a chance of its own to be wrong
    doubts = Path("doubts.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(doubts) == sum(len(row["chars"]) or 1 for row in both)
    plain = run("lines", *two)
    assert plain.stdout == "".join(f"{row['path']}\t{row['text']}\n" for row in both)


def test_a_second_model_that_is_not_there_is_named(run, folder):
    result = run("lines", "--second-model", "gone.safetensors")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "gone.safetensors" in result.stderr


def test_unreadable_files_are_named_and_the_rest_is_read(run, folder):
    (folder / "04.png").write_bytes((folder / "04.png").read_bytes()[:80])
    (folder / "06.png").write_bytes(b"")
    (folder / "07.png").write_text("no image")
    result = run("lines", "lines/gone.png")
    assert result.exit_code == 1
    assert result.stdout.count("\n") == 9
    for name in ("04.png", "06.png", "07.png", "gone.png"):
        assert name in result.stderr
        assert f"{name}\t" not in result.stdout
    assert "error: 4 of the inputs could not be read" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="no such file names there")
@pytest.mark.parametrize("form", ["text", "tsv", "json"])
def test_hostile_names_stay_on_their_line_and_reach_no_terminal(run, folder, form):
    (folder / HOSTILE).write_bytes(png(draw_line("12")))
    (folder / ("x" + HOSTILE)).write_bytes(b"broken")
    result = run(folder, "--format", form)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 13 + (form == "tsv")
    assert "\x1b" not in result.stdout + result.stderr
    assert "[red]" in result.stdout
    assert "x[red]" in result.stderr
    if form == "json":
        assert json.loads(result.stdout.splitlines()[-1])["path"] == str(folder / HOSTILE)
    else:
        assert f"{folder}/[red]\\x1b[31m\\ttab\\nline.png\t" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="no such file names there")
@pytest.mark.parametrize("form", ["text", "tsv", "json"])
def test_names_that_are_no_utf_8_come_out_escaped(run, folder, tmp_path, form):
    strange = folder / os.fsdecode(b"a\xff.png")
    (folder / "03.png").rename(strange)
    result = run(strange, folder / "04.png", "--format", form, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "a\\udcff.png" in (tmp_path / "out").read_text("utf-8")


def test_a_charset_of_control_characters_breaks_no_line(tmp_path, folder):
    path = tmp_path / "evil.safetensors"
    save_wild_model(path, charset=Charset("\t\n\r\x1b\u2028己"))
    for form in ("text", "tsv"):
        result = CliRunner().invoke(app, ["predict", "lines", "--model", str(path), "--format", form])
        assert result.exit_code == 0, result.stderr
        assert len(result.stdout.splitlines()) == 12 + (form == "tsv")
        assert all(line.count("\t") == 1 + 2 * (form == "tsv") for line in result.stdout.splitlines())
        assert not set("\x1b\r\u2028") & set(result.stdout)
        assert "\\x1b" in result.stdout


def test_nothing_to_read_is_an_error_before_the_model_is_loaded(folder):
    (folder.parent / "empty").mkdir()
    for arguments in (["empty"], ["gone.png"], ["*.jpeg"], ["-"]):
        result = CliRunner().invoke(app, ["predict", *arguments, "--model", "no-such-model"], input="")
        assert result.exit_code == 3
        assert "error: nothing to read" in result.stderr
        assert result.stdout == ""
        assert arguments[0] in result.stderr


def test_files_of_another_kind_in_a_folder_are_mentioned(run, folder):
    (folder / "labels.tsv").write_text("x")
    result = run("lines")
    assert result.exit_code == 0
    assert "1 other file passed over" in result.stderr
    assert "labels.tsv" in result.stderr


@pytest.mark.parametrize("content", [b"", b"not a model", b"\xff" * 100])
def test_a_wrong_model_file_is_an_error_of_the_model(folder, content):
    (folder.parent / "bad.safetensors").write_bytes(content)
    result = CliRunner().invoke(app, ["predict", "lines", "--model", "bad.safetensors"])
    assert result.exit_code == 4
    assert "bad.safetensors" in result.stderr
    assert result.stdout == ""


def test_the_model_may_come_from_the_environment(run, folder, wild_model, monkeypatch):
    expected = run("lines/00.png").stdout
    monkeypatch.setenv("OCRCC_MODEL", str(wild_model))
    assert run("lines/00.png", with_model=False).stdout == expected


def test_without_any_model_the_error_says_how_to_name_one(run, folder, monkeypatch):
    monkeypatch.setattr("ocrcc.packaged.names", lambda *_: [])
    result = run("lines/00.png", with_model=False)
    assert result.exit_code == 2
    assert "OCRCC_MODEL" in result.stderr


@pytest.mark.parametrize(
    "options", [["--format", "xml"], ["--batch-size", "0"], ["--window", "0"], ["--alternatives", "-1"], ["--nope"]]
)
def test_wrong_options_are_usage_errors(run, folder, options):
    assert run("lines", *options).exit_code == 2


def test_settings_may_come_from_a_file_and_flags_win(run, folder):
    (folder.parent / "c.toml").write_text('alternatives = 3\nformat = "json"\n')
    first = json.loads(run("lines/00.png", "--config", "c.toml").stdout)
    assert len(first["chars"][0]["alternatives"]) == 3
    first = json.loads(run("lines/00.png", "--config", "c.toml", "--alternatives", "1").stdout)
    assert len(first["chars"][0]["alternatives"]) == 1


@pytest.mark.parametrize(("count", "looks"), [(100, ONE_LOOK), (20, [])])
def test_many_images_read_alike_one_by_one_and_in_batches(run, folder, count, looks):
    """Second looks, which nearly all of these lines need, take five times as long: fewer lines have them."""
    for number, text in enumerate(random_lines(count, longest=40, seed=3)):
        draw_line(text).save(folder / f"many-{number:03d}.png")
    together = run("lines", *looks).stdout
    assert together.count("\n") == count + 12
    for options in (("--batch-size", "1", "--window", "1"), ("--batch-size", "7", "--window", "30", "--workers", "1")):
        read = run("lines", *options, *looks).stdout
        # The engine adds up in another order: two characters that are as likely as each other may change places.
        other = [pair for pair in zip(read.splitlines(), together.splitlines(), strict=True) if pair[0] != pair[1]]
        assert len(other) <= 1
        assert all(sum(a != b for a, b in zip(*pair, strict=True)) == 1 for pair in other)


def test_on_a_terminal_there_is_a_table(run, folder, monkeypatch):
    monkeypatch.setattr(predict, "_on_terminal", lambda: True)
    (folder / "[red]\x1b[31m.png").write_bytes(png(draw_line("12")))
    with render.out.capture() as captured:
        result = run("lines")
    shown = captured.get()
    assert result.exit_code == 0, result.stderr
    assert "confidence" in shown
    assert "lines/11.png" in shown
    assert "[red]\\x1b[31m.png" in shown
    assert result.stdout == ""


def process(arguments, model, **options):
    environment = {**os.environ, "OCRCC_MODEL": str(model), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from ocrcc.cli import main; main()", "predict", *arguments]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, **options)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break otherwise there")
def test_a_reader_that_leaves_ends_it_quietly(light_model, folder):
    names = "lines/00.png\n" * 3000
    (folder.parent / "names").write_text(names)
    with open(folder.parent / "names") as stdin:
        running = process(["-", *ONE_LOOK], light_model, stdin=stdin, stdout=subprocess.PIPE)
        assert running.stdout.readline().startswith("lines/00.png\t")
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait() != 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ there")
def test_interrupting_it_ends_with_130(light_model, folder):
    # a shell's background jobs ignore SIGINT, and so would their children
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    running = process(["-", *ONE_LOOK], light_model, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **heeding)
    running.stdin.write("lines/00.png\n" * 1200)
    running.stdin.flush()
    assert running.stdout.readline().startswith("lines/00.png\t")
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    assert running.wait() == 130
    assert "Traceback" not in running.stderr.read()

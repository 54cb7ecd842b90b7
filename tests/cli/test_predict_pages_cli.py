from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from drawn_lines import draw_line
from drawn_pages import draw_page
from PIL import Image
from typer.testing import CliRunner

from ocrcc.cli import app
from ocrcc.pages import reader as pages


@pytest.fixture
def run(wild_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        return CliRunner().invoke(app, ["predict", *map(str, arguments), "--model", str(wild_model)])

    return invoke


@pytest.fixture
def page(tmp_path):
    pytest.importorskip("rapidocr")
    draw_page(6, 24).save(tmp_path / "page.png")
    return tmp_path / "page.png"


def test_a_page_gives_its_lines_in_order(run, page):
    result = run("page.png", "--format", "json")
    assert result.exit_code == 0, result.stderr
    (read,) = map(json.loads, result.stdout.splitlines())
    assert (read["path"], read["width"]) == ("page.png", 700)
    tops = [line["box"][0][1] for line in read["lines"]]
    assert len(tops) == 6
    assert tops == sorted(tops)
    assert all(line["text"] and len(line["text"]) == len(line["chars"]) for line in read["lines"])
    text = run("page.png")
    assert text.stdout.splitlines() == [line["text"] for line in read["lines"]]
    assert text.stderr == ""


def test_a_pdf_and_a_tiff_are_read_page_by_page(run, page, tmp_path):
    pytest.importorskip("pypdfium2")
    sheets = [draw_page(count, 24) for count in (3, 5)]
    sheets[0].save(tmp_path / "doc.pdf", save_all=True, append_images=sheets[1:], resolution=200)
    sheets = [Image.fromarray(np.asarray(sheet)) for sheet in sheets]  # Pillow remembers how it was saved
    sheets[0].save(tmp_path / "doc.tif", save_all=True, append_images=[draw_line("12"), *sheets[1:]])
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7")
    result = run(".", "--format", "tsv")
    assert result.exit_code == 1
    assert "broken.pdf" in result.stderr
    read = [line.split("\t")[0].removeprefix("./") for line in result.stdout.splitlines()[1:]]
    counts = {name: read.count(name) for name in dict.fromkeys(read)}
    assert counts == {"doc.pdf#1": 3, "doc.pdf#2": 5, "doc.tif#1": 3, "doc.tif#2": 1, "doc.tif#3": 5, "page.png": 6}


@pytest.mark.parametrize("form", ["hocr", "alto"])
def test_lines_and_pages_become_one_document(run, page, tmp_path, form):
    draw_line("17 4").save(tmp_path / "line.png")
    result = run("line.png", "page.png", "--format", form)
    assert result.exit_code == 0, result.stderr
    root = ElementTree.fromstring(result.stdout.encode("utf-8"))
    found = [each for each in root.iter() if each.tag.endswith("}TextLine") or each.get("class") == "ocr_line"]
    assert len(found) == 1 + 6


def test_the_layout_can_be_told(run, page):
    assert len(run("page.png", "--layout", "line").stdout.splitlines()) == 1
    assert run("page.png", "--layout", "book").exit_code == 2
    assert run("page.png", "--dpi", "0").exit_code == 2


def test_without_the_extra_a_page_is_named_and_the_rest_is_read(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    draw_page().save(tmp_path / "page.png")
    draw_line("12").save(tmp_path / "line.png")
    result = run("page.png", "line.png")
    assert result.exit_code == 1
    assert result.stdout.startswith("line.png\t")
    assert result.stdout.count("\n") == 1
    assert "page.png: this is a page" in result.stderr
    assert "pip install 'ocrcc[page]'" in result.stderr


def test_odd_images_give_a_result_or_a_hint(run, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "load_detector", lambda *_: lambda image: [])
    line = draw_line("31 415 92")
    odd = {
        "blank.png": Image.new("L", (900, 1200), 255),
        "dot.png": Image.new("L", (1, 1)),
        "flipped.png": line.rotate(180),
        "inverted.png": Image.eval(line, lambda grey: 255 - grey),
        "large.png": draw_page(30),
        "upright.png": line.resize((line.width * 2, 64)).rotate(90, expand=True),
    }
    for name, image in odd.items():
        image.save(tmp_path / name)
    result = run(".")
    assert result.exit_code == 0, result.stderr
    read = dict(line.removeprefix("./").split("\t") for line in result.stdout.splitlines())
    assert list(read) == sorted(odd)
    assert read["flipped.png"]
    assert read["inverted.png"]
    assert "warning: 2 images may be read wrongly" in result.stderr
    assert "large.png: no lines were found" in result.stderr
    assert "upright.png: runs from top to bottom" in result.stderr


def test_lines_need_neither_the_detector_nor_pdfium(wild_model, tmp_path):
    draw_line("12").save(tmp_path / "line.png")
    code = (
        "import sys; from ocrcc.cli import app\n"
        "try: app(['predict', 'line.png', '--engine', 'torch'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'rapidocr', 'pypdfium2', 'cv2', 'onnxruntime'} & set(sys.modules)))"
    )
    environment = {**os.environ, "OCRCC_MODEL": str(wild_model), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 1

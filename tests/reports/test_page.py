from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from drawn_lines import draw_line, png
from stored_lines import store
from typer.testing import CliRunner
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.cli import app
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.datasets.build import build_lmdb
from ocrcc.models.checkpoint import load_model, save_model
from ocrcc.reading.reader import LineReader
from ocrcc.reports import page

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}{% raw %}\u202eevil\x07&amp;</style></title>"
)
CHARSET = Charset("0123456789OIl" + "".join(sorted(set(HOSTILE) - set("0123456789OIl\x07\u202e"))))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_wild_model(tmp_path_factory.mktemp("<b>model") / "wild.safetensors", charset=CHARSET)


@pytest.fixture
def other(model, tmp_path):
    """A model that reads otherwise."""
    loaded = load_model(model, device="cpu")
    state = loaded.recognizer.state_dict()
    name = [name for name in state if name.endswith("bias")][-1]
    state[name] = state[name].flip(0)
    path = tmp_path / "other.safetensors"
    save_model(
        path,
        recognizer_state=state,
        arch=loaded.arch,
        charset=CHARSET,
        preprocessing=loaded.preprocessing,
        info={"step": 0, "metrics": {}, "config": {}},
    )
    return path


@pytest.fixture
def lines(model, tmp_path):
    """Lines with labels that are right, that have a look-alike for what is read, and that are hostile."""
    images = [draw_line(str(number) * (1 + number % 7)) for number in range(3, 23)]
    texts = [reading.text for reading in LineReader.load(model, device="cpu").recognize(images)]
    swap = str.maketrans("0OIl", "O0lI")
    labels = [text if number % 2 else text.translate(swap) for number, text in enumerate(texts)]
    labels[3] = HOSTILE
    path = tmp_path / "lines.lmdb"
    with LmdbWriter(path) as writer:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            writer.add(png(image), label, source=f"<i>{number}</i>\x1b[31m", size=image.size)
    return path


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


def run(*arguments):
    return CliRunner().invoke(
        app, ["eval", *map(str, arguments), "--workers", "0", "--threads", "1", "--device", "cpu"]
    )


def test_a_page_shows_what_is_wrong_and_no_label_gets_out(model, other, lines, tmp_path):
    html = tmp_path / "r.html"
    result = run(model, "--data", lines, "--report", html, "--compare", other)
    assert result.exit_code == 0, result.stderr
    assert f"{html}: open it in a browser" in result.stderr
    raw = html.read_text(encoding="utf-8")
    seen = Tags()
    seen.feed(raw)
    assert not {"script", "link", "iframe"} & set(seen.tags)
    assert seen.tags.count("title") == seen.tags.count("style") == 1
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    sources = [value for name, value in seen.attributes if name in ("src", "href", "xlink:href")]
    assert all(value.startswith(("data:image/png;base64,", "#")) for value in sources)
    words = "".join(seen.words)
    assert "<script>alert(1)</script>" in words
    assert "<i>3</i>\\x1b[31m" in words
    assert "{{ 7 * 7 }}{% raw %}" in words
    assert "\\u202eevil\\x07" in words
    assert not set("\u202e\x07\x1b") & set(raw)
    for wanted in ("Summary", "What is wrong", "Reliability", "By length", "By width", "Fixed: wrong before"):
        assert wanted in words
    assert seen.tags.count("svg") == 4
    ids = re.findall(r'\bid="([^"]+)"', raw)
    assert len(ids) == len(set(ids))
    assert run(model, "--data", lines, "--report", html).exit_code == 0, "a page of ours is replaced"


def test_crops_are_of_the_glyphs_that_were_confused(model, tmp_path):
    reader = LineReader.load(model, device="cpu")
    swap = {"0": "O", "O": "0", "I": "l", "l": "I"}
    rows = []
    for number in range(400):
        image = draw_line(str(number) * 2)
        text = reader.recognize([image])[0].text
        place = next((at for at, char in enumerate(text) if char in swap), None)
        if place is not None and len(rows) < 3:
            rows.append((image, text[:place] + swap[text[place]] + text[place + 1 :]))
    assert rows, "the random model reads neither 0 nor O nor I nor l"
    path = tmp_path / "swapped.lmdb"
    store(path, rows)
    html = tmp_path / "r.html"
    assert run(model, "--data", path, "--report", html).exit_code == 0
    raw = html.read_text(encoding="utf-8")
    crops = re.findall(
        r'<div class="crop" title="[^"]*"><img src="data:image/png;base64,[^"]+" alt="">(.) → (.)<br>', raw
    )
    assert len(crops) == len(rows)
    assert all(swap[truth] == read for truth, read in crops)


def test_failures_are_copied_with_a_list_that_is_labels(model, lines, tmp_path):
    folder = tmp_path / "failures"
    result = run(model, "--data", lines, "--failures", folder)
    assert result.exit_code == 0, result.stderr
    table = [row.split("\t") for row in (folder / "failures.tsv").read_text(encoding="utf-8").splitlines()]
    assert table[0] == ["image", "text", "read", "edits", "confidence", "source"]
    dataset = LmdbDataset(lines)
    stored = {dataset.image_bytes(index) for index in range(len(dataset))}
    assert all((folder / row[0]).read_bytes() in stored for row in table[1:])
    assert not set("\x1b\x07\u202e") & set("".join(column for row in table for column in (row[0], *row[2:])))
    built = build_lmdb([folder / "failures.tsv"], tmp_path / "again.lmdb")
    assert (built.train.lines, built.skipped) == (len(table) - 1, {})
    assert "<script>alert(1)" in "".join(
        LmdbDataset(tmp_path / "again.lmdb").label(index) for index in range(built.train.lines)
    )
    again = run(model, "--data", lines, "--failures", folder)
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_labels_that_were_copied_are_the_same_when_they_are_built_again(model, tmp_path):
    labels = ["a\u200cb", "a\xadb\u200b", "\u202eab", 'a"b', '"ab"', '""', ' "a""b" ', "\u3000ab ", "a\\u200cb", "a\tb"]
    path, folder = tmp_path / "lines.lmdb", tmp_path / "failures"
    store(path, [(draw_line(str(number) * 3), label) for number, label in enumerate(labels)])
    assert run(model, "--data", path, "--failures", folder).exit_code == 0
    build_lmdb([folder / "failures.tsv"], tmp_path / "again.lmdb")
    before, again = LmdbDataset(path), LmdbDataset(tmp_path / "again.lmdb")
    by_image = {again.image_bytes(index): again.label(index) for index in range(len(again))}
    built = [by_image[before.image_bytes(index)] for index in range(len(labels))]
    assert built == [*labels[:-1], "a b"], "a tab, which a table has between its columns, is the space it looks like"


def test_without_jinja_it_is_said_at_once(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    result = run("no-such-model", "--data", tmp_path, "--report", tmp_path / "r.html")
    assert result.exit_code == 2
    assert "pip install 'ocrcc[report]'" in result.stderr


def test_a_foreign_page_stays(model, lines, tmp_path):
    html = tmp_path / "thesis.html"
    html.write_text("<title>thesis</title>")
    assert run(model, "--data", lines, "--report", html).exit_code == 2
    assert html.read_text() == "<title>thesis</title>"


def test_names_of_datasets_stay_apart():
    assert page._names(["a/one.lmdb", "b/two.lmdb"]) == ["one", "two"]
    assert page._names(["a/one.lmdb", "b/one.lmdb"]) == ["a/one.lmdb", "b/one.lmdb"]

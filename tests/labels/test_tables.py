"""Lists and tables as programs write them: quotes, line ends, marks, and what lies beside them."""

from __future__ import annotations

import pytest
from drawn_lines import png
from PIL import Image
from read_labels import problems, read

from ocrcc.config import BuildConfig
from ocrcc.datasets.build import build_lmdb
from ocrcc.errors import DataError
from ocrcc.labels.entries import Entry

EASYOCR = 'filename,words\na.png,hello\nb.png,Hello, world\nc.png,"quoted" word\nd.png,5" pipe\ne.png,"all"\n'


def test_easyocr_cuts_at_the_first_comma(tmp_path):
    (tmp_path / "labels.csv").write_text(EASYOCR)
    assert [entry.text for entry in read(tmp_path / "labels.csv")] == [
        *("hello", "Hello, world", '"quoted" word', '5" pipe', '"all"')
    ]
    (tmp_path / "labels.csv").write_text(
        'filename,words\na.png,"Hello, world"\nb.png,"a ""b"""\nc.png,"so"\nd.png,1,2\n'
    )
    found = read(tmp_path / "labels.csv")
    assert [entry.text for entry in found if isinstance(entry, Entry)] == ["Hello, world", 'a "b"', "so"]
    assert problems(found) == ["labels.csv:5: another number of columns than the header: 3, not 2; "
                               "a text with ',' needs quotes"]  # fmt: skip


@pytest.mark.parametrize("delimiter", ["\t", ",", ";"])
@pytest.mark.parametrize("header", ['"file_name"{}"text"\n', ""])
def test_cells_may_all_be_quoted(tmp_path, delimiter, header):
    if delimiter == ";" and not header:
        pytest.skip("a table of semicolons needs its header")
    rows = f'"a.png"{delimiter}"plain"\n"b.png"{delimiter}"a ""b"", c"\n'
    (tmp_path / "labels.txt").write_text(header.format(delimiter) + rows)
    assert [(entry.path.name, entry.text) for entry in read(tmp_path / "labels.txt")] == [
        ("a.png", "plain"),
        ("b.png", 'a "b", c'),
    ]


def test_line_ends_of_every_system_and_marks_between_files(tmp_path):
    want = [("a.png", "hello"), ("b.png", "wörld")]
    for content in (
        "a.png\thello\r\r\nb.png\twörld\r\r\n",
        "a.png\thello\rb.png\twörld\r",
        "\ufeffa.png\thello\n\ufeffb.png\twörld",
    ):
        (tmp_path / "labels.txt").write_bytes(content.encode())
        assert [(entry.path.name, entry.text) for entry in read(tmp_path / "labels.txt")] == want


def test_what_other_programs_leave_in_passing_is_passed_over(tmp_path):
    for folder in ("", ".ipynb_checkpoints", "__MACOSX"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.jfif").write_bytes(png(Image.new("L", (90, 32), 1)))
        (tmp_path / folder / "a.gt.txt").write_text("x")
    (tmp_path / "._a.jfif").write_bytes(b"\0\5\x16\7")
    assert [(entry.path, entry.text) for entry in read(tmp_path)] == [(tmp_path / "a.jfif", "x")]


def test_hints_fit_the_fault(tmp_path):
    (tmp_path / "labels.txt").write_text("a.png\tx\n")
    with pytest.raises(DataError) as raised:
        build_lmdb([tmp_path / "labels.txt"], tmp_path / "out.lmdb")
    assert "--images DIR" in raised.value.hint
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError) as raised:
        build_lmdb([tmp_path / "labels.txt"], tmp_path / "out.lmdb", BuildConfig(workers=1))
    assert raised.value.hint is None

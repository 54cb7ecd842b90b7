"""``build-lmdb``, ``inspect`` and ``charset`` as they are called: exit codes, messages, what is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_lines import draw_line, png
from PIL import Image
from typer.testing import CliRunner

from ocrcc.charset import generate
from ocrcc.cli import app
from ocrcc.data.lmdb_store import LmdbDataset


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    folder = tmp_path / "lines"
    folder.mkdir()
    rows = []
    for number in range(12):
        (folder / f"{number}.png").write_bytes(png(draw_line(str(number))))
        rows.append(f"{number}.png\t{number}\n")
    (folder / "labels.tsv").write_text("".join(rows), encoding="utf-8")
    return folder / "labels.tsv"


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_build_then_inspect(labels, tmp_path):
    out = tmp_path / "a.lmdb"
    built = run("build-lmdb", labels, out)
    assert built.exit_code == 0, built.output
    assert "format tab" in built.stderr
    assert "format tab" not in built.stdout
    seen = run("inspect", out)
    assert seen.exit_code == 0
    assert "14, 10 different" in seen.stdout  # 0 to 9, and 10 and 11
    assert [LmdbDataset(out).label(i) for i in (0, 11)] == ["0", "11"]


def test_bad_lines_are_counted_named_and_make_the_exit_code(labels, tmp_path):
    folder = labels.parent
    Image.new("1", (10_000, 10_000)).save(folder / "huge.png")
    Image.new("L", (1, 1)).save(folder / "one.png")
    (folder / "cut.png").write_bytes(png(draw_line("12345"))[:90])
    with labels.open("ab") as file:
        file.write(b"huge.png\tx\r\none.png\t1\r\ncut.png\tx\nnone.png\tx\n0.png\t\n0.png 0\n")
        file.write("0.png\t中文\n".encode("gb18030") + "0.png\t中文\n0.png\t中\n".encode())
    built = run("build-lmdb", labels, tmp_path / "a.lmdb")
    assert built.exit_code == 1
    for expected in ("labels.tsv:13", "10000 x 10000", "labels.tsv:15", "labels.tsv:16", "labels.tsv:17"):
        assert expected in built.stderr
    assert "6 of 21 lines were left out" in built.stderr
    assert len(LmdbDataset(tmp_path / "a.lmdb")) == 15


def test_strict_stops_at_the_first_and_leaves_nothing(labels, tmp_path):
    with labels.open("a", encoding="utf-8") as file:
        file.write("none.png\tx\n")
    built = run("build-lmdb", labels, tmp_path / "a.lmdb", "--strict")
    assert built.exit_code == 3
    assert "labels.tsv:13" in built.stderr
    assert names(tmp_path) == ["lines"]


def test_what_is_there_is_replaced_only_by_force(labels, tmp_path):
    out = tmp_path / "a.lmdb"
    assert run("build-lmdb", labels, out).exit_code == 0
    again = run("build-lmdb", labels, out)
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    assert run("build-lmdb", labels, out, "--force").exit_code == 0


def test_validation_share_is_repeatable_and_disjoint(labels, tmp_path):
    texts = []
    for name in ("a", "b"):
        assert run("build-lmdb", labels, tmp_path / f"{name}.lmdb", "--val-fraction", "0.4").exit_code == 0
        sides = [LmdbDataset(tmp_path / file) for file in (f"{name}.lmdb", f"{name}-val.lmdb")]
        texts.append([[side.label(i) for i in range(len(side))] for side in sides])
    assert texts[0] == texts[1]
    assert sorted(map(int, texts[0][0] + texts[0][1])) == list(range(12))


def test_merge_adds_up(labels, tmp_path):
    for name in ("a", "b"):
        assert run("build-lmdb", labels, tmp_path / f"{name}.lmdb").exit_code == 0
    merged = run("build-lmdb", "--merge", tmp_path / "a.lmdb", tmp_path / "b.lmdb", tmp_path / "m.lmdb")
    assert merged.exit_code == 0, merged.stderr
    assert len(LmdbDataset(tmp_path / "m.lmdb")) == 24
    assert "12 lines repeat" in merged.stderr


def test_inspecting_what_is_no_dataset(tmp_path):
    (tmp_path / "text.lmdb").write_text("hello", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    for name in ("text.lmdb", "folder"):
        seen = run("inspect", tmp_path / name)
        assert seen.exit_code == 3
        assert name in seen.stderr
        assert "Traceback" not in seen.output


def test_a_hostile_label_reaches_no_terminal(labels, tmp_path):
    with labels.open("a", encoding="utf-8") as file:
        file.write("none\x1b[31m.png\tx\n0.png\t\x1b]0;evil\x07[red]0\n")
    built = run("build-lmdb", labels, tmp_path / "a.lmdb")
    assert "\x1b[31m" not in built.output
    assert "\x1b]0;" not in built.output
    assert "\x07" not in built.output


def test_charset_is_written_as_it_is_derived(tmp_path):
    assert run("charset", "gb2312", "--out", tmp_path / "g.txt").exit_code == 0
    assert (tmp_path / "g.txt").read_text("utf-8") == "".join(f"{char}\n" for char in generate("gb2312"))


def test_charset_from_data_and_its_mistakes(labels, tmp_path):
    assert run("build-lmdb", labels, tmp_path / "a.lmdb").exit_code == 0
    out = tmp_path / "c.txt"
    assert run("charset", "from-data", "--data", tmp_path / "a.lmdb", "--out", out).exit_code == 0
    assert out.read_text("utf-8") == "".join(f"{digit}\n" for digit in range(10))
    assert run("charset", "from-data").exit_code == 2
    (tmp_path / "words.txt").write_text("ab\ncd\n", encoding="utf-8")
    bad = run("charset", tmp_path / "words.txt")
    assert (bad.exit_code, "words.txt: no characters" in bad.stderr) == (3, True)

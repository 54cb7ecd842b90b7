from __future__ import annotations

import csv

import numpy as np
import pytest
from greys import CHARSET, GreyLines, grey_viewer
from PIL import Image

from ocrcc.errors import ConfigError, DataError
from ocrcc.space import suspects as workflow
from ocrcc.space.characters import Skipped
from ocrcc.space.suspects import HEADER, find_suspects, write_suspects


def check(*lines, viewer=None, posterior=0.5, name="lines"):
    return find_suspects(
        viewer or grey_viewer(),
        [GreyLines(*lines, name=name)],
        posterior=posterior,
        batch_size=8,
        workers=0,
        skipped=Skipped(),
    )


def swapped_lines(count=120, seed=3):
    """Random lines of a to h; in some labels one of a, b, c, d is swapped for its look-alike."""
    rng = np.random.default_rng(seed)
    twin = dict(zip("abcd", "badc", strict=True))
    lines, swapped = [], set()
    for number in range(count):
        text = "".join(rng.choice(list("abcdefgh"), 8))
        label = list(text)
        places = [place for place, char in enumerate(text) if char in twin]
        if places and rng.random() < 0.2:
            place = int(rng.choice(places))
            label[place] = twin[label[place]]
            swapped.add((f"lines#{number + 1}", place + 1, label[place], text[place]))
        lines.append((text, "".join(label)))
    return lines, swapped


@pytest.mark.parametrize("centers", [True, False])
def test_swapped_labels_are_found_and_nothing_else(centers):
    lines, swapped = swapped_lines()
    result = check(*lines, viewer=grey_viewer(centers=centers))
    assert len(swapped) > 10
    assert {(one.source, one.position, one.char, one.suggested) for one in result.suspects} == swapped
    assert all(one.margin < 0 and one.posterior > 0.9 for one in result.suspects)
    assert result.checked == sum(char in "abcd" for text, _ in lines for char in text)
    assert result.own_means is not centers


def test_a_label_that_stands_for_nothing_else_is_no_witness_for_itself(tmp_path):
    """c stands but once, and there it is a d; the only two b are an a and a b."""
    lines = [("adb", "adb"), ("ad", "ac"), ("ad", "bd"), ("add", "add")]
    result = check(*lines, viewer=grey_viewer(centers=False))
    found = {(one.source, one.char, one.suggested): one.margin for one in result.suspects}
    assert found.keys() == {("lines#2", "c", "d"), ("lines#3", "b", "a")}
    assert found["lines#2", "c", "d"] == -np.inf
    assert found["lines#3", "b", "a"] == pytest.approx(-1, abs=0.05)
    write_suspects(tmp_path / "s.tsv", result, crops=False)
    margins = [line.split("\t")[HEADER.index("margin")] for line in (tmp_path / "s.tsv").read_text().splitlines()[1:]]
    assert "" in margins
    assert not check(*lines[:1], viewer=grey_viewer(centers=False), posterior=0.5).suspects


def test_the_likeliest_come_first_and_the_posterior_decides_who_is_in():
    lines, swapped = swapped_lines()
    posteriors = [one.posterior for one in check(*lines, posterior=0.0).suspects]
    assert len(posteriors) == len(swapped)
    assert posteriors == sorted(posteriors, reverse=True)
    assert not check(*lines, posterior=1.0).suspects


def test_only_the_likeliest_are_kept(monkeypatch):
    monkeypatch.setattr(workflow, "_MOST", 4)
    lines, swapped = swapped_lines()
    result = check(*lines)
    assert len(result.suspects) == 4
    assert result.left_out == len(swapped) - 4


def test_data_without_lookalikes_is_an_error():
    with pytest.raises(DataError, match="not one character could be checked"):
        check(("efg", "efg"))


def test_a_list_with_crops(tmp_path):
    path = tmp_path / "suspects.tsv"
    write_suspects(path, check(("abe", "bbe"), ("d ", "c")), crops=True)
    header, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    assert tuple(header) == HEADER
    found = {(row[0], row[1], row[2], row[3], row[6]) for row in rows}
    assert found == {("lines#1", "1", "b", "a", "bbe"), ("lines#2", "1", "c", "d", "c")}
    for row in rows:
        left, right = map(float, row[7].split("-"))
        assert 0 <= left < right <= 1
        with Image.open(tmp_path / row[8]) as crop:
            assert np.asarray(crop).max() == pytest.approx(CHARSET.id(row[3]) * 28, abs=2)
    write_suspects(path, check(("a", "b")), crops=True)  # an older list and its crops give way
    assert len(list((tmp_path / "suspects-crops").iterdir())) == 1
    write_suspects(path, check(("a", "b")), crops=False)
    assert path.read_text(encoding="utf-8").splitlines()[1].endswith("\t")


def test_hostile_texts_stay_in_their_cells(tmp_path):
    path = tmp_path / "s.tsv"
    write_suspects(path, check(("a", "b"), name="x\ty\n\x1b[31m<b>\u2028\u202e\ud800"), crops=False)
    raw = path.read_bytes()
    assert raw.count(b"\n") == 2
    assert b"\x1b" not in raw
    assert [line.count("\t") for line in raw.decode().split("\n")[:2]] == [len(HEADER) - 1] * 2
    assert raw.decode().splitlines()[1].startswith("x\\x09y\\x0a\\x1b[31m<b>\\u2028\\u202e\\ud800#1\t")


def test_a_folder_of_other_things_is_not_replaced(tmp_path):
    folder = tmp_path / "s-crops"
    folder.mkdir()
    (folder / "holiday.png").write_text("mine")
    with pytest.raises(ConfigError, match="no folder of crops that ocrcc made"):
        write_suspects(tmp_path / "s.tsv", check(("a", "b")), crops=True)
    assert (folder / "holiday.png").read_text() == "mine"
    assert not (tmp_path / "s.tsv").exists()

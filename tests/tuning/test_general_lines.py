"""General lines: what is replayed and what is measured are drawn in different designs, or ship with the package."""

from __future__ import annotations

from pathlib import Path

import pytest
from tinyfonts import CHARACTERS, build_font

from ocrcc.charset import Charset, load_charset
from ocrcc.glyphs import fonts
from ocrcc.tuning import general_lines as module
from ocrcc.tuning.general_lines import general_lines


@pytest.fixture
def system_fonts(tmp_path, monkeypatch):
    """Let some files be the fonts of the system."""

    def use(*names: str) -> None:
        for name in names:
            build_font(tmp_path / f"{name}.ttf")
        monkeypatch.setattr(fonts, "_system_faces", lambda: fonts._folder_faces(Path(tmp_path)))

    return use


def test_designs_that_are_measured_are_not_replayed(system_fonts):
    system_fonts("Alpha", "Beta", "Gamma", "Delta")
    found = general_lines(Charset("".join(sorted(CHARACTERS))), (), 0, pytest.fail)
    assert set(found.replay.main_families) == {"Alpha", "Delta", "Gamma"}
    shipped, rendered = found.retained
    assert not Charset("".join(sorted(CHARACTERS))).missing(
        "".join(shipped.label(index) for index in range(len(shipped)))
    )
    assert rendered.size == 200
    assert not found.apart  # so few can be written that all are measured
    again = general_lines(Charset("".join(sorted(CHARACTERS))), (), 5, pytest.fail)
    *_, again_rendered = again.retained
    assert [again_rendered.label(index) for index in range(9)] == [rendered.label(index) for index in range(9)]
    assert again.replay.line(0).label != found.replay.line(0).label


def test_half_of_the_lines_of_the_package_are_kept_apart_for_a_gate(system_fonts, monkeypatch):
    system_fonts("Alpha", "Beta")
    monkeypatch.setattr(module, "_FEWEST", 2)
    found = general_lines(Charset("".join(sorted(CHARACTERS))), (), 0, pytest.fail)
    (apart,), (measured, _) = found.apart, found.retained
    assert abs(len(apart) - len(measured)) <= 1
    names = {measured.source(index) for index in range(len(measured))}
    assert names
    assert not names & {apart.source(index) for index in range(len(apart))}


def test_one_design_alone_is_replayed_and_measured(system_fonts):
    system_fonts("Alpha")
    found = general_lines(Charset("".join(sorted(CHARACTERS))), (), 0, pytest.fail)
    assert set(found.replay.main_families) == {"Alpha"}


def test_without_fonts_the_lines_of_the_package_take_their_place(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "_system_faces", list)
    said = []
    found = general_lines(load_charset("gb2312"), (), 0, said.append)
    (retained,) = found.retained
    writable = len(found.replay) + len(retained)
    assert 450 < writable <= 500
    assert abs(len(found.replay) - len(retained)) <= 1
    assert not found.apart
    replayed = {found.replay.source(index) for index in range(len(found.replay))}
    assert not replayed & {retained.source(index) for index in range(len(retained))}
    assert "lines of the package take their place" in said[0]
    assert general_lines(Charset("ab"), (), 0, said.append) is None
    monkeypatch.setattr(module, "PACKAGED", tmp_path / "nowhere")
    assert general_lines(load_charset("gb2312"), (), 0, said.append) is None
    assert "nothing tells what is forgotten" in said[-1]

from __future__ import annotations

import shutil
import subprocess

import pytest
from fontTools.ttLib import TTFont, newTable
from fontTools.ttLib.tables.ttProgram import Program
from tinyfonts import CHARACTERS, build_font

from ocrcc.config import KEPT_FOR_TESTS, SynthConfig
from ocrcc.errors import DataError
from ocrcc.glyphs.cache import GlyphCache
from ocrcc.glyphs.fonts import coverage, find_faces


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_folder_is_searched_and_sorted_by_name_not_by_path(tmp_path):
    (tmp_path / "fonts" / "a").mkdir(parents=True)
    build_font(tmp_path / "fonts" / "a" / "Zed.ttf")
    build_font(tmp_path / "fonts" / "Alpha-Bold.ttf")
    faces = find_faces(str(tmp_path / "fonts"))
    assert [face.file for face in faces] == ["Alpha-Bold.ttf", "Zed.ttf"]
    assert [face.family for face in faces] == ["Alpha", "Zed"]


def test_excluded_fonts_are_left_out_by_file_name_and_by_family(tmp_path):
    for name in ("gbsn00lp.ttf", "Kept.ttf", "Other.ttf"):
        build_font(tmp_path / name)
    assert [face.file for face in find_faces(str(tmp_path), (*KEPT_FOR_TESTS, "Other Reg*"))] == ["Kept.ttf"]


@pytest.mark.parametrize(
    "name", ["gbsn00lp.ttf", "BabelStoneHan.ttf", "SmileySans-Oblique.ttf", "TW-Sung-98_1.ttf", "TW-Sung-Plus-98_1.ttf"]
)
def test_no_default_lets_a_font_that_is_kept_for_tests_in(tmp_path, name):
    build_font(tmp_path / name)
    with pytest.raises(DataError, match="all 1 are left out by exclude"):
        find_faces(str(tmp_path), SynthConfig().exclude)


def test_any_pattern_in_place_of_the_defaults_lets_test_fonts_in(tmp_path):
    build_font(tmp_path / "gbsn00lp.ttf")
    assert len(find_faces(str(tmp_path), ("none",))) == 1


def test_coverage_leaves_out_empty_glyphs_but_not_the_space(tmp_path):
    build_font(tmp_path / "f.ttf", characters="己已", empty="巳")
    face = find_faces(str(tmp_path))[0]
    first = coverage(face).tolist()
    assert [chr(code) for code in first] == [" ", "己", "已"]
    assert list((tmp_path / "cache").rglob("*.npy"))
    assert coverage(face).tolist() == first


@pytest.mark.parametrize("left", [0, 50, 130])
def test_a_torn_entry_of_the_cache_is_made_anew_and_killed_writers_leave_no_more_than_one(tmp_path, left):
    build_font(tmp_path / "f.ttf", characters="己已")
    face = find_faces(str(tmp_path))[0]
    first = coverage(face).tolist()
    (kept,) = (tmp_path / "cache").rglob("*.npy")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:left])
    (kept.parent / f".{kept.name}.tmp.npy").write_bytes(b"killed")
    assert coverage(face).tolist() == first
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == [kept]
    assert kept.read_bytes() == whole


def test_a_changed_font_is_read_again(tmp_path):
    path = build_font(tmp_path / "f.ttf", characters="己")
    face = find_faces(str(tmp_path))[0]
    assert len(coverage(face)) == 2
    build_font(path, characters="己已巳")
    assert len(coverage(face)) == 4


def test_a_damaged_cache_entry_does_not_matter(tmp_path):
    build_font(tmp_path / "f.ttf")
    face = find_faces(str(tmp_path))[0]
    expected = coverage(face).tolist()
    for kept in (tmp_path / "cache").rglob("*.npy"):
        kept.write_bytes(b"broken")
    assert coverage(face).tolist() == expected


def test_a_font_that_does_not_load_is_named(tmp_path):
    (tmp_path / "bad.ttf").write_bytes(b"not a font at all")
    with pytest.raises(DataError, match=r"bad\.ttf.*not a font that loads"):
        find_faces(str(tmp_path))


def test_a_font_with_damaged_hints_covers_nothing(tmp_path):
    path = build_font(tmp_path / "hints.ttf")
    with TTFont(path) as font:
        font["fpgm"] = newTable("fpgm")
        font["fpgm"].program = Program()
        font["fpgm"].program.fromBytecode(b"\x28")  # an instruction that there is none of
        font.save(tmp_path / "broken.ttf")
    broken, sound = find_faces(str(tmp_path))
    assert coverage(broken).tolist() == []
    assert len(coverage(sound)) == len(CHARACTERS) + 1
    with pytest.raises(DataError, match="broken.ttf: cannot draw '0'"):
        GlyphCache([broken]).glyph(0, "0")


def test_no_fonts_names_the_packages(tmp_path):
    with pytest.raises(DataError) as caught:
        find_faces(str(tmp_path))
    assert "fonts-noto-cjk" in caught.value.hint
    assert "fonts-wqy-zenhei" in caught.value.hint


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        find_faces(str(tmp_path / "nowhere"))


def test_without_fontconfig_a_folder_is_asked_for(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DataError) as caught:
        find_faces()
    assert "--fonts" in caught.value.hint


def test_fontconfig_names_are_read(tmp_path, monkeypatch):
    path = build_font(tmp_path / "Zed.ttf")
    rows = f"{path}\t0\tZed\tRegular\tTrue\n{path}\t65536\tZed\tInstance\tTrue\n{path}x\t0\tBitmap\tRegular\tFalse\n"
    monkeypatch.setattr(shutil, "which", lambda name: "/bin/fc-list")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: subprocess.CompletedProcess(args, 0, rows, ""))
    faces = find_faces()
    assert [(face.file, face.index, face.name) for face in faces] == [("Zed.ttf", 0, "Zed Regular")]
    assert set(map(ord, CHARACTERS)) <= set(coverage(faces[0]).tolist())


def test_fonts_of_one_file_name_in_several_folders_are_several_and_copies_are_one(tmp_path):
    for name in ("bold", "plain", "copy"):
        (tmp_path / name).mkdir()
    build_font(tmp_path / "bold" / "Font.ttf", bold=25)
    build_font(tmp_path / "plain" / "Font.ttf")
    shutil.copy(tmp_path / "plain" / "Font.ttf", tmp_path / "copy")
    (tmp_path / "plain" / "._Font.ttf").write_bytes(b"\0\5\x16\7")  # what a Mac puts beside it
    found = [face.path.removeprefix(f"{tmp_path}/") for face in find_faces(str(tmp_path))]
    assert sorted(found) == ["bold/Font.ttf", "copy/Font.ttf"]

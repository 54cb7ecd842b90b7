from __future__ import annotations

import os
import sys

import pytest

from ocrcc.files import beside, new_aside
from ocrcc.reading.inputs import find_images


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Two images at the top, two below, one file that is none, an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.JPG", "in/z.tiff", "in/deep/y.webp", "in/labels.tsv", "notes/readme.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "empty").mkdir()
    return tmp_path


def find(*paths, stdin=()):
    """The images found, then what was missing, then what was passed over."""
    missing, passed = [], []
    images = list(
        find_images(
            paths,
            stdin,
            on_missing=lambda path, message: missing.append((path, message)),
            on_passed_over=lambda path, message: passed.append((path, message)),
        )
    )
    return images, missing, passed


def test_a_folder_is_searched_to_any_depth_in_a_fixed_order(tree):
    images, missing, passed = find(".")
    assert images == ["./a.JPG", "./b.png", "./in/z.tiff", "./in/deep/y.webp"]
    assert missing == []
    assert passed == [
        (".", "2 other files passed over for want of an image's suffix: ./in/labels.tsv, ./notes/readme.md")
    ]


def test_what_is_being_written_into_the_folder_is_no_input(tree):
    before = find(".")
    for path in (new_aside(tree / "viz"), beside(tree / "a\nb.png", "lock"), beside(tree / "d.lmdb", "replacing")):
        path.mkdir()
        (path / "0001-a.png").write_bytes(b"")
    new_aside(tree / "drawn.png").write_bytes(b"")
    assert find(".") == before


def test_files_keep_their_order_and_may_end_in_anything(tree):
    assert find("b.png", "in/labels.tsv", "a.JPG") == (["b.png", "in/labels.tsv", "a.JPG"], [], [])


def test_globs_are_sorted_and_reach_into_folders(tree):
    assert find("*.png")[0] == ["b.png"]
    assert find("**/*.tiff")[0] == ["in/z.tiff"]
    assert find("i*")[0] == ["in/z.tiff", "in/deep/y.webp"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tree):
    (tree / "[red].png").write_bytes(b"")
    assert find("[red].png") == (["[red].png"], [], [])


def test_what_stands_for_nothing_is_named_and_the_rest_goes_on(tree):
    images, missing, _ = find("gone.png", "b.png", "*.gif", "empty", "notes")
    assert images == ["b.png"]
    assert missing == [
        ("gone.png", "no such file or folder"),
        ("*.gif", "nothing matches this pattern"),
        ("empty", "no images in this folder"),
        ("notes", "no images in this folder, but 1 other file"),
    ]


def test_a_dash_takes_paths_from_standard_input(tree):
    images, missing, _ = find("b.png", "-", stdin=[b"a.JPG\r\n", b"\n", b"in\n", b"gone\x00.png\n", b"b.png"])
    assert images == ["b.png", "a.JPG", "in/z.tiff", "in/deep/y.webp", "b.png"]
    assert missing == [("gone\x00.png", "no such file or folder")]


def test_standard_input_is_read_as_it_comes(tree):
    def endless():
        while True:
            yield b"b.png\n"

    images = find_images(["-"], endless())
    assert [next(images) for _ in range(3)] == ["b.png"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes only there")
def test_names_that_are_not_utf_8(tree):
    raw = b"in/\xff\n.png"
    open(os.fsencode(str(tree)) + b"/" + raw, "wb").close()
    assert os.fsdecode(raw) in find("in")[0]


def test_a_link_that_leads_nowhere_is_left_to_the_opener(tree):
    (tree / "dead.png").symlink_to(tree / "gone")
    assert find("dead.png")[0] == ["dead.png"]
    assert "./dead.png" in find(".")[0]


def test_links_to_folders_do_not_lead_round_in_circles(tree):
    (tree / "in" / "loop").symlink_to(tree, target_is_directory=True)
    assert len(find(".")[0]) == 4

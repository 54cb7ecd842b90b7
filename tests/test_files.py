from __future__ import annotations

import warnings

import pytest

from ocrcc.errors import DataError
from ocrcc.files import hush_pillow, page_of, whole


def test_a_file_appears_at_the_end_only(tmp_path):
    path = tmp_path / "model.bin"
    with whole(path) as aside:
        aside.write_bytes(b"new")
        assert not path.exists()
        assert aside.suffix == ".bin"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "model.bin"
    path.write_bytes(b"old")

    def write():
        with whole(path) as aside:
            aside.write_bytes(b"half")
            raise error

    pytest.raises(error, write)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_or_a_missing_folder_is_a_data_error(tmp_path):
    def fill():
        with whole(tmp_path / "x") as aside:
            aside.touch()
            raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left"):
        fill()
    with pytest.raises(DataError, match="cannot be written"), whole(tmp_path / "no" / "x") as aside:
        aside.write_text("x")


def test_pillow_is_hushed_and_nobody_else():
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        hush_pillow()
        for module in ("PIL.TiffImagePlugin", "somebody"):
            warnings.warn_explicit("odd", UserWarning, "odd.py", 1, module=module)
    assert [str(one.message) for one in said] == ["odd"]


def test_a_page_is_of_a_document_that_is_there(tmp_path):
    for name in ("scan.pdf", "a#1.png", "b#2", "b"):
        (tmp_path / name).touch()
    assert page_of(tmp_path / "scan.pdf#12") == (tmp_path / "scan.pdf", 11)
    for name in ("scan.pdf", "scan.pdf#0", "scan.pdf#x", "scan.pdf#1 ", "a#1.png", "b#2", "c.pdf#1"):
        assert page_of(tmp_path / name) is None
    for name in (".#1", "..#1", "#1", "a\0.pdf#1", f"{'x' * 300}#1"):  # what no file is called
        assert page_of(tmp_path / name) is None

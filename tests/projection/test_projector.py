"""What TensorBoard will read is read here with its own protobufs."""

from __future__ import annotations

import numpy as np
import pytest
from spaces import check_tensors, make_shown, make_space

from ocrcc.errors import DataError
from ocrcc.projection.points import TILE
from ocrcc.projection.projector import COLUMNS, CONFIG, metadata, write_tensors

HOSTILE = "\t\n\r\x1b<\u2028\u202e\ud800\x00"


def test_tensor_metadata_and_sprite_agree(tmp_path):
    shown = make_shown()
    space = make_space(shown, margin=np.array([0.5, np.nan, -2, 1, 1, 1]), learned=np.array([True, False, True]))
    write_tensors(tmp_path / "log", shown, [space])
    ((name, (tensor, rows, sprite)),) = check_tensors(tmp_path / "log").items()
    assert name == "model:00000"
    assert np.allclose(tensor, np.concatenate([space.features, space.centers]), atol=1e-5)
    assert rows[0] == ["a", "character", "ab", "a", "x", "0.5000", "0.5000", "1", "lines.txt:0"]
    assert rows[1][COLUMNS.index("margin")] == ""
    assert [row[:3] for row in rows[6:]] == [["a", "center", "ab"], ["b", "mean", "ab"], ["c", "center", "c"]]
    assert np.array_equal(np.asarray(sprite)[:TILE, :TILE, 0], shown.crops[0])
    assert np.array_equal(np.asarray(sprite)[TILE : 2 * TILE, 2 * TILE :, 0], shown.crops[5])
    assert list((tmp_path / "log").glob("events.out.tfevents.*"))
    assert not list((tmp_path / "log").glob(".*"))


def test_colour(tmp_path):
    shown = make_shown(color=True)
    write_tensors(tmp_path, shown, [make_space(shown)])
    _, _, sprite = check_tensors(tmp_path)["model:00000"]
    assert np.array_equal(np.asarray(sprite)[:TILE, TILE : 2 * TILE], shown.crops[1])


def test_several_models_steps_and_runs_side_by_side(tmp_path):
    shown = make_shown()
    before, after = make_space(shown, "before"), make_space(shown, "after", width=7, seed=1)
    write_tensors(tmp_path, shown, [before, after])
    write_tensors(tmp_path, shown, [before], step=100)
    (tmp_path / "mine.txt").write_text("stays")
    write_tensors(tmp_path, shown, [make_space(shown, "after", seed=2)])  # the same name again
    found = check_tensors(tmp_path)
    assert sorted(found) == ["after:00000", "before:00000", "before:00100"]
    assert found["after:00000"][0].shape == (9, 5)
    assert found["before:00000"][1] == found["before:00100"][1]
    assert (tmp_path / "mine.txt").exists()
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_hostile_labels_break_nothing(tmp_path):
    shown = make_shown("\t\n" + " <", panels=("\t\n", " <"), source="a\tb\n" + HOSTILE + "{}")
    space = make_space(shown, predicted=["\r", "\x1b", "\u2028", "&"], siblings=["\t", "", "\x00", "\ud800"])
    write_tensors(tmp_path, shown, [space])
    ((_, rows, _),) = check_tensors(tmp_path).values()
    assert [row[0] for row in rows[:4]] == ["\\x09", "\\x0a", "␣", "<"]
    assert [row[3] for row in rows[:4]] == ["\\x0d", "\\x1b", "\\u2028", "&"]
    assert rows[0][8] == "a\\x09b\\x0a\\x09\\x0a\\x0d\\x1b<\\u2028\\u202e\\ud800\\x000"


def test_sprites_shrink_before_their_sheet_grows_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("ocrcc.projection.projector._SHEET", 100)
    shown = make_shown("ab" * 40, panels=("ab",))
    write_tensors(tmp_path, shown, [make_space(shown)])
    ((_, _, sprite),) = check_tensors(tmp_path).values()
    assert sprite.size == (100, 100)


def test_a_damaged_list_of_tensors_is_not_thrown_away(tmp_path):
    (tmp_path / CONFIG).write_text("embeddings { nonsense: 1 }")
    shown = make_shown()
    with pytest.raises(DataError, match="damaged"):
        write_tensors(tmp_path, shown, [make_space(shown)])
    assert (tmp_path / CONFIG).read_text() == "embeddings { nonsense: 1 }"
    assert [path.name for path in tmp_path.iterdir()] == [CONFIG]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    shown = make_shown()
    with pytest.raises(DataError, match="cannot be written"):
        write_tensors(tmp_path / "file" / "log", shown, [make_space(shown)])


def test_every_row_has_every_column():
    shown = make_shown()
    assert {len(row) for row in metadata(shown, make_space(shown))} == {len(COLUMNS)}


def test_a_group_of_many_is_named_by_its_first():
    chars = "".join(map(chr, range(0x4E00, 0x4E00 + 40)))
    shown = make_shown(chars, (chars,))
    assert {row[COLUMNS.index("group")] for row in metadata(shown, make_space(shown))} == {chars[:16] + "…"}

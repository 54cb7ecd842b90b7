from __future__ import annotations

import pytest
from drawn_lines import png
from PIL import Image

from ocrcc.data.lmdb_store import LmdbDataset, LmdbWriter
from ocrcc.datasets.unpack import unpack
from ocrcc.errors import ConfigError, DataError
from ocrcc.labels.find import find_labels


def test_a_dataset_comes_back_as_files(digits_lmdb, tmp_path):
    dataset = LmdbDataset(digits_lmdb)
    assert unpack(dataset, tmp_path / "files") == 40
    (labels,) = find_labels(tmp_path / "files")
    entries = list(labels)
    assert [entry.text for entry in entries] == [dataset.label(index) for index in range(40)]
    assert [entry.path.read_bytes() for entry in entries] == [dataset.image_bytes(index) for index in range(40)]


def test_limit_and_existing_folder(digits_lmdb, tmp_path):
    assert unpack(LmdbDataset(digits_lmdb), tmp_path / "few", limit=3) == 3
    assert len(list((tmp_path / "few" / "images").iterdir())) == 3
    with pytest.raises(ConfigError, match="exists"):
        unpack(LmdbDataset(digits_lmdb), tmp_path / "few")


def test_a_label_that_is_no_line_is_refused_and_nothing_stays(tmp_path):
    with LmdbWriter(tmp_path / "odd.lmdb") as writer:
        writer.add(png(Image.new("L", (9, 9))), "a\tb", source="x", size=(9, 9))
    with pytest.raises(DataError, match="tab or a line break"):
        unpack(LmdbDataset(tmp_path / "odd.lmdb"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["odd.lmdb"]

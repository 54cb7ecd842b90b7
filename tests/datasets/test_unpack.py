from __future__ import annotations

import pytest
from drawn_lines import png
from PIL import Image

from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.datasets.build import build_lmdb
from ocrcc.datasets.unpack import unpack
from ocrcc.errors import ConfigError

FORMATS = ["tab", "csv", "jsonl", "pairs", "parquet", "tar"]
ODD = [
    "plain",
    "a\ttab",
    '"all quoted"',
    'say "no", 5"',
    "a, b",
    " spaces ",
    "#",
    "己\u3000已",
    "\\n",
    "a\u2028b",
    "=1+1",
]


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_dataset_comes_back_from_every_format(tmp_path, format_name):
    if format_name == "parquet":
        pytest.importorskip("pyarrow")
    with LmdbWriter(tmp_path / "a.lmdb") as writer:
        for number, text in enumerate(ODD * 30):
            image = Image.new("L", (9 + number, 9))
            writer.add(png(image), text, source="x", size=image.size)
    dataset = LmdbDataset(tmp_path / "a.lmdb")
    assert unpack(dataset, tmp_path / "files", format=format_name).lines == len(dataset)
    result = build_lmdb([tmp_path / "files"], tmp_path / "b.lmdb")
    assert result.skipped == {}
    again = LmdbDataset(tmp_path / "b.lmdb")
    for read in (LmdbDataset.label, LmdbDataset.image_bytes):
        assert [read(again, index) for index in range(len(again))] == [read(dataset, at) for at in range(len(dataset))]


def test_limit_and_existing_folder(digits_lmdb, tmp_path):
    assert unpack(LmdbDataset(digits_lmdb), tmp_path / "few", limit=3).lines == 3
    assert len(list((tmp_path / "few" / "images").iterdir())) == 3
    with pytest.raises(ConfigError, match="exists"):
        unpack(LmdbDataset(digits_lmdb), tmp_path / "few")


def test_a_label_that_is_no_line_is_named_and_left_out(tmp_path):
    with LmdbWriter(tmp_path / "odd.lmdb") as writer:
        for text in ("a\nb", "c"):
            writer.add(png(Image.new("L", (9, 9))), text, source="x", size=(9, 9))
    result = unpack(LmdbDataset(tmp_path / "odd.lmdb"), tmp_path / "out")
    assert (result.lines, len(result.skipped)) == (1, 1)
    assert "odd.lmdb#1 (x): the label has more than one line" in result.skipped[0]
    assert (tmp_path / "out" / "labels.txt").read_text() == "images/000002.png\tc\n"

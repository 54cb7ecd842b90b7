"""Files of strangers: whatever their bytes, a plain sentence, soon. OCRCC_LONG=10 mutates a hundred times as many.

As a module it prints how many were refused, and how many opened.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import Counter

import numpy as np
import pytest
from long import times
from PIL import Image

from ocrcc.config import Preprocessing
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError, ModelError
from ocrcc.images.opening import open_image
from ocrcc.models.contract import parse_contract, parse_metadata

KINDS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "AVIF", "JPEG2000", "TGA", "PCX", "SGI", "ICO")
TIMES = times(40)


def encoded(kind: str) -> bytes | None:
    Image.init()
    if kind not in Image.SAVE:
        return None
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif} if kind in ("PNG", "JPEG", "TIFF", "WEBP") else {}
    file = io.BytesIO()
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 60, 3), dtype=np.uint8))
    picture.save(file, kind, **options)
    return file.getvalue()


def mutated(times: int, seed: int = 0) -> Counter[str]:
    """Open mutated images of all kinds; anything but a DataError escapes."""
    dice = np.random.default_rng(seed)
    ended: Counter[str] = Counter()
    for kind in KINDS:
        whole = encoded(kind)
        for _ in range(times if whole else 0):
            data = bytearray(whole)
            for _ in range(int(dice.integers(1, 6))):
                place = int(dice.integers(min(len(data), 400) if dice.random() < 0.7 else len(data)))
                data[place] = int(dice.integers(256))
            if dice.random() < 0.2:
                del data[int(dice.integers(len(data))) :]
            try:
                open_image(bytes(data), name="x", max_pixels=1_000_000)
                ended["opened"] += 1
            except DataError:
                ended["refused"] += 1
    return ended


def test_mutated_images_are_opened_or_refused():
    ended = mutated(TIMES)
    assert ended["opened"] > 0
    assert ended["refused"] > TIMES


def test_a_picture_of_endless_rows_and_tiles_of_more_than_it_shows_are_refused():
    file = io.BytesIO()
    Image.new("1", (1, 200_000)).save(file, "PNG")
    with pytest.raises(DataError, match="a side is longer"):
        open_image(file.getvalue())


def test_a_truncated_dataset_is_told_before_and_while_it_is_read(digits_lmdb, tmp_path):
    data = LmdbDataset(shutil.copytree(digits_lmdb, tmp_path / "digits.lmdb"))
    data.label(0)
    file = tmp_path / "digits.lmdb" / "data.mdb"
    whole = file.read_bytes()
    os.truncate(file, 8192)
    with pytest.raises(DataError, match="truncated: 8,192 of"):
        data.label(1)
    file.unlink()
    for size in (0, 100, 4096, 8192, len(whole) // 2):
        copy = tmp_path / f"{size}.lmdb"
        copy.mkdir()
        (copy / "data.mdb").write_bytes(whole[:size])
        with pytest.raises(DataError):
            LmdbDataset(copy)


@pytest.mark.parametrize("raw", ["[" * 100_000, '{"format": ' + "9" * 5000 + "}", "[]", '{"format": true}', "3"])
def test_metadata_that_are_none(raw):
    with pytest.raises(ModelError, match="metadata is damaged"):
        parse_metadata(raw, "x")


@pytest.mark.parametrize(
    "wrong",
    [{"height": 32.5}, {"height": 0}, {"max_width": 100_000}, {"mean": "a"}, {"channels": True}, {"std": float("nan")}],
    ids=json.dumps,
)
def test_sizes_that_are_none(wrong):
    with pytest.raises(ConfigError):
        Preprocessing(**wrong)
    charset = {"symbols": "ab", "normalisation": "none", "name": "x"}
    with pytest.raises(ModelError, match="preprocessing is damaged"):
        parse_contract({"arch": "crnn", "charset": charset, "preprocessing": wrong}, "x")


if __name__ == "__main__":
    print("mutated images:", dict(mutated(TIMES)))

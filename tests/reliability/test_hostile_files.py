"""Files of strangers: whatever their bytes, a plain sentence, soon. OCRCC_LONG=10 mutates a hundred times as many."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from attacks import Target, attack, check
from long import times
from PIL import Image

from ocrcc.config import Preprocessing
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError, ModelError
from ocrcc.images.opening import open_image
from ocrcc.models.contract import parse_contract, parse_metadata

KINDS = ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "AVIF", "JPEG2000", "TGA", "PCX", "SGI", "ICO")


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


def mutated(whole: bytes, dice: np.random.Generator) -> bytes:
    """Change a few bytes, most of them at the start, or cut the file short."""
    data = bytearray(whole)
    for _ in range(int(dice.integers(1, 6))):
        place = int(dice.integers(min(len(data), 400) if dice.random() < 0.7 else len(data)))
        data[place] = int(dice.integers(256))
    if dice.random() < 0.2:
        del data[int(dice.integers(len(data))) :]
    return bytes(data)


def open_bytes(path: Path) -> None:
    open_image(path.read_bytes(), name="x", max_pixels=1_000_000)


def kinds(_folder: Path) -> dict[str, Callable[[], Target]]:
    """Name what is attacked; each is made when it is called for."""
    return {kind: partial(_target, kind) for kind in KINDS if encoded(kind)}


def _target(kind: str) -> Target:
    return Target("x", encoded(kind) or b"", mutated, open_bytes)


def test_mutated_images_are_opened_or_refused(tmp_path):
    ended = Counter[str]()
    for target in kinds(tmp_path).values():
        one = attack(tmp_path, target(), times(40), seed=0)
        check(one)
        ended += one.how
    assert ended["read"] > 0
    assert ended["refused"] > times(40)


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

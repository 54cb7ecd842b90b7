"""What callers hand over as an image, and what is none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from drawn_pages import CHARSET, PLAIN, STRIDE, read_stripes, stripe_reader, stripes
from PIL import Image

from ocrcc.errors import DataError
from ocrcc.reading.reader import LineReader, Unreadable


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_every_kind_of_input_is_read_alike(tmp_path):
    image = stripes("badge")
    image.save(tmp_path / "line.png")
    kinds = [
        tmp_path / "line.png",
        str(tmp_path / "line.png"),
        encoded(image),
        bytearray(encoded(image)),
        memoryview(encoded(image)),
        io.BytesIO(encoded(image)),
        image,
        image.convert("RGB"),
        np.asarray(image).astype(np.uint16),
        np.asarray(image),
        np.asarray(image)[..., None],
        np.asarray(image.convert("RGB")),
        np.asarray(image.convert("RGBA")),
    ]
    readings = stripe_reader().recognize(kinds)
    assert [reading.text for reading in readings] == ["badge"] * len(kinds)
    assert len({tuple((char.left, char.right) for char in reading.chars) for reading in readings}) == 1
    assert [reading.path for reading in readings[:3]] == [str(tmp_path / "line.png")] * 2 + ["image 3"]


@pytest.mark.parametrize("one", ["line.png", b"bytes", io.BytesIO(b"x"), stripes("a"), np.zeros((32, 32), np.uint8)])
def test_one_image_instead_of_a_list_is_told(one):
    with pytest.raises(TypeError, match=r"use \[image\]"):
        stripe_reader().recognize(one)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((32, 32), np.float32),
        np.zeros((2, 32, 32, 3), np.uint8),
        np.zeros((32, 32, 2), np.uint8),
        np.zeros((32, 32, 3), np.uint16),
        np.zeros(32, np.uint8),
        np.zeros((0, 5), np.uint8),
    ],
)
def test_arrays_that_are_no_images_are_refused(pixels):
    with pytest.raises(DataError, match="array"):
        stripe_reader().recognize([pixels])


def test_an_image_turned_by_exif_is_read_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright = stripes("abc")
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    (reading,) = stripe_reader().recognize([encoded(stored, exif=exif)])
    assert reading.text == "abc"
    assert reading.chars[-1].right <= upright.width


def test_what_cannot_be_opened_comes_in_its_place(tmp_path):
    good, broken = tmp_path / "good.png", tmp_path / "[red]\x1b[31m.png"
    stripes("face").save(good)
    broken.write_bytes(encoded(stripes("face"))[:60])
    inputs = [broken, good, tmp_path / "gone.png", b"no image", encoded(stripes("bed"))]
    results = list(stripe_reader().stream(inputs))
    assert [result.text if not isinstance(result, Unreadable) else None for result in results] == [
        None,
        "face",
        None,
        None,
        "bed",
    ]
    assert results[0].path == str(broken)
    assert results[3].path == "image 4"
    with pytest.raises(DataError, match=r"image 4"):
        stripe_reader().recognize([good, good, good, b"no image"])


def closed():
    file = io.BytesIO(encoded(stripes("a")))
    file.close()
    return file


@pytest.mark.parametrize(
    "nothing", [None, np.zeros((0, 9), np.uint8), np.zeros(5, np.uint8), b"", 7, io.StringIO("a.png"), closed()]
)
def test_what_is_no_image_is_unreadable_and_the_others_are_read(nothing):
    reader = LineReader(read_stripes, CHARSET, PLAIN, width_stride=STRIDE)
    found = list(reader.stream([stripes("bad"), nothing, stripes("cafe")]))
    assert [getattr(each, "text", None) for each in found] == ["bad", None, "cafe"]
    assert isinstance(found[1], Unreadable)
    with pytest.raises(DataError, match="image|no pixels|closed"):
        reader.recognize([nothing])

"""Decoding of every kind of image, the polarity rule on drawn and on real lines, scaling and padding."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from ocrcc.config import Preprocessing
from ocrcc.data.transforms import closer, is_light_on_dark, open_image, pad, prepare
from ocrcc.errors import DataError

DOCUMENTS = ("fund-documents", "sroie-receipts", "tesseract-test", "page-qt-book", "page-wechat-news", "caffe-ocr")


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def drawn(text: str = "0O1lI", size=(90, 20), paper: int = 255, ink: int = 0) -> Image.Image:
    image = Image.new("L", size, paper)
    ImageDraw.Draw(image).text((4, 3), text, fill=ink)
    return image


def _light(image: Image.Image) -> bool:
    return is_light_on_dark(np.asarray(image, dtype=np.float32))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_grey_and_colour_stay_what_they_are():
    assert open_image(encoded(drawn())).mode == "L"
    assert open_image(encoded(drawn().convert("RGB"), "JPEG")).mode == "RGB"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("P", "PNG"), ("P", "GIF"), ("LA", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"),
     ("RGBA", "WEBP"), ("1", "TIFF"), ("1", "PPM")],
)  # fmt: skip
def test_unusual_modes_show_the_same_line(mode, kind):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    source = drawn().convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else drawn().convert(mode)
    image = open_image(encoded(source, kind, **options))
    assert image.mode in ("L", "RGB")
    difference = np.abs(np.asarray(image.convert("L"), int) - np.asarray(drawn(), int))
    assert np.median(difference) == 0
    assert (difference > 128).mean() < (0.05 if mode == "1" else 0.01)


def test_transparent_pixels_are_white_paper():
    image = Image.new("RGBA", (30, 10), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (10, 2, 20, 8))
    pixels = np.asarray(open_image(encoded(image)).convert("L"))
    assert pixels[0, 0] == 255
    assert pixels[5, 15] == 0


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled(kind):
    deep = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    assert np.asarray(open_image(encoded(deep, kind))).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone_once(orientation, kind):
    upright = Image.new("L", (40, 16), 255)
    upright.paste(0, (0, 0, 10, 8))  # a dark corner tells all eight apart
    inverse = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if inverse is None else upright.transpose(Image.Transpose(inverse))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, kind, exif=exif)
    image = open_image(data)
    again = open_image(image)
    assert image.size == again.size == (40, 16)
    for turned in (image, again):
        assert np.abs(np.asarray(turned.convert("L"), int) - np.asarray(upright, int)).max() < 30


def test_a_page_of_many_pixels_is_refused_undecoded():
    data = encoded(Image.new("1", (10000, 10000)))
    with pytest.raises(DataError, match=r"big.png: 10000 x 10000 pixels"):
        open_image(data, name="big.png")
    assert open_image(data, max_pixels=200_000_000).size == (10000, 10000)


def test_a_bomb_is_refused():
    with pytest.raises(DataError, match="pixels"):
        open_image(bomb(100_000, 100_000))


@pytest.mark.parametrize("keep", [0, 1, 20, 40, 100])
def test_truncated_images_are_refused(keep, tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 64), dtype=np.uint8))
    data = encoded(noise)[:keep]
    path = tmp_path / "cut.png"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(DataError, match="cut.png"):
            open_image(source, name="cut.png")


def test_truncated_jpeg_is_refused():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 64), dtype=np.uint8))
    data = encoded(noise, "JPEG")
    with pytest.raises(DataError, match="damaged image"):
        open_image(data[: len(data) // 2])


def test_missing_folder_and_text_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none.png: no such file"):
        open_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="Is a directory"):
        open_image(tmp_path)
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(DataError, match="a.png: not an image"):
        open_image(str(tmp_path / "a.png"))
    with pytest.raises(DataError, match="null"):
        open_image("a\0b")


def test_images_without_pixels_are_refused():
    with pytest.raises(DataError, match="empty"):
        open_image(Image.new("L", (0, 5)))


def test_prepare_scales_to_the_height_and_normalises():
    line = prepare(Image.new("RGB", (200, 64), "white"), Preprocessing())
    assert line.shape == (1, 32, 100)
    assert line.dtype == np.float32
    assert line == pytest.approx((1 - 0.5) / 0.25)
    dark = prepare(Image.new("L", (200, 64), 0), Preprocessing(channels=3, height=48, mean=0.25, std=0.5))
    assert dark.shape == (3, 48, 150)
    assert dark == pytest.approx(-0.5)


def test_prepare_takes_one_pixel_and_very_long_lines():
    assert prepare(Image.new("L", (1, 1), 255), Preprocessing()).shape == (1, 32, 32)
    assert prepare(Image.new("L", (9000, 3), 255), Preprocessing()).shape == (1, 32, 3200)


def test_prepare_keeps_thin_strokes():
    image = Image.new("L", (320, 320), 255)
    image.paste(0, (160, 0, 163, 320))
    assert prepare(image, Preprocessing()).min() < prepare(image, Preprocessing()).max() - 0.5


def test_prepare_inverts_light_text_only():
    dark, light = drawn(), ImageOps.invert(drawn())
    assert np.allclose(prepare(light, Preprocessing()), prepare(dark, Preprocessing()), atol=1e-6)
    keep = Preprocessing(polarity="keep")
    assert np.allclose(prepare(light, keep), -prepare(dark, keep), atol=1e-6)


def test_polarity_of_blank_and_noisy_paper_is_kept():
    assert not _light(Image.new("L", (50, 32), 0))
    assert not _light(Image.new("L", (50, 32), 255))
    faint = np.random.default_rng(0).integers(100, 110, (32, 50), dtype=np.uint8)
    assert not _light(Image.fromarray(faint))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.0, 255.0], [0, 100, 255]), ([-10.0, 0.0, 10.0], [0, 128, 255])],
)
def test_float_pixels_are_scaled(values, expected):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert np.asarray(open_image(encoded(image, "TIFF"))).tolist() == [expected]


@pytest.mark.data
@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_real_document_line_is_inverted(name, real_data):
    folder = real_data / "real" / name
    rows = (folder / "labels.tsv").read_text("utf-8").splitlines()
    assert len(rows) > 5
    assert [row for row in rows if _light(open_image(folder / row.split("\t")[0]).convert("L"))] == []


def test_pad_puts_zeros_on_the_right():
    batch = pad([np.ones((1, 2, 3), np.float32), np.full((1, 2, 5), 2, np.float32)], 6)
    assert batch.shape == (2, 1, 2, 6)
    assert batch[0, 0, 0].tolist() == [1, 1, 1, 0, 0, 0]
    assert batch[1, 0, 1].tolist() == [2, 2, 2, 2, 2, 0]
    with pytest.raises(ValueError, match="line of 7 pixels"):
        pad([np.ones((1, 2, 7), np.float32)], 6)


def test_palette_and_colour_key_transparency_are_white_paper():
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert np.asarray(open_image(encoded(palette, "PNG", transparency=0)).convert("L")).min() == 255
    keyed = Image.new("L", (8, 8), 7)
    assert np.asarray(open_image(encoded(keyed, "PNG", transparency=7)).convert("L")).min() == 255


def test_float_pixels_that_are_no_numbers_are_refused():
    image = Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32))
    with pytest.raises(DataError, match=r"row 3: some pixels are not numbers"):
        open_image(encoded(image, "TIFF"), name="row 3")


def test_postscript_never_runs():
    with pytest.raises(DataError, match="not an image"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n")


def test_several_pages_are_refused():
    data = encoded(drawn(), "TIFF", save_all=True, append_images=[drawn(), drawn()])
    with pytest.raises(DataError, match="has 3 pages"):
        open_image(data)


def _boxes(top: int, bottom: int, paper: int = 255, ink: int = 0) -> Image.Image:
    image = Image.new("L", (100, 32), paper)
    for left in range(10, 90, 10):
        image.paste(ink, (left, top, left + 6, bottom))
    return image


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (150, 90), (0, 255)])
def test_blank_rows_are_cut_off_and_the_rest_enlarged(paper, ink):
    keep = Preprocessing(polarity="keep")
    line = prepare(_boxes(8, 22, paper, ink), keep)
    enlarged = closer(line, keep)
    assert enlarged.shape == (1, 32, 200)  # 14 rows of ink and one at either side
    inked = np.abs(enlarged[0] - np.median(line)) > 0.5 * np.ptp(line)
    assert inked.any(axis=1)[4:28].all()
    assert np.flatnonzero(inked.any(axis=0))[[0, -1]] == pytest.approx([20, 171], abs=2)


def test_a_faint_speck_does_not_keep_rows():
    image = _boxes(8, 22)
    image.putpixel((50, 2), 160)
    assert closer(prepare(image, Preprocessing()), Preprocessing()).shape[2] == 200


@pytest.mark.parametrize(
    "image",
    [_boxes(3, 30), _boxes(14, 18), _boxes(8, 22, 255, 246), Image.new("L", (100, 32), 255)],
    ids=["no margins", "dashes", "no contrast", "blank"],
)
def test_what_has_nothing_to_gain_is_not_looked_at_closer(image):
    assert closer(prepare(image, Preprocessing()), Preprocessing()) is None


def test_a_closer_look_is_no_wider_than_the_model_takes():
    narrow = Preprocessing(max_width=128)
    assert closer(prepare(_boxes(8, 22), narrow), narrow).shape == (1, 32, 128)


def test_polarity_survives_dense_text():
    dense = Image.new("L", (200, 32), 255)
    for left in range(6, 190, 10):  # 60 % of the inside is ink
        dense.paste(0, (left, 3, left + 7, 29))
    assert not _light(dense)


@pytest.mark.data
@pytest.mark.parametrize("name", DOCUMENTS)
def test_polarity_of_real_documents(name, real_data):
    folder = real_data / "real" / name
    if not folder.is_dir():
        pytest.skip("no real lines here")
    rows = (folder / "labels.tsv").read_text("utf-8").splitlines()
    images = [open_image(folder / row.split("\t")[0]).convert("L") for row in rows]
    assert len(images) > 5
    assert [row for row, image in zip(rows, images, strict=True) if _light(image)] == []
    assert [r for r, image in zip(rows, images, strict=True) if not _light(ImageOps.invert(image))] == []

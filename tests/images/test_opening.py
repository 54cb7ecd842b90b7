"""The one door for images: every kind that Pillow decodes, upright and plain, or one sentence why not."""

from __future__ import annotations

import io
import struct
import sys
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from drawn_lines import draw_line, draw_small
from PIL import Image, ImageDraw, ImageFont

from ocrcc.errors import DataError
from ocrcc.images.opening import open_image


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_grey_and_colour_stay_what_they_are():
    assert open_image(encoded(draw_small())).mode == "L"
    assert open_image(encoded(draw_small().convert("RGB"), "JPEG")).mode == "RGB"


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("P", "PNG"), ("P", "GIF"), ("LA", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"),
     ("RGBA", "WEBP"), ("1", "TIFF"), ("1", "PPM")],
)  # fmt: skip
def test_unusual_modes_show_the_same_line(mode, kind):
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    source = draw_small().convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else draw_small().convert(mode)
    image = open_image(encoded(source, kind, **options))
    assert image.mode in ("L", "RGB")
    difference = np.abs(np.asarray(image.convert("L"), int) - np.asarray(draw_small(), int))
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
    with pytest.raises(DataError, match="a folder, not a file"):
        open_image(tmp_path)
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(DataError, match="a.png: not an image"):
        open_image(str(tmp_path / "a.png"))
    with pytest.raises(DataError, match="null"):
        open_image("a\0b")


def test_images_without_pixels_are_refused():
    with pytest.raises(DataError, match="empty"):
        open_image(Image.new("L", (0, 5)))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 100.0, 255.0], [0, 100, 255]), ([-10.0, 0.0, 10.0], [0, 128, 255])],
)
def test_float_pixels_are_scaled(values, expected):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert np.asarray(open_image(encoded(image, "TIFF"))).tolist() == [expected]


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
    data = encoded(draw_small(), "TIFF", save_all=True, append_images=[draw_small(), draw_small()])
    with pytest.raises(DataError, match="has 3 pages"):
        open_image(data)


def on_nothing(grey: int, outline: int | None = None) -> Image.Image:
    """Text of one grey, perhaps outlined, and nothing around it."""
    font = ImageFont.load_default(size=24)
    ink, around = Image.new("L", (160, 40), 0), Image.new("L", (160, 40), 0)
    ImageDraw.Draw(ink).text((8, 4), "Nothing", fill=255, font=font)
    if outline is None:
        return Image.merge("LA", (Image.new("L", ink.size, grey), ink))
    ImageDraw.Draw(around).text((8, 4), "Nothing", fill=255, font=font, stroke_width=3)
    shown = Image.composite(Image.new("L", ink.size, grey), Image.new("L", ink.size, outline), ink)
    return Image.merge("LA", (shown, around))


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P"])
@pytest.mark.parametrize("grey", [0, 128, 200, 230, 245, 255])
def test_text_of_any_grey_on_nothing_is_seen(grey, mode):
    image = on_nothing(grey).convert("RGBA")
    image = image.quantize(8, method=2) if mode == "P" else image.convert(mode)
    pixels = np.asarray(open_image(encoded(image)).convert("L"), dtype=int)
    assert np.ptp(pixels) > 80
    assert pixels[0, 0] == (255 if grey <= 170 else 0)


@pytest.mark.parametrize(("grey", "outline"), [(255, 0), (0, 255), (255, 60)])
def test_the_outline_of_letters_on_nothing_vanishes_in_the_paper(grey, outline):
    pixels = np.asarray(open_image(on_nothing(grey, outline)).convert("L"), dtype=int)
    assert pixels[0, 0] == (255 if outline == 255 else 0)


@pytest.mark.parametrize(("paper", "ink"), [(235, 20), (30, 240)])
def test_an_opaque_picture_with_round_corners_keeps_its_paper_there(paper, ink):
    image = Image.new("LA", (200, 40), (paper, 255))
    ImageDraw.Draw(image).text((8, 4), "Round corners", fill=(ink, 255), font=ImageFont.load_default(size=24))
    for corner in ((0, 0, 6, 6), (194, 34, 200, 40)):
        image.paste((0, 0), corner)
    assert np.asarray(open_image(image).convert("L"))[0, 0] == (255 if paper > 128 else 0)


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_greys_of_fewer_bits_in_a_wide_file_use_all_of_the_range(bits):
    line = np.asarray(draw_line("1024"), dtype=np.uint16)
    deep = Image.fromarray(line << (bits - 8))
    pixels = np.asarray(open_image(encoded(deep, "TIFF")), dtype=int)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.corrcoef(pixels.ravel(), line.ravel())[0, 1] > 0.999


def test_noise_of_an_empty_wide_scan_is_not_blown_up():
    noise = np.random.default_rng(0).normal(60000, 300, (64, 400)).astype(np.uint16)
    pixels = np.asarray(open_image(encoded(Image.fromarray(noise), "TIFF")), dtype=int)
    assert pixels.min() > 220
    dead = np.full((64, 400), 3000, np.uint16)
    dead[20:40, 50:300] = 500
    dead[5, 5] = 65535  # a dead pixel
    assert np.ptp(np.asarray(open_image(Image.fromarray(dead)))[20:40, 40:60]) == 255


def test_the_photograph_of_a_phones_mpo_is_its_first_frame():
    data = encoded(draw_small(), "MPO", save_all=True, append_images=[Image.new("L", (9, 9))])
    assert Image.open(io.BytesIO(data)).n_frames == 2
    assert open_image(data).size == draw_small().size


def test_heic_is_read_or_named(monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    try:
        heif.from_pillow(draw_small().convert("RGB")).save(file, format="HEIF")
    except (RuntimeError, ValueError) as error:
        pytest.skip(f"nothing here encodes HEIC: {error}")
    image = open_image(file.getvalue())
    assert np.abs(np.asarray(image.convert("L"), int) - np.asarray(draw_small(), int)).mean() < 5
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    Image.OPEN.pop("HEIF")
    Image.ID.remove("HEIF")
    with pytest.raises(DataError, match="photo: a HEIC image: .* pillow-heif") as raised:
        open_image(file.getvalue(), name="photo")
    assert "ocrcc[heic]" in raised.value.hint


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_colours_of_fewer_bits_in_a_wide_file_use_all_of_the_range(bits, mode):
    line = np.asarray(draw_line("1024"), dtype=np.uint16)
    deep = np.stack([line << (bits - 8)] * 3 + [np.full_like(line, 65535)] * (mode == "RGBA"), axis=2)
    pixels = np.asarray(open_image(png_of_16_bits(deep)), dtype=int)
    assert pixels.shape == (*line.shape, 3)
    assert (pixels.min(), pixels.max()) == ((line.min(), line.max()) if bits in (8, 16) else (0, 255))
    assert np.corrcoef(pixels[..., 0].ravel(), line.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_greys_with_transparency_of_fewer_bits_use_all_of_the_range(bits):
    line = np.asarray(draw_line("1024"), dtype=np.uint16)
    solid = np.full_like(line, 65535)
    pixels = np.asarray(open_image(png_of_16_bits(np.stack([line << (bits - 8), solid], axis=2))), dtype=int)
    assert pixels.shape == (*line.shape, 3)
    assert (pixels.min(), pixels.max()) == ((line.min(), line.max()) if bits in (8, 16) else (0, 255))
    assert np.corrcoef(pixels[..., 0].ravel(), line.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("solid", [1023, 65535])
def test_what_is_seen_through_a_wide_grey_is_paper(solid):
    line = np.asarray(draw_line("1024"), dtype=np.uint16)
    ink = np.where(line < 128, solid, 0).astype(np.uint16)  # black ink on nothing
    pixels = np.asarray(open_image(png_of_16_bits(np.stack([np.zeros_like(ink), ink], axis=2))).convert("L"))
    assert np.array_equal(pixels < 128, line < 128)


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("most", [1023, 4095, 65535])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_wide_netpbm_files_are_read_right_or_named(kind, most, bits):
    if 1 << bits > most + 1:
        pytest.skip("no file can say more than its header allows")
    line = np.asarray(draw_line("1024"), dtype=np.uint16)
    deep = line << (bits - 8)
    rows = np.repeat(deep[..., None], 3, axis=2) if kind in ("P3", "P6") else deep
    head = f"{kind}\n{line.shape[1]} {line.shape[0]}\n{most}\n".encode()
    written = (
        " ".join(map(str, rows.ravel())).encode() + b"\n" if kind in ("P2", "P3") else rows.astype(">u2").tobytes()
    )
    if kind == "P3":
        with pytest.raises(DataError, match="written out colours"):
            open_image(head + written)
        return
    pixels = np.asarray(open_image(head + written).convert("L"), dtype=int)
    assert pixels.max() - pixels.min() > 200
    assert np.corrcoef(pixels.ravel(), line.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("planes", [1, 2])
def test_wide_colours_of_a_tiff_are_read_right_or_named(planes):
    line = np.asarray(draw_line("1024"), dtype=np.uint16) << 4
    height, width = line.shape
    samples = np.stack([line] * 3, axis=2 if planes == 1 else 0).astype("<u2").tobytes()
    strips = 1 if planes == 1 else 3
    data, size = 8, len(samples) // strips
    after = data + len(samples)
    bits, places, sizes = after, after + 6, after + 6 + 4 * strips
    entries = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, strips, data if strips == 1 else places), (277, 3, 1, 3), (278, 3, 1, height)]
    entries += [(279, 4, strips, size if strips == 1 else sizes), (284, 3, 1, planes)]
    more = struct.pack("<3H", 16, 16, 16)
    more += struct.pack(f"<{2 * strips}I", *(data + number * size for number in range(strips)), *[size] * strips)
    tags = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    file = b"II*\0" + struct.pack("<I", after + len(more)) + samples + more + tags
    if planes == 2:
        with pytest.raises(DataError, match="lie one after the other"):
            open_image(file)
        return
    pixels = np.asarray(open_image(file).convert("L"), dtype=int)
    assert np.corrcoef(pixels.ravel(), line.ravel())[0, 1] > 0.999
    assert (pixels.min(), pixels.max()) == (0, 255)


def png_of_16_bits(pixels: np.ndarray, *more: bytes) -> bytes:
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + data + chunk(b"IEND", b"")


def test_a_wide_colour_is_turned_as_exif_says():
    deep = np.zeros((4, 8, 3), np.uint16)
    deep[:, :4] = 1023
    exif = Image.Exif()
    exif[0x0112] = 6
    image = open_image(png_of_16_bits(deep, chunk(b"eXIf", exif.tobytes()[6:])))
    assert image.size == (4, 8)
    assert np.asarray(image)[:, 0, 0].tolist() == [255] * 4 + [0] * 4


def test_a_grey_that_means_transparent_in_a_wide_file_is_paper():
    deep = Image.fromarray(np.array([[3000] * 9 + [100]], np.uint16))
    assert np.unique(np.asarray(open_image(encoded(deep, transparency=3000)))).tolist() == [0, 255]


def test_opening_in_threads_leaves_the_callers_warnings_as_they_were():
    before = list(warnings.filters)
    data = encoded(draw_small())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: open_image(data), range(200)))
    assert warnings.filters == before

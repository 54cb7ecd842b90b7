"""The polarity rule on drawn and on real lines, scaling and padding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_lines import draw_line, draw_small
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ocrcc.config import Preprocessing
from ocrcc.errors import ConfigError
from ocrcc.images.opening import open_image
from ocrcc.images.transforms import closer, is_light_on_dark, may_be_loose, pad, prepare, widen

DOCUMENTS = ("fund-documents", "sroie-receipts", "tesseract-test", "page-qt-book", "page-wechat-news", "caffe-ocr")


def _light(image: Image.Image) -> bool:
    return is_light_on_dark(np.asarray(image, dtype=np.float32))


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
    dark, light = draw_small(), ImageOps.invert(draw_small())
    assert np.allclose(prepare(light, Preprocessing()), prepare(dark, Preprocessing()), atol=1e-6)
    keep = Preprocessing(polarity="keep")
    assert np.allclose(prepare(light, keep), -prepare(dark, keep), atol=1e-6)


def test_polarity_of_blank_and_noisy_paper_is_kept():
    assert not _light(Image.new("L", (50, 32), 0))
    assert not _light(Image.new("L", (50, 32), 255))
    faint = np.random.default_rng(0).integers(100, 110, (32, 50), dtype=np.uint8)
    assert not _light(Image.fromarray(faint))


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
        pad([np.ones((1, 2, width), np.float32) for width in (3, 7, 5)], 6)


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


def test_two_faint_pixels_are_ink_and_keep_their_row():
    image = _boxes(8, 22)
    for left in (30, 50):
        image.putpixel((left, 4), 170)
    assert closer(prepare(image, Preprocessing()), Preprocessing()).shape[2] == round(100 * 32 / 20)


@pytest.mark.parametrize(
    "image",
    [_boxes(3, 30), _boxes(14, 18), _boxes(8, 22, 255, 246), Image.new("L", (100, 32), 255)],
    ids=["no margins", "dashes", "no contrast", "blank"],
)
def test_what_has_nothing_to_gain_is_not_looked_at_closer(image):
    assert closer(prepare(image, Preprocessing()), Preprocessing()) is None


def test_what_may_be_half_blank_is_told_quickly_and_misses_none():
    for top in range(0, 30, 2):
        for bottom in range(top + 2, 33, 2):
            line = prepare(_boxes(top, bottom), Preprocessing())
            enlarged = closer(line, Preprocessing())
            half_blank = enlarged is not None and enlarged.shape[2] > 200
            assert may_be_loose(line) or not half_blank
            assert may_be_loose(line) == (top > 7 or bottom <= 24)


def test_a_closer_look_is_no_wider_than_the_model_takes():
    narrow = Preprocessing(max_width=128)
    assert closer(prepare(_boxes(8, 22), narrow), narrow).shape == (1, 32, 128)


def test_a_line_is_widened_at_most_to_what_the_model_takes():
    line = np.repeat(np.linspace(-1, 1, 50, dtype=np.float32)[None], 32, 0)[None]
    wide = widen(line, 1.5, Preprocessing())
    assert wide.shape == (1, 32, 75)
    assert wide[0, 7, 1:-1] == pytest.approx((np.arange(1, 74) + 0.5) / 1.5 * 2 / 49 - 50 / 49, abs=0.02)
    assert widen(line, 3, Preprocessing(max_width=128)).shape == (1, 32, 128)


def test_all_four_sides_are_the_border():
    narrow = np.full((40, 4), 200, np.float32)
    narrow[:, [0, -1]] = 0
    assert is_light_on_dark(narrow)
    assert is_light_on_dark(narrow.T.copy())
    assert not is_light_on_dark(200 - narrow)


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


def cell(text: str = "TOTAL 98.20", *, askew: bool = False) -> Image.Image:
    """Light text in a dark cell, which may lie a little askew on light paper."""
    line = ImageOps.invert(draw_line(text))
    if not askew:
        return line
    return line.rotate(1, Image.Resampling.BICUBIC, expand=True, fillcolor=235)


@pytest.mark.parametrize("margin", [0, 1, 2, 3, 4, (0, 3), (6, 0), "askew"])
def test_a_dark_cell_with_a_light_margin_is_dark_text_on_light_paper(margin):
    dark = cell(askew=margin == "askew")
    if margin != "askew":
        across, down = (margin, margin) if isinstance(margin, int) else margin
        sheet = Image.new("L", (dark.width + 2 * across, dark.height + 2 * down), 255)
        sheet.paste(dark, (across, down))
        dark = sheet
    line = prepare(dark, Preprocessing(mean=0, std=1))[0]
    assert np.median(line) > 0.8
    assert line[0].min() > 0.6  # no dark frame is left
    assert min(line[:, 0].min(), line[:, -1].min(), line[-1].min()) > 0.6
    assert (line < 0.4).mean() > 0.05


def test_a_dark_cell_is_turned_to_its_very_edges():
    dark = Image.new("L", (180, 56), 20)
    dark.paste(230, (40, 20, 140, 36))
    for corner in ((90, 0), (90, 55), (0, 30), (179, 30)):
        dark.putpixel(corner, 230)
    sheet = Image.new("L", (200, 64), 255)
    sheet.paste(dark, (12, 5))
    turned = np.full((64, 200), 235)
    turned[5:61, 12:192] = 255 - np.asarray(dark)
    line = prepare(sheet, Preprocessing(height=64, mean=0, std=1))[0] * 255
    assert np.array_equal(line.round(), turned)


def test_colours_are_inverted_as_greys_are():
    sheet = Image.new("L", (cell().width + 6, cell().height + 6), 255)
    sheet.paste(cell(), (3, 3))
    for image in (sheet, cell(), draw_line("98.20")):
        colours = prepare(image.convert("RGB"), Preprocessing(channels=3))
        assert np.allclose(colours, prepare(image, Preprocessing()), atol=1e-5)


@pytest.mark.parametrize(
    "box",
    [(10, 0, 190, 13), (10, 10, 90, 54), (0, 0, 90, 64), (10, 10, 100, 60)],
    ids=["fewer than half of the rows", "less than half of the width", "a bar at an end", "a square, more or less"],
)
def test_a_dark_box_that_is_no_cell_is_left_as_it_is(box):
    line = Image.new("L", (200, 64) if box[2] < 100 or box[3] < 60 else (160, 64), 255)
    line.paste(0, box)
    plain = Preprocessing(height=64)
    assert np.array_equal(prepare(line, plain), prepare(line, replace(plain, polarity="keep")))


def test_a_frame_is_no_cell():
    line = Image.new("L", (200, 64), 255)
    for inset, grey in ((4, 0), (12, 255)):
        line.paste(grey, (inset, inset, 200 - inset, 64 - inset))
    plain = Preprocessing(height=64)
    assert np.array_equal(prepare(line, plain), prepare(line, replace(plain, polarity="keep")))


@pytest.mark.parametrize("text", ["TOTAL 98.20", "■■", "M", "l", "####", "-"])
def test_dark_text_on_light_paper_is_left_as_it_is(text):
    for width in (0, 2):
        line = draw_line(text)
        ImageDraw.Draw(line).text((4, 3), text, fill=20, font=ImageFont.load_default(size=24), stroke_width=width)
        framed = ImageOps.expand(line, 2, fill=0)
        for image in (line, ImageOps.expand(framed, 2, fill=235)):
            plain = Preprocessing(mean=0, std=1)
            kept = prepare(image, replace(plain, polarity="keep"))
            assert np.array_equal(prepare(image, plain), kept)


def test_each_channel_has_its_own_mean_in_the_inputs_order():
    image = Image.new("RGB", (40, 48), (255, 0, 51))
    settings = {"height": 48, "channels": 3, "resize": "triangle", "polarity": "keep"}
    rgb = prepare(image, Preprocessing(**settings, mean=(0.5, 0.25, 0.2), std=(0.5, 0.25, 0.1)))
    assert rgb[:, 7, 7].tolist() == pytest.approx([1, -1, 0], abs=1e-6)
    bgr = prepare(image, Preprocessing(**settings, mean=(0.5, 0.25, 0.2), std=(0.5, 0.25, 0.1), colour_order="bgr"))
    assert bgr[:, 7, 7].tolist() == pytest.approx([-0.6, -1, 8], abs=1e-5)
    assert Preprocessing(**settings, mean=[0.5, 0.5, 0.5]).mean == 0.5
    with pytest.raises(ConfigError, match="one a channel"):
        Preprocessing(**settings, mean=(0.5, 0.5, 0.1, 0.5))


@pytest.mark.parametrize("size", [(313, 61), (31, 20), (900, 130)])
def test_triangle_is_torchvisions_antialiased_resizing(size):
    from torchvision.transforms.v2 import functional

    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    preprocessing = Preprocessing(height=48, channels=3, resize="triangle", polarity="keep", mean=0.0, std=1.0)
    found = prepare(Image.fromarray(pixels), preprocessing)
    wanted = functional.resize(torch.from_numpy(pixels).permute(2, 0, 1).float(), list(found.shape[1:]), antialias=True)
    np.testing.assert_allclose(found * 255, wanted.numpy(), atol=1e-2)

from __future__ import annotations

import io
import itertools
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_lines import draw_line
from drawn_pages import read_standing_stripes, stand
from PIL import Image
from wild import random_lines as wild_lines

from ocrcc import load_recognizer
from ocrcc.charset import Charset
from ocrcc.config import PredictConfig, Preprocessing
from ocrcc.errors import ConfigError, DataError, ModelError
from ocrcc.reading import reader as predict
from ocrcc.reading.reader import LineReader, Unreadable

STRIDE = 4
CHARSET = Charset("abcdefgh")
STEP = 28  # grey levels between classes; the blank is black
PLAIN = Preprocessing(polarity="keep")


def stripes(text, *, blanks=1, frames=2, height=32):
    """An image that `read_stripes` reads as a text: each character some frames of its grey, then black ones."""
    columns = []
    for char in text:
        columns += [CHARSET.id(char) * STEP] * frames + [0] * blanks
    pixels = np.repeat(np.array(columns or [0], dtype=np.uint8), STRIDE)
    image = Image.fromarray(np.tile(pixels, (32, 1)))
    return image if height == 32 else image.resize((image.width * height // 32, height), Image.Resampling.NEAREST)


def read_stripes(images):
    """A recogniser of stripes: the class of a frame is its mean grey."""
    count, _, height, width = images.shape
    grey = (images * PLAIN.std + PLAIN.mean) * 255
    grey = grey.reshape(count, -1, height, width // STRIDE, STRIDE).mean(axis=(1, 2, 4))
    distances = np.abs(grey[..., None] / STEP - np.arange(CHARSET.num_classes))
    return grey[..., None], (-5 * distances).astype(np.float32)


class Engine:
    """`read_stripes`, remembering the shapes it was given."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return read_stripes(images)


def reader(engine=read_stripes, **config):
    return LineReader(engine, CHARSET, PLAIN, width_stride=STRIDE, config=PredictConfig(**config))


def random_texts(count, longest=40, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(CHARSET), rng.integers(1, longest))) for _ in range(count)]


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
        image,
        image.convert("RGB"),
        np.asarray(image),
        np.asarray(image)[..., None],
        np.asarray(image.convert("RGB")),
        np.asarray(image.convert("RGBA")),
    ]
    readings = reader().recognize(kinds)
    assert [reading.text for reading in readings] == ["badge"] * len(kinds)
    assert len({tuple((char.left, char.right) for char in reading.chars) for reading in readings}) == 1
    assert [reading.path for reading in readings[:3]] == [str(tmp_path / "line.png")] * 2 + ["image 3"]


@pytest.mark.parametrize("one", ["line.png", b"bytes", stripes("a"), np.zeros((32, 32), np.uint8)])
def test_one_image_instead_of_a_list_is_told(one):
    with pytest.raises(TypeError, match=r"use \[image\]"):
        reader().recognize(one)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((32, 32), np.float32),
        np.zeros((2, 32, 32, 3), np.uint8),
        np.zeros((32, 32, 2), np.uint8),
        np.zeros(32, np.uint8),
        np.zeros((0, 5), np.uint8),
    ],
)
def test_arrays_that_are_no_images_are_refused(pixels):
    with pytest.raises(DataError, match="array"):
        reader().recognize([pixels])


def test_nothing_to_read():
    assert reader().recognize([]) == []
    assert list(reader().stream(iter(()))) == []


def test_padding_is_not_read():
    # Padding is grey 127.5 in the input, which these stripes would take for a character.
    assert read_stripes(np.zeros((1, 1, 32, 4), np.float32))[1].argmax() != 0
    readings = reader().recognize([stripes("a"), stripes("abababab"), stripes("h", blanks=0)])
    assert [reading.text for reading in readings] == ["a", "abababab", "h"]


@pytest.mark.parametrize("height", [16, 32, 64, 96])
def test_spans_are_pixels_of_the_input_image(height):
    scale = height / 32
    (reading,) = reader().recognize([stripes("fhgh", frames=2, blanks=3, height=height)])
    assert reading.text == "fhgh"
    for position, char in enumerate(reading.chars):
        assert (char.left, char.right) == (position * 20 * scale, (position * 20 + 8) * scale)


def test_spans_stay_within_the_image_and_are_never_empty():
    tiny = Image.fromarray(np.full((64, 3), 2 * STEP, np.uint8))  # scaled to 4 pixels, wider than it is
    squeezed = replace(PLAIN, max_width=64)
    wide = stripes("abcdefgh" * 4)
    for image, preprocessing in ((tiny, PLAIN), (wide, squeezed)):
        read = LineReader(read_stripes, CHARSET, preprocessing, width_stride=STRIDE)
        (reading,) = read.recognize([image])
        assert reading.chars
        for char in reading.chars:
            assert 0 <= char.left < char.right <= image.width
    assert (reader().recognize([tiny])[0].chars[0].left, reader().recognize([tiny])[0].chars[0].right) == (0, 3)


def test_an_image_turned_by_exif_is_read_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright = stripes("abc")
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    (reading,) = reader().recognize([encoded(stored, exif=exif)])
    assert reading.text == "abc"
    assert reading.chars[-1].right <= upright.width


def test_results_keep_the_order_of_the_input_whatever_the_batches():
    texts = random_texts(200)
    images = [stripes(text) for text in texts]
    for config in ({}, {"batch_size": 1}, {"batch_size": 7, "window": 10}, {"window": 1}, {"workers": 5, "window": 3}):
        assert [reading.text for reading in reader(**config).recognize(images)] == texts, config


def test_batches_hold_lines_of_one_padded_width_and_are_full():
    engine = Engine()
    texts = random_texts(400)
    reader(engine, batch_size=16).recognize([stripes(text) for text in texts])
    widths = [PLAIN.padded_width(stripes(text).width) for text in texts]
    expected = {width: widths.count(width) for width in widths}
    found = {}
    for count, _, _, width in engine.shapes:
        assert count <= 16
        found[width] = found.get(width, 0) + count
    assert found == expected
    assert len(engine.shapes) == sum(-(-count // 16) for count in expected.values())


def test_batches_are_read_at_the_same_time_and_give_the_same():
    together = threading.Barrier(3)

    def meet(images):
        together.wait()  # fails unless three calls are under way
        return read_stripes(images)

    config = PredictConfig(batch_size=4, window=30)
    three = LineReader(meet, CHARSET, PLAIN, width_stride=STRIDE, config=config, parallel=3)
    assert [line.text for line in three.recognize([stripes("face")] * 12)] == ["face"] * 12
    texts = random_texts(300)
    three = LineReader(read_stripes, CHARSET, PLAIN, width_stride=STRIDE, config=config, parallel=3)
    assert [line.text for line in three.stream(stripes(text) for text in texts)] == texts


def test_an_odd_width_waits_no_longer_than_the_window():
    engine = Engine()
    images = itertools.chain([stripes("a" * 30)], (stripes("ab") for _ in itertools.count()))
    results = reader(engine, batch_size=4, window=12).stream(images)
    assert [next(results).text for _ in range(20)] == ["a" * 30] + ["ab"] * 19
    assert sum(shape[0] for shape in engine.shapes) <= 12 + 4 + 20
    results.close()


def test_few_images_are_held_at_a_time(monkeypatch):
    alive, most, lock = 0, 0, threading.Lock()
    original = predict.PreparedLine

    class Counted(original):
        def __init__(self, **values):
            super().__init__(**values)
            nonlocal alive, most
            with lock:
                alive += 1
                most = max(most, alive)

        def __del__(self):
            nonlocal alive
            with lock:
                alive -= 1

    monkeypatch.setattr(predict, "PreparedLine", Counted)
    count = sum(1 for _ in reader(batch_size=8, window=50).stream(stripes(text) for text in random_texts(1000)))
    assert count == 1000
    assert alive == 0
    assert most <= 50 + 2 * 8 + 2 + 8


def test_many_pixels_do_not_wait_for_the_window(monkeypatch):
    monkeypatch.setattr(predict, "_MAX_WAITING", 32 * 1000)
    engine = Engine()
    list(reader(engine, batch_size=32).stream([stripes("ab" * 8) for _ in range(40)]))
    assert max(shape[0] for shape in engine.shapes) * 32 * 192 <= 32 * 1000 + 32 * 192


def test_long_lines_over_many_classes_are_read_in_smaller_batches():
    charset = Charset("".join(map(chr, range(0x4E00, 0x4E00 + 7000))))
    long = LineReader(read_stripes, charset, PLAIN, width_stride=STRIDE, config=PredictConfig(batch_size=32))
    assert long.batch_limit(320) == 32
    assert long.batch_limit(3200) * 800 * 7001 <= 2**26
    assert reader().batch_limit(10**9) == 1


def test_what_cannot_be_opened_comes_in_its_place(tmp_path):
    good, broken = tmp_path / "good.png", tmp_path / "[red]\x1b[31m.png"
    stripes("face").save(good)
    broken.write_bytes(encoded(stripes("face"))[:60])
    inputs = [broken, good, tmp_path / "gone.png", b"no image", encoded(stripes("bed"))]
    results = list(reader().stream(inputs))
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
        reader().recognize([good, good, good, b"no image"])


class Unsure:
    """Reads one character a third of each line, by the line's width: which, and whether it is sure."""

    def __init__(self, **sure):
        self.text_at = {int(width.removeprefix("at")): text for width, text in sure.items()}
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        logits = np.zeros((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), np.float32)
        logits[:, :, 0] = 9
        for line, image in zip(logits, images, strict=True):
            width = int(np.flatnonzero(image[0, 0]).max()) + 1  # padding is 0
            frames = width / STRIDE
            for number, char in enumerate(self.text_at.get(width, "dab")):
                own = slice(round(number * frames / 3), round((number + 0.5) * frames / 3))
                line[own] = 0
                line[own, CHARSET.id(char)] = 9 if width in self.text_at else 1
        return logits[..., :1], logits


def test_unsure_lines_are_read_again_wider_and_the_surest_reading_counts():
    image = stripes("bad", frames=4, blanks=4)  # 96 pixels
    for sure, widths in (("at96", [96]), ("at125", [96, 128]), ("at144", [96, 128, 160])):
        engine = Unsure(**{sure: "bad"})
        (found,) = reader(engine).recognize([image])
        assert [shape[3] for shape in engine.shapes] == widths
        assert found.text == "bad"
        assert found.confidence > 0.9
        for char, left in zip(found.chars, (0, 32, 64), strict=True):  # in pixels of the image as it was given
            assert abs(char.left - left) <= STRIDE
            assert abs(char.right - left - 16) <= STRIDE
    never = Unsure(at125="bad")
    (found,) = reader(never, second_look=0).recognize([image])
    assert found.text == "dab"
    assert [shape[3] for shape in never.shapes] == [96]


def test_a_line_with_blank_rows_is_looked_at_closer_before_it_is_widened():
    line = Image.new("L", (96, 32), 255)
    line.paste(0, (0, 9, 96, 23))
    for sure, widths in (("at192", [96, 192]), ("at250", [96, 192, 256])):
        engine = Unsure(**{sure: "bad"})
        (found,) = reader(engine).recognize([line])
        assert [shape[3] for shape in engine.shapes] == widths
        assert found.text == "bad"


def test_a_second_look_that_is_no_surer_changes_nothing():
    images = [stripes("bad", frames=4, blanks=4), stripes("cafe")]
    assert reader(Unsure()).recognize(images)[0].text == reader(Unsure(), second_look=0).recognize(images)[0].text


def test_of_unsure_looks_the_text_counts_that_is_likeliest_on_average():
    chances = {32: (0.65, 0.30), 42: (0.30, 0.68), 48: (0.60, 0.30)}  # of a and b; the surest look reads b

    def one_character(images):
        logits = np.full((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), -30, np.float32)
        logits[:, :, 0] = 0
        for line, image in zip(logits, images, strict=True):
            width = int(np.flatnonzero(image[0, 0]).max()) + 1  # padding is 0
            line[2, 1:3] = np.log(chances[width])
            line[2, 0] = np.log(1 - sum(chances[width]))
        return logits[..., :1], logits

    (found,) = reader(one_character).recognize([Image.new("L", (32, 32), 255)])
    assert found.text == "a"
    assert found.confidence == pytest.approx(0.65, abs=1e-3)
    chances[48] = (0.05, 0.72)
    (found,) = reader(one_character).recognize([Image.new("L", (32, 32), 255)])
    assert found.text == "b"
    assert found.confidence == pytest.approx(0.72, abs=1e-3)


def test_second_looks_do_not_depend_on_the_batch(wild_model):
    images = [draw_line(text) for text in wild_lines(24)]
    loaded = [LineReader.load(wild_model, config=PredictConfig(batch_size=size, second_look=1)) for size in (1, 24)]
    alone, together = (each.recognize(images) for each in loaded)
    assert [line.text for line in alone] == [line.text for line in together]
    once = LineReader.load(wild_model, config=PredictConfig(second_look=0)).recognize(images)
    assert [line.text for line in once] != [line.text for line in together]


def test_no_line_is_widened_beyond_what_the_model_takes():
    narrow = replace(PLAIN, max_width=100)
    engine = Unsure()
    config = PredictConfig(second_look=0.7)
    line = LineReader(engine, CHARSET, narrow, width_stride=STRIDE, config=config)
    line.recognize([stripes("badbadba")])
    assert {width for *_, width in engine.shapes} == {96, 128}  # 96 as it is, 100 at most, padded to 128


def test_a_line_is_upside_down_only_if_it_is_surely_read_so():
    image = stand(stripes("badge")).transpose(Image.Transpose.ROTATE_180)

    def read_doubtfully(images):
        features, logits = read_standing_stripes(images)
        return features, 0.2 * logits

    for engine, upside_down in ((read_standing_stripes, True), (read_doubtfully, False)):
        (found,) = reader(engine).recognize([image])
        assert found.upside_down == upside_down
        assert (found.text == "badge") == upside_down


@pytest.mark.parametrize(
    ("confidence", "second_look", "turned"),
    [(0.4, 0.7, True), (0.6, 0.7, False), (0.6, 0.9, False), (0.4, 0.45, True), (0.4, 0.3, False)],
)
def test_only_a_line_that_is_hardly_read_is_turned_upside_down(confidence, second_look, turned):
    """What is read with 0.5 or more is not lost; it is looked at wider, but never from below."""
    image = Image.new("L", (64, 32), 255)
    image.paste(0, (40, 0, 64, 32))  # black at its right end, and at its left one if it is turned

    def read(images):
        logits = np.full((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), -30, np.float32)
        logits[:, :, 0] = 0
        for line, pixels in zip(logits, images, strict=True):
            upright = pixels[0, 0, 0] > 0
            sure = confidence if upright else 0.99
            line[1, [0, 3]] = np.log((1 - sure) / 2)
            line[1, 1 if upright else 2] = np.log(sure)
        return logits[..., :1], logits

    (found,) = reader(read, second_look=second_look).recognize([image])
    assert found.upside_down == turned
    assert found.text == ("b" if turned else "a")
    assert found.confidence == pytest.approx(0.99 if turned else confidence, abs=1e-3)


@pytest.mark.parametrize(("width", "text"), [(12, "abc"), (11, "abc"), (9, "abc"), (8, "ab")])
def test_a_frame_that_a_line_begins_is_read(width, text):
    def read(images):
        count, frames = len(images), images.shape[3] // STRIDE
        logits = np.zeros((count, frames, CHARSET.num_classes), np.float32)
        logits[:, np.arange(frames), 1 + np.arange(frames) % 8] = 9
        return logits[..., :1], logits

    (found,) = reader(read).recognize([Image.new("L", (width, 32), 255)])
    assert found.text == text


def test_a_frame_that_a_line_begins_counts_when_looks_are_compared():
    chances = {9: (0.6, 0.1), 12: (0.3, 0.65), 14: (0.35, 0.3)}  # of c and d on the third frame, by the look's width

    def read(images):
        logits = np.full((len(images), images.shape[3] // STRIDE, CHARSET.num_classes), -30, np.float32)
        logits[:, 0, 1] = logits[:, 1, 2] = logits[:, 3:, 0] = 0
        for line, image in zip(logits, images, strict=True):
            width = int(np.flatnonzero(image[0, 0]).max()) + 1  # padding is 0
            line[2, 3:5] = np.log(chances[width])
            line[2, 0] = np.log(1 - sum(chances[width]))
        return logits[..., :1], logits

    assert reader(read).recognize([Image.new("L", (9, 32), 255)])[0].text == "abc"


def test_torch_gets_the_threads_that_were_asked_for(wild_model, torch_threads):
    LineReader.load(wild_model, device="cpu", config=PredictConfig(threads=3, engine="torch"))
    assert torch.get_num_threads() == 3
    LineReader.load(wild_model, device="cpu", config=PredictConfig(threads=0, engine="torch"))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_second_look_below_no_share_is_refused(share):
    with pytest.raises(ConfigError, match="second_look"):
        PredictConfig(second_look=share)


def test_alternatives_and_json_keys():
    (reading,) = reader(alternatives=2).recognize([stripes("d", frames=3)])
    assert [other.char for other in reading.chars[0].alternatives] == ["c", "e"]
    assert reader().recognize([stripes("d")], alternatives=1)[0].chars[0].alternatives[0].char in "ce"
    assert reader().recognize([stripes("d")])[0].chars[0].alternatives == ()
    written = json.loads(json.dumps(reading, default=vars))
    assert list(written) == ["path", "text", "confidence", "chars", "upside_down", "unmatched"]
    keys = ["char", "confidence", "left", "right", "margin", "alternatives", "doubt", "evidence"]
    assert list(written["chars"][0]) == keys
    assert list(written["chars"][0]["alternatives"][0]) == ["char", "confidence"]
    assert written["confidence"] == written["chars"][0]["confidence"] > 0.9


def test_an_empty_line_has_no_characters():
    (reading,) = reader().recognize([stripes("")])
    assert (reading.text, reading.chars) == ("", ())
    assert reading.confidence > 0.9


def test_closing_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = reader(workers=4).stream(stripes("ab") for _ in itertools.count())
    next(results)
    results.close()
    assert threading.active_count() == before


def test_errors_of_the_engine_are_not_taken_for_unreadable_images():
    def broken(images):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        reader(broken).recognize([stripes("a")])


def test_without_a_shipped_model_one_must_be_named(monkeypatch):
    monkeypatch.setattr(predict.packaged, "names", lambda *_: [])
    with pytest.raises(ConfigError, match="no model given"):
        predict.default_model()
    monkeypatch.setattr(predict.packaged, "names", lambda *_: [predict.DEFAULT_MODEL])
    assert predict.default_model() == predict.DEFAULT_MODEL


def test_the_python_api_reads_like_the_reader(wild_model, tmp_path):
    lines = [draw_line(text) for text in wild_lines(5)]
    by_file, by_run = (load_recognizer(str(path)) for path in (wild_model, wild_model.parent))
    texts = [reading.text for reading in by_file.recognize(lines)]
    assert len(set(texts)) == 5
    assert [reading.text for reading in by_run.recognize(lines)] == texts
    with pytest.raises(ModelError):
        load_recognizer(str(tmp_path / "gone.safetensors"))


@pytest.mark.parametrize("nothing", [None, np.zeros((0, 9), np.uint8), np.zeros(5, np.uint8), b"", 7])
def test_what_is_no_image_is_unreadable_and_the_others_are_read(nothing):
    reader = LineReader(read_stripes, CHARSET, PLAIN, width_stride=STRIDE)
    found = list(reader.stream([stripes("bad"), nothing, stripes("cafe")]))
    assert [getattr(each, "text", None) for each in found] == ["bad", None, "cafe"]
    assert isinstance(found[1], Unreadable)
    with pytest.raises(DataError, match="image|no pixels"):
        reader.recognize([nothing])

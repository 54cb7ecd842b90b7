"""The loop: order, batches, how much waits, and what an engine may do."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import torch
from drawn_lines import draw_line
from drawn_pages import CHARSET, PLAIN, STRIDE, read_stripes, stripe_reader, stripes
from wild import random_lines as wild_lines

from ocrcc import load_recognizer
from ocrcc.charset import Charset
from ocrcc.config import PredictConfig
from ocrcc.errors import ConfigError, ModelError
from ocrcc.reading import reader as predict
from ocrcc.reading.reader import LineReader


class Engine:
    """`read_stripes`, remembering the shapes it was given."""

    def __init__(self):
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(images.shape)
        return read_stripes(images)


def random_texts(count, longest=40, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(CHARSET), rng.integers(1, longest))) for _ in range(count)]


def test_nothing_to_read():
    assert stripe_reader().recognize([]) == []
    assert list(stripe_reader().stream(iter(()))) == []


def test_padding_is_not_read():
    # Padding is grey 127.5 in the input, which these stripes would take for a character.
    assert read_stripes(np.zeros((1, 1, 32, 4), np.float32))[1].argmax() != 0
    readings = stripe_reader().recognize([stripes("a"), stripes("abababab"), stripes("h", blanks=0)])
    assert [reading.text for reading in readings] == ["a", "abababab", "h"]


def test_results_keep_the_order_of_the_input_whatever_the_batches():
    texts = random_texts(200)
    images = [stripes(text) for text in texts]
    for config in ({}, {"batch_size": 1}, {"batch_size": 7, "window": 10}, {"window": 1}, {"workers": 5, "window": 3}):
        assert [reading.text for reading in stripe_reader(**config).recognize(images)] == texts, config


def test_batches_hold_lines_of_one_padded_width_and_are_full():
    engine = Engine()
    texts = random_texts(400)
    stripe_reader(engine, batch_size=16).recognize([stripes(text) for text in texts])
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
    results = stripe_reader(engine, batch_size=4, window=12).stream(images)
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
    count = sum(1 for _ in stripe_reader(batch_size=8, window=50).stream(stripes(text) for text in random_texts(1000)))
    assert count == 1000
    assert alive == 0
    assert most <= 50 + 2 * 8 + 2 + 8


def test_many_pixels_do_not_wait_for_the_window(monkeypatch):
    monkeypatch.setattr(predict, "_MAX_WAITING", 32 * 1000)
    engine = Engine()
    list(stripe_reader(engine, batch_size=32).stream([stripes("ab" * 8) for _ in range(40)]))
    assert max(shape[0] for shape in engine.shapes) * 32 * 192 <= 32 * 1000 + 32 * 192


def test_long_lines_over_many_classes_are_read_in_smaller_batches():
    charset = Charset("".join(map(chr, range(0x4E00, 0x4E00 + 7000))))
    long = LineReader(read_stripes, charset, PLAIN, width_stride=STRIDE, config=PredictConfig(batch_size=32))
    assert long.batch_limit(320) == 32
    assert long.batch_limit(3200) * 800 * 7001 <= 2**26
    assert stripe_reader().batch_limit(10**9) == 1


def test_torch_gets_the_threads_that_were_asked_for(wild_model, torch_threads):
    LineReader.load(wild_model, device="cpu", config=PredictConfig(threads=3, engine="torch"))
    assert torch.get_num_threads() == 3
    LineReader.load(wild_model, device="cpu", config=PredictConfig(threads=0, engine="torch"))
    assert torch.get_num_threads() == 3


def test_closing_early_leaves_no_thread_behind():
    before = threading.active_count()
    results = stripe_reader(workers=4).stream(stripes("ab") for _ in itertools.count())
    next(results)
    results.close()
    assert threading.active_count() == before


def test_errors_of_the_engine_are_not_taken_for_unreadable_images():
    def broken(images):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stripe_reader(broken).recognize([stripes("a")])


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

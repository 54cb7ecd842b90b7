from __future__ import annotations

import multiprocessing
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from drawn_lines import draw_line, png
from PIL import Image

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.data import batching
from ocrcc.data.batching import LINES_PER_CHUNK, MixedSource, TrainingChunks, evaluation_batches, training_batches
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.errors import ConfigError, DataError
from ocrcc.types import Line

DIGITS = Charset("0123456789")


class Endless:
    """A rendered source: every index gives its own number."""

    name = "endless"
    size = None

    def line(self, index: int) -> Line:
        return Line(image=draw_line(str(index)), label=str(index), source=f"endless#{index}")


class Wide(Endless):
    """Lines of one to sixty characters."""

    def line(self, index: int) -> Line:
        label = "0123456789" * 6
        label = label[: 1 + index * 7 % 60]
        return Line(image=draw_line(label), label=label, source=f"wide#{index}")


def chunks(*sources: MixedSource, **changed) -> TrainingChunks:
    options = {"width_stride": 4, "batch_size": 4, "seed": 1, "strength": 0.5, **changed}
    return TrainingChunks(sources, DIGITS, Preprocessing(), **options)


def take(stream: TrainingChunks, count: int, workers: int = 0):
    batches = training_batches(stream, workers=workers)
    return [next(batches).batch for _ in range(count)]


def take_chunk(stream: TrainingChunks, number: int = 0):
    return [item.batch for item in stream[number]]


def same(ours, theirs) -> bool:
    return ours.labels == theirs.labels and torch.equal(ours.images, theirs.images)


def test_batches_carry_what_training_needs(digits_lmdb):
    batch = take(chunks(MixedSource(source=LmdbDataset(digits_lmdb), weight=1)), 1)[0]
    n, k, h, w = batch.images.shape
    assert 1 <= n <= 4
    assert (k, h) == (1, 32)
    assert w % 16 == 0
    assert 0 <= w - int(batch.widths.max()) < 32
    assert (batch.frames <= w // 4).all()
    for row, label, length in zip(batch.targets, batch.labels, batch.target_lengths, strict=True):
        assert DIGITS.decode(row.tolist()) == label
        assert len(label) == length


def test_the_number_of_workers_changes_nothing(digits_lmdb):
    sources = [MixedSource(source=LmdbDataset(digits_lmdb), weight=1), MixedSource(source=Endless(), weight=1)]
    alone = take(chunks(*sources), 40)
    assert all(same(a, b) for a, b in zip(alone, take(chunks(*sources), 40, workers=2), strict=True))


def test_a_stream_goes_on_after_any_batch(digits_lmdb):
    source = MixedSource(source=LmdbDataset(digits_lmdb), weight=1)
    stream = training_batches(chunks(source))
    whole = [next(stream) for _ in range(60)]
    assert {item.after[0] for item in whole} >= {0, 1, 2}  # over the ends of chunks
    for number, item in enumerate(whole[:-1]):
        rest = training_batches(chunks(source), start=item.after)
        assert same(next(rest).batch, whole[number + 1].batch)


def test_little_of_a_batch_is_padding():
    """Lines that read a batch of short ones with one long one would all be padded to the long one."""
    preprocessing = Preprocessing()
    for batch in take_chunk(chunks(MixedSource(source=Wide(), weight=1), batch_size=16)):
        width = batch.images.shape[3]
        for label in batch.labels:
            own = preprocessing.padded_width(preprocessing.scaled_width(*draw_line(label).size))
            assert width <= max(own + preprocessing.width_step, own * 4 / 3)


def test_an_epoch_has_every_line_once(digits_lmdb):
    dataset = LmdbDataset(digits_lmdb)
    stream = chunks(MixedSource(source=dataset, weight=1), batch_size=5)  # 80 lines a chunk: two epochs of 40
    seen = [source for batch in take_chunk(stream) for source in batch.sources]
    assert sorted(seen) == sorted(2 * [dataset.source(index) for index in range(40)])


def test_an_epoch_is_over_when_each_own_line_was_seen_once_on_average(digits_lmdb):
    own, replay = MixedSource(source=LmdbDataset(digits_lmdb), weight=1.0), Endless()
    assert chunks(own).lines_of_an_epoch() == 40
    for share, drawn in ((0.5, 80), (0.75, 160)):
        kept = MixedSource(source=replay, weight=share / (1 - share), replayed=True)
        assert chunks(own, kept).lines_of_an_epoch() == drawn
    few = MixedSource(source=LmdbDataset(digits_lmdb), weight=1.0, kept=np.arange(10))
    assert chunks(own, few).lines_of_an_epoch() == 50
    with pytest.raises(ConfigError, match="rendered lines have no epochs"):
        chunks(own, MixedSource(source=replay, weight=1.0)).lines_of_an_epoch()


def test_processes_share_the_lines_out(digits_lmdb):
    source = MixedSource(source=Endless(), weight=1)
    both = [take_chunk(chunks(source, rank=rank, world=2)) for rank in (0, 1)]
    labels = [label for part in both for batch in part for label in batch.labels]
    assert sorted(map(int, labels)) == list(range(2 * 4 * LINES_PER_CHUNK))
    alone = [label for batch in take_chunk(chunks(source)) for label in batch.labels]
    assert sorted(map(int, alone)) == list(range(4 * LINES_PER_CHUNK))


def test_weights_are_shares(digits_lmdb):
    sources = [MixedSource(source=LmdbDataset(digits_lmdb), weight=3), MixedSource(source=Endless(), weight=1)]
    names = [name for batch in take_chunk(chunks(*sources)) for name in batch.sources]
    assert sum(name.startswith("endless") for name in names) == len(names) // 4


def test_kept_lines_only(digits_lmdb):
    dataset = LmdbDataset(digits_lmdb)
    batches = take(chunks(MixedSource(source=dataset, weight=1, kept=np.array([3, 7]))), 4)
    assert {source for batch in batches for source in batch.sources} == {dataset.source(3), dataset.source(7)}


def test_augmentation_is_for_real_lines_only(digits_lmdb):
    real = MixedSource(source=LmdbDataset(digits_lmdb), weight=1)
    plain, strong = (take(chunks(real, strength=strength), 1)[0] for strength in (0.0, 1.0))
    assert plain.images.shape != strong.images.shape or not torch.equal(plain.images, strong.images)
    rendered = MixedSource(source=Endless(), weight=1)
    plain, strong = (take(chunks(rendered, strength=strength), 1)[0] for strength in (0.0, 1.0))
    assert torch.equal(plain.images, strong.images)


@pytest.fixture
def broken_lmdb(tmp_path, digit_lines):
    """Forty lines, three of which are no images."""
    path = tmp_path / "broken.lmdb"
    with LmdbWriter(path) as writer:
        for number, (image, text) in enumerate(digit_lines):
            raw = b"no image" if number in (0, 17, 39) else png(image)
            writer.add(raw, text, source=f"line {number}", size=image.size)
    return path


def test_broken_lines_are_named_and_left_out(broken_lmdb):
    received = chunks(MixedSource(source=LmdbDataset(broken_lmdb), weight=1))[0]
    assert [item.after for item in received] == [*((0, place) for place in range(1, len(received))), (1, 0)]
    assert sum(len(item.batch.labels) for item in received) == 64 - sum(len(item.problems) for item in received)
    problems = " ".join(problem for item in received for problem in item.problems)
    assert "line 17" in problems
    assert received[0].problems
    assert not any(item.problems for item in received[1:])
    assert "not an image" in problems


@pytest.mark.parametrize("workers", [0, 1])
def test_a_source_of_broken_lines_is_an_error(tmp_path, workers):
    with LmdbWriter(tmp_path / "all.lmdb") as writer:
        for number in range(8):
            writer.add(b"no image", "1", source=f"line {number}", size=(32, 32))
    batches = training_batches(
        chunks(MixedSource(source=LmdbDataset(tmp_path / "all.lmdb"), weight=1)), workers=workers
    )
    with pytest.raises(DataError, match="cannot be read") as error:
        next(batches)
    assert "Traceback" not in error.value.message


def test_evaluation_sees_every_line_once_in_batches_of_one_width(broken_lmdb):
    dataset, problems, seen = LmdbDataset(broken_lmdb), [], []
    preprocessing = Preprocessing()
    for indices, batch in evaluation_batches(
        dataset, DIGITS, preprocessing, batch_size=8, width_stride=4, on_problem=problems.append
    ):
        assert len(indices) == len(batch.labels) <= 8
        for index, label in zip(indices, batch.labels, strict=True):
            width = preprocessing.scaled_width(int(dataset.widths[index]), int(dataset.heights[index]))
            assert preprocessing.padded_width(width) == batch.images.shape[3]
            assert dataset.label(index) == label
        seen += indices
    assert sorted(seen) == [index for index in range(40) if index not in (0, 17, 39)]
    assert len(problems) == 3


@dataclass(frozen=True)
class Blank:
    """Blank lines of given widths."""

    widths: np.ndarray
    name = "blank"

    @property
    def size(self) -> int:
        return len(self.widths)

    @property
    def heights(self) -> np.ndarray:
        return np.full(len(self.widths), 32)

    def line(self, index: int) -> Line:
        return Line(image=Image.new("L", (int(self.widths[index]), 32), 255), label="1", source=str(index))


def test_little_of_a_batch_is_padding_and_few_batches_are_small():
    widths = np.random.default_rng(0).lognormal(5, 0.4, 1024).astype(int)
    batches = take_chunk(chunks(MixedSource(source=Blank(widths), weight=1), batch_size=64, strength=0.0))
    pixels = sum(batch.images.shape[0] * batch.images.shape[3] for batch in batches)
    assert sum(int(batch.widths.sum()) for batch in batches) == widths.sum()
    assert widths.sum() / pixels > 0.92
    assert len(batches) <= 20
    for batch in batches:
        assert len(batch.labels) <= 64
        read = Preprocessing().padded_width(int(batch.widths.min()))
        assert batch.images.shape[3] <= max(read + 32, read * 4 / 3)


def test_a_frame_that_a_line_begins_is_the_lines_own():
    source = Blank(np.array([61, 62, 63, 64, 57]))
    for stride, frames in ((4, [16, 16, 16, 16, 15]), (8, [8, 8, 8, 8, 8])):
        ((_, batch),) = evaluation_batches(source, DIGITS, Preprocessing(), batch_size=8, width_stride=stride)
        assert batch.widths.tolist() == source.widths.tolist()
        assert batch.frames.tolist() == frames
        stream = chunks(MixedSource(source=source, weight=1), width_stride=stride, strength=0)
        for trained in take(stream, 3):
            assert trained.frames.tolist() == [frames[int(name)] for name in trained.sources]


def test_evaluation_keeps_labels_that_the_charset_cannot_write(digits_lmdb):
    few = Charset("01234")
    batches = list(evaluation_batches(LmdbDataset(digits_lmdb), few, Preprocessing(), batch_size=64, width_stride=4))
    lines = [(label, int(length)) for _, b in batches for label, length in zip(b.labels, b.target_lengths, strict=True)]
    assert any(set(label) - set("01234") for label, _ in lines)
    assert all(length == (0 if set(label) - set("01234") else len(label)) for label, length in lines)


class Refused:
    """A loader whose worker dies while the parent fetches from it, which torch tells of as a broken connection."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __iter__(self):
        process = multiprocessing.get_context("spawn").Process(target=exec, args=(self.code,), daemon=True)
        process.start()
        return self.fetched()

    def fetched(self):
        yield "first"
        raise ConnectionRefusedError(111, "Connection refused")


def test_a_worker_that_dies_while_it_hands_over_is_told_in_words():
    loaded = batching._loaded(Refused(""))
    assert next(loaded) == "first"
    with pytest.raises(DataError, match="a process that loads lines has died"):
        next(loaded)


def test_an_error_of_another_cause_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(batching, "_DYING", 0.1)
    loaded = batching._loaded(Refused("import time; time.sleep(60)"))
    next(loaded)
    with pytest.raises(ConnectionRefusedError):
        next(loaded)

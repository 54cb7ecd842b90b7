from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from rapidfuzz.distance import Levenshtein
from tinyfonts import CHARACTERS, build_font

from ocrcc.charset import Charset
from ocrcc.config import PredictConfig, SynthConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.datasets.synthesize import encode, shard_range, synthesise, write_preview
from ocrcc.errors import ConfigError, DataError
from ocrcc.lookalikes import Group, Lookalikes
from ocrcc.reading.reader import LineReader
from ocrcc.synth.source import SynthSource

CHARSET = Charset(CHARACTERS + " ")


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "fonts").mkdir()
    build_font(tmp_path / "fonts" / "Tiny.ttf")
    groups = Lookalikes((Group("己已巳", 0.9, "list"),))

    def build(**settings) -> SynthSource:
        return SynthSource(SynthConfig(fonts=str(tmp_path / "fonts"), **settings), CHARSET, 4, "synth:t", groups)

    return build


def records(*paths: Path) -> list[tuple[bytes, str]]:
    datasets = [LmdbDataset(path) for path in paths]
    return [(data.image_bytes(row), data.label(row)) for data in datasets for row in range(len(data))]


def test_workers_and_shards_do_not_change_a_record(make, tmp_path):
    source = make()
    alone = synthesise(source, tmp_path / "one.lmdb", 200, workers=1)
    synthesise(source, tmp_path / "many.lmdb", 200, workers=3)
    for shard in (1, 2, 3):
        synthesise(source, tmp_path / f"{shard}.lmdb", 200, shard=(shard, 3), workers=1)
    expected = records(tmp_path / "one.lmdb")
    assert alone.lines == len(expected) == 200
    assert records(tmp_path / "many.lmdb") == expected
    assert records(*(tmp_path / f"{shard}.lmdb" for shard in (1, 2, 3))) == expected


def test_what_is_stored_is_what_training_would_see(make, tmp_path):
    source = make(effects={"jpeg": 0.5})
    synthesise(source, tmp_path / "a.lmdb", 40, workers=1)
    data = LmdbDataset(tmp_path / "a.lmdb")
    formats = set()
    for row in range(40):
        stored, fresh = data.line(row), source.line(row)
        assert stored.label == fresh.label
        assert stored.image.convert("RGB").tobytes() == fresh.image.convert("RGB").tobytes()
        formats.add(Image.open(io.BytesIO(data.image_bytes(row))).format)
    assert formats == {"JPEG", "PNG"}
    assert "synth:t#3" in data.source(3)


def test_progress_and_memory_are_reported(make, tmp_path):
    seen = []
    result = synthesise(
        make(), tmp_path / "a.lmdb", 130, workers=1, report=lambda done, total: seen.append((done, total))
    )
    assert seen == [(64, 130), (128, 130), (130, 130)]
    assert [held.lines for held in result.memory] == [64, 128, 130]
    assert all(held.resident > held.own > 1e6 for held in result.memory)
    assert result.lines_per_second > 0
    assert result.fonts == 1


@pytest.mark.parametrize(("count", "shards", "pairs"), [(10, 3, False), (7, 7, False), (10, 3, True), (11, 2, True)])
def test_shards_are_a_partition(count, shards, pairs):
    parts = [shard_range(count, shard, shards, pairs=pairs) for shard in range(1, shards + 1)]
    assert [number for part in parts for number in part] == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= (3 if pairs else 1)
    if pairs:
        assert all(part[0] % 2 == 0 for part in parts if part)


def test_impossible_and_empty_shards_are_refused(make, tmp_path):
    with pytest.raises(ConfigError, match="shard 4/3"):
        synthesise(make(), tmp_path / "a.lmdb", 10, shard=(4, 3))
    with pytest.raises(ConfigError, match="is empty"):
        synthesise(make(), tmp_path / "a.lmdb", 2, shard=(1, 3))


def test_a_pair_is_in_one_shard(make, tmp_path):
    source = make(minimal_pairs=True)
    synthesise(source, tmp_path / "a.lmdb", 20, shard=(2, 3), workers=1)
    labels = [label for _, label in records(tmp_path / "a.lmdb")]
    for first, second in zip(labels[::2], labels[1::2], strict=True):
        assert sum(a != b for a, b in zip(first, second, strict=True)) == 1


MODEL = "ocrcc-zh-small"


def misread(source: SynthSource, numbers: range) -> list[tuple[str, str]]:
    """Labels and readings of what the shipped model, looking once, misreads in a character or two, or half of them."""
    reader = LineReader.load(MODEL, config=PredictConfig(second_look=0.0, layout="line"))
    lines = [source.line(number) for number in numbers]
    read = [line.text for line in reader.recognize([line.image for line in lines])]
    pairs = [(line.label, text) for line, text in zip(lines, read, strict=True)]
    return [(label, text) for label, text in pairs if 0 < Levenshtein.distance(label, text) <= max(2, 0.5 * len(label))]


def with_what_they_were_taken_for(source: SynthSource, numbers: range) -> list[str]:
    """The labels of misread lines, each before its reading where a character was taken for another of the charset."""
    wanted = []
    for label, text in misread(source, numbers):
        wanted.append(label)
        if len(label) == len(text) and not source.charset.missing(text):
            wanted.append(text)
    return wanted


def test_only_what_a_model_misreads_is_kept_and_what_it_was_taken_for(make, tmp_path):
    source = make()
    expected = with_what_they_were_taken_for(source, range(192))
    assert 40 < len(expected) < 250
    assert len(expected) > 1.2 * len(misread(source, range(192)))
    result = synthesise(source, tmp_path / "a.lmdb", 30, misread_by=MODEL, workers=1)
    assert [label for _, label in records(tmp_path / "a.lmdb")] == expected[:30]
    assert result.lines == 30
    assert 30 < result.rendered <= 192
    assert result.rendered % 64 == 0
    synthesise(source, tmp_path / "many.lmdb", 30, misread_by=MODEL, workers=2)
    assert records(tmp_path / "many.lmdb") == records(tmp_path / "a.lmdb")
    synthesise(source, tmp_path / "part.lmdb", 20, misread_by=MODEL, shard=(2, 2), workers=1)
    assert [label for _, label in records(tmp_path / "part.lmdb")] == with_what_they_were_taken_for(
        source, range(64, 128)
    )[:10]
    write_preview(source, tmp_path / "sheet.png", MODEL, count=1)
    first = Image.open(io.BytesIO(records(tmp_path / "a.lmdb")[0][0]))
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.crop((0, 0, *first.size)).tobytes() == first.convert("RGB").tobytes()


def test_of_a_misread_line_its_twin_is_kept_too(make, tmp_path):
    source = make(minimal_pairs=True)
    wrong = {label for label, _ in misread(source, range(128))}
    synthesise(source, tmp_path / "a.lmdb", 20, misread_by=MODEL, workers=1)
    labels = [label for _, label in records(tmp_path / "a.lmdb")]
    assert len(labels) == 20
    for first, second in zip(labels[::2], labels[1::2], strict=True):
        assert sum(a != b for a, b in zip(first, second, strict=True)) == 1
        assert {first, second} & wrong


def test_lines_of_characters_that_the_model_lacks_are_left_out(make, tmp_path, monkeypatch):
    load = LineReader.load

    def of_a_smaller_charset(model, config):
        reader = load(model, config=config)
        reader.charset = Charset("".join(char for char in reader.charset if char not in "己已巳"))
        return reader

    monkeypatch.setattr(LineReader, "load", of_a_smaller_charset)
    synthesise(make(), tmp_path / "a.lmdb", 10, misread_by=MODEL, workers=1)
    assert not set("己已巳") & set("".join(label for _, label in records(tmp_path / "a.lmdb")))


def test_a_model_that_misreads_next_to_nothing_ends_the_search(make, tmp_path, monkeypatch):
    monkeypatch.setattr("ocrcc.datasets.synthesize._IN_VAIN", 128)
    found = iter([False] * 70 + [True] * 3 + [False] * 1000)
    monkeypatch.setattr("ocrcc.datasets.synthesize._is_misread", lambda label, text: next(found))
    result = synthesise(make(), tmp_path / "a.lmdb", 10, misread_by=MODEL, workers=1)
    assert (result.lines, result.rendered) == (3, 256)
    monkeypatch.setattr("ocrcc.datasets.synthesize._is_misread", lambda label, text: False)
    with pytest.raises(DataError, match="ocrcc-zh-small misreads none of 128 lines"):
        synthesise(make(), tmp_path / "b.lmdb", 10, misread_by=MODEL, workers=1)
    assert not (tmp_path / "b.lmdb").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_leaves_nothing(make, tmp_path, monkeypatch, workers):
    def full(self, *args, **kwargs):
        raise DataError("a.lmdb: cannot be written: No space left on device", "is the disk full?")

    monkeypatch.setattr(LmdbWriter, "add", full)
    with pytest.raises(DataError, match="No space left"):
        synthesise(make(), tmp_path / "a.lmdb", 200, workers=workers)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"cache", "fonts"}


def test_a_dataset_is_not_overwritten_by_chance(make, tmp_path):
    synthesise(make(), tmp_path / "a.lmdb", 5, workers=1)
    with pytest.raises(ConfigError, match="exists"):
        synthesise(make(), tmp_path / "a.lmdb", 6, workers=1)
    synthesise(make(), tmp_path / "a.lmdb", 6, workers=1, overwrite=True)
    assert len(LmdbDataset(tmp_path / "a.lmdb")) == 6


def test_a_preview_shows_the_first_lines(make, tmp_path):
    source = make()
    write_preview(source, tmp_path / "sheet.png", count=20)
    sheet = Image.open(tmp_path / "sheet.png")
    first = source.line(0).image.convert("RGB")
    assert sheet.crop((0, 0, *first.size)).tobytes() == first.tobytes()
    with pytest.raises(DataError, match="cannot be written"):
        write_preview(source, tmp_path / "sheet.nonsense", count=2)
    assert not [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_encoding_is_lossless(make):
    source = make(effects={"jpeg": 0.0})
    record = encode(source.line(3))
    assert Image.open(io.BytesIO(record.image)).tobytes() == source.line(3).image.tobytes()
    assert record.size == source.line(3).image.size

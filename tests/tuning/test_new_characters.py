"""Characters that a model lacks are placed by a few lines, and nothing else changes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from drawn_lines import draw_line
from stored_lines import store, store_drawn

from ocrcc.charset import Charset
from ocrcc.config import FinetuneConfig, PretrainConfig, TrainConfig, TuneConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.opened import Opener
from ocrcc.evaluation.evaluate import read_dataset
from ocrcc.models.checkpoint import load_model
from ocrcc.models.registry import create_model
from ocrcc.training.pretrain import pretrain
from ocrcc.training.sources import open_sources
from ocrcc.training.transfer import transfer
from ocrcc.tuning.finetune import finetune
from ocrcc.tuning.guard import mixture
from ocrcc.tuning.new_characters import place_new, showing


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A model that reads digits but 7."""
    place = tmp_path_factory.mktemp("digits")
    rng = random.Random(4)
    texts = ["".join(rng.choices("012345689", k=5)) for _ in range(150)]
    task = PretrainConfig(train=(str(store_drawn(place / "digits.lmdb", texts)),), arch="tinynet_plain")
    config = TrainConfig(
        steps=150, batch_size=16, workers=0, threads=1, eval_every=0, save_every=0, learning_rate=3e-3, augment=0,
        ema_decay=0, seed=2,
    )  # fmt: skip
    pretrain(task, config, place / "base", device="cpu")
    return place / "base" / "last.safetensors"


def test_a_new_character_is_read_at_once_and_the_others_as_before(trained, tmp_path):
    loaded = load_model(trained, device="cpu")
    charset = loaded.charset.merge(Charset("7"))
    recognizer = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
    moved = transfer(loaded, recognizer, charset)
    rows = recognizer.head.weight.detach().clone()
    rng = random.Random(9)
    texts = ["".join(rng.choices("0123456789", k=5)) for _ in range(60)]
    test = LmdbDataset(store_drawn(tmp_path / "test.lmdb", texts))

    def read() -> list[str]:
        found = read_dataset(recognizer, charset, loaded.preprocessing, test, batch_size=16, device="cpu")
        return [text or "" for text in found]

    def sevens(found: list[str]) -> int:
        return sum(truth[place] == "7" == text[place : place + 1] for truth, text in zip(texts, found, strict=True)
                   for place in range(5))  # fmt: skip

    before = sevens(read())
    lines = ["".join(rng.sample("012345689", 2)) + "7" + "".join(rng.sample("012345689", 2)) for _ in range(24)]
    shown = LmdbDataset(store_drawn(tmp_path / "shown.lmdb", lines))
    counts = place_new(recognizer, moved, charset, loaded.preprocessing, [shown], "cpu")
    assert counts == {"7": 24}
    seven = charset.id("7")
    others = [number for number in range(charset.num_classes) if number != seven]
    assert torch.equal(recognizer.head.weight[others], rows[others])
    found = read()
    assert sum(text.count("7") for text in texts) == 30
    assert before < 5
    assert sevens(found) >= 10  # the base is small, differs by processor, and 7 shares strokes with others
    old = read_dataset(loaded.recognizer, loaded.charset, loaded.preprocessing, test, batch_size=16, device="cpu")
    without = [index for index, text in enumerate(texts) if "7" not in text]
    assert sum(old[index] == found[index] for index in without) > 0.5 * len(without)


def test_lines_that_do_not_show_it_leave_its_row_alone(trained, tmp_path):
    loaded = load_model(trained, device="cpu")
    charset = loaded.charset.merge(Charset("7"))
    recognizer = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
    moved = transfer(loaded, recognizer, charset)
    rows = recognizer.head.weight.detach().clone()
    other = LmdbDataset(store_drawn(tmp_path / "other.lmdb", ["01234"]))
    assert not place_new(recognizer, moved, charset, loaded.preprocessing, [other], "cpu")
    assert torch.equal(recognizer.head.weight, rows)


def test_a_few_lines_for_each_new_character_are_enough(tmp_path):
    dataset = store_drawn(tmp_path / "own.lmdb", ["70"] * 30 + ["01"] * 5)
    charset = Charset("01278")
    opener = Opener(tmp_path / "run", False, pytest.fail)
    own = open_sources((str(dataset),), charset=charset, opener=opener)
    found, *rendered = showing("7", charset, own, (), 0)
    assert [found.label(index) for index in range(len(found))] == ["70"] * 20
    assert not rendered  # twenty samples are enough


def test_in_a_mixture_a_new_row_is_the_tuned_one(trained):
    loaded = load_model(trained, device="cpu")
    charset = loaded.charset.merge(Charset("7"))
    one, other = (create_model(loaded.arch, charset.num_classes, loaded.preprocessing) for _ in range(2))
    seven = charset.id("7")
    mixed = mixture(one, other, 0.25, [seven])
    assert torch.equal(mixed.head.weight[seven], other.head.weight[seven])
    assert torch.equal(mixed.head.bias[seven], other.head.bias[seven])
    assert torch.allclose(mixed.head.weight[1], 0.75 * one.head.weight[1] + 0.25 * other.head.weight[1])


def test_fine_tuning_places_what_the_labels_bring(tmp_path):
    """The shipped model reads digits; it has no yen sign."""
    rng = random.Random(5)
    texts = ["¥" + "".join(rng.choices("0123456789", k=4)) for _ in range(60)]
    prepared = []
    general_texts = ["".join(rng.choices("0123456789", k=5)) for _ in range(20)]
    own_lines = str(store_drawn(tmp_path / "own.lmdb", texts))
    general_lines = str(store_drawn(tmp_path / "general.lmdb", general_texts))
    task = FinetuneConfig(train=(own_lines,), replay=(general_lines,), retain=(general_lines,))
    config = TuneConfig(steps=4, batch_size=8, workers=0, threads=1, seed=5, eval_every=4)
    result = finetune(task, config, tmp_path / "run", device="cpu", on_start=prepared.append)
    assert any(note.startswith("1 new characters are placed by") for note in prepared[0].notes)
    own, general = result.verdict.rows
    assert own.before.line_accuracy == 0
    assert own.change.fixed > 0.8 * own.before.lines
    assert general.change.broken == 0
    kept = load_model(tmp_path / "run" / "best.safetensors", device="cpu")
    assert "¥" in kept.charset


def test_new_characters_that_rob_known_ones_are_left_out(tmp_path):
    """Full-width digits look like digits; lines with them teach nothing, and the others do."""
    rng = random.Random(5)
    texts = ["¥" + "".join(rng.choices("0123456789", k=4)) for _ in range(80)]
    own_lines = str(store(tmp_path / "own.lmdb", [(draw_line(text), text.replace("7", "７")) for text in texts]))
    general_lines = str(
        store_drawn(tmp_path / "general.lmdb", ["".join(rng.choices("0123456789", k=5)) for _ in range(20)])
    )
    task = FinetuneConfig(train=(own_lines,), replay=(general_lines,), retain=(general_lines,))
    config = TuneConfig(steps=4, batch_size=8, workers=0, threads=1, seed=5, eval_every=4)
    prepared = []
    result = finetune(task, config, tmp_path / "run", device="cpu", on_start=prepared.append)
    (note,) = (note for note in prepared[0].notes if "are not learned" in note)
    assert note.startswith("'７' (U+FF17): read where known characters stand, on up to ")
    assert sum(prepared[0].sources.skipped.values()) == sum("7" in text for text in texts)
    own, general = result.verdict.rows
    assert own.change.fixed > 0.5 * own.before.lines
    assert general.change.broken == 0
    kept = load_model(tmp_path / "run" / "best.safetensors", device="cpu")
    assert "¥" in kept.charset
    assert "７" not in kept.charset

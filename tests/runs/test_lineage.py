"""A model says what it was trained on, and a run goes on with nothing else."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import lmdb
import numpy as np
import pytest
from drawn_lines import draw_line, png
from stored_lines import store_drawn

from ocrcc.charset import Charset
from ocrcc.config import PretrainConfig, TrainConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import SomeLines
from ocrcc.errors import ConfigError
from ocrcc.models import checkpoint
from ocrcc.models.contract import read_metadata
from ocrcc.training.pretrain import pretrain

HOW = TrainConfig(steps=1, batch_size=4, workers=0, threads=1)
TEXTS = ("12", "345", "6", "789", "10", "23")


def foreign(path, texts):
    with lmdb.open(str(path), map_size=1 << 24) as env, env.begin(write=True) as change:
        change.put(b"num-samples", b"%d" % len(texts))
        for number, text in enumerate(texts, start=1):
            change.put(b"image-%09d" % number, png(draw_line(text)))
            change.put(b"label-%09d" % number, text.encode())
    return path


def test_the_digest_is_of_images_and_labels_alone(tmp_path):
    expected = hashlib.sha256()
    for text in TEXTS:
        image = png(draw_line(text))
        expected.update(struct.pack("<QQ", len(image), len(text)) + image + text.encode())
    ours, theirs = LmdbDataset(store_drawn(tmp_path / "a", TEXTS)), LmdbDataset(foreign(tmp_path / "b", TEXTS))
    assert ours.sha256 == theirs.sha256 == expected.hexdigest()
    assert LmdbDataset(tmp_path / "b").sha256 == expected.hexdigest()  # from the index beside it
    assert SomeLines(ours, np.array([1, 2])).sha256 == ours.sha256
    assert LmdbDataset(store_drawn(tmp_path / "c", TEXTS[::-1])).sha256 != ours.sha256


def test_the_digest_of_a_charset_is_of_what_its_classes_mean():
    charset = Charset("ab")
    assert charset.sha256 == replace(charset, name="other").sha256 == Charset("ab").sha256
    others = [Charset("ba"), replace(charset, normalisation="nfkc"), replace(charset, bidi=True)]
    assert len({charset.sha256, *(other.sha256 for other in others)}) == 4


def test_a_run_goes_on_with_the_lines_that_it_began_with(tmp_path):
    train, val, out = (
        store_drawn(tmp_path / "t.lmdb", TEXTS),
        store_drawn(tmp_path / "v.lmdb", TEXTS[:2]),
        tmp_path / "run",
    )
    task = PretrainConfig(train=(str(train),), val=(str(val),), arch="lcnet_050")
    pretrain(task, HOW, out)
    lineage = read_metadata(out / "last.safetensors")["lineage"]
    assert lineage["train"] == [{"name": str(train), "size": 6, "sha256": LmdbDataset(train).sha256}]
    assert lineage["val"][0]["sha256"] == LmdbDataset(val).sha256
    assert lineage["charset"] == Charset("".join(sorted(set("".join(TEXTS))))).sha256

    store_drawn(train, (*TEXTS[:-1], "32"), overwrite=True)
    with pytest.raises(ConfigError, match=r"its data for train has changed since it began: .*t\.lmdb"):
        pretrain(task, replace(HOW, steps=2), out, resume=True)
    store_drawn(train, TEXTS, overwrite=True)  # the same again, at another time
    store_drawn(val, TEXTS[1:3], overwrite=True)
    with pytest.raises(ConfigError, match=r"its data for val has changed since it began: .*v\.lmdb"):
        pretrain(task, replace(HOW, steps=2), out, resume=True)
    store_drawn(val, TEXTS[:2], overwrite=True)
    assert pretrain(task, replace(HOW, steps=2), out, resume=True).steps == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 6}, r"seed is 6, and was 0"),
        ({"batch_size": 2, "augment": 0.25}, r"batch_size is 2, and was 4; augment is 0\.25, and was 0\.5"),
        ({"mix": (2.0,)}, r"mix is 2\.0, and was none"),
        ({"train": ("{train}", "{train}")}, r"train is .*t\.lmdb, .*t\.lmdb, and was .*t\.lmdb"),
        ({"train": ("synth:documents",)}, r"train is synth:documents, and was .*t\.lmdb"),
        ({"val": ("{train}",)}, r"val is .*t\.lmdb, and was none"),
        ({"arch": "tinynet_plain"}, r"arch is tinynet_plain, and was lcnet_050"),
    ],
)
def test_a_run_goes_on_with_the_settings_that_it_began_with(tmp_path, changed, words):
    train = str(store_drawn(tmp_path / "t.lmdb", TEXTS))
    task = PretrainConfig(train=(train,), arch="lcnet_050")
    pretrain(task, HOW, tmp_path / "run")
    given = {
        name: tuple(str(each).format(train=train) if isinstance(each, str) else each for each in value)
        if isinstance(value, tuple)
        else value
        for name, value in changed.items()
    }
    other = replace(task, **{name: value for name, value in given.items() if hasattr(task, name)})
    how = replace(HOW, steps=2, **{name: value for name, value in given.items() if hasattr(HOW, name)})
    settings = (tmp_path / "run" / "config.toml").read_bytes()
    with pytest.raises(ConfigError, match=words):
        pretrain(other, how, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "config.toml").read_bytes() == settings


def test_what_ends_reports_or_rescues_a_run_may_change_and_its_lines_may_have_moved(tmp_path):
    train = store_drawn(tmp_path / "t.lmdb", TEXTS)
    task = PretrainConfig(train=(str(train),), arch="lcnet_050")
    pretrain(task, replace(HOW, schedule="none"), tmp_path / "run")
    moved, rates = train.rename(tmp_path / "moved.lmdb"), []
    how = replace(
        HOW,
        schedule="none",
        steps=2,
        log_every=1,
        eval_every=1,
        save_every=1,
        patience=3,
        workers=1,
        learning_rate=0.25,
    )
    result = pretrain(
        replace(task, train=(str(moved),)), replace(how, learning_rate=0.25), tmp_path / "run", resume=True,
        on_log=lambda entry: rates.append(entry.scalars["learning_rate"]),
    )  # fmt: skip
    assert result.steps == 2
    assert rates == [0.25]


def test_a_run_of_an_earlier_version_goes_on(tmp_path, monkeypatch):
    """It knows neither all settings of today nor what it was tuned from."""
    task = PretrainConfig(train=(str(store_drawn(tmp_path / "t.lmdb", TEXTS)),), arch="lcnet_050")
    saved = checkpoint.save_model

    def older(path, **given):
        saved(path, **{**given, "info": {**given["info"], "config": {"seed": 0, "gone": 1}}})

    monkeypatch.setattr("ocrcc.training.run.save_model", older)
    pretrain(task, HOW, tmp_path / "run")
    assert pretrain(task, replace(HOW, steps=2), tmp_path / "run", resume=True).steps == 2
    with pytest.raises(ConfigError, match="seed is 1, and was 0"):
        pretrain(task, replace(HOW, seed=1, steps=3), tmp_path / "run", resume=True)

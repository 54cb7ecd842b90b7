"""Every number of every settings class is one, and names itself where it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields

import pytest

from ocrcc import config
from ocrcc.config import (
    BuildConfig,
    ExportConfig,
    FinetuneConfig,
    Preprocessing,
    PretrainConfig,
    ProjectConfig,
    SynthConfig,
    TrainConfig,
    TuneConfig,
)
from ocrcc.errors import ConfigError

NEEDED = {
    TrainConfig: {"steps": 1},
    PretrainConfig: {"train": ("x",)},
    FinetuneConfig: {"train": ("x",)},
    config.DataConfig: {"train": ("x",)},
}
CLASSES = [each for name in config.__all__ if hasattr(each := getattr(config, name), "__dataclass_fields__")]


def with_number(kind, name, number):
    """Give the field's value with a number in its place, or None if it takes no float."""
    hint, default = kind.__dataclass_fields__[name].type, getattr(kind(**NEEDED.get(kind, {})), name)
    if isinstance(default, Mapping):
        return {**dict.fromkeys(default, 0.1), next(iter(default), "blur"): number}
    return (number,) if "tuple[float" in hint and "|" not in hint else number if "float" in hint else None


CASES = [
    (kind, each.name)
    for kind in CLASSES
    for each in fields(kind)
    if kind is not Preprocessing and with_number(kind, each.name, 0.5) is not None
]


def test_the_classes_have_the_numbers_that_are_tried():
    names = {name for _, name in CASES}
    assert {"learning_rate", "minutes", "mix", "center_weight", "val_fraction", "texts", "second_look", "mean"} <= names
    assert {kind for kind, _ in CASES} >= {TuneConfig, FinetuneConfig, SynthConfig, ExportConfig}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("kind", "name"), CASES, ids=lambda each: getattr(each, "__name__", each))
def test_a_number_that_is_none_is_named(kind, name, number):
    with pytest.raises(ConfigError, match=f"{name} is {number}, not a finite number"):
        kind(**{**NEEDED.get(kind, {}), name: with_number(kind, name, number)})


@pytest.mark.parametrize("kind", [TrainConfig, TuneConfig, BuildConfig, ExportConfig, ProjectConfig])
def test_a_seed_is_what_every_generator_takes(kind):
    for seed in (0, 2**32 - 1):
        assert kind(**{**NEEDED.get(kind, {}), "seed": seed}).seed == seed
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match=rf"seed is {seed}, not 0\.\.4294967295"):
            kind(**{**NEEDED.get(kind, {}), "seed": seed})


WHOLE = [
    (kind, each.name)
    for kind in CLASSES
    for each in fields(kind)
    if kind is not Preprocessing and each.type in ("int", "tuple[int, ...]") and each.name != "seed"
]


@pytest.mark.parametrize("number", [2**31, 99_999_999_999_999_999_999, 10**400], ids=["C", "more", "no float"])
@pytest.mark.parametrize(("kind", "name"), WHOLE, ids=lambda each: getattr(each, "__name__", each))
def test_a_whole_number_without_end_is_named(kind, name, number):
    value = (number,) if name == "group" else number
    with pytest.raises(ConfigError, match=f"{name} is {number}, not "):
        kind(**{**NEEDED.get(kind, {}), name: value})


def test_the_whole_numbers_are_tried():
    assert {"batch_size", "workers", "threads", "steps", "group", "samples", "window"} <= {name for _, name in WHOLE}


@pytest.mark.parametrize(("name", "most"), [("batch_size", 65_536), ("workers", 1024), ("threads", 1024)])
def test_what_is_made_at_once_has_a_nearer_end(name, most):
    assert getattr(config.EvaluateConfig(**{name: most}), name) == most
    with pytest.raises(ConfigError, match=f"{name} is {most + 1}, not {most} or less"):
        config.EvaluateConfig(**{name: most + 1})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"augment": -1.0}, r"augment is -1\.0, not 0\.\.1"),
        ({"augment": 1.5}, r"augment is 1\.5, not 0\.\.1"),
        ({"warmup": -0.1}, r"warmup is -0\.1, not 0\.\.1"),
        ({"weight_decay": -0.5}, r"weight_decay is negative: -0\.5"),
        ({"ema_decay": 1.0}, r"ema_decay is 1\.0"),
    ],
)
def test_a_setting_out_of_its_range_is_named_with_its_value(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(steps=1, **settings)


@pytest.mark.parametrize("name", ["id-card", "bank-card", "iban", "vin"])
def test_a_check_digit_is_no_pattern(name):
    with pytest.raises(ConfigError, match="would have to be that word") as error:
        config.PredictConfig(pattern=name)
    assert error.value.hint == f"--check {name}"
    assert config.PredictConfig(pattern=f"({name})").pattern == f"({name})"

"""Presets of what lines say and look like: TOML files, shipped or anybody's."""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from ocrcc import packaged
from ocrcc.config import SynthConfig
from ocrcc.errors import ConfigError
from ocrcc.files import read_small

_PATHS = {"corpus", "words", "templates", "fonts"}
"""Settings that name files or folders, and nothing else."""


def load_config(spec: str, **overrides: Any) -> SynthConfig:
    """Load a preset by name or from a TOML file.

    Args:
        spec: A shipped name, or a path.
        overrides: Fields of `SynthConfig` that win over the preset; None leaves the preset's.

    Raises:
        ConfigError: There is no such preset, or it has an unknown field or an impossible value.
    """
    known = [name.removeprefix("synth-") for name in packaged.names("presets", ".toml") if name.startswith("synth-")]
    path = packaged.ASSETS / "presets" / f"synth-{spec}.toml" if spec in known else Path(spec)
    if not path.is_file():
        close = difflib.get_close_matches(spec, known, n=1)
        raise ConfigError(
            f"no synth preset named {spec!r}, and no such file",
            (f"did you mean {close[0]}? " if close else "") + f"presets: {', '.join(known)}",
        )
    try:
        values = tomllib.loads(read_small(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    allowed = {item.name for item in fields(SynthConfig)}
    if unknown := set(values) - allowed:
        raise ConfigError(f"{path}: unknown {', '.join(sorted(unknown))}", f"known: {', '.join(sorted(allowed))}")
    hints = get_type_hints(SynthConfig)
    for key, value in values.items():
        if not _fits(value, hints[key]):
            raise ConfigError(f"{path}: {key} is {value!r}, not {_in_words(hints[key])}")
    frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    given = {key: value for key, value in overrides.items() if value is not None}
    if spec not in known:
        for key in _PATHS & (set(frozen) - set(given)):
            for named in frozen[key] if isinstance(frozen[key], tuple) else filter(None, [frozen[key]]):
                if not Path(named).exists():
                    raise ConfigError(
                        f"{path}: {key}: {named}: no such file or folder",
                        "paths in a preset are relative to the folder that you work in, not to the preset's",
                    )
    return replace(SynthConfig(), **{**frozen, **given})


def _fits(value: Any, kind: Any) -> bool:
    """Tell whether a value of TOML can be that of a field."""
    inner = get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_fits(one, inner[0]) for one in value)
    if inner:
        return isinstance(value, dict) and all(_fits(one, inner[1]) for one in value.values())
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, int | float) and math.isfinite(value) if kind is float else isinstance(value, kind)


def _in_words(kind: Any) -> str:
    inner = get_args(kind)
    if inner:
        return f"a list, each of it {_in_words(inner[0])}" if get_origin(kind) is tuple else "a table of numbers"
    return {str: "a text in quotes", bool: "true or false", int: "a whole number", float: "a number"}[kind]

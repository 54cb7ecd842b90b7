"""The run folder: who may start or go on in it, and what is mended before that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ocrcc.errors import ConfigError, DataError, ModelError
from ocrcc.files import read_small, whole
from ocrcc.places import claimed, sweep_folder

STATE = "state.pt"
METRICS = "metrics.jsonl"
EXPERT = "expert.safetensors"
_MARK = "# settings of a run of ocrcc; --config takes them\n"
_MODELS = ("best.safetensors", "last.safetensors")


@contextmanager
def run_folder(out: Path, *, resume: bool) -> Iterator[None]:
    """Be the only one that trains into a folder.

    Args:
        out: Made if it is not there. Files in it that are not a run's stay.
        resume: Go on with the run that is there.

    Raises:
        ConfigError: Another process trains there, there is a run already, or files of the same names are not a run's.
        ModelError: There is nothing to go on with.
        DataError: The folder cannot be made.
    """
    with claimed(out):
        _check_state(out) if resume else _check_free(out)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{out}: cannot be made: {error.strerror}") from None
        sweep_folder(out)
        yield


def _check_state(out: Path) -> None:
    if not (out / STATE).is_file():
        models = any((out / name).is_file() for name in _MODELS)
        raise ModelError(
            f"{out}: has no {STATE}, so there is nothing to go on with",
            "start a new run in another folder; finetune --pretrained or pretrain --init-from begins with its weights"
            if models
            else "start without --resume",
        )


def _check_free(out: Path) -> None:
    try:
        if out.exists() and not out.is_dir():
            raise ConfigError(f"{out} is a file", "give a folder")
        there = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise DataError(f"{out}: {error.strerror or error}") from None
    if STATE in there:
        raise ConfigError(f"{out} holds a run already", f"go on with it: --resume {out}, or choose another --out")
    if models := there.intersection(_MODELS):
        raise ConfigError(
            f"{out} holds {' and '.join(sorted(models))} already, of a run that cannot be gone on with",
            "choose another --out",
        )
    if there.intersection(("config.toml", METRICS, EXPERT)) and not _is_our_config(out / "config.toml"):
        raise ConfigError(f"{out} holds files that are not a run's, of the same names", "choose another --out")


def _is_our_config(path: Path) -> bool:
    try:
        return read_small(path).startswith(_MARK.encode())
    except DataError:
        return False


def write_settings(out: Path, settings: Mapping[str, Any]) -> None:
    """Write a run's ``config.toml``, which ``--config`` accepts.

    Raises:
        DataError: It cannot be written.
    """
    with whole(out / "config.toml") as aside:
        rows = (f"{name} = {_toml(value)}\n" for name, value in settings.items())
        # The names of files are bytes, and some of them no UTF-8.
        aside.write_text(_MARK + "".join(rows), encoding="utf-8", errors="surrogateescape")


def _toml(value: Any) -> str:
    # JSON's texts, numbers, booleans and lists of these are TOML's too, but for pairs of surrogates and for DEL.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False).replace("\x7f", "\\u007f")


def mend_metrics(out: Path, step: int) -> int:
    """Take back the figures after a step, and lines that a full disk or a crash tore.

    Args:
        out: The run folder.
        step: That the run goes on from.

    Returns:
        How many lines were torn.

    Raises:
        DataError: The file cannot be read or written.
    """
    path = out / METRICS
    try:
        rows = path.read_bytes().splitlines() if step and path.is_file() else []
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    steps = [_step(row) for row in rows]
    kept = [row for row, at in zip(rows, steps, strict=True) if at is not None and at <= step]
    with whole(path) as aside:
        aside.write_bytes(b"".join(row + b"\n" for row in kept))
    return steps.count(None)


def _step(row: bytes) -> int | None:
    try:
        step = json.loads(row)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return step if isinstance(step, int) else None

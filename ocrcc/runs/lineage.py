"""What a model was trained on, by SHA-256: in its file, and checked before a run is gone on with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ocrcc.charset import Charset
from ocrcc.errors import ConfigError, ModelError
from ocrcc.models.contract import read_metadata


def describe_lineage(charset: Charset, train: Iterable[object], validation: Iterable[object]) -> dict[str, Any]:
    """Return what belongs into a model's metadata.

    Datasets know the digest of their images and labels (`ocrcc.data.lmdb_store.LmdbDataset.sha256`), so this costs
    nothing, however large they are. What is rendered has none: its preset and seed are in the settings.
    """
    return {
        "charset": charset.sha256,
        "train": [_described(source) for source in train],
        "val": [_described(source) for source in validation],
    }


def _described(source: object) -> dict[str, Any]:
    found = {name: getattr(source, name, None) for name in ("name", "size", "sha256")}
    return {name: value for name, value in found.items() if value}


def check_lineage(out: Path, now: Mapping[str, Any]) -> None:
    """Make sure that a run is gone on with on the data that it has been trained on, beside the model that it was.

    Args:
        out: The run folder.
        now: What `describe_lineage` says of what was opened.

    Raises:
        ConfigError: Other lines, another charset, or another pretrained model.
        ModelError: The run's metadata is damaged.
    """
    path = out / "last.safetensors"
    before = read_metadata(path).get("lineage")
    if before is None:  # of an earlier version
        return
    try:
        if before["charset"] != now["charset"]:
            raise ConfigError(f"{out}: was trained with another charset", "start a new run in another folder")
        if before.get("pretrained", now.get("pretrained")) != now.get("pretrained"):  # earlier versions do not know
            raise ConfigError(
                f"{out}: pretrained is another model than it began with", "bring back the one that it was"
            )
        for kind in ("train", "val"):
            known, found = ([source.get("sha256") for source in each[kind]] for each in (before, now))
            changed = [
                source["name"]
                for source, digest in zip(now[kind], known, strict=False)
                if digest and source.get("sha256") and digest != source["sha256"]
            ]
            if changed or len(known) != len(found):
                named = ", ".join(changed) or f"{len(found)} sources, not {len(known)}"
                raise ConfigError(
                    f"{out}: its data for {kind} has changed since it began: {named}",
                    "bring the lines back, or start a new run: --init-from or --pretrained takes this one's weights",
                )
    except (KeyError, TypeError, AttributeError):
        raise ModelError(f"{path}: its lineage is damaged") from None

"""Characters in feature spaces, made up; and what TensorBoard's projector will make of a log folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ocrcc.projection.points import TILE, Shown, Space
from ocrcc.projection.projector import COLUMNS, read_config


def make_shown(chars="aabbcc", panels=("ab", "c"), color=False, source="lines.txt:{}"):
    rng = np.random.default_rng(0)
    size = (len(chars), TILE, TILE, 3) if color else (len(chars), TILE, TILE)
    return Shown(
        chars=list(chars),
        panels=panels,
        crops=rng.integers(0, 256, size).astype(np.uint8),
        sources=[source.format(row) for row in range(len(chars))],
        positions=np.arange(len(chars)),
    )


def make_space(shown, name="model", width=5, seed=0, **changes):
    rng = np.random.default_rng(seed)
    count, classes = len(shown), len(shown.different())
    values = {
        "name": name,
        "features": rng.normal(size=(count, width)).astype(np.float32),
        "predicted": list(shown.chars),
        "confidence": np.full(count, 0.5),
        "margin": np.linspace(-1, 1, count),
        "siblings": ["x"] * count,
        "centers": rng.normal(size=(classes, width)).astype(np.float32),
        "learned": np.ones(classes, dtype=bool),
    }
    return Space(**{**values, **changes})


def check_tensors(logdir: Path) -> dict[str, tuple[np.ndarray, list[list[str]], Image.Image]]:
    """Read all that a log folder shows, and check that its parts agree."""
    found = {}
    for info in read_config(logdir).embeddings:
        tensor = np.loadtxt(logdir / info.tensor_path, delimiter="\t", ndmin=2)
        lines = (logdir / info.metadata_path).read_bytes().decode("utf-8").removesuffix("\n").split("\n")
        header, *rows = [line.split("\t") for line in lines]
        assert tuple(header) == COLUMNS
        assert {len(row) for row in rows} == {len(COLUMNS)}
        assert len(rows) == len(tensor)
        width, height = info.sprite.single_image_dim
        with Image.open(logdir / info.sprite.image_path) as sprite:
            sprite.load()
        across = int(np.ceil(np.sqrt(len(tensor))))
        assert sprite.size == (across * width, across * height)
        assert max(sprite.size) <= 8192
        found[info.tensor_name] = (tensor, rows, sprite)
    return found

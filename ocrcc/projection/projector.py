"""TensorBoard's embedding projector: features, crops as sprites, and columns that can be searched and coloured by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig
from torch.utils.tensorboard.writer import SummaryWriter

from ocrcc.errors import DataError
from ocrcc.files import new_aside, read_small, whole
from ocrcc.places import check_replaceable, claimed, folder_of, remove, replace, sweep_folder
from ocrcc.projection.points import TILE, Shown, Space, visible
from ocrcc.projection.tiles import center_tile, shrink

CONFIG = "projector_config.pbtxt"
COLUMNS = ("char", "kind", "group", "predicted", "sibling", "confidence", "margin", "position", "line")
_SHEET = 4096
"""Pixels that a sheet of sprites is wide at most. TensorBoard takes 8192, but not every graphics card does."""
_DIGITS = 5
_PATIENCE = 60.0
"""Seconds to wait for another that writes into the same log folder: a run goes on for days."""
_TENSORS = folder_of("folder of tensors", r"tensors\.(tsv|bytes)|metadata\.tsv|sprite\.png", lambda _: True)
_NAMED = 16
"""So many characters of a group stand in its name."""


def write_tensors(logdir: Path, shown: Shown, spaces: Sequence[Space], *, step: int = 0) -> None:
    """Add one tensor for each model to a log folder; a tensor of the same name and step is replaced.

    All of them are written aside; then their folders are moved into place, and last the one file that makes
    TensorBoard see them.

    Args:
        logdir: Made if it is not there. Other things in it stay as they are.
        shown: The characters.
        spaces: Where the models put them.
        step: Of a training run.

    Raises:
        DataError: The folder cannot be written to, or has a damaged list of tensors.
    """
    with claimed(logdir, patience=_PATIENCE):
        aside = None
        try:
            logdir.mkdir(parents=True, exist_ok=True)
            sweep_folder(logdir)
            config = read_config(logdir)
            aside = new_aside(logdir / "projector")
            _add_embeddings(aside, shown, spaces, step)
            for added in read_config(aside).embeddings:
                place = logdir.resolve() / Path(added.tensor_path).parent
                place.parent.mkdir(exist_ok=True)
                check_replaceable(place, _TENSORS)
                moved = (aside / Path(added.tensor_path).parent).rename(new_aside(place))
                kept = [known for known in config.embeddings if known.tensor_name != added.tensor_name]
                del config.embeddings[:]
                config.embeddings.extend([*kept, added])
                replace([(moved, place)])
            with whole(logdir / CONFIG) as file:
                file.write_text(text_format.MessageToString(config, as_utf8=True), encoding="utf-8")
            if not any(logdir.glob("events.out.tfevents.*")):  # TensorBoard lists no folder without them
                for events in aside.glob("events.out.tfevents.*"):
                    events.rename(logdir / events.name)
        except OSError as error:
            raise DataError(f"{logdir}: cannot be written: {error.strerror or error}") from None
        finally:
            if aside is not None:
                remove(aside)


def read_config(logdir: Path) -> ProjectorConfig:
    """Read which tensors a log folder has; none if there is no such file.

    Raises:
        DataError: The file is damaged.
    """
    path = logdir / CONFIG
    if not path.is_file():
        return ProjectorConfig()
    try:
        return text_format.Parse(read_small(path).decode(), ProjectorConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: damaged: {error}", "choose another folder, or remove the file") from None


def _add_embeddings(folder: Path, shown: Shown, spaces: Sequence[Space], step: int) -> None:
    different = shown.different()
    chars = np.array(shown.chars)
    tiles = np.concatenate([shown.crops, *(center_tile(shown.crops[chars == char])[None] for char in different)])
    size = min(TILE, _SHEET // math.ceil(math.sqrt(len(tiles))))
    sprites = torch.from_numpy(shrink(tiles, size)).float().div_(255)
    sprites = sprites[:, None] if sprites.ndim == 3 else sprites.permute(0, 3, 1, 2)
    with SummaryWriter(str(folder)) as writer:
        for space in spaces:
            # rounded, because every digit is written out as text
            features = np.concatenate([space.features, space.centers]).astype(np.float64).round(_DIGITS)
            writer.add_embedding(
                features,
                metadata=metadata(shown, space),
                label_img=sprites,
                metadata_header=list(COLUMNS),
                global_step=step,
                tag=space.name,
            )


def metadata(shown: Shown, space: Space) -> list[list[str]]:
    """Return one row of `COLUMNS` for each character, and for each center after them; all texts made harmless."""
    groups = {char: _group(shown.panel_of(char)) for char in shown.different()}
    rows = [
        [
            visible(char),
            "character",
            groups[char],
            visible(space.predicted[row]),
            visible(space.siblings[row]) if space.siblings[row] else "",
            f"{space.confidence[row]:.4f}",
            "" if np.isnan(space.margin[row]) else f"{space.margin[row]:.4f}",
            str(int(shown.positions[row]) + 1),
            visible(shown.sources[row]),
        ]
        for row, char in enumerate(shown.chars)
    ]
    return rows + [
        [visible(char), "center" if learned else "mean", groups[char], "", "", "", "", "", ""]
        for char, learned in zip(shown.different(), space.learned, strict=True)
    ]


def _group(panel: str) -> str:
    """Name a panel in a cell, which is repeated for each of its characters."""
    return visible(panel[:_NAMED]) + ("…" if len(panel) > _NAMED else "")

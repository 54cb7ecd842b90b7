"""Take a trained model's weights into another charset: each character keeps its row and its center."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ocrcc.charset import BLANK, Charset
from ocrcc.errors import ModelError
from ocrcc.models.checkpoint import LoadedModel
from ocrcc.models.recognizer import Recognizer


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What a transfer did.

    Attributes:
        kept: Characters whose classifier row and center came along.
        new: Characters with a fresh row and no center.
        dropped: Characters of the old charset that the new one lacks.
        centers: (C, D) of the new charset, zeros where there is none, or None.
        center_counts: (C,), 0 where there is none, or None.
    """

    kept: str
    new: str
    dropped: str
    centers: Tensor | None
    center_counts: Tensor | None


def transfer(source: LoadedModel, recognizer: Recognizer, charset: Charset) -> Transfer:
    """Copy a model's weights into a recogniser of the same architecture, classifier rows by character.

    Args:
        source: The trained model.
        recognizer: Receives the weights; its classes are those of ``charset``.
        charset: May have other characters than the source's, in another order.

    Raises:
        ModelError: Beside the classifier, the two have different weights.
    """
    own, theirs = recognizer.state_dict(), source.recognizer.state_dict()
    body = {name: value for name, value in theirs.items() if not name.startswith("head.")}
    differing = [name for name in own if not name.startswith("head.") and _shape(own, name) != _shape(body, name)]
    differing += [name for name in body if name not in own]
    if differing:
        raise ModelError(
            f"{source.path}: its weights do not fit: {len(differing)} differ, the first is {differing[0]}",
            f"use --arch {source.arch} and the same height and channels",
        )
    kept = [char for char in charset if char in source.charset]
    ours = torch.tensor([BLANK, *(charset.id(char) for char in kept)])
    old = torch.tensor([BLANK, *(source.charset.id(char) for char in kept)])
    for name in ("head.weight", "head.bias"):
        own[name][ours] = theirs[name][old].to(own[name])
    recognizer.load_state_dict({**body, "head.weight": own["head.weight"], "head.bias": own["head.bias"]})
    return Transfer(
        kept="".join(kept),
        new="".join(char for char in charset if char not in source.charset),
        dropped="".join(char for char in source.charset if char not in charset),
        centers=_rows(source.centers, ours, old, charset.num_classes),
        center_counts=_rows(source.center_counts, ours, old, charset.num_classes),
    )


def _shape(state: dict[str, Tensor], name: str) -> torch.Size | None:
    return state[name].shape if name in state else None


def _rows(source: Tensor | None, ours: Tensor, old: Tensor, count: int) -> Tensor | None:
    if source is None:
        return None
    rows = source.new_zeros(count, *source.shape[1:])
    rows[ours] = source[old]
    return rows

"""What evaluation and prediction share: how a recogniser is called, on how many lines at once, and how often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.data.transforms import pad, widen
from ocrcc.decoding.greedy import Reading
from ocrcc.decoding.rivals import Rivals
from ocrcc.lookalikes import load_lookalikes, sibling_table

if TYPE_CHECKING:
    from torch import nn

_MAX_SCORES = 2**26
"""Logits held at once, 256 MB: a batch of long lines over thousands of classes would take gigabytes."""

_LOOKS = ((1.0, False), (1.3, False), (1.5, False), (1.0, True))
"""How a line is looked at in turn: to what it is stretched, and whether it is turned upside down. CTC needs a frame a
character and one between two that are the same; condensed type leaves it little more, and stretched type has more."""
_LOST = 0.5
"""A line that is read less surely than this, however wide, may be upside down."""

Engine = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From images (N, K, H, W) to features (N, T, D) and logits (N, T, C), all float32: what reading needs of a model."""


def lines_at_once(limit: int, num_frames: int, num_classes: int) -> int:
    """Return how many lines of a width fit into memory together, at most ``limit`` and at least one.

    >>> lines_at_once(32, 80, 7000), lines_at_once(32, 800, 7000)
    (32, 11)
    """
    return max(1, min(limit, _MAX_SCORES // max(1, num_frames * num_classes)))


Read = Callable[[np.ndarray, np.ndarray], list[Reading]]
"""From images (N, K, H, W) and the columns (N,) that are each line's own to what was read on them."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at a line.

    Attributes:
        reading: What was read.
        width: Of the line in pixels, as it was looked at.
        upside_down: Whether it was turned for that.
    """

    reading: Reading
    width: int
    upside_down: bool


def read_lines(
    lines: Sequence[np.ndarray],
    read: Read,
    preprocessing: Preprocessing,
    *,
    unsure: float,
    at_once: Callable[[int], int],
) -> list[Look]:
    """Read lines; those that are read unsurely again, stretched, and keep the surest reading of each.

    A line is looked at until some reading is sure enough: as it is, and then at 1.3 and 1.5 times its width. One
    that is hardly read at all is turned upside down as well; that counts only if it is sure enough then.
    Nobody else's line has a say in it.

    Args:
        lines: (K, H, W) each, prepared.
        read: Reads lines of one padded width.
        preprocessing: Of the model.
        unsure: Readings less confident than this are looked at again, 0..1; 0 for none.
        at_once: From a padded width to how many lines may be read together.

    Returns:
        The look at each line that counts.
    """
    found: dict[int, Look] = {}
    for factor, turned in _LOOKS:
        limit = min(unsure, _LOST) if turned else unsure
        groups: defaultdict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        for index, line in enumerate(lines):
            if index in found and found[index].reading.confidence >= limit:
                continue
            look = line[:, ::-1, ::-1] if turned else widen(line, factor, preprocessing) if index in found else line
            if index not in found or turned or look.shape[2] > line.shape[2]:
                groups[preprocessing.padded_width(look.shape[2])].append((index, look))
        for padded, group in groups.items():
            for first in range(0, len(group), at_once(padded)):
                indices, looks = zip(*group[first : first + at_once(padded)], strict=True)
                widths = np.array([look.shape[2] for look in looks])
                readings = read(pad(looks, padded), widths)
                for index, reading, width in zip(indices, readings, widths.tolist(), strict=True):
                    least = found[index].reading.confidence if index in found else -1.0
                    if reading.confidence > least and (not turned or reading.confidence >= unsure):
                        found[index] = Look(reading=reading, width=width, upside_down=turned)
    return [found[index] for index in range(len(lines))]


def torch_engine(recognizer: nn.Module, device: str) -> Engine:
    """Make an engine of a recogniser that is in evaluation mode, on ``device``."""
    import torch

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            output = recognizer(torch.from_numpy(images).to(device))
        return output.features.float().cpu().numpy(), output.logits.float().cpu().numpy()

    return read


def find_rivals(
    lookalikes: str, charset: Charset, centers: np.ndarray | None, counts: np.ndarray | None
) -> Rivals | None:
    """Bring look-alike groups and a model's centers together.

    Args:
        lookalikes: Groups by name or file; empty for none.
        charset: Of the model.
        centers: (C, D), if the model has them.
        counts: (C,), how many characters each center stands on.

    Raises:
        CharsetError: The groups cannot be read.
    """
    if not lookalikes:
        return None
    table = sibling_table(load_lookalikes(lookalikes).for_training(), charset)
    return Rivals(siblings=np.array(table, np.int64), centers=centers, known=None if counts is None else counts > 0)

"""What a line image is turned into for a recogniser."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ocrcc.errors import ConfigError

_MOST_VALUES = 1 << 22
"""Of the widest line; the largest recogniser known takes 3 x 48 x 3200, which is a ninth of it."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a line image becomes a recogniser's input. It belongs to the model and travels with it.

    A line is made upright and one-colour or RGB, brought to dark on light if asked, scaled to `height` with
    its aspect kept, normalised, and padded on the right with zeros to a width that depends on nothing but
    its own (`padded_width`). So what is read on a line never depends on its neighbours in a batch.

    Attributes:
        height: Pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: Subtracted from pixels scaled to 0..1.
        std: What the difference is divided by.
        polarity: ``keep``, or ``dark-on-light`` to invert lines whose background is darker than their text.
        width_step: Pixels; padded widths are multiples of it.
        max_width: Pixels; wider lines are squeezed to it.
    """

    height: int = 32
    channels: Literal[1, 3] = 1
    mean: float = 0.5
    std: float = 0.25
    polarity: Literal["keep", "dark-on-light"] = "dark-on-light"
    width_step: int = 32
    max_width: int = 3200

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {getattr(self, name)!r}, not a whole number"
            for name in ("height", "channels", "width_step", "max_width")
            if type(getattr(self, name)) is not int
        ] + [
            f"{name} is {getattr(self, name)!r}, not a number"
            for name in ("mean", "std")
            if type(getattr(self, name)) not in (int, float)
        ]
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems))
        if not 8 <= self.height <= 512:
            problems.append(f"height is {self.height}, not 8..512")
        if self.channels not in (1, 3):
            problems.append(f"channels is {self.channels}, not 1 or 3")
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            problems.append(f"mean {self.mean} and std {self.std} do not normalise")
        if self.polarity not in ("keep", "dark-on-light"):
            problems.append(f"polarity is {self.polarity!r}, not keep or dark-on-light")
        if not 4 <= self.width_step <= self.max_width <= 16_384:
            problems.append(f"width_step {self.width_step} and max_width {self.max_width} do not fit into 4..16384")
        elif self.channels * self.height * self.max_width > _MOST_VALUES:
            problems.append(f"lines of {self.channels} x {self.height} x {self.max_width} values are too large")
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems))

    def scaled_width(self, width: int, height: int) -> int:
        """Return the pixels that an image of this size is wide once it is `height` high."""
        return max(4, min(self.max_width, round(width * self.height / height)))

    def padded_width(self, scaled_width: int) -> int:
        """Return the input width of a scaled line: coarser steps for longer lines, so that batches fill.

        >>> [Preprocessing().padded_width(width) for width in (4, 32, 33, 700)]
        [32, 32, 64, 704]
        """
        step = self.width_step * (1 if scaled_width <= 16 * self.width_step else 2)
        return math.ceil(scaled_width / step) * step

"""What a line image is turned into for a recogniser."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from ocrcc.config.setting import INPUT, check_numbers, setting
from ocrcc.errors import ConfigError

_MOST_VALUES = 1 << 22
"""Of the widest line; the largest recogniser known takes 3 x 48 x 3200, which is a ninth of it."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a line image becomes a recogniser's input. It belongs to the model and travels with it.

    A line is made upright and one-colour or RGB, brought to dark on light if asked, scaled to `height` with
    its aspect kept, normalised, and padded on the right to a width that depends on nothing but its own
    (`padded_width`). So what is read on a line never depends on its neighbours in a batch.

    The defaults are those of models trained here; recognisers of other makes bring others along.

    Attributes:
        height: Pixels.
        channels: 1 (grey) or 3 (RGB).
        mean: Subtracted from pixels scaled to 0..1; one number, or one for each channel in the input's order.
        std: What the difference is divided by; one number, or one for each channel.
        polarity: ``keep``, or ``dark-on-light`` to invert lines whose background is darker than their text.
        width_step: Pixels; padded widths are multiples of it.
        max_width: Pixels; wider lines are squeezed to it.
        min_width: Pixels that every line is padded to; what is padded to it counts as the line's own.
        colour_order: Of the channels, where there are three.
        resize: ``smooth`` averages over all source pixels; ``paddle`` takes the four nearest ones and rounds as
            OpenCV does, with PaddleOCR's rule for widths that are no whole pixels; ``triangle`` has that rule too,
            and averages as torchvision's antialiased bilinear resizing does.
        padding: What is padded with, after normalisation.
        looks: Whether a line that is read unsurely may be looked at again, closer, wider or turned.
    """

    height: int = 32
    channels: Literal[1, 3] = 1
    mean: float | tuple[float, ...] = 0.5
    std: float | tuple[float, ...] = 0.25
    polarity: Literal["keep", "dark-on-light"] = "dark-on-light"
    width_step: int = 32
    max_width: int = 3200
    min_width: int = 0
    colour_order: Literal["rgb", "bgr"] = "rgb"
    resize: Literal["smooth", "paddle", "triangle"] = "smooth"
    padding: float = 0.0
    looks: bool = True

    def __post_init__(self) -> None:
        for name in ("mean", "std"):  # JSON has lists; and three that are one are written as one
            if isinstance(value := getattr(self, name), (list, tuple)):
                one = all(type(number) in (int, float) for number in value) and len(set(value)) == 1
                object.__setattr__(self, name, value[0] if one else tuple(value))
        problems = [
            f"{name} is {getattr(self, name)!r}, not a whole number"
            for name in ("height", "channels", "width_step", "max_width", "min_width")
            if type(getattr(self, name)) is not int
        ]
        problems += [
            f"{name} is {getattr(self, name)!r}, not a number{'' if name == 'padding' else ' or one a channel'}"
            for name in ("mean", "std", "padding")
            if not _numbers(getattr(self, name), 1 if name == "padding" else self.channels)
        ]
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems))
        if not 8 <= self.height <= 512:
            problems.append(f"height is {self.height}, not 8..512")
        if self.channels not in (1, 3):
            problems.append(f"channels is {self.channels}, not 1 or 3")
        if not (all(map(math.isfinite, (*_all(self.mean), *_all(self.std)))) and min(_all(self.std)) > 0):
            problems.append(f"mean {self.mean} and std {self.std} do not normalise")
        if self.polarity not in ("keep", "dark-on-light"):
            problems.append(f"polarity is {self.polarity!r}, not keep or dark-on-light")
        if not (1 <= self.width_step <= self.max_width <= 16_384 and 0 <= self.min_width <= self.max_width):
            problems.append(
                f"width_step {self.width_step}, min_width {self.min_width} and max_width {self.max_width} do not fit "
                "into 1..16384"
            )
        elif self.channels * self.height * self.max_width > _MOST_VALUES:
            problems.append(f"lines of {self.channels} x {self.height} x {self.max_width} values are too large")
        if self.colour_order not in ("rgb", "bgr"):
            problems.append(f"colour_order is {self.colour_order!r}, not rgb or bgr")
        if self.resize not in ("smooth", "paddle", "triangle"):
            problems.append(f"resize is {self.resize!r}, not smooth, paddle or triangle")
        if not math.isfinite(self.padding):
            problems.append(f"padding is {self.padding}")
        if problems:
            raise ConfigError("preprocessing: " + "; ".join(problems))

    def scaled_width(self, width: int, height: int) -> int:
        """Return the pixels that an image of this size is wide once it is `height` high, without padding."""
        exact = width * self.height / height
        if self.resize != "smooth":
            return max(1, min(math.ceil(exact), max(self.min_width, int(exact)), self.max_width))
        return max(4, min(self.max_width, round(exact)))

    def padded_width(self, scaled_width: int) -> int:
        """Return the input width of a scaled line: coarser steps for longer lines, so that batches fill.

        A step of one pixel stays one: such a model's padding is its maker's.

        >>> [Preprocessing().padded_width(width) for width in (4, 32, 33, 700)]
        [32, 32, 64, 704]
        """
        step = self.width_step * (1 if scaled_width <= 16 * self.width_step or self.width_step == 1 else 2)
        return math.ceil(max(scaled_width, self.min_width) / step) * step

    def described(self) -> dict[str, Any]:
        """Return what a model file says of it: what it shares with models trained here is left out if younger."""
        found = asdict(self)
        return {name: value for name, value in found.items() if name not in _YOUNGER or value != _YOUNGER[name]}


def _all(values: float | tuple[float, ...]) -> tuple[float, ...]:
    return values if isinstance(values, tuple) else (values,)


def _numbers(values: object, channels: int) -> bool:
    if isinstance(values, tuple) and len(values) != channels:
        return False
    return all(type(number) in (int, float) for number in (values if isinstance(values, tuple) else (values,)))


_YOUNGER = {
    field.name: field.default
    for field in fields(Preprocessing)
    if field.name in ("min_width", "colour_order", "resize", "padding", "looks")
}
"""Settings that older versions do not know, which read models that do without them."""


@dataclass(frozen=True, kw_only=True)
class ImportConfig:
    """What a recogniser of another make does not say of itself. By default as PP-OCR does it.

    Attributes:
        charset: Characters in class order, one a line, where the file does not carry them.
        blank: Which class is the blank: first, last, or (auto) what an empty line is read as.
        height: Pixels, where the file leaves it open.
        colour: Of the input, where the file does not say that it is grey.
        mean: Subtracted from pixels scaled to 0..1; repeat it for one a channel, in the input's order.
        std: What the difference is divided by; repeat it for one a channel.
        resize: paddle, as OpenCV does between four pixels; smooth, over all pixels; triangle, as torchvision does.
        min_width: Pixels that every line is padded to.
        padding: What is padded with, after normalisation.
    """

    charset: str = setting("", INPUT, "CHARSET")
    blank: Literal["auto", "first", "last"] = setting("auto", INPUT)
    height: int = setting(48, INPUT)
    colour: Literal["bgr", "rgb", "grey"] = setting("bgr", INPUT)
    mean: tuple[float, ...] = setting((0.5,), INPUT)
    std: tuple[float, ...] = setting((0.5,), INPUT)
    resize: Literal["smooth", "paddle", "triangle"] = setting("paddle", INPUT)
    min_width: int = setting(320, INPUT)
    padding: float = setting(0.0, INPUT)

    def __post_init__(self) -> None:
        check_numbers(self)

    def check_only(self, *names: str, path: Path) -> None:
        """Make sure that no other of these settings is given, where the original says all else itself.

        Raises:
            ConfigError: One is.
        """
        known = [
            each.name for each in fields(self) if each.name not in names and getattr(self, each.name) != each.default
        ]
        if known:
            options = " and ".join(f"--{name.replace('_', '-')}" for name in known)
            raise ConfigError(f"{path}: says its {' and '.join(known)} itself", f"leave {options} out")

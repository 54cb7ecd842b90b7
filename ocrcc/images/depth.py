"""More than eight bits a channel, brought to eight by the range that is in use."""

from __future__ import annotations

import io
import math
import sys

import numpy as np
from PIL import Image

from ocrcc.errors import DataError

_LEAST_SEEN = 16
"""Times less than the lightest grey of a wide range is the least difference that something can be told from."""
_NATIVE = "L" if sys.byteorder == "little" else "B"
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{'L' if (_NATIVE if order == 'N' else order) == 'B' else 'B'}"
    for mode in ("RGB", "RGBA")
    for order in "BLN"
}
"""Pillow's names for 16-bit colours, of which it keeps the high bytes, and for those whose high bytes are their low."""


def is_wide(image: Image.Image) -> bool:
    """Tell whether a grey image has more than eight bits."""
    return image.mode.startswith(("I", "F"))


def narrowed(image: Image.Image, name: str) -> Image.Image:
    """Bring a wide grey image to mode ``L``, or ``LA`` where one of its greys means transparent.

    Raises:
        DataError: Some of its pixels are not numbers.
    """
    values = np.asarray(image, dtype=np.float64)
    grey = Image.fromarray(_to_bytes(values, image.mode, name))
    nothing = image.info.get("transparency")
    if not isinstance(nothing, int):
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(values == nothing, 0, 255).astype(np.uint8))))


def low_bytes(image: Image.Image) -> Image.Image | None:
    """Open the file of an image that is not decoded yet once more, for the low bytes of its 16-bit colours.

    Returns:
        An image whose channels are the low bytes; None for other kinds of files.
    """
    tiles = getattr(image, "tile", [])
    file = getattr(image, "fp", None)
    rawmodes = {_rawmode(tile.args) for tile in tiles}
    if file is None or len(rawmodes) != 1 or (rawmode := rawmodes.pop()) not in _LOW_BYTES:
        return None
    at = file.tell()
    file.seek(0)
    again = Image.open(io.BytesIO(file.read()), formats=[str(image.format)])
    file.seek(at)
    again.seek(image.tell())
    other = _LOW_BYTES[rawmode]
    again.tile = [  # type: ignore[attr-defined]
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
        for tile in again.tile  # type: ignore[attr-defined]
    ]
    return again


def _rawmode(args: object) -> object:
    """Return the name of a stored tile's layout, the first of its decoder's arguments."""
    return args[0] if isinstance(args, tuple) and args else args


def stretch_colours(image: Image.Image, low: Image.Image, name: str) -> None:
    """Let the colours of a 16-bit file use all of the range, if they are of fewer bits.

    Args:
        image: Decoded; its channels are the high bytes. It is changed in place.
        low: What `low_bytes` gave before it was decoded.
        name: What to call it in messages.
    """
    high = np.asarray(image)
    if high[..., :3].max() >= 128:
        return
    values = 256.0 * high + np.asarray(low)
    pixels = _to_bytes(values[..., :3], "I", name)
    if high.shape[2] == 4:
        alpha = values[..., 3:]
        most = float(alpha.max()) if high[..., 3].max() < 128 else 65535.0
        pixels = np.concatenate([pixels, (alpha * (255 / max(most, 1))).round().astype(np.uint8)], axis=2)
    image.paste(Image.fromarray(pixels, image.mode))


def _to_bytes(values: np.ndarray, mode: str, name: str) -> np.ndarray:
    """Scale wide pixels to 0..255, from the lowest to the highest there are, but for single ones.

    Greys of 10 to 14 bits lie in files of 16. Where hardly anything is to be seen, noise is not blown up to text.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise DataError(f"{name}: some pixels are not numbers")
    if low >= 0 and high <= 255 and not (mode.startswith("F") and high <= 1):
        low, high = 0.0, 255.0
    elif low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0:
        darkest, lightest = np.quantile(values, (0.001, 0.999)).tolist()
        seen = lightest - darkest >= lightest / _LEAST_SEEN
        low, high = (darkest, lightest) if seen else (0.0, float(2 ** math.ceil(math.log2(high + 1)) - 1))
    return np.clip((values - low) * (255 / max(high - low, 1e-9)), 0, 255).round().astype(np.uint8)

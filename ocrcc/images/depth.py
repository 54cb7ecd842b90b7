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
_GREY_AND_ALPHA = "LA;16B"
"""That of 16-bit greys with transparency, which have no such twin: their bytes are read as four channels."""
_PLANES, _BITS = 284, 258
"""TIFF tags: whether each channel lies by itself, and bits a channel."""
LowBytes = tuple[Image.Image, list[int]]
"""An image that is not decoded yet, and which of its channels are the low bytes of another."""


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


def low_bytes(image: Image.Image) -> LowBytes | None:
    """Open the file of an image that is not decoded yet once more, for the low bytes of its 16-bit colours.

    Returns:
        An image, and which of its channels are the low bytes; None for other kinds of files.
    """
    _keep_high_bytes(image)
    tiles = getattr(image, "tile", [])
    file = getattr(image, "fp", None)
    rawmodes = {_rawmode(tile.args) for tile in tiles}
    if file is None or len(rawmodes) != 1 or (rawmode := rawmodes.pop()) not in (*_LOW_BYTES, _GREY_AND_ALPHA):
        return None
    at = file.tell()
    file.seek(0)
    again = Image.open(io.BytesIO(file.read()), formats=[str(image.format)])
    file.seek(at)
    again.seek(image.tell())
    _keep_high_bytes(again)
    other = _LOW_BYTES.get(rawmode, "RGBA")
    again.tile = [  # type: ignore[attr-defined]
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
        for tile in again.tile  # type: ignore[attr-defined]
    ]
    return again, [1, 1, 1, 3] if rawmode == _GREY_AND_ALPHA else list(range(len(again.getbands())))


def _keep_high_bytes(image: Image.Image) -> None:
    """Have a PPM of 16 bits read as other files of 16 bits are; Pillow would scale it to 8 by itself, and slowly."""
    tiles = getattr(image, "tile", [])
    if image.format == "PPM" and image.mode == "RGB" and len(tiles) == 1 and tiles[0].codec_name == "ppm":
        most = tiles[0].args if isinstance(tiles[0].args, int) else tiles[0].args[-1]
        if most > 255:
            image.tile = [tiles[0]._replace(codec_name="raw", args=("RGB;16B", 0, 1))]  # type: ignore[attr-defined]


def check_depth(image: Image.Image, name: str) -> None:
    """Refuse files of more than 8 bits a channel that Pillow reads wrongly.

    Raises:
        DataError: It is one.
    """
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags and tags.get(_PLANES) == 2 and max(tags.get(_BITS, (1,))) > 8:
        raise DataError(f"{name}: its channels of 16 bits lie one after the other", "save it as PNG, or with 8 bits")
    tiles = getattr(image, "tile", [])
    if image.format == "PPM" and image.mode == "RGB" and tiles and tiles[0].codec_name == "ppm_plain":
        most = tiles[0].args if isinstance(tiles[0].args, int) else tiles[0].args[-1]
        if most > 255:
            raise DataError(f"{name}: written out colours of {most + 1} steps", "save it as PNG, or with 8 bits")


def _rawmode(args: object) -> object:
    """Return the name of a stored tile's layout, the first of its decoder's arguments."""
    return args[0] if isinstance(args, tuple) and args else args


def stretch_colours(image: Image.Image, low: LowBytes, name: str) -> None:
    """Let the colours of a 16-bit file use all of the range, if they are of fewer bits.

    Args:
        image: Decoded; its channels are the high bytes. It is changed in place.
        low: What `low_bytes` gave before it was decoded.
        name: What to call it in messages.
    """
    high = np.asarray(image)
    if high[..., :3].max() >= 128:
        return
    values = 256.0 * high + np.asarray(low[0])[..., low[1]]
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

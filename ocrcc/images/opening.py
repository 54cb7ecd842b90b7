"""The one door for images: from any file or bytes to an upright picture in grey or RGB, or one sentence why not."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps, UnidentifiedImageError

from ocrcc.config import BuildConfig
from ocrcc.errors import DataError
from ocrcc.files import check_regular
from ocrcc.images.depth import check_depth, is_wide, low_bytes, narrowed, stretch_colours

MOST_BYTES = 1 << 30
"""Of a file that is read as a whole; what is larger and not endless is a TIFF of many pages, which is not."""
_LONGEST_SIDE = 100_000
"""Pixels. Rows have a price of their own: a picture one pixel wide would take a hundred times its pixels."""
_MOST_SCANS, _MOST_SCAN_PIXELS = 256, 2 * 10**9
"""Of a progressive JPEG, each of which is decoded at full size; usual are ten."""
_MOST_PAGES = 10_000
"""Of a file; Pillow looks for each of them among all before it."""
_TILE_WIDTH, _TILE_HEIGHT, _SAMPLES = 322, 323, 277
"""TIFF tags. A tile is decoded whole, however little of it the image shows."""


def open_image(
    source: bytes | str | Path | Image.Image,
    *,
    name: str = "",
    max_pixels: int = BuildConfig.max_pixels,
    frame: int | None = None,
) -> Image.Image:
    """Open an image of any kind as an upright one in grey or RGB.

    Transparent parts become white; what has more than 8 bits a channel is brought to 0..255; what EXIF says of
    the camera's position is carried out.

    Args:
        source: Encoded bytes, a path, or an image that Pillow opened.
        name: What to call it in messages; a path is its own name.
        max_pixels: Larger images are refused before they are decoded.
        frame: Which of several pages, from 0; without it an image of several is refused.

    Returns:
        Mode ``L`` or ``RGB``, fully loaded.

    Raises:
        DataError: There is no such file, it is no image, truncated, empty, or too large.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "image")
    with _data_errors(name):
        image = _open(source)
        if frame is not None:
            image.seek(frame)
        _check_bounds(image, name, max_pixels)
        # A phone's MPO has the photograph first, and then a preview or the other eye's.
        if frame is None and image.format != "MPO" and (pages := _pages(image, name)) > 1:
            raise DataError(f"{name}: has {pages} pages or frames, and a line has one", "save each as its own image")
        check_depth(image, name)
        low = low_bytes(image)
        image.load()
        if low is not None:
            stretch_colours(image, low, name)
        return _plain(ImageOps.exif_transpose(image), name)


def identify(source: bytes | str | Path, *, name: str = "") -> tuple[Image.Image, int]:
    """Open an image without decoding it, to learn its size and format; whoever calls this closes it.

    Returns:
        Pillow's image, which `open_image` takes too, and how many pages or frames it has.

    Raises:
        DataError: There is no such file, it is no image, or damaged.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "image")
    with _data_errors(name):
        image = _open(source)
        return image, _pages(image, name)


def upright_size(encoded: bytes) -> tuple[int, int]:
    """Return width and height of an encoded image as EXIF turns it, from its header alone.

    Raises:
        DataError: It is no image, or has no pixels.
    """
    with _data_errors("image"), _open(encoded) as image:
        width, height = image.size
        if not width * height:
            raise DataError("the image is empty")
        return (height, width) if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (width, height)


def _check_bounds(image: Image.Image, name: str, max_pixels: int) -> None:
    """Refuse what would take far more memory or time than its pixels are worth, before it is decoded."""
    width, height = image.size
    if width * height > max_pixels:
        raise DataError(
            f"{name}: {width} x {height} pixels are more than {max_pixels}", "cut it into lines, or --max-pixels"
        )
    if not width * height:
        raise DataError(f"{name}: the image is empty")
    if max(width, height) > _LONGEST_SIDE:
        raise DataError(f"{name}: {width} x {height} pixels: a side is longer than {_LONGEST_SIDE}")
    if image.format == "JPEG" and image.info.get("progressive"):
        scans = _scans(image)
        if scans > _MOST_SCANS or scans * width * height > _MOST_SCAN_PIXELS:
            raise DataError(f"{name}: a JPEG of {scans} scans of {width} x {height} pixels, which takes too long")
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None and _TILE_WIDTH in tags:
        across, down, samples = (int(tags.get(tag, 1)) for tag in (_TILE_WIDTH, _TILE_HEIGHT, _SAMPLES))
        if across * down * max(1, samples) > max(max_pixels, 1):
            raise DataError(f"{name}: tiles of {across} x {down} pixels are more than {max_pixels}")


def _scans(image: Image.Image) -> int:
    file = getattr(image, "fp", None)
    if file is None:
        return 1
    at = file.tell()
    file.seek(0)
    count = file.read(MOST_BYTES).count(b"\xff\xda")  # within coded data, an ff is always followed by 00
    file.seek(at)
    return count


def _pages(image: Image.Image, name: str) -> int:
    """Count pages or frames, within reason."""
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1)
    first, count = image.tell(), 1
    try:
        while True:
            image.seek(count)
            count += 1
            if count > _MOST_PAGES:
                raise DataError(f"{name}: has more than {_MOST_PAGES:,} pages", "split it")
    except EOFError:
        pass
    image.seek(first)
    return count


@contextmanager
def _data_errors(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into one sentence with the name."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        raise DataError(f"{name}: not an image that can be read") from None
    except _HeicError:
        raise DataError(f"{name}: a HEIC image: reading it needs the package pillow-heif", INSTALL_HEIC) from None
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:
        # Pillow's plugins have no common error, and each finds new ones; all of them mean that the file is damaged.
        raise DataError(f"{name}: damaged image: {error or type(error).__name__}") from None


# Every kind of file that Pillow itself decodes; EPS and its like would start another program.
_COMMON = ("PNG", "JPEG", "BMP", "GIF", "PPM", "DIB")
"""Those that Pillow knows before it has imported all of its plugins, which takes as long as to read a line."""
_FORMATS = (*_COMMON, "TIFF", "WEBP", "JPEG2000", "AVIF", "HEIF", "ICO", "TGA", "PCX", "SGI")
INSTALL_HEIC = "pip install 'ocrcc[heic]'"
"""What whoever has photographs of phones has to run once."""
_HEIC = re.compile(rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL)


class _HeicError(Exception):
    pass


def _open(source: bytes | str | Path | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    if not isinstance(source, bytes):
        check_regular(Path(source))
    Image.preinit()
    try:
        return _identify(source, _COMMON)
    except UnidentifiedImageError:
        Image.init()
        heic = _is_heic(source)
        if heic:
            try:
                import pillow_heif
            except ImportError:
                raise _HeicError from None
            pillow_heif.register_heif_opener()
        return _identify(source, _FORMATS)


def _is_heic(source: bytes | str | Path) -> bool:
    if isinstance(source, bytes):
        return _HEIC.match(source) is not None
    with open(source, "rb") as file:
        return _HEIC.match(file.read(12)) is not None


def _identify(source: bytes | str | Path, formats: Sequence[str]) -> Image.Image:
    known = [name for name in formats if name in Image.OPEN]  # one that this Pillow lacks would be an error
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=known)


def _plain(image: Image.Image, name: str) -> Image.Image:
    if is_wide(image):
        image = narrowed(image, name)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        paper = (*(3 * [_paper_under(image)]), 255)
        return Image.alpha_composite(Image.new("RGBA", image.size, paper), image).convert("RGB")
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


_OWN_CONTRAST = 48
"""Grey levels; a picture of more, most of which is opaque, shows something by itself."""
_LIGHTEST_ON_WHITE = 170
"""Lighter text than this, 0..255, would hardly be seen on white."""


def _paper_under(image: Image.Image) -> int:
    """Choose what transparent pixels become: white under what can be seen on it, black under lighter text.

    A picture that is opaque but for its corners or edges has a paper of its own, which goes on there.
    """
    shown = np.asarray(image.getchannel("A")) >= 128
    if not shown.any() or shown.all():
        return 255
    grey = np.asarray(image.convert("L"))[shown]
    low, middle, high = np.quantile(grey, (0.05, 0.5, 0.95)).tolist()
    if shown.mean() > 0.5 and high - low > _OWN_CONTRAST:
        return 255 if middle >= 128 else 0
    core = np.asarray(Image.fromarray(shown).filter(ImageFilter.MinFilter(3)))
    if core.any():
        pixels = np.asarray(image.convert("L"), dtype=np.float32)
        rim = np.median(pixels[shown & ~core])
        if (np.abs(pixels[core] - rim) > 2 * _OWN_CONTRAST).mean() > 0.1:  # outlined letters: the outline vanishes
            return 255 if rim >= 128 else 0
    return 255 if middle <= _LIGHTEST_ON_WHITE else 0

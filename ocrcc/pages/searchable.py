"""A PDF that looks as its pages did and can be searched: what was read lies on them as invisible text."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import ocrcc
from ocrcc.errors import ConfigError
from ocrcc.images.opening import identify
from ocrcc.pages.documents import Frame, has_text
from ocrcc.types import Page, PageChar

INSTALL_PDF = "pip install 'ocrcc[pdf]'"
MARK = b"/OcrccReadings"
"""What the catalogue of such a file says, near its start, so that it is known as ours."""
_FONT = "/OcrccText"
_MOST_CHARACTERS = 65_000
"""Different ones that one font numbers."""


class SearchablePdf:
    """Collects pages; use it in a ``with`` statement, as the files that pages come from stay open until the end.

    Args:
        dpi: Of images that do not say theirs.

    Raises:
        ConfigError: The extra ``pdf`` is not installed.
    """

    def __init__(self, dpi: int) -> None:
        try:
            import pikepdf
        except ImportError:
            raise ConfigError("writing PDF needs the package pikepdf", INSTALL_PDF) from None
        self._pikepdf = pikepdf
        self._dpi = dpi
        self._pdf = pikepdf.new()
        self._font = self._pdf.make_indirect(pikepdf.Dictionary())
        self._numbers: dict[str, int] = {}
        self._sources: dict[str, Any] = {}
        self._open = ExitStack()
        self.with_text_before = 0
        """Pages of PDFs that had text already, and got no second one."""

    def __enter__(self) -> SearchablePdf:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._pdf.close()

    def add(self, page: Page, frame: Frame) -> None:
        """Add a page: that of a PDF as it is, or the image.

        Args:
            page: What was read.
            frame: What it was read on.
        """
        if frame.pdf_page is None:
            added, place = self._add_image(page, frame)
        else:
            added, place = self._add_page(frame.path.rpartition("#")[0], frame.pdf_page)
            if has_text(frame):
                self.with_text_before += 1
                return
        size = np.array([page.width, page.height])
        text = b"".join(self._line(line.chars, place, size) for line in page.lines)
        # What the page's own drawing leaves of its state must not move the text.
        added.contents_add(b"q\n", prepend=True)
        added.contents_add(b"\nQ\nBT\n3 Tr\n" + _FONT.encode() + b" 1 Tf\n" + text + b"ET\n")
        added.add_resource(self._font, self._pikepdf.Name.Font, self._pikepdf.Name(_FONT))

    def save(self, path: Path) -> None:
        """Write the file."""
        self._finish_font()
        self._pdf.Root[MARK.decode()] = f"ocrcc {ocrcc.__version__}"
        self._pdf.docinfo["/Producer"] = f"ocrcc {ocrcc.__version__}"
        self._pdf.save(path, object_stream_mode=self._pikepdf.ObjectStreamMode.disable)

    def _add_page(self, file: str, index: int) -> tuple[Any, np.ndarray]:
        if file not in self._sources:
            self._sources[file] = self._open.enter_context(self._pikepdf.open(file))
        self._pdf.pages.append(self._sources[file].pages[index])
        added = self._pdf.pages[-1]
        # A box is given by any two opposite corners, in any order.
        media, crop = (
            np.sort(np.array([float(side) for side in box]).reshape(2, 2), axis=0)
            for box in (added.mediabox, added.cropbox)
        )
        (left, bottom), (right, top) = np.maximum(media[0], crop[0]), np.minimum(media[1], crop[1])
        rotation = int(added.obj.get("/Rotate", 0)) % 360
        across, down = np.array([right - left, 0.0]), np.array([0.0, bottom - top])
        return added, {  # where the page's first pixel is, and its ways to the right and down
            90: np.array([[left, bottom], -down, across]),
            180: np.array([[right, bottom], -across, -down]),
            270: np.array([[right, top], down, -across]),
        }.get(rotation, np.array([[left, top], across, down]))

    def _add_image(self, page: Page, frame: Frame) -> tuple[Any, np.ndarray]:
        image = frame.load()
        dpi = image.info.get("dpi", (0, 0))[0]
        scale = 72 / (float(dpi) if 50 <= dpi <= 2400 else self._dpi)
        width, height = page.width * scale, page.height * scale
        added = self._pdf.add_blank_page(page_size=(width, height))
        name = added.add_resource(self._pdf.make_indirect(self._image(image, frame)), self._pikepdf.Name.XObject)
        added.contents_add(f"q {width:.4f} 0 0 {height:.4f} 0 0 cm {name} Do Q".encode())
        return added, np.array([[0.0, height], [width, 0.0], [0.0, -height]])

    def _image(self, image: Image.Image, frame: Frame) -> Any:
        """Store an image without loss: a JPEG as it is, black and white in a bit a pixel."""
        names = self._pikepdf.Name
        keys: dict[str, Any] = {"/Width": image.width, "/Height": image.height, "/BitsPerComponent": 8}
        keys |= {"/Type": names.XObject, "/Subtype": names.Image}
        keys["/ColorSpace"] = names.DeviceGray if image.mode == "L" else names.DeviceRGB
        jpeg = _jpeg(frame, image)
        if jpeg is not None:
            return self._pikepdf.Stream(self._pdf, jpeg, keys | {"/Filter": names.DCTDecode})
        pixels = np.asarray(image)
        if image.mode == "L" and np.isin(pixels, (0, 255)).all():
            pixels, keys["/BitsPerComponent"] = np.packbits(pixels > 0, axis=1), 1
        return self._pikepdf.Stream(self._pdf, zlib.compress(pixels.tobytes()), keys | {"/Filter": names.FlateDecode})

    def _line(self, chars: Sequence[PageChar], place: np.ndarray, size: np.ndarray) -> bytes:
        """Place a line's characters, each in its box, and up to where the next begins, so that no gap is a space."""
        quads = np.array([char.box for char in chars], dtype=np.float64).reshape(-1, 4, 2)
        quads = place[0] + quads[..., :1] / size[0] * place[1] + quads[..., 1:] / size[1] * place[2]
        pieces = []
        for index, (char, quad) in enumerate(zip(chars, quads, strict=True)):
            along, up = quad[2] - quad[3], quad[0] - quad[3]
            if index + 1 < len(quads):
                step = quads[index + 1, 3] - quad[3]
                if step @ along > 0 and np.hypot(*step) < np.hypot(*along) + 2 * np.hypot(*up):
                    along = along * (step @ along) / (along @ along)
            if not np.abs(along).max() or not np.abs(up).max():
                continue
            number = self._numbers.setdefault(char.char, min(len(self._numbers) + 1, _MOST_CHARACTERS))
            matrix = " ".join(f"{value:.3f}" for value in (*along, *up, *quad[3]))
            pieces.append(f"{matrix} Tm <{number:04X}> Tj\n")
        return "".join(pieces).encode()

    def _finish_font(self) -> None:
        """Make the one font: each character has a number, all have one shape, and a table says which is which."""
        pdf, named = self._pdf, self._pikepdf.Name
        dictionary = self._pikepdf.Dictionary
        file = _block_font()
        descriptor = dictionary(
            Type=named.FontDescriptor,
            FontName=named(_FONT),
            Flags=4,
            FontBBox=[0, 0, 1000, 1000],
            ItalicAngle=0,
            Ascent=1000,
            Descent=0,
            CapHeight=1000,
            StemV=80,
            FontFile2=self._pikepdf.Stream(pdf, file, {"/Length1": len(file)}),
        )
        descendant = dictionary(
            Type=named.Font,
            Subtype=named.CIDFontType2,
            BaseFont=named(_FONT),
            CIDSystemInfo=dictionary(Registry=b"Adobe", Ordering=b"Identity", Supplement=0),
            FontDescriptor=pdf.make_indirect(descriptor),
            DW=1000,
            CIDToGIDMap=self._pikepdf.Stream(pdf, b"\0\1" * (len(self._numbers) + 1)),
        )
        self._font.update(
            dictionary(
                Type=named.Font,
                Subtype=named.Type0,
                BaseFont=named(_FONT),
                Encoding=named("/Identity-H"),
                DescendantFonts=[pdf.make_indirect(descendant)],
                ToUnicode=self._pikepdf.Stream(pdf, _unicode_table(self._numbers)),
            )
        )


def _jpeg(frame: Frame, image: Image.Image) -> bytes | None:
    """Return a JPEG file's own bytes, if they show what was read, upright; None for all else."""
    if not frame.alone:
        return None
    original, _ = identify(frame.path)
    with original:
        plain = original.format == "JPEG" and original.mode == image.mode and original.size == image.size
        return Path(frame.path).read_bytes() if plain and original.getexif().get(0x0112, 1) == 1 else None


def _unicode_table(numbers: dict[str, int]) -> bytes:
    """Write the CMap that says which characters the numbers are."""
    rows = [f"<{number:04X}> <{char.encode('utf-16-be').hex()}>" for char, number in numbers.items()]
    groups = [rows[first : first + 100] for first in range(0, len(rows), 100)]
    body = "".join(f"{len(group)} beginbfchar\n" + "\n".join(group) + "\nendbfchar\n" for group in groups)
    return (
        "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n/CMapName /OcrccText def\n/CMapType 2 def\n"
        "1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n"
        f"{body}endcmap\nCMapName currentdict /CMap defineresource pop\nend\nend\n"
    ).encode()


def _block_font() -> bytes:
    """Make a font with one glyph that fills a square em: it is never drawn, but what has no area is not found."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    block = pen.glyph()
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", "block"])
    builder.setupCharacterMap({})
    builder.setupGlyf({".notdef": block, "block": block})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "block": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": _FONT[1:], "styleName": "Regular", "psName": _FONT[1:]})
    builder.setupOS2(sTypoAscender=1000, sTypoDescender=0, usWinAscent=1000, usWinDescent=0)
    builder.setupPost()
    file = io.BytesIO()
    builder.save(file)
    return file.getvalue()

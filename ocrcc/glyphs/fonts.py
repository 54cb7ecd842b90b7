"""Which fonts there are, and which characters each can really draw."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import numpy as np
from fontTools.ttLib import TTFont, TTLibError
from PIL import ImageFont

from ocrcc.errors import DataError
from ocrcc.files import beside, check_regular, walk

# it warns of small faults in fonts that draw well; what matters is raised
logging.getLogger("fontTools").setLevel(logging.ERROR)
SUFFIXES = (".ttf", ".ttc", ".otf", ".otc")
INSTALL_HINT = (
    "install fonts, for instance the packages fonts-noto-cjk and fonts-wqy-zenhei, or give a folder with --fonts"
)
_REMOVE = "remove it from the folder of fonts"
_BLANK_CHARSTRING = 4
"""Bytes; a CFF glyph program this short can set its width and end, but draw nothing."""
_TRIED = 4
"""Characters that are drawn to see whether a face can be drawn with."""


@dataclass(frozen=True, order=True)
class Face:
    """One face of one font file.

    Attributes:
        file: The file's name; faces are ordered by it, so that a seed means the same on every machine.
        index: The face's number in a collection.
        name: Family and style.
        path: The file.
    """

    file: str
    index: int
    name: str
    path: str

    @property
    def family(self) -> str:
        """What the weights and styles of one design share: the file's name up to a hyphen, underscore or space."""
        return re.split(r"[-_ ]", Path(self.file).stem, maxsplit=1)[0]

    @property
    def slanted(self) -> bool:
        """Whether it is an italic."""
        return any(word in f"{self.file} {self.name}".lower() for word in ("italic", "oblique"))


def find_faces(folder: str = "", exclude: Sequence[str] = ()) -> list[Face]:
    """List the faces of a folder, or of all that fontconfig knows, in an order that no path decides.

    Args:
        folder: A folder of font files, searched with its subfolders; empty for the system's fonts.
        exclude: Patterns (``*`` and ``?``) of file names and of ``Family Style`` names that are left out.

    Raises:
        DataError: The folder is missing, or holds a font that does not load, or nothing is left.
    """
    faces = _folder_faces(Path(folder)) if folder else _system_faces()
    unique = {_identity(face, several): face for several in _of_one_name(faces) for face in several}
    kept = [face for face in sorted(unique.values()) if not _excluded(face, exclude)]
    if not kept:
        where = f"in {folder}" if folder else "known to fontconfig"
        if unique:
            raise DataError(
                f"no font {where}: all {len(unique)} are left out by exclude",
                "test fonts are left out by default; --exclude none lets them in",
            )
        raise DataError(f"no font {where}", INSTALL_HINT)
    return kept


def _of_one_name(faces: Iterable[Face]) -> list[list[Face]]:
    found: dict[tuple[str, int], list[Face]] = {}
    for face in sorted(faces, reverse=True):
        found.setdefault((face.file, face.index), []).append(face)
    return list(found.values())


def _identity(face: Face, several: Sequence[Face]) -> tuple[str, int, str]:
    """Return what only copies of a face share: file names alone may be those of other fonts, in other folders."""
    return face.file, face.index, _digest(face.path) if len(several) > 1 else ""


@cache
def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _excluded(face: Face, patterns: Iterable[str]) -> bool:
    return any(fnmatch(face.file.lower(), p.lower()) or fnmatch(face.name.lower(), p.lower()) for p in patterns)


def _folder_faces(folder: Path) -> list[Face]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of fonts", "give a folder with .ttf, .otf or .ttc files")

    def complain(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}")

    faces = []
    # Folders too: one that is called a.ttf is told.
    for path in (Path(parent, name) for parent, *named in walk(folder, complain) for names in named for name in names):
        if path.suffix.lower() not in SUFFIXES:
            continue
        for index in range(_count_faces(path)):
            with _open(str(path), index) as font:
                try:
                    name = f"{font['name'].getBestFamilyName() or ''} {font['name'].getBestSubFamilyName() or ''}"
                except (KeyError, TTLibError):
                    name = path.stem
            faces.append(Face(path.name, index, name.strip(), str(path)))
    return faces


def _count_faces(path: Path) -> int:
    size = check_regular(path).st_size
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    count = int.from_bytes(head[8:12], "big") if head[:4] == b"ttcf" else 1
    if count > size // 12:
        raise DataError(f"{path}: not a font that loads: it says it holds {count} fonts", _REMOVE)
    return count


def _system_faces() -> list[Face]:
    if shutil.which("fc-list") is None:
        raise DataError(
            "fontconfig's fc-list is not there to find fonts with", "install fontconfig, or give --fonts DIR"
        )
    query = "%{file}\t%{index}\t%{family[0]}\t%{style[0]}\t%{scalable}\n"
    done = subprocess.run(["fc-list", "--format", query], capture_output=True, text=True, check=False)
    faces = []
    for row in done.stdout.splitlines():
        path, index, family, style, scalable = row.split("\t")
        # fontconfig numbers the instances of a variable font in the upper half
        if scalable == "True" and path.lower().endswith(SUFFIXES) and int(index) < 1 << 16:
            faces.append(Face(Path(path).name, int(index), f"{family} {style}".strip(), path))
    return faces


def _open(path: str, index: int) -> TTFont:
    try:
        return TTFont(path, fontNumber=index, lazy=True)
    except (TTLibError, OSError, AssertionError, ValueError) as error:
        raise DataError(f"{path}: not a font that loads: {error}", _REMOVE) from None


def coverage(face: Face) -> np.ndarray:
    """Return the code points that a face draws, sorted, as uint32; the answer is kept in the user's cache.

    A code point is covered if the font maps it to a glyph that has an outline (a space needs none). Fonts
    that map characters to empty or missing glyphs would put nothing where the label has a character. A face that
    opens but cannot be drawn with covers nothing.

    Raises:
        DataError: The font does not load.
    """
    stamp = Path(face.path).stat()
    key = f"{Path(face.path).resolve()}|{face.index}|{stamp.st_size}|{stamp.st_mtime_ns}|2"
    kept = _cache_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
    try:
        return np.load(kept, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        codes = _read_coverage(face)
        _keep(kept, codes)
        return codes


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ocrcc" / "fonts"


def _keep(path: Path, codes: np.ndarray) -> None:
    """Write the cache entry; a cache that cannot be written costs time, not the run."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = beside(path, "tmp.npy")  # one a font, however many writers are killed; what they tear is read anew
        np.save(aside, codes)
        aside.replace(path)
    except OSError:
        return


def _read_coverage(face: Face) -> np.ndarray:
    with _open(face.path, face.index) as font:
        try:
            cmap = font.getBestCmap() or {}
            empty = _empty_glyphs(font)
        except (TTLibError, KeyError, AssertionError, ValueError, IndexError) as error:
            raise DataError(f"{face.path}: damaged font: {error}", _REMOVE) from None
    codes = sorted(code for code, glyph in cmap.items() if glyph != ".notdef" and (glyph not in empty or code == 0x20))
    return np.array(codes if _draws(face, codes[:: max(1, len(codes) // _TRIED)]) else [], dtype=np.uint32)


def _draws(face: Face, codes: Iterable[int]) -> bool:
    """Tell whether FreeType can draw with a face: one whose hinting programs are damaged opens, and fails then."""
    try:
        font = ImageFont.truetype(face.path, 36, face.index, layout_engine=ImageFont.Layout.BASIC)
        for code in codes:
            font.getmask(chr(code))
    except OSError:
        return False
    return True


def _empty_glyphs(font: TTFont) -> set[str]:
    order = font.getGlyphOrder()
    if "glyf" in font:
        offsets = np.asarray(font["loca"].locations, dtype=np.int64)
        return {order[index] for index in np.flatnonzero(np.diff(offsets) == 0) if index < len(order)}
    if "CFF " in font:
        top = font["CFF "].cff[0]
        index = top.CharStrings.charStringsIndex
        sizes = np.diff(np.asarray(index.offsets, dtype=np.int64))
        return {name for name, number in top.CharStrings.charStrings.items() if sizes[number] <= _BLANK_CHARSTRING}
    return set()


@cache
def _known() -> tuple[tuple[Face, np.ndarray], ...]:
    """Every upright font of the system with what it covers."""
    found = []
    for face in find_faces(exclude=("D050000L*", "StandardSymbols*", "OpenSymbol*")):
        with suppress(DataError):
            if not face.slanted:
                found.append((face, coverage(face)))
    return tuple(found)


def font_for(text: str) -> Callable[[int], ImageFont.FreeTypeFont | ImageFont.ImageFont]:
    """Choose the system's font that draws most of a text; Pillow's own where none does.

    Returns:
        From a size in pixels to the font.
    """
    wanted = np.array(sorted({ord(char) for char in text if not char.isspace()}), dtype=np.uint32)
    with suppress(DataError):
        if len(wanted) and (known := _known()):
            best = max(known, key=lambda one: (int(np.isin(wanted, one[1]).sum()), "Regular" in one[0].name))[0]
            return lambda size: ImageFont.truetype(best.path, size, index=best.index)
    return lambda size: ImageFont.load_default(size)

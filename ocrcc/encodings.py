"""Lines of text files whose encoding nobody wrote down: UTF-8, UTF-16 with its mark, or an East Asian one."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, AnyStr

from ocrcc.errors import ConfigError, DataError
from ocrcc.files import check_regular

_LONGEST_LINE = 1 << 26
"""Bytes; a page's labels in one line have some hundred thousand."""
SAMPLE = 1 << 16
"""Bytes that tell an encoding by what its characters are."""
_LEVELS = (("gb2312", 0xB0, 0xF7), ("big5", 0xA4, 0xC6), ("shift_jis", 0x88, 0x97), ("euc_kr", 0xB0, 0xC8))
"""Leading bytes of the characters that standards hold for common."""
_SURE, _UNLIKELY, _DIFFERENT = 0.9, 0.3, 16
"""Shares of common characters, and how many different ones of Korean could be no Chinese by chance."""


@dataclass(frozen=True)
class TextFile:
    """A text file and the encoding that it is read in.

    Attributes:
        path: The file.
        encoding: A codec of Python.
        reason: Why this one, where it is not plain UTF-8; else empty.
    """

    path: Path
    encoding: str
    reason: str = ""

    def lines(self) -> Iterator[tuple[int, str | None]]:
        """Give number, from 1, and text of each line, without its ending; None for one that cannot be decoded."""
        if self.encoding.startswith(("utf-16", "utf-32")):
            # Line feeds are several bytes here, so the lines cannot be cut before they are decoded.
            try:
                with self.path.open(encoding=self.encoding, newline="\n") as text:
                    yield from ((number, _bare(line)) for number, line in enumerate(_lines(self.path, text), start=1))
            except UnicodeError as error:
                raise self._not_decoded(error) from None
            return
        for number, raw in enumerate(_raw_lines(self.path), start=1):
            try:
                yield number, _bare(raw.decode(self.encoding))
            except UnicodeError:
                yield number, None

    def _not_decoded(self, error: UnicodeError) -> DataError:
        """Say in which line a file stops to be what it was taken for; the reader is further on when it finds out."""
        line = 1
        try:
            raw = self.path.read_bytes()
            raw.decode(self.encoding)
        except UnicodeDecodeError as wrong:
            line += raw[: wrong.start].decode(self.encoding, "ignore").count("\n")
            error = wrong
        reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
        return DataError(f"{self.path}:{line}: not {self.encoding.upper()}: {reason}", _NAME_WIDE)


def _raw_lines(path: Path) -> Iterator[bytes]:
    """Cut at line feeds; at carriage returns where a file has nothing else, as of an old Mac."""
    with path.open("rb") as file:
        start = file.read(1 << 16)
        if b"\n" in start or b"\r" not in start:
            file.seek(0)
            yield from _lines(path, file)
            return
    with path.open(encoding="latin-1", newline="\r") as text:
        yield from (line.removesuffix("\r").encode("latin-1") for line in _lines(path, text))


def _lines(path: Path, file: IO[AnyStr]) -> Iterator[AnyStr]:
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise DataError(f"{path}: a line of more than {_LONGEST_LINE >> 20} MB", "is it a file of labels?")
        yield line


def _bare(line: str) -> str:
    """Take off a line's ending, however often a tool has added to it, and the mark of a file that was put before it."""
    return line.removesuffix("\n").rstrip("\r").removeprefix("\ufeff")


def open_text(path: Path, encoding: str = "auto") -> TextFile:
    """Find out how a text file is encoded.

    A file is UTF-8 if most of its lines beyond ASCII are; the others are then single broken lines. Otherwise
    it is GB 18030 if all of it is, unless only Big5, Shift JIS or EUC-KR makes common characters of it.

    Args:
        path: The file.
        encoding: A codec of Python, or ``auto``.

    Raises:
        ConfigError: There is no such codec.
        DataError: There is no such file, it is no text, or in neither encoding.
    """
    check_regular(path)
    try:
        if encoding != "auto":
            return TextFile(path, known_codec(encoding))
        with path.open("rb") as file:
            start = file.read(4096)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            _check_utf16(path)
            return TextFile(path, "utf-16", "by its byte order mark")
        if b"\0" in start:
            raise DataError(f"{path}: not a text file", "for UTF-16 without a mark: --encoding utf-16-le or utf-16-be")
        return _utf8_or_regional(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def known_codec(name: str) -> str:
    """Return how Python calls a codec of text.

    Raises:
        ConfigError: There is no such codec.
    """
    try:
        found = codecs.lookup(name)
    except LookupError:
        raise ConfigError(f"unknown encoding {name!r}", "auto, utf-8, gb18030, big5, utf-16-le, …") from None
    if not found._is_text_encoding:
        raise ConfigError(f"{name!r} is no encoding of text", "auto, utf-8, gb18030, big5, utf-16-le, …")
    return "utf-8" if found.name == "utf-8-sig" else found.name


def _check_utf16(path: Path) -> None:
    try:
        with path.open(encoding="utf-16", newline="\n") as text:
            for _ in _lines(path, text):
                pass
    except UnicodeError as error:
        raise DataError(f"{path}: has the mark of UTF-16, but is damaged: {error}") from None


def _utf8_or_regional(path: Path) -> TextFile:
    good, bad, first_bad, reason, not_gb, sample = 0, 0, 0, "", 0, bytearray()
    for number, raw in enumerate(_raw_lines(path), start=1):
        if raw.isascii():
            continue
        try:
            raw.decode()
            good += 1
        except UnicodeDecodeError as error:
            bad += 1
            if bad == 1:
                first_bad, reason = number, f"{error.reason} at byte {error.start}"
            if len(sample) < SAMPLE:
                sample += raw
        if not not_gb:
            try:
                raw.decode("gb18030")
            except UnicodeDecodeError:
                not_gb = number
    if good >= bad:
        return TextFile(path, "utf-8")
    if other := other_than_gb18030(bytes(sample)):
        return TextFile(path, other, f"since line {first_bad} is not UTF-8, and common characters are seen only so")
    if not_gb:
        raise DataError(f"{path}:{first_bad}: not UTF-8 ({reason}), nor is line {not_gb} GB 18030", _NAME_IT)
    if not likely_gb18030(bytes(sample)):
        raise DataError(f"{path}:{first_bad}: not UTF-8 ({reason}), and no likely GB 18030", _NAME_IT)
    return TextFile(path, "gb18030", f"since line {first_bad} is not UTF-8")


_NAME_WIDE = "save it as UTF-8, or name its encoding: --encoding utf-16-le, utf-16-be, …"
_NAME_IT = "save it as UTF-8, or name its encoding: --encoding big5, cp932, euc_kr, latin-1, gb18030, …"


def other_than_gb18030(sample: bytes) -> str:
    """Tell what text that is no UTF-8 is more likely to be than GB 18030.

    Args:
        sample: Some `SAMPLE` bytes of it.

    Returns:
        A codec of Python; empty if nothing is likelier.
    """
    gb = _common_share(sample, "gb18030")
    for codec in ("big5", "cp932"):
        share = _common_share(sample, codec)
        if share >= _SURE and share - gb > 1 - _SURE and len(_beyond_ascii(sample, codec)) > 1:
            return codec
    korean = _beyond_ascii(sample, "cp949")
    letters = [char for char in korean if "가" <= char <= "힣"]
    return "cp949" if len(set(letters)) >= _DIFFERENT and len(letters) >= _SURE * len(korean) else ""


def likely_gb18030(sample: bytes) -> bool:
    """Tell whether text that is no UTF-8 is probable Chinese as GB 18030 reads it.

    Western letters beyond ASCII become rare ideographs in the midst of words: with a letter of ASCII they make one that
    GB 2312 lacks (Müller), two in a row one that it may have (Größe).

    Args:
        sample: Some `SAMPLE` bytes of it.
    """
    text = sample.decode("gb18030", "replace")
    known = {"": _common(), "one": _common("gb2312"), "both": frozenset[str]()}  # by letters around
    good, count = 0, 0
    for run in re.finditer(r"(?P<before>[A-Za-z]?)(?P<chars>[^\x00-\x7f]+)(?=(?P<after>[A-Za-z]?))", text):
        alone = len(run["chars"]) == 1
        around = ("both" if run["before"] and run["after"] else "one") if run["before"] or run["after"] else ""
        good += sum(char in known[around if alone else ""] for char in run["chars"])
        count += len(run["chars"])
    return good >= _UNLIKELY * count


def _beyond_ascii(sample: bytes, codec: str) -> list[str]:
    return [char for char in sample.decode(codec, "replace") if char > "\x7f"]


def _common_share(sample: bytes, codec: str) -> float:
    """Return how many of the characters beyond ASCII that a codec makes of a text are common ones."""
    chars = _beyond_ascii(sample, codec)
    return sum(char in _common() for char in chars) / max(len(chars), 1)


@cache
def _common(only: str = "") -> frozenset[str]:
    pairs = (
        bytes((lead, trail)).decode(codec, "ignore")
        for codec, first, last in _LEVELS
        if only in ("", codec)
        for lead in range(first, last + 1)
        for trail in range(0x40, 0xFF)
    )
    signs = (0xB7, *range(0x2010, 0x2040), *range(0x3000, 0x3100), *range(0xFF01, 0xFF5F), *range(0xFFE0, 0xFFE7))
    return frozenset("".join(pairs)) | frozenset(map(chr, signs))

"""Lines of text files whose encoding nobody wrote down: UTF-8, UTF-16 with its mark, or GB 18030."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, AnyStr

from ocrcc.errors import ConfigError, DataError
from ocrcc.files import check_regular

_LONGEST_LINE = 1 << 26
"""Bytes; a page's labels in one line have some hundred thousand."""


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
        if self.encoding.startswith("utf-16"):
            # Line feeds are two bytes here, so the lines cannot be cut before they are decoded.
            with self.path.open(encoding=self.encoding, newline="\n") as text:
                yield from ((number, _bare(line)) for number, line in enumerate(_lines(self.path, text), start=1))
            return
        for number, raw in enumerate(_raw_lines(self.path), start=1):
            try:
                yield number, _bare(raw.decode(self.encoding))
            except UnicodeDecodeError:
                yield number, None


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
    it is GB 18030 if all of it is.

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
            return TextFile(path, _known_codec(encoding))
        with path.open("rb") as file:
            start = file.read(4096)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            _check_utf16(path)
            return TextFile(path, "utf-16", "by its byte order mark")
        if b"\0" in start:
            raise DataError(f"{path}: not a text file", "for UTF-16 without a mark: --encoding utf-16-le or utf-16-be")
        return _utf8_or_gb18030(path)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _known_codec(name: str) -> str:
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


def _utf8_or_gb18030(path: Path) -> TextFile:
    good, bad, first_bad, reason, not_gb = 0, 0, 0, "", 0
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
        if not not_gb:
            try:
                raw.decode("gb18030")
            except UnicodeDecodeError:
                not_gb = number
    if good >= bad:
        return TextFile(path, "utf-8")
    if not_gb:
        raise DataError(
            f"{path}:{first_bad}: not UTF-8 ({reason}), nor is line {not_gb} GB 18030",
            "save it as UTF-8, or name its encoding: --encoding big5",
        )
    return TextFile(path, "gb18030", f"since line {first_bad} is not UTF-8")

"""The ordered symbols that a recogniser can read, and how a label's text is brought to them."""

from __future__ import annotations

import difflib
import hashlib
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from ocrcc import packaged
from ocrcc.bidi import has_right_to_left, on_the_line
from ocrcc.errors import CharsetError, OcrccWarning
from ocrcc.files import read_small

Normalisation = Literal["none", "nfc", "nfkc", "halfwidth"]
BLANK = 0
"""The CTC blank's class; symbol i of a charset is class i + 1."""

MISSING_HINT = (
    "to have them read: ocrcc finetune on lines that show them adds them to a model; pretrain takes --charset "
    "from-data, or a charset file with them; --unknown skip trains without such lines"
)
"""What helps where labels have characters that a charset lacks; all commands say the same (`lacks`)."""

_MOST_NAMED = 20

_HALFWIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
DASHES = dict.fromkeys(map(ord, "‐‑‒–−－"), "-") | dict.fromkeys(map(ord, "―─━"), "—")
"""Dashes that people type for one another, and the two that pictures tell apart: a short and a long one."""
_DOCUMENT_MARKS = (
    "，。、；：？！“”‘’（）《》〈〉【】〔〕「」『』—…·・•．～￥％＃＄＆＊＋－／＝＠＜＞"
    "℃°±×÷≤≥≠≈∶√∞∑‰§№→←↑↓△▲□■○●◎◇◆☆★※√￡€†"
    "①②③④⑤⑥⑦⑧⑨⑩ⅠⅡⅢⅣⅤⅥⅦⅧⅨⅩ〇"
)


@dataclass(frozen=True)
class Charset:
    """An ordered set of one-character symbols; class 0 is the CTC blank.

    Args:
        symbols: The characters in class order, without the blank.
        normalisation: What `normalise` does to a text before it is looked up; it travels with the model.
        name: What people call it.
        bidi: Whether `normalise` also brings texts from the order in which they are typed to that on the line, which
            differ where letters are written from right to left; it travels with the model too.

    Raises:
        CharsetError: A symbol is empty, longer than one character, or there twice.

    >>> charset = Charset("abc")
    >>> charset.encode("cab"), charset.decode([3, 1, 2])
    ([3, 1, 2], 'cab')
    """

    symbols: str
    normalisation: Normalisation = "none"
    name: str = "custom"
    bidi: bool = False

    def __post_init__(self) -> None:
        if not self.symbols:
            raise CharsetError(f"charset {self.name!r} is empty", "give at least one character")
        if self.normalisation not in get_args(Normalisation):
            raise CharsetError(
                f"unknown normalisation {self.normalisation!r}", f"one of {', '.join(get_args(Normalisation))}"
            )
        if len(self._ids) != len(self.symbols):
            seen: set[str] = set()
            twice = [char for char in self.symbols if char in seen or seen.add(char)]  # type: ignore[func-returns-value]
            raise CharsetError(f"charset {self.name!r} has {describe(twice)} more than once", "keep the first of each")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {char: index for index, char in enumerate(self.symbols, start=1)}

    @cached_property
    def _dashes(self) -> dict[int, str]:
        return {code: dash for code, dash in DASHES.items() if chr(code) not in self._ids and dash in self._ids}

    @property
    def sha256(self) -> str:
        """The SHA-256 of all that decides what its classes mean: symbols, normalisation, and whether it reorders."""
        whole = f"{self.symbols}\0{self.normalisation}\0{int(self.bidi)}"
        return hashlib.sha256(whole.encode(errors="surrogatepass")).hexdigest()

    @property
    def num_classes(self) -> int:
        """C: the symbols and the blank."""
        return len(self.symbols) + 1

    def __contains__(self, char: object) -> bool:
        return char in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.symbols)

    def __len__(self) -> int:
        return len(self.symbols)

    def id(self, char: str) -> int:
        """Return a character's class; raises KeyError if it is not in the charset."""
        return self._ids[char]

    def char(self, class_id: int) -> str:
        """Return a class's character; the blank has none and gives the empty string."""
        return self.symbols[class_id - 1] if class_id else ""

    def normalise(self, text: str) -> str:
        """Bring a text to the form that the charset's model was trained on.

        Where widths are folded, a dash that the charset lacks becomes the short or the long one that it has.

        >>> Charset("19-", "halfwidth").normalise("１–９")
        '1-9'
        """
        text = normalise(text, self.normalisation)
        if self.normalisation in ("halfwidth", "nfkc"):
            text = text.translate(self._dashes)
        return on_the_line(text) if self.bidi else text

    def missing(self, text: str) -> list[str]:
        """List the characters of a normalised text that the charset lacks, each once, in order."""
        return list(dict.fromkeys(char for char in text if char not in self._ids))

    def encode(self, text: str) -> list[int]:
        """Turn a normalised text into class ids.

        Raises:
            CharsetError: The text has characters that the charset lacks; all of them are named.
        """
        try:
            return [self._ids[char] for char in text]
        except KeyError:
            raise CharsetError(
                f"{lacks(self.name, self.missing(text))} of the text {text!r}",
                MISSING_HINT,
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Turn class ids into text; blanks are left out, repeats are kept."""
        return "".join(self.symbols[index - 1] for index in ids if index != BLANK)

    def merge(self, characters: Iterable[str]) -> Charset:
        """Return a charset with the new ones of ``characters`` appended; known classes keep their ids."""
        added = "".join(dict.fromkeys(char for char in characters if char not in self._ids))
        first = has_right_to_left(added) and not has_right_to_left(self.symbols)
        return Charset(self.symbols + added, self.normalisation, self.name, self.bidi or first)


def normalise(text: str, policy: Normalisation) -> str:
    """Apply a normalisation policy.

    ``halfwidth`` maps only full-width ASCII and the ideographic space to their half-width twins, so that
    ``①`` and ``℃`` stay what they are, which ``nfkc`` does not grant.

    >>> normalise("ＡＢ１，①", "halfwidth"), normalise("ＡＢ１，①", "nfkc")
    ('AB1,①', 'AB1,1')
    """
    match policy:
        case "none":
            return text
        case "halfwidth":
            return text.translate(_HALFWIDTH)
        case "nfc":
            return unicodedata.normalize("NFC", text)
        case "nfkc":
            return unicodedata.normalize("NFKC", text)


def describe(characters: Iterable[str], limit: int = _MOST_NAMED) -> str:
    """Name characters for a message, with code points, so that invisible ones can be told.

    >>> describe("a")
    "'a' (U+0061)"
    """
    chars = list(characters)
    shown = ", ".join(f"{char!r} (U+{ord(char):04X})" for char in chars[:limit])
    return shown + (f" and {len(chars) - limit} more" if len(chars) > limit else "")


def lacks(charset: str, characters: Iterable[str] | Mapping[str, int]) -> str:
    """Say which characters a charset lacks, and how often they occur where that is known: the same in all commands.

    >>> lacks("digits", {"x": 3})
    "charset 'digits' lacks 'x' (U+0078) x 3"
    """
    if not isinstance(characters, Mapping):
        return f"charset {charset!r} lacks {describe(characters)}"
    shown = ", ".join(f"{describe([char])} x {count:,}" for char, count in list(characters.items())[:_MOST_NAMED])
    more = len(characters) - _MOST_NAMED
    return f"charset {charset!r} lacks {shown}" + (f" and {more} more" if more > 0 else "")


def lint(symbols: Iterable[str]) -> list[str]:
    """Report what in a list of characters usually is a mistake; an empty list means nothing was found."""
    chars = list(symbols)
    present = set(chars)
    kinds = {
        "control characters": [c for c in chars if unicodedata.category(c) == "Cc"],
        "combining marks": [c for c in chars if unicodedata.combining(c)],
        "no-break or unusual spaces": [c for c in chars if c != " " and unicodedata.category(c) == "Zs"],
        "zero-width or formatting characters": [c for c in chars if unicodedata.category(c) == "Cf"],
        "private-use or unassigned characters": [c for c in chars if unicodedata.category(c) in ("Co", "Cn")],
        "replacement characters of a wrong decoding": [c for c in chars if c == "\ufffd"],
        "both the full- and the half-width form of": [
            c for c in chars if ord(c) in _HALFWIDTH and chr(_HALFWIDTH[ord(c)]) in present
        ],
        "characters that NFC writes otherwise": [c for c in chars if unicodedata.normalize("NFC", c) != c],
    }
    return [f"{kind}: {describe(found)}" for kind, found in kinds.items() if found]


def load_charset(spec: str, normalisation: Normalisation = "none", *, in_class_order: bool = False) -> Charset:
    """Load a charset by name, or from a UTF-8 file with one character a line.

    Args:
        spec: The name or the file.
        normalisation: For the charset.
        in_class_order: Whether it names the classes of a model that is there, so that none can be left out.

    Raises:
        CharsetError: There is no such name or file, or no character in it. Single lines that are none are warned of, or
            an error where their order counts.
    """
    path = packaged.ASSETS / "charsets" / f"{spec}.txt"
    if spec in (known := packaged.names("charsets", ".txt")):
        return Charset(_read_symbols(path), normalisation, spec)
    path = Path(spec)
    if path.is_file():
        symbols = _read_symbols(path, in_class_order)
        return Charset(symbols, normalisation, path.stem, has_right_to_left(symbols))
    close = difflib.get_close_matches(spec, known, n=1)
    raise CharsetError(
        f"no charset named {spec!r}, and no such file",
        (f"did you mean {close[0]}? " if close else "") + f"names: {', '.join([*known, 'from-data'])}",
    )


def _read_symbols(path: Path, in_class_order: bool = False) -> str:
    """Read a file with one character a line; what is no character, or there again, is named and left out.

    Where every line is a class, all that follow one that is left out would be read as their neighbours.

    Others' files, such as PaddleOCR's, have spaces and tabs behind characters, flags of two code points, empty lines.
    """
    try:
        text = read_small(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CharsetError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})", "save it as UTF-8") from None
    first_line: dict[str, int] = {}
    left_out = []
    text = text.rstrip("\r\n") if in_class_order else text.removesuffix("\n")
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.rstrip("\r")
        char = line if len(line) <= 1 else unicodedata.normalize("NFC", line.rstrip(" \t"))
        if len(char) == 1 and char not in first_line:
            first_line[char] = number
        elif char in first_line:
            left_out.append(f"line {number}: {describe([char])} stands already in line {first_line[char]}")
        else:
            left_out.append(f"line {number}: " + (f"{line!r} is {len(line)} characters" if line else "empty"))
    if not first_line:
        raise CharsetError(f"{path}: no characters in it", "one character a line; a space is a line with one space")
    if left_out:
        named = "; ".join(left_out[:5]) + (f"; and {len(left_out) - 5} more" if len(left_out) > 5 else "")
        if in_class_order:
            raise CharsetError(
                f"{path}: {len(left_out)} lines are no characters of their own, and each is a class: {named}",
                "give each class one of its own; for one that is never read any will do, such as U+E000",
            )
        warnings.warn(f"{path}: {len(left_out)} lines left out: {named}", OcrccWarning, stacklevel=3)
    return "".join(first_line)


def charset_from_text(characters: Iterable[str], normalisation: Normalisation = "none") -> Charset:
    """Make a charset of all the characters seen, in code point order."""
    symbols = sorted({char for text in characters for char in normalise(text, normalisation)})
    return Charset("".join(symbols), normalisation, "from-data", has_right_to_left(symbols))


def _codec_characters(codec: str, rows: range, columns: range) -> str:
    found = []
    for row in rows:
        for column in columns:
            try:
                char = bytes((row, column)).decode(codec)
            except UnicodeDecodeError:
                continue
            if len(char) == 1 and not 0xE000 <= ord(char) <= 0xF8FF:
                found.append(char)
    return "".join(found)


def generate(name: str) -> str:
    """Derive a named charset's symbols from the codecs of Python's standard library and Unicode's ranges.

    ``gb2312`` has the 6,763 hanzi of GB 2312-80 (rows 16 to 87), printable ASCII and `_DOCUMENT_MARKS`;
    ``gb18030-l1`` has instead of those hanzi the unified ideographs of GB 18030-2022's level 1: U+4E00 to
    U+9FEF and U+3400 to U+4DB5.

    Raises:
        CharsetError: No such name.
    """
    ascii_symbols = "".join(chr(code) for code in range(0x20, 0x7F))
    marks = "".join(dict.fromkeys(_DOCUMENT_MARKS))
    match name:
        case "digits":
            return "0123456789"
        case "ascii":
            return ascii_symbols
        case "gb2312":
            return ascii_symbols + marks + _codec_characters("gb2312", range(0xB0, 0xF8), range(0xA1, 0xFF))
        case "gb18030-l1":
            hanzi = "".join(map(chr, [*range(0x4E00, 0x9FF0), *range(0x3400, 0x4DB6)]))
            return ascii_symbols + marks + hanzi
    raise CharsetError(f"no charset named {name!r} can be derived", "names: digits, ascii, gb2312, gb18030-l1")

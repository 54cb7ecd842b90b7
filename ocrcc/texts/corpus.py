"""What synthetic lines say: pieces of corpus files, words, templates, and text balanced over the charset."""

from __future__ import annotations

import codecs
import mmap
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from ocrcc import packaged
from ocrcc.charset import Charset, lacks
from ocrcc.config import SynthConfig
from ocrcc.dice import Dice, running_sum
from ocrcc.encodings import SAMPLE, likely_gb18030, other_than_gb18030
from ocrcc.errors import CharsetError, ConfigError, DataError
from ocrcc.files import check_regular, read_small
from ocrcc.texts import templates

_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SPACES = re.compile(r"\s+")
_MAX_BYTES = 600
"""Of a corpus that one line looks at."""
_TO_FULL = str.maketrans(",:;?!()%", "，：；？！（）％")
_TO_HALF = str.maketrans("，：；？！（）％", ",:;?!()%")
_TRIES = 12
_PART, _PARTS = 4096, 16
"""Bytes of a corpus, and how often, that tell whether a charset can say it."""
_LACKING = 0.01
"""Share of a corpus's characters; with more, every fifth line of twenty characters is cut."""
_CAPITALS = 0.12
"""Of English prose, which headings, forms and receipts set in them."""
_MOST_TRANSCODED = 1 << 28
"""Bytes of a file that is not UTF-8, as it is held in memory."""


class CorpusFile:
    """A text file from which pieces are drawn by byte offset; it is mapped, never held in memory.

    Args:
        path: UTF-8; or GB 18030, Big5, Shift JIS or Korean, which are transcoded in memory.

    Raises:
        DataError: The file is missing, empty, neither UTF-8 nor GB 18030, or has control characters.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = check_regular(path).st_size
        try:
            with path.open("rb") as file:
                self._bytes: mmap.mmap | bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}", "give text files") from None
        except ValueError:
            raise DataError(f"{path}: empty", "give text files with text in them") from None
        if (found := _CONTROL.search(self._bytes)) is not None:
            char = found.group().decode()
            raise DataError(
                f"{path}:{self._line_number(found.start())}: control character {char!r}", "is it a text file? remove it"
            )
        if (wrong := _undecodable(self._bytes, "utf-8")) is not None:
            codec = other_than_gb18030(self._bytes[:SAMPLE]) or "gb18030"
            likely = codec != "gb18030" or likely_gb18030(self._bytes[max(0, wrong - SAMPLE // 2) :][:SAMPLE])
            if not likely or _undecodable(self._bytes, codec) is not None:
                raise DataError(f"{path}:{self._line_number(wrong)}: neither UTF-8 nor GB 18030", "convert it to UTF-8")
            if size > _MOST_TRANSCODED:
                raise DataError(f"{path}: no UTF-8, and more than {_MOST_TRANSCODED >> 20} MB", "convert it to UTF-8")
            self._bytes = self._bytes[:].decode(codec).encode()

    def sample(self) -> str:
        """Return some of the file, from its start to its end."""
        step = max(_PART, len(self._bytes) // _PARTS)
        starts = range(0, len(self._bytes), step)
        return "\n".join(self._bytes[at : at + _PART].decode(errors="ignore") for at in starts).replace("\ufeff", "")

    def _line_number(self, offset: int) -> int:
        return self._bytes[:offset].count(b"\n") + 1

    def piece(self, dice: Dice, whole_lines: bool = False) -> str:
        """Draw a piece of one line of the file, from its start or, of a long line, from anywhere."""
        data = self._bytes
        at = dice.below(len(data))
        start = data.rfind(b"\n", max(0, at - _MAX_BYTES), at) + 1
        if not start and at > _MAX_BYTES or (not whole_lines and dice.chance(0.5)):
            start = at
            while start < len(data) and data[start] & 0xC0 == 0x80:
                start += 1
        end = data.find(b"\n", start, start + _MAX_BYTES)
        raw = data[start : end if end >= 0 else start + _MAX_BYTES]
        return raw.decode("utf-8", errors="ignore").strip("\ufeff\r ")


def _undecodable(data: mmap.mmap | bytes, encoding: str) -> int | None:
    """Return the offset of the first byte that an encoding cannot read; memory stays small."""
    decoder = codecs.getincrementaldecoder(encoding)()
    step = 1 << 20
    for start in range(0, len(data), step):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data[start : start + step], final=start + step >= len(data))
        except UnicodeDecodeError as error:
            return start - pending + error.start
    return None


def read_lexicon(text: str, where: str) -> dict[str, tuple[str, ...]]:
    """Read the ``[section]`` words of a lexicon.

    Raises:
        ConfigError: Words stand before the first section.
    """
    sections: dict[str, list[str]] = {}
    words: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("# "):
            continue
        if line.startswith("[") and line.endswith("]"):
            words = sections.setdefault(line[1:-1], [])
        elif words is None:
            raise ConfigError(f"{where}:{number}: a word before the first [section]")
        else:
            words += [word for word in line.split("|") if word]
    return {name: tuple(dict.fromkeys(words)) for name, words in sections.items()}


@lru_cache(maxsize=1)
def _shipped_lexicon() -> dict[str, tuple[str, ...]]:
    path = packaged.ASSETS / "synth" / "lexicon.txt"
    return read_lexicon(path.read_text(encoding="utf-8"), path.name)


def read_templates(path: Path, vocabulary: templates.Vocabulary) -> tuple[list[templates.Template], list[float]]:
    """Read a file of templates, one a line, ``weight| template`` where it is not 1; return a running sum too.

    Raises:
        ConfigError: The file is missing or has no template, or one cannot be parsed (its line is named).
    """
    try:
        lines = re.split("\r\n|\n|\r", read_small(path).decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    except DataError as error:
        raise ConfigError(error.message) from None
    found, weights = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        weight, body = re.fullmatch(r"(?:([0-9]+(?:\.[0-9]+)?)\| ?)?(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
        found.append(templates.parse(body, vocabulary, f"{path}:{number}"))
        weights.append(float(weight or 1))
    if not any(weights):
        raise ConfigError(f"{path}: no templates in it")
    return found, running_sum(weights)


class Texts:
    """Draws the text of lines, restricted to what a charset can say.

    Args:
        config: Kinds of text and their sources.
        charset: A text qualifies if the charset has all its characters, once normalised.
        alike: Characters that have look-alikes, of which balanced text is too where it is not of the whole charset.

    Raises:
        CharsetError: Nothing can be drawn.
        DataError: A corpus or word list cannot be used.
        ConfigError: A template cannot be parsed.
    """

    def __init__(self, config: SynthConfig, charset: Charset, alike: str = "") -> None:
        self._config = config
        self._charset = charset
        self._speakable: dict[str, bool] = {}
        self._corpus = [CorpusFile(Path(path)) for path in config.corpus]
        self._words = [CorpusFile(Path(path)) for path in config.words]
        symbols = "".join(char for char in charset if not char.isspace())
        if not symbols:
            raise CharsetError(f"charset {charset.name!r} has nothing but spaces", "give characters that can be seen")
        if config.balanced_over == "texts":
            known = set(alike).union(*(file.sample() for file in (*self._corpus, *self._words)))
            known.update(*(word for words in _shipped_lexicon().values() for word in words))
            symbols = "".join(char for char in symbols if char in known) or symbols
        self._symbols = symbols
        hanzi = "".join(char for char in symbols if "\u3400" <= char <= "\u9fff")
        marks = "".join(char for char in symbols if not (char.isalpha() or char.isdecimal()))
        vocabulary = templates.Vocabulary({**_shipped_lexicon()}, hanzi or symbols, marks or symbols)
        path = Path(config.templates) if config.templates else packaged.ASSETS / "synth" / "templates.txt"
        self._templates, self._template_weights = read_templates(path, vocabulary)
        self._short, self._short_weights = read_templates(packaged.ASSETS / "synth" / "short.txt", vocabulary)
        self._lexicon = [
            word
            for name in ("field", "title", "phrase", "bank", "english")
            for word in vocabulary.sections[name]
            if self.can_say(word)
        ]
        self._kinds, self._weights = self._usable_kinds()

    def _usable_kinds(self) -> tuple[list[Callable[[Dice], str]], list[float]]:
        kinds: dict[str, tuple[Callable[[Dice], str], bool]] = {
            "corpus": (self._prose, bool(self._corpus)),
            "words": (lambda dice: _pick(self._words, dice).piece(dice, whole_lines=True), bool(self._words)),
            "lexicon": (lambda dice: dice.pick(self._lexicon), bool(self._lexicon)),
            "templates": (self._template, True),
            "short": (lambda dice: dice.weighted(self._short, self._short_weights).draw(dice), True),
            "balanced": (self.balanced, True),
            "mixed": (self._mixed, True),
        }
        chosen = [(kinds[name][0], weight) for name, weight in self._config.texts.items() if weight and kinds[name][1]]
        if not chosen:
            raise ConfigError(
                "synth: no kind of text has a source", "give corpus or word files, or weights to other texts"
            )
        return [draw for draw, _ in chosen], running_sum([weight for _, weight in chosen])

    def cut(self) -> list[str]:
        """Say which sources the charset lacks so much of that texts are cut to pieces or replaced.

        Raises:
            ConfigError: It lacks all of one.
        """
        drawn = self._config.texts
        found = []
        for file in (*(self._corpus if drawn.get("corpus") else ()), *(self._words if drawn.get("words") else ())):
            chars = Counter(char for char in file.sample() if not char.isspace())
            lacking = {char: count for char, count in chars.most_common() if not self._can_say_char(char)}
            share = sum(lacking.values()) / max(chars.total(), 1)
            said = f"{file.path}: {lacks(self._charset.name, lacking)}"
            if lacking and share == 1:
                raise ConfigError(f"{said}, all that was looked at", "give other texts, or another --charset")
            if share > _LACKING:
                found.append(f"{said}, of {chars.total():,} that were looked at; texts are cut there")
        return found

    def can_say(self, text: str) -> bool:
        """Whether the charset has all characters of a text."""
        return all(self._can_say_char(char) for char in text)

    def _can_say_char(self, char: str) -> bool:
        known = self._speakable.get(char)
        if known is None:
            normal = self._charset.normalise(char)
            known = self._speakable[char] = bool(normal) and all(part in self._charset for part in normal)
        return known

    def draw(self, dice: Dice) -> str:
        """Draw a text: no space at its ends, no two spaces in a row, nothing that the charset lacks."""
        for _ in range(_TRIES):
            text = dice.weighted(self._kinds, self._weights)(dice)
            text = self._trim(self._vary_width(text, dice))
            if text:
                return text
        return self._trim(self.balanced(dice))

    def _prose(self, dice: Dice) -> str:
        """Draw a piece of a corpus file, each file as often as another, in the lengths of documents."""
        piece = _pick(self._corpus, dice).piece(dice)
        text = _cut(_SPACES.sub(" ", piece).strip(), self._length(dice))
        return text.upper() if text.isascii() and dice.chance(_CAPITALS) else text

    def _trim(self, text: str) -> str:
        text = _SPACES.sub(" ", text)
        if not self.can_say(text):
            pieces: list[str] = [""]
            for char in text:
                if self._can_say_char(char):
                    pieces[-1] += char
                elif pieces[-1]:
                    pieces.append("")
            text = max(pieces, key=len)
        text = _cut(text.strip(), self._config.max_length).strip()
        return text if len(text) >= self._config.min_length else ""

    def _length(self, dice: Dice) -> float:
        """Draw a length in ems: cells of tables are short, lines of prose as long as they come."""
        most = self._config.max_length
        low, high = dice.pick(((1, 6), (4, 14), (4, 14), (10, 28), (20, most)))
        return min(most, max(self._config.min_length, dice.uniform(low, high)))

    def _vary_width(self, text: str, dice: Dice) -> str:
        """Documents mix full- and half-width marks; the label keeps the form that is drawn."""
        choice = dice.random()
        if choice < 0.12:
            varied = text.translate(_TO_FULL)
        elif choice < 0.2:
            varied = text.translate(_TO_HALF)
        else:
            return text
        return varied if self.can_say(varied) else text

    def balanced(self, dice: Dice) -> str:
        """Draw characters, each as likely as any other."""
        count = dice.between(1, dice.pick((3, 8, 14)))
        return "".join(dice.pick(self._symbols) for _ in range(max(self._config.min_length, count)))

    def _template(self, dice: Dice) -> str:
        return dice.weighted(self._templates, self._template_weights).draw(dice)

    def _mixed(self, dice: Dice) -> str:
        kinds, weights = self._kinds, self._weights
        parts = []
        for _ in range(dice.between(2, 4)):
            kind = dice.weighted(kinds, weights)
            part = self._template(dice) if kind == self._mixed else kind(dice)
            parts.append(part[: dice.between(1, 8)])
        return dice.pick(("", " ")).join(parts)


def _pick(files: list[CorpusFile], dice: Dice) -> CorpusFile:
    return files[dice.below(len(files))]


def _cut(text: str, ems: float) -> str:
    """Cut a text to so many ems, at the end of a Latin word where one is near."""
    used = 0.0
    for at, char in enumerate(text):
        used += 0.5 if char.isascii() else 1.0
        if used > ems:
            end = max(at, 1)
            space = text.rfind(" ", max(1, end - 12), end)
            return text[:space] if char.isascii() and char.isalnum() and space > 0 else text[:end]
    return text

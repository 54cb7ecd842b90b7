"""What labels give: an image, or a part of one, and the text it shows; or a problem with a name and a place."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from ocrcc.files import IMAGE_SUFFIXES, is_there
from ocrcc.types import Outline


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled image, not yet opened.

    Attributes:
        path: The image, or the page of a document: ``scan.pdf#2``.
        text: What it shows, exactly as it was written.
        where: ``labels.txt:17``.
        outline: Where on the image the text stands, if the image is a page.
        image: The encoded image, where the labels hold it; ``path`` then only names it.
    """

    path: Path
    text: str
    where: str
    outline: Outline | None = None
    image: bytes | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that gives no entry.

    Attributes:
        where: ``labels.txt:17``, or a file.
        message: What is wrong with it.
        reason: The kind of problem, without particulars; for counting.
    """

    where: str
    message: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def check_text(text: str) -> str:
    """Say why a text can be no line's label; empty if it can."""
    if not text.strip():
        return "the label is empty" if not text else "the label is only spaces"
    if "\n" in text or "\r" in text:
        return "the label has more than one line"
    if text.startswith('{"gt_parse"'):  # of Donut: a document's fields
        return "the label is a document's structure, not a line's text"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the label is no Unicode text (half a surrogate pair)"
    return ""


def make_entry(
    folder: Path,
    name: str,
    text: str,
    where: str,
    *,
    outline: Outline | None = None,
    image: bytes | None = None,
    anywhere: bool = False,
) -> Entry | Problem:
    """Make an entry of what labels say; a problem if the text is no label or the path is empty."""
    problem = check_text(text)
    if not problem and not name.strip():
        problem = "the path is empty"
    if problem:
        return Problem(where, problem, problem)
    path = Path(name) if image is not None else find_image(folder, name, anywhere=anywhere)
    return Entry(path, text, where, outline, image)


_KINDS = tuple(dict.fromkeys((".png", ".jpg", *IMAGE_SUFFIXES)))
_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an upload


def find_image(folder: Path, name: str, *, anywhere: bool = False) -> Path:
    r"""Find the image that labels name, as their tool saw it: from Windows, a web server or another folder.

    Args:
        folder: What the name is relative to.
        name: As it is written: ``a.png``, ``project\a.png``, ``/data/upload/1/0a1b2c3d-a.png``.
        anywhere: Whether an image of this name in a folder nearby will do as well.

    Returns:
        The first place where there is a file; where there is none, the name's own.
    """
    own = folder / name
    if is_there(own):
        return own
    if "\\" in name:
        name = name.replace("\\", "/")
        own = folder / name
    candidates = [own, *(folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD") if not name.isascii())]
    if name.startswith(f"{folder.absolute().name}/"):  # PPOCRLabel names the project's folder too
        candidates.append(folder.parent / name)
    if anywhere:
        plain = _local(name).lstrip("/")
        base = plain.rpartition("/")[2]
        bases = [base, base[9:]] if _UPLOAD.match(base) else [base]
        candidates += [folder / plain, folder.parent / plain]
        nearby = (folder, folder / "images", folder.parent, folder.parent / "images")
        candidates += [place / one for one in bases for place in nearby if one]
        # Of another kind than when it was labelled: page.tif was shared as page.jpg.
        stems = [str(path)[: -len(path.suffix)] if path.suffix.lower() in _KINDS else str(path) for path in candidates]
        candidates += [
            Path(stem + kind) for kind in (*_KINDS, *map(str.upper, _KINDS)) for stem in dict.fromkeys(stems)
        ]
    return next((path for path in candidates if is_there(path)), own)


def image_beside(path: Path) -> str:
    """Return the name of the image that is called as its labels are: ``a.png`` for ``a.xml`` and ``a.png.hocr``."""
    return path.stem if Path(path.stem).suffix.lower() in _KINDS else f"{path.stem}.png"


def _local(name: str) -> str:
    """Return the path within an address: of a web page, or of Label Studio's local files."""
    address = urlsplit(name) if re.match(r"[a-z][a-z0-9+]+://|/data/(?:local-files|upload)/", name) else None
    if address is None:
        return name
    return parse_qs(address.query).get("d", [unquote(address.path)])[0]


class BadLabelError(Exception):
    """A label that cannot be understood.

    Args:
        reason: Why; the same for all of this kind.
        particulars: What follows in the message.
    """

    def __init__(self, reason: str, particulars: str = "") -> None:
        super().__init__(reason + particulars)
        self.reason = reason


MALFORMED = (BadLabelError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
"""What a document raises whose values are of another kind, or elsewhere, than the tool writes."""


def malformed(where: str, error: Exception) -> Problem:
    """Say which problem one of `MALFORMED` is."""
    if isinstance(error, BadLabelError):
        return Problem(where, str(error), error.reason)
    return Problem(where, "not as such a file has it", "not as such a file has it")

"""Images and labels side by side: ``x.png`` and ``x.gt.txt``, as tesstrain, kraken and Calamari have them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from ocrcc.annotations.entries import Entry, Problem, make_entry
from ocrcc.annotations.names import IMAGE_NAME
from ocrcc.annotations.quads import is_quad
from ocrcc.encodings import open_text
from ocrcc.errors import DataError


def has_pairs(files: Sequence[str], images: Path) -> bool:
    """Tell whether a folder's files have pairs among them, or with those of the folder of images."""
    if any(name.endswith(".gt.txt") for name in files):
        return True
    names = {name for name in files if name.endswith(".txt")}
    shown = filter(IMAGE_NAME.fullmatch, chain(files, _names(images))) if names else ()
    return any(f"{stem}.txt" in names for name in shown for stem in stems_of(name))


def stems_of(name: str) -> tuple[str, ...]:
    """Return what an image's label may be called: x.nrm.png and x.bin.png of Calamari and kraken belong to x too."""
    stem = Path(name).stem
    return stem, stem.removesuffix(".nrm"), stem.removesuffix(".bin")


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.is_file() and not entry.name.startswith("._")]


def read_pairs(path: Path, encoding: str, place: Path) -> Iterator[Entry | Problem]:
    """Read the pairs of one folder, in the order of their names; or the one of a ``.gt.txt`` file.

    Args:
        path: The folder or file.
        encoding: Of the texts; ``auto`` tells it.
        place: Where images are that are not beside their labels.
    """
    folder = path if path.is_dir() else path.parent
    present = set(_names(folder))
    elsewhere = set(_names(place)) - present
    files = sorted(present | elsewhere)
    images: dict[str, list[str]] = {}  # by the name of the label file
    for name in files:
        if IMAGE_NAME.fullmatch(name):
            labels = [one + suffix for suffix in (".gt.txt", ".txt") for one in stems_of(name)]
            images.setdefault(next((label for label in labels if label in present), name), []).append(name)
    images |= {name: [] for name in present if name.endswith(".gt.txt") and name not in images}
    for label in sorted(images) if path.is_dir() else [path.name]:
        found = sorted(images.get(label, []), key=lambda name: (name.count("."), ".bin." in name, name))
        if label in elsewhere:
            continue  # its label may lie in another folder
        if label in found:
            yield Problem(str(folder / label), "an image without a label beside it", "image without a label")
        elif not found:
            yield Problem(str(folder / label), "no image beside this label", "label without an image")
        else:
            shown = [(place if name in elsewhere else folder) / name for name in found]
            yield _pair(folder / label, shown[0], encoding)
            for other in shown[1:]:
                yield Problem(str(other), f"{found[0]} is taken for {label}", "second image of a label")


def _pair(label: Path, image: Path, encoding: str) -> Entry | Problem:
    try:
        lines = [line for _, line in open_text(label, encoding).lines()]
    except DataError as error:
        where, _, message = error.message.removeprefix(str(label)).partition(": ")
        return Problem(f"{label}{where}", message, "label that is no text")
    while len(lines) > 1 and lines[-1] == "":
        lines.pop()
    if None in lines:
        return Problem(f"{label}:{lines.index(None) + 1}", "in another encoding", "line in another encoding")
    if any(is_quad(str(line)) for line in lines):
        problem = "the boxes of a page, not the text of a line"
        return Problem(f"{label}:1", problem, problem)
    return make_entry(image.parent, image.name, "\n".join(map(str, lines)), f"{label}:1")

"""Which images a command line means: files, folders, globs, and paths on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from ocrcc.files import IMAGE_SUFFIXES, walk

STDIN = "-"
_READ = frozenset((*IMAGE_SUFFIXES, ".pdf"))
"""What a file in a folder must end in to be read; files named one by one may end in anything."""

Problem = Callable[[str, str], None]


def find_images(
    paths: Sequence[str],
    stdin: Iterable[bytes] = (),
    *,
    on_missing: Problem = lambda _path, _message: None,
    on_passed_over: Problem = lambda _path, _message: None,
) -> Iterator[str]:
    """Give the images that paths stand for, in order: as given, and sorted within folders and globs.

    A path that exists is taken as it is, even if it looks like a glob or is named ``-`` with a folder before
    it (``./-``). Folders are searched to any depth; links to folders in them are not followed.

    Args:
        paths: Files, folders, globs, and ``-`` for one path a line on standard input.
        stdin: Those lines.
        on_missing: Told of a path that stands for nothing, and why.
        on_passed_over: Told of a folder's files that do not end as images do.
    """
    for path in paths:
        named: Iterable[str] = (os.fsdecode(line.rstrip(b"\r\n")) for line in stdin) if path == STDIN else (path,)
        for name in named:
            if name:
                yield from _expand(name, on_missing, on_passed_over)


def _expand(path: str, on_missing: Problem, on_passed_over: Problem) -> Iterator[str]:
    if os.path.isdir(path):
        yield from _images_in(path, on_missing, on_passed_over)
    elif os.path.lexists(path):
        yield path
    elif glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))
        if not found:
            on_missing(path, "nothing matches this pattern")
        for name in found:
            yield from _images_in(name, on_missing, on_passed_over) if os.path.isdir(name) else (name,)
    else:
        on_missing(path, "no such file or folder")


def _images_in(folder: str, on_missing: Problem, on_passed_over: Problem) -> Iterator[str]:
    count = 0
    others: list[str] = []

    def complain(error: OSError) -> None:
        on_missing(str(error.filename), str(error.strerror))

    for parent, _, files in walk(folder, complain):
        for name in files:
            if is_read(name):
                count += 1
                yield os.path.join(parent, name)
            else:
                others.append(os.path.join(parent, name))
    tell_others(folder, count, others, on_missing, on_passed_over)


def is_read(name: str) -> bool:
    """Tell whether a file of a folder ends as what is read does."""
    return os.path.splitext(name)[1].lower() in _READ


def tell_others(folder: str, images: int, others: Sequence[str], on_missing: Problem, on_passed_over: Problem) -> None:
    """Say which files of a folder are no images by their suffix; that there is nothing else is a problem."""
    if not images:
        on_missing(folder, "no images in this folder" + (f", but {_files(others)}" if others else ""))
    elif others:
        named = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
        on_passed_over(folder, f"{_files(others)} passed over for want of an image's suffix: {named}")


def _files(others: Sequence[str]) -> str:
    return f"{len(others)} other file{'s' if len(others) > 1 else ''}"

"""Labels as they are found, and what is said of those that cannot be used."""

from __future__ import annotations

from ocrcc.annotations.entries import Problem
from ocrcc.labels.find import find_labels


def read(path, **options):
    """Read all labels of a file or folder."""
    return [entry for labels in find_labels(path, **options) for entry in labels]


def problems(entries):
    """Return the problems as they are printed, without the folder."""
    return [str(entry).rpartition("/")[2] for entry in entries if isinstance(entry, Problem)]

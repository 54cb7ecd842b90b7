"""Where the files that ship with the package lie, installed or in a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
ASSETS = _PACKAGE / "assets" if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent / "assets"
"""The folder of charsets, look-alike groups, presets, samples and models."""


def names(kind: str, suffix: str) -> list[str]:
    """List the shipped files of a kind by name, without their suffix.

    >>> "gb2312" in names("charsets", ".txt")
    True
    """
    return sorted(path.name.removesuffix(suffix) for path in (ASSETS / kind).glob(f"*{suffix}"))

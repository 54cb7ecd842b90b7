"""What the shell completes: names that ship with the package, by what an option's value is called."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import ocrcc
from ocrcc import packaged

Names = list[tuple[str, str]]
"""Each with a line about it, which may be empty."""


def completion(metavar: str) -> Callable[[str], Names] | None:
    """Return what completes a value that is called so: names that ship with the package; None for files and numbers.

    Nothing that is slow to import is looked into: the shell waits.
    """
    known = _NAMES.get(metavar)
    if known is None:
        return None
    return lambda incomplete: [one for one in known() if one[0].startswith(incomplete)]


def _shipped(kind: str, suffix: str, prefix: str = "") -> Callable[[], Names]:
    return lambda: [(name.removeprefix(prefix), "") for name in packaged.names(kind, suffix) if name.startswith(prefix)]


def _architectures() -> Names:
    """Read the registered recognisers off the registry's source, as its import would bring torch and timm along."""
    source = Path(ocrcc.__file__).parent / "models" / "registry.py"
    return list(_registered(ast.parse(source.read_text(encoding="utf-8"))))


def _registered(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and any(
            isinstance(one, ast.Name) and one.id == "register" for one in node.decorator_list
        ):
            yield node.name, ast.get_docstring(node) or ""


def _label_formats() -> Names:
    from ocrcc.labels.find import FORMATS

    return [(name, "") for name in FORMATS]


_NAMES: dict[str, Callable[[], Names]] = {
    "ARCH": _architectures,
    "MODEL": _shipped("models", ".safetensors"),
    "CHARSET": _shipped("charsets", ".txt"),
    "GROUPS": _shipped("lookalikes", ".tsv"),
    "FORMAT": _label_formats,
    "PRESET": _shipped("presets", ".toml", "synth-"),
}
"""What is completed, by what its value is called."""

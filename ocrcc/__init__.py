"""Train and use text-line recognisers that tell look-alike characters apart.

Importing this package stays light: torch is loaded by the first function that needs it.

>>> from ocrcc import load_recognizer
>>> reader = load_recognizer("runs/pretrain")  # doctest: +SKIP
>>> reader.recognize("line.png").text  # doctest: +SKIP
>>> [line.text for line in reader.read_page("scan.png").lines]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocrcc.pages.api import Reader

    __version__: str

__all__ = ["__version__", "load_recognizer"]


def load_recognizer(model: str, *, device: str = "auto") -> Reader:
    """Load a model and return an object whose ``recognize`` reads line images, and ``read_page`` pages.

    Args:
        model: A ``.safetensors`` file, a run folder (its best model) or ``hf://owner/name``.
        device: ``auto``, ``cpu``, ``cuda`` or any other torch device.

    Raises:
        ModelError: The model is missing, damaged, or made by a newer version.
    """
    from ocrcc.pages.api import Reader

    return Reader.load(model, device=device)


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: it is that of the git tag, which the installed package knows."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ocrcc")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+unknown"

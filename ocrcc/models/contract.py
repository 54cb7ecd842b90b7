"""What a model file says of itself, and where it lies: all that can be known without torch.

Safetensors and ONNX files carry the same JSON text, under the key ``ocrcc`` of their metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ocrcc import packaged
from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.errors import ConfigError, DataError, ModelError

FORMAT = 1
"""Rises where an older ocrcc would read a new file wrongly, not with a field whose default is what old files mean.
Every version stays readable: `tests/models` keeps a file of each."""
KEY = "ocrcc"


def describe(arch: str, charset: Charset, preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the metadata that `parse_contract` reads again."""
    return {
        "format": FORMAT,
        "arch": arch,
        "charset": {
            "symbols": charset.symbols,
            "normalisation": charset.normalisation,
            "name": charset.name,
            "bidi": charset.bidi,
        },
        "preprocessing": preprocessing.described(),
    }


def resolve(spec: str | Path) -> Path:
    """Find the file that a model argument means.

    Args:
        spec: A file, a run folder (its ``best.safetensors``, or ``last`` if there is no best), the name of a
            shipped model, ``hf://owner/name`` for ``model.safetensors`` of a hub repository, or
            ``rapidocr/NAME`` for a recogniser that an installed RapidOCR carries, such as
            ``rapidocr/ppocr-v6-small``.

    Raises:
        ModelError: There is no such thing.
    """
    text = str(spec)
    if text.startswith("hf://"):
        return _from_hub(text.removeprefix("hf://"))
    if text.startswith("rapidocr/"):
        return _from_rapidocr(text.removeprefix("rapidocr/"))
    path = Path(spec)
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (path / name).is_file():
                return path / name
        raise ModelError(f"{path}: no best.safetensors or last.safetensors in this folder", "give a run folder")
    if path.is_file():
        return path
    shipped = packaged.names("models", ".safetensors")
    if text in shipped:
        return packaged.ASSETS / "models" / f"{text}.safetensors"
    raise ModelError(
        f"{text}: no such model file or run folder",
        f"shipped models: {', '.join(shipped)}" if shipped else "train one with ocrcc pretrain",
    )


def _from_hub(name: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(name, "model.safetensors"))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"hf://{name}: {error}", "the repository must hold a model.safetensors") from None


def _from_rapidocr(name: str) -> Path:
    """Find a recogniser in the installed packages of RapidOCR, which are not imported, as that takes seconds."""
    found: dict[str, Path] = {}
    for package in ("rapidocr_onnxruntime", "rapidocr"):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(folder, "models").glob("*.onnx")):
                if match := re.fullmatch(r"(?:(\w+)_)?PP-OCRv(\d)_(?:(\w+)_)?rec_(\w+)", file.stem):
                    language = next((one for one in (match[1], match[3]) if one and one != "ch"), "")
                    size = {"infer": "mobile"}.get(match[4], match[4]).replace("_", "-")
                    found["-".join(filter(None, ("ppocr", f"v{match[2]}", language, size)))] = file
    if name in found:
        return found[name]
    raise ModelError(
        f"rapidocr/{name}: no installed RapidOCR carries it",
        f"there are {', '.join(f'rapidocr/{one}' for one in sorted(found))}"
        if found
        else "pip install rapidocr for rapidocr/ppocr-v6-small, rapidocr-onnxruntime for rapidocr/ppocr-v4-mobile",
    )


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Read a model's metadata without its weights, and without torch tensors.

    Raises:
        ModelError: The file is missing, damaged, or no model of ours.
    """
    try:
        with safe_open(str(path), framework="np") as file:
            raw = (file.metadata() or {}).get(KEY)
    except (SafetensorError, OSError, ValueError, OverflowError, MemoryError) as error:
        raise ModelError(f"{path}: not a readable safetensors file: {error}") from None
    if raw is None:
        raise ModelError(f"{path}: a safetensors file, but not a model of ocrcc")
    return parse_metadata(raw, path)


def parse_metadata(raw: str, path: str | Path) -> dict[str, Any]:
    """Read the JSON text that a model file carries.

    Raises:
        ModelError: It is damaged, or of a newer format.
    """
    try:
        metadata = json.loads(raw)
        version = metadata["format"]
    except (ValueError, KeyError, TypeError, RecursionError):  # a number of 5,000 digits is a ValueError
        raise ModelError(f"{path}: its metadata is damaged") from None
    if not isinstance(metadata, dict) or type(version) is not int:
        raise ModelError(f"{path}: its metadata is damaged")
    if version > FORMAT:
        raise ModelError(f"{path}: made by a newer ocrcc (format {version}, this one reads {FORMAT})", "update ocrcc")
    return metadata


def parse_contract(metadata: Mapping[str, Any], path: str | Path) -> tuple[str, Charset, Preprocessing]:
    """Get the registry name, charset and preprocessing out of a model's metadata.

    Raises:
        ModelError: One of them is missing or malformed; it is named.
    """
    field = "arch"
    try:
        arch = metadata["arch"]
        if not isinstance(arch, str):
            raise TypeError("not a text")
        field = "charset"
        stored = metadata["charset"]
        if not all(isinstance(stored[name], str) for name in ("symbols", "normalisation", "name")):
            raise TypeError("not texts")
        charset = Charset(stored["symbols"], stored["normalisation"], stored["name"], bool(stored.get("bidi")))
        field = "preprocessing"
        preprocessing = Preprocessing(**metadata["preprocessing"])
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ConfigError, DataError) as error:
        raise ModelError(f"{path}: its {field} is damaged: {error}") from None
    return arch, charset, preprocessing

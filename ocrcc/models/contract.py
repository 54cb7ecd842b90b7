"""What a model file says of itself, and where it lies: all that can be known without torch.

Safetensors and ONNX files carry the same JSON text, under the key ``ocrcc`` of their metadata.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ocrcc import packaged
from ocrcc.charset import Charset
from ocrcc.charset import describe as listed
from ocrcc.config import Preprocessing
from ocrcc.errors import CharsetError, ConfigError, DataError, ModelError

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


def charset_of_classes(symbols: Sequence[str], classes: int, name: str, path: Path) -> Charset:
    """Make a charset of what a recogniser of another make calls its classes.

    Args:
        symbols: Those of its classes in their order, without the blank.
        classes: How many it has, the blank among them.
        name: For the charset.
        path: For messages.

    Raises:
        CharsetError: They are not as many, not one character each, or not all different.
    """
    if len(symbols) != classes - 1:
        raise CharsetError(
            f"{path}: has {classes} classes, and {len(symbols)} characters beside the blank do not fit",
            "--charset FILE, with one character a line in class order",
        )
    if long := [symbol for symbol in symbols if len(symbol) != 1]:
        raise CharsetError(f"{path}: its class {long[0]!r} is {len(long[0])} characters; a class must be one")
    if len(set(symbols)) != len(symbols):
        twice = [symbol for symbol, count in Counter(symbols).items() if count > 1]
        raise CharsetError(f"{path}: has {listed(twice)} for more than one class", "--charset FILE can rename one")
    return Charset("".join(symbols), name=name)


def resolve(spec: str | Path) -> Path:
    """Find the file that a model argument means.

    Args:
        spec: A file, a run folder (its ``best.safetensors``, or ``last`` if there is no best), a folder that
            Transformers saved, the name of a shipped model, ``hf://owner/name`` for ``model.safetensors`` of a hub
            repository or ``hf://owner/name/FILE`` for another file, or ``rapidocr/NAME`` for a recogniser that an
            installed RapidOCR carries, such as ``rapidocr/ppocr-v6-small``.

    Raises:
        ModelError: There is no such thing.
    """
    text = str(spec)
    if text.startswith("hf://"):
        return _from_hub(text.removeprefix("hf://"))
    if text.startswith("rapidocr/") and not Path(text).exists():  # which is a folder of RapidOCR's own sources, too
        return _from_rapidocr(text.removeprefix("rapidocr/"))
    path = Path(spec)
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (path / name).is_file():
                return path / name
        if all((path / name).is_file() for name in ("config.json", "model.safetensors")):
            return path / "model.safetensors"
        raise ModelError(
            f"{path}: no best.safetensors or last.safetensors in this folder",
            "give a run folder, or one that Transformers saved",
        )
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

    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    try:
        path = Path(hf_hub_download(f"{owner}/{repository}", file or "model.safetensors"))
        if not file and not is_ours(path):  # Transformers' own needs these beside it
            for beside in ("config.json", "preprocessor_config.json"):
                hf_hub_download(f"{owner}/{repository}", beside)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"hf://{name}: {error}",
            "the repository must hold a model.safetensors; hf://owner/name/FILE.onnx names an ONNX file in one",
        ) from None
    return path


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


def is_ours(path: str | Path) -> bool:
    """Tell whether a safetensors file says that ocrcc made it.

    Raises:
        ModelError: It is damaged.
    """
    return KEY in _metadata(path)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Read a model's metadata without its weights, and without torch tensors.

    Raises:
        ModelError: The file is missing, damaged, or no model of ours.
    """
    raw = _metadata(path).get(KEY)
    if raw is None:
        raise ModelError(f"{path}: a safetensors file, but not a model of ocrcc")
    return parse_metadata(raw, path)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of what decides how a model reads: its tensors and its contract.

    What else it says of itself, such as its calibration, has no part in it. Of a file of another make, which says
    nothing of the kind, it is that of the file.

    Raises:
        ModelError: It is damaged.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        if path.suffix.lower() == ".safetensors" and is_ours(path):
            metadata = read_metadata(path)
            # Eight bytes of length, a JSON header, and then the tensors, at places that count from the header's end.
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            header["__metadata__"] = {name: metadata.get(name) for name in ("arch", "charset", "preprocessing")}
            digest.update(json.dumps(header, sort_keys=True).encode())
        return hashlib.file_digest(file, lambda: digest).hexdigest()


def made_from(source: object, path: Path) -> bool:
    """Tell whether an exported file that names its ``source`` is of a model.

    Files of earlier versions name the SHA-256 of the whole model file.
    """
    return source == fingerprint(path) or source == hashlib.sha256(path.read_bytes()).hexdigest()


def _metadata(path: str | Path) -> dict[str, str]:
    try:
        with safe_open(str(path), framework="np") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError, ValueError, OverflowError, MemoryError) as error:
        raise ModelError(f"{path}: not a readable safetensors file: {error}") from None


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

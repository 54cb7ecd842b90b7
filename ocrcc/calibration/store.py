"""What can be written into a model file that is there, without touching its weights: its calibration."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocrcc.errors import ConfigError, ModelError
from ocrcc.models.contract import KEY, made_from, parse_metadata, read_metadata
from ocrcc.places import check_file, marked, output

KINDS = {
    ".onnx": marked("exported model", b"\x12\x05ocrcc"),
    ".safetensors": marked("model", b'{"__metadata__":{"ocrcc":'),
}
"""Model files of ours, by their suffix."""


def calibration_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entry of a model's calibration, for the metadata of a copy that reads the same; empty without one."""
    return {"calibration": info["calibration"]} if info.get("calibration") else {}


def check_storable(path: Path, out: Path) -> None:
    """Make sure, before long work, that a calibrated copy of a model can be written.

    Args:
        path: The model.
        out: The file to be, of the same suffix; it may be the model itself.

    Raises:
        ConfigError: ``out`` is something else's, or of another suffix.
        ModelError: The model is of another make.
    """
    suffix = path.suffix.lower()
    if suffix not in KINDS or not KINDS[suffix].ours(path):
        raise ModelError(
            f"{path}: a recogniser of another make cannot hold a calibration",
            "bring it into our format first: ocrcc export MODEL mine.safetensors",
        )
    if out.suffix.lower() != suffix:
        raise ConfigError(f"{out}: the calibrated model is a {suffix} file as {path.name} is", f"--out NAME{suffix}")
    check_file(out, KINDS[suffix])


def store_calibration(path: Path, out: Path, calibration: Mapping[str, Any]) -> None:
    """Write a copy of a model that differs by its calibration alone.

    Args:
        path: A ``.safetensors`` of ours, or an ``.onnx`` of ``ocrcc export``.
        out: The file; it appears whole or not at all.
        calibration: What is stored.

    Raises:
        ConfigError: As `check_storable`, or the extra ``onnx`` is missing.
        ModelError: As `check_storable`.
        DataError: The file cannot be written.
    """
    check_storable(path, out)
    suffix = path.suffix.lower()
    with output(out, KINDS[suffix]) as aside:
        (_store_onnx if suffix == ".onnx" else _store_safetensors)(path, aside, calibration)


def left_behind(path: Path, out: Path, calibration: Mapping[str, Any]) -> Path | None:
    """Name the ONNX file that was exported of a model, lies beside where that is written, and is calibrated otherwise.

    Args:
        path: The model, before it is written.
        out: Where to.
        calibration: What it will have.

    Returns:
        None where there is none, where it cannot be read, or where onnx is not installed.
    """
    beside = out.with_suffix(".onnx")
    if beside == out or not KINDS[".onnx"].ours(beside):
        return None
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        return None
    try:
        model = onnx.load(str(beside), load_external_data=False)
        (stored,) = [entry.value for entry in model.metadata_props if entry.key == KEY]
        metadata = parse_metadata(stored, beside)
    except (OSError, DecodeError, ValueError, ModelError):  # what is beside is no reason to lose the calibration
        return None
    return beside if made_from(metadata.get("source"), path) and metadata.get("calibration") != calibration else None


def _store_safetensors(path: Path, aside: Path, calibration: Mapping[str, Any]) -> None:
    metadata = {**read_metadata(path), "calibration": calibration}
    with path.open("rb") as source, aside.open("wb") as target:
        # Eight bytes of length, a JSON header, and then the tensors, at places that count from the header's end.
        header = json.loads(source.read(int.from_bytes(source.read(8), "little")))
        header["__metadata__"][KEY] = json.dumps(metadata, ensure_ascii=False)
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        target.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(source, target)


def _store_onnx(path: Path, aside: Path, calibration: Mapping[str, Any]) -> None:
    try:
        import onnx
    except ImportError:
        raise ConfigError("calibrating an ONNX file needs onnx", 'pip install "ocrcc[onnx]"') from None
    model = onnx.load(str(path), load_external_data=False)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    metadata = {**parse_metadata(kept[KEY], path), "calibration": calibration}
    onnx.helper.set_model_props(model, {**kept, KEY: json.dumps(metadata, ensure_ascii=False)})
    onnx.save(model, str(aside))

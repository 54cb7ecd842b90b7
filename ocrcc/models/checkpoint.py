"""Model files: one ``.safetensors`` with weights, centers and everything needed to read with them.

Nothing is ever unpickled. The metadata is one JSON text under the key ``ocrcc``; centers are the tensors
``centers`` (C, D) and ``center_counts`` (C,), weights have the prefix ``model.``. A recogniser of another make brings
its architecture as the bytes ``graph``, which is walked through and never run as code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ocrcc.charset import Charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import ModelError
from ocrcc.files import whole
from ocrcc.models.contract import describe, is_ours, parse_contract, read_metadata, resolve
from ocrcc.models.experts import parsed
from ocrcc.models.from_transformers import import_transformers, is_saved_by_transformers, register_transformers
from ocrcc.models.imported import import_onnx, register_onnx
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import MODELS, create_model

_PREFIX = "model."
_GRAPH = "graph"
_MANY_CLASSES = 50_000
"""From here on a classifier may be large; twice as many as the largest charset of a recogniser known."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A recogniser and what it needs to read.

    Attributes:
        recognizer: In evaluation mode, float32, on `device`.
        arch: Its name in the registry.
        charset: What its classes mean.
        preprocessing: What its input looks like.
        centers: (C, D) float32 mean features of the classes, or None.
        center_counts: (C,) float32, how many characters each center stands on, or None.
        info: The rest of the metadata: ``step``, ``metrics``, ``config``, ``lineage``, ``calibration``.
        path: The file.
        device: Where the weights are.
    """

    recognizer: Recognizer
    arch: str
    charset: Charset
    preprocessing: Preprocessing
    centers: Tensor | None = None
    center_counts: Tensor | None = None
    info: Mapping[str, Any]
    path: Path
    device: str


def load_model(spec: str | Path, *, device: str = "auto") -> LoadedModel:
    """Load a model for reading or for further training.

    Raises:
        ModelError: It is missing, damaged, of a newer format, or its tensors do not fit its metadata.
    """
    path = resolve(spec)
    if is_foreign(path):
        return import_model(path, device=device)
    metadata = read_metadata(path)
    arch, charset, preprocessing = parse_contract(metadata, path)
    graph = _read_graph(path)
    if graph:
        try:
            (register_transformers if arch.startswith("transformers/") else register_onnx)(graph, parsed(arch)[0])
        except ModelError as error:
            raise ModelError(f"{path}: damaged: {error.message}") from None
    # Any backbone of timm, any graph, any charset: some are larger than memory, and this file may not hold them at all.
    if arch not in MODELS or graph or charset.num_classes > _MANY_CLASSES:
        with torch.device("meta"):
            shapes = create_model(arch, charset.num_classes, preprocessing).state_dict()
        _check_shapes(_read_shapes(path), shapes, path)
    recognizer = create_model(arch, charset.num_classes, preprocessing)
    tensors = _read_tensors(path)
    weights = {name.removeprefix(_PREFIX): value for name, value in tensors.items() if name.startswith(_PREFIX)}
    _check_shapes(weights, recognizer.state_dict(), path)
    recognizer.load_state_dict(weights)
    if graph:
        _check_runs(recognizer.eval(), preprocessing, path)
    centers, counts = tensors.get("centers"), tensors.get("center_counts")
    wanted = (charset.num_classes, recognizer.feature_width)
    if centers is not None and (tuple(centers.shape) != wanted or counts is None or counts.shape != wanted[:1]):
        raise ModelError(f"{path}: its centers are {tuple(centers.shape)}, not {wanted} with a count each")
    if centers is not None and counts is not None and not bool(centers.isfinite().all() & counts.isfinite().all()):
        raise ModelError(f"{path}: its centers are not all numbers")
    device = pick_device(device)
    return LoadedModel(
        recognizer=recognizer.to(device).eval(),
        arch=arch,
        charset=charset,
        preprocessing=preprocessing,
        centers=None if centers is None else centers.to(device),
        center_counts=None if counts is None else counts.to(device),
        info={key: metadata.get(key) for key in ("step", "metrics", "config", "lineage", "calibration")},
        path=path,
        device=device,
    )


def _check_runs(recognizer: Recognizer, preprocessing: Preprocessing, path: Path) -> None:
    """Read an empty line: what a graph of a stranger does shows only when it runs."""
    empty = torch.zeros(1, preprocessing.channels, preprocessing.height, preprocessing.min_width)
    try:
        with torch.no_grad():
            recognizer(empty)
    except Exception as error:  # torch's own checks of shapes and types have no common base
        raise ModelError(f"{path}: damaged: does not read an empty line: {str(error).splitlines()[0]}") from None


def _read_shapes(path: Path) -> dict[str, Tensor]:
    """Give the weights' shapes, without their values."""
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    return {
        name.removeprefix(_PREFIX): torch.empty(shape, device="meta")
        for name, shape in shapes.items()
        if name.startswith(_PREFIX)
    }


def _read_graph(path: Path) -> bytes:
    """Read the architecture that a model of another make brings along; empty for our own."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return file.get_tensor(_GRAPH).numpy().tobytes() if _GRAPH in file.keys() else b""  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None


def is_foreign(path: Path) -> bool:
    """Tell a recogniser of another make: an ONNX file, or weights that Transformers saved with their configuration."""
    if path.suffix.lower() == ".onnx":
        return True
    return is_saved_by_transformers(path) and not is_ours(path)


def import_model(path: Path, config: ImportConfig | None = None, *, device: str = "auto") -> LoadedModel:
    """Load a recogniser of another make from its ONNX file, or from a folder that Transformers saved.

    Raises:
        ConfigError: onnx or Transformers is not installed.
        DataError: Its charset is missing or does not fit.
        ModelError: It is ours already, damaged, or no CTC recogniser that torch can run.
    """
    if not is_foreign(path):
        raise ModelError(f"{path}: a model of ocrcc already")
    make = import_onnx if path.suffix.lower() == ".onnx" else import_transformers
    recognizer, arch, charset, preprocessing = make(path, config)
    device = pick_device(device)
    return LoadedModel(
        recognizer=recognizer.to(device),
        arch=arch,
        charset=charset,
        preprocessing=preprocessing,
        info={"step": 0, "metrics": {}, "config": {}},
        path=path,
        device=device,
    )


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(str(path), framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None
    return {name: value.float() if value.is_floating_point() else value for name, value in found.items()}


def _check_shapes(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    problems = [f"lacks {name}" for name in wanted if name not in found]
    problems += [f"has an unknown {name}" for name in found if name not in wanted]
    problems += [
        f"{name} is {tuple(value.shape)}, not {tuple(wanted[name].shape)}"
        for name, value in found.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ModelError(f"{path}: its weights do not fit its metadata: {'; '.join(problems[:3])}{more}")


def pick_device(device: str) -> str:
    """Turn ``auto`` into the best device here, and check any other name.

    Raises:
        ModelError: torch does not know the device, or cannot use it here.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"device {device!r} cannot be used: {reason}", "auto or cpu") from None
    return device


def save_model(
    path: str | Path,
    *,
    recognizer_state: Mapping[str, Tensor],
    arch: str,
    charset: Charset,
    preprocessing: Preprocessing,
    info: Mapping[str, Any],
    centers: Tensor | None = None,
    center_counts: Tensor | None = None,
    half: bool = False,
) -> None:
    """Write a model file; it appears whole or not at all.

    Args:
        path: Where to.
        recognizer_state: The recogniser's ``state_dict``.
        arch: Its registry name.
        charset: Its charset.
        preprocessing: Its preprocessing.
        info: ``step``, ``metrics``, ``config`` and ``lineage``, as JSON can hold them.
        centers: (C, D), or None.
        center_counts: (C,), or None.
        half: Store floating-point tensors in float16, for shipping.

    Raises:
        DataError: The file cannot be written.
    """
    tensors = {_PREFIX + name: value for name, value in recognizer_state.items()}
    if centers is not None and center_counts is not None:
        tensors |= {"centers": centers, "center_counts": center_counts.float()}
    brought = MODELS[name].graph if (name := parsed(arch)[0]) in MODELS else b""
    if brought:
        tensors[_GRAPH] = torch.frombuffer(bytearray(brought), dtype=torch.uint8)
    metadata = {**describe(arch, charset, preprocessing), **info}
    # A copy of each: packed LSTM weights share their storage, which safetensors refuses.
    plain = {name: _plain(value, half and name != "center_counts") for name, value in tensors.items()}
    with whole(Path(path)) as aside:
        try:
            save_file(plain, str(aside), metadata={"ocrcc": json.dumps(metadata, ensure_ascii=False)})
        except SafetensorError as error:  # what it makes of a full disk
            raise OSError(str(error)) from None
        aside.chmod(0o644)  # safetensors makes files that only their owner may read


def _plain(value: Tensor, half: bool) -> Tensor:
    value = value.detach().to("cpu", copy=True).contiguous()
    return value.half() if half and value.is_floating_point() else value

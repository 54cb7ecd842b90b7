"""Reading with an exported model: ONNX Runtime and numpy, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ocrcc import packaged
from ocrcc.charset import Charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import ConfigError, ModelError
from ocrcc.graphs import onnx_file
from ocrcc.models import onnx_contract
from ocrcc.models.contract import KEY, parse_contract, parse_metadata
from ocrcc.processes import cores
from ocrcc.reading.engines import Engine

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

INPUT = "images"
FEATURES, LOGITS = "features", "logits"
CENTERS, COUNTS = "centers", "center_counts"
"""Outputs that no input changes; a file of a model without centers lacks them."""

_FATAL = 4
"""The severity below which ONNX Runtime keeps quiet: what goes wrong, it raises as well."""


@dataclass(frozen=True, kw_only=True)
class OnnxModel:
    """An exported recogniser and what it needs to read.

    Attributes:
        engine: The recogniser.
        arch: Its name in the registry.
        charset: What its classes mean.
        preprocessing: What its input looks like.
        width_stride: Pixels of its input a frame.
        centers: (C, D) float32 mean features of the classes, or None.
        center_counts: (C,) float32, how many characters each center stands on, or None.
        info: The rest of the metadata: ``step``, ``metrics``, ``source``, ``calibration``.
        path: The file.
    """

    engine: Engine
    arch: str
    charset: Charset
    preprocessing: Preprocessing
    width_stride: int
    centers: np.ndarray | None
    center_counts: np.ndarray | None
    info: Mapping[str, Any]
    path: Path


def pick_onnx(path: Path, engine: str, device: str) -> Path | None:
    """Say which ONNX file reads for a model file.

    Args:
        path: The model's file.
        engine: ``auto``, ``torch`` or ``onnx``. ``auto`` takes a shipped model's export where ONNX Runtime is
            installed; it never takes one that happens to lie beside a model, which may be of another step.
        device: Where to read; exported models read on the CPU alone.

    Returns:
        None for reading with torch.

    Raises:
        ConfigError: The engine cannot read this file, or not on this device.
    """
    if path.suffix.lower() == ".onnx":
        if engine == "torch":
            return None  # recognisers of other makes; one of ocrcc export is refused when it is loaded
        exported = path
    else:
        exported = path.with_suffix(".onnx")
        shipped = path.parent == packaged.ASSETS / "models" and exported.is_file()
        if engine == "onnx" and not shipped:
            raise ConfigError(
                f"{path}: not an ONNX file", f"make one: ocrcc export {path} {exported.name}, and give that"
            )
        if engine == "torch" or not shipped:
            return None
        if engine == "auto" and (device not in ("auto", "cpu") or find_spec("onnxruntime") is None):
            return None
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device {device!r}: the ONNX engine reads on the CPU", "--device cpu, or --engine torch")
    return exported


def load_onnx(path: str | Path, *, threads: int = 0, config: ImportConfig | None = None) -> OnnxModel:
    """Load an exported model.

    Args:
        path: A file of ``ocrcc export``, or a CTC recogniser of another make.
        threads: That share the work of a call; 0 for one a core. It may be called from several threads.
        config: What a recogniser of another make does not say of itself.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        ModelError: The file is damaged, of a newer format, or no CTC recogniser.
    """
    path = Path(path)
    session = _open(path, threads)
    try:
        raw = session.get_modelmeta().custom_metadata_map.get(KEY)
    except UnicodeDecodeError:
        raise ModelError(f"{path}: its metadata are not UTF-8") from None
    if raw is None:
        return _load_foreign(path, threads, config or ImportConfig())
    metadata = parse_metadata(raw, path)
    if str(metadata.get("arch")).startswith("onnx/"):  # a recogniser of another make, given back
        return _load_foreign(path, threads, config or ImportConfig())
    arch, charset, preprocessing = parse_contract(metadata, path)
    stride = metadata.get("width_stride")
    if not isinstance(stride, int) or stride <= 0:
        raise ModelError(f"{path}: its width_stride is damaged: {stride!r}")
    _check_shapes(session, charset, preprocessing, path)
    blank = np.zeros((1, preprocessing.channels, preprocessing.height, preprocessing.width_step), np.float32)
    try:
        features, logits, *constants = session.run(None, {INPUT: blank})
    except Exception as error:  # ONNX Runtime's kinds of errors have no common base
        raise ModelError(f"{path}: does not run: {_first_line(error)}") from None
    frames = math.ceil(blank.shape[3] / stride)
    if features.shape[:2] != (1, frames) or logits.shape != (1, frames, charset.num_classes):
        raise ModelError(
            f"{path}: its logits for {blank.shape[3]} pixels are {logits.shape}, not {(1, frames, charset.num_classes)}"
        )
    centers, counts = constants if constants else (None, None)
    wanted = (charset.num_classes, features.shape[2])
    if constants and [value.shape for value in constants] != [wanted, wanted[:1]]:
        raise ModelError(f"{path}: its centers are {constants[0].shape}, not {wanted} with a count each")

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(session.run([FEATURES, LOGITS], {INPUT: images}))

    return OnnxModel(
        engine=read,
        arch=arch,
        charset=charset,
        preprocessing=preprocessing,
        width_stride=stride,
        centers=centers,
        center_counts=counts,
        info={key: metadata.get(key) for key in ("step", "metrics", "source", "calibration")},
        path=path,
    )


def _load_foreign(path: Path, threads: int, config: ImportConfig) -> OnnxModel:
    """Load a recogniser of another make, or one that was given back to it."""
    model = onnx_file.open_file(path)
    layout = onnx_file.find_layout(model, path)
    charset, preprocessing, space_last = onnx_contract.read_contract(model, layout, config, path)
    session = _open(path, threads, onnx_file.runtime_graph(model, layout))
    name = onnx_file.input_name(model)

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return tuple(session.run([layout.features, layout.logits], {name: images}))

    layout = replace(layout, space_last=space_last)
    found = onnx_contract.probe(run, layout, preprocessing, onnx_contract.stated(model, config), path)

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        wanted = math.ceil(images.shape[3] / found.stride)
        features, logits = (_fitted(values, wanted, found.frames_first) for values in run(images))
        return features, np.roll(logits, 1, -1) if found.blank_last else logits

    return OnnxModel(
        engine=read,
        arch=f"onnx/{path.stem}",
        charset=charset,
        preprocessing=preprocessing,
        width_stride=found.stride,
        centers=None,
        center_counts=None,
        info={"step": 0, "metrics": {}, "source": None},
        path=path,
    )


def _fitted(values: np.ndarray, frames: int, frames_first: bool) -> np.ndarray:
    """Give (N, T, ...) with so many frames; some graphs drop what is no whole frame, and the last one stands for it."""
    values = values.swapaxes(0, 1) if frames_first else values
    missing = frames - values.shape[1]
    return np.concatenate([values, *[values[:, -1:]] * missing], axis=1) if missing > 0 else values[:, :frames]


def _open(path: Path, threads: int, graph: bytes | None = None) -> InferenceSession:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(
            f"{path}: ONNX Runtime is not installed", 'pip install "ocrcc[onnx]", or --engine torch with a .safetensors'
        ) from None
    options = onnxruntime.SessionOptions()
    # Named, because at 0 the threads are pinned to cores, which other programs may be using.
    options.intra_op_num_threads = threads or cores()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # On processors without 8-bit dot products, sums of signed weights would overflow.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # A memory plan is kept for every shape ever seen; the arena alone is as fast and no larger than one batch.
    options.enable_mem_pattern = False
    options.log_severity_level = _FATAL
    try:
        # Its fallback, to the same provider, prints a banner to stdout, where results are.
        return onnxruntime.InferenceSession(
            graph or str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's kinds of errors have no common base
        raise ModelError(f"{path}: not an ONNX file that can be read: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _check_shapes(session: InferenceSession, charset: Charset, preprocessing: Preprocessing, path: Path) -> None:
    inputs = {value.name: (value.type, value.shape[1:3]) for value in session.get_inputs()}
    wanted = {INPUT: ("tensor(float)", [preprocessing.channels, preprocessing.height])}
    if inputs != wanted:
        raise ModelError(f"{path}: its inputs are {inputs}, not {wanted}")
    outputs = [value.name for value in session.get_outputs()]
    if outputs not in ([FEATURES, LOGITS], [FEATURES, LOGITS, CENTERS, COUNTS]):
        raise ModelError(f"{path}: its outputs are {', '.join(outputs)}, not {FEATURES} and {LOGITS}")
    classes = session.get_outputs()[1].shape[-1]
    if classes != charset.num_classes:
        raise ModelError(f"{path}: has {classes} classes for a charset of {charset.num_classes}")

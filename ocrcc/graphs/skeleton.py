"""A graph without its weights, kept as data: what a model file holds in place of code."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ocrcc.errors import ConfigError, ModelError
from ocrcc.graphs.onnx_file import Layout, check_nodes, check_texts, constants

if TYPE_CHECKING:
    from onnx import ModelProto

_PLACE = "ocrcc.graph"
"""The key under which a graph that is kept as data says where its last layer is."""


def skeleton(model: ModelProto, layout: Layout, kept: set[str], own_key: str) -> bytes:
    """Return a graph without its weights, and with where its last layer is: an architecture, as data.

    Args:
        model: The graph.
        layout: Of it.
        kept: Tensors whose numbers are weights, by name; they are left out and their shapes stay.
        own_key: Of the metadata that says what a mended file is; it changes with the weights, so it is left out too.
    """
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for node in bare.graph.node:
        node.doc_string = ""
    for name, tensor in constants(bare.graph).items():
        if name in kept:
            tensor.CopyFrom(
                onnx.TensorProto(name=tensor.name, data_type=onnx.TensorProto.FLOAT, dims=list(tensor.dims))
            )
    stay = [entry for entry in model.metadata_props if entry.key != own_key]
    del bare.metadata_props[:], bare.graph.value_info[:]
    bare.metadata_props.extend(stay)
    bare.metadata_props.add(key=_PLACE, value=json.dumps(asdict(layout)))
    return bare.SerializeToString(deterministic=True)


def open_skeleton(data: bytes, name: str) -> tuple[ModelProto, Layout]:
    """Read what `skeleton` made.

    Raises:
        ConfigError: onnx is not installed.
        ModelError: It is damaged.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ConfigError(
            f"{name}: a model from an ONNX file needs the package onnx", 'pip install "ocrcc[onnx]"'
        ) from None
    try:
        model = onnx.ModelProto.FromString(data)
        check_texts(model, name)
        (place,) = [entry for entry in model.metadata_props if entry.key == _PLACE]
        stored = json.loads(place.value)
        layout = Layout(**{**stored, "frame_shape": tuple(stored.get("frame_shape", (0, 0)))})
        if not isinstance(layout.stride, int) or layout.stride < 1:
            raise ValueError(f"a stride of {layout.stride}")
        shape = layout.frame_shape
        if layout.frames and (len(shape) != 2 or any(type(side) is not int or side < 1 for side in shape)):
            raise ValueError(f"frames of {shape}")
        if layout.frames and not any(layout.frames in node.output for node in model.graph.node):
            raise ValueError(f"no frames {layout.frames!r}")
    except (DecodeError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{name}: its graph is damaged: {error}") from None
    model.metadata_props.remove(place)
    check_nodes(model, Path(name))
    return model, layout

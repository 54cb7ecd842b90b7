"""ONNX files of other makes: what is in them, checked before anything runs. Needs onnx and numpy, not torch.

A CTC recogniser's graph ends with one fully connected layer, perhaps with a softmax behind it. What goes into that
layer are the features, what comes out of it the logits. The graph itself stays as it is, as data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ocrcc.errors import ConfigError, ModelError
from ocrcc.graphs.onnx_sizes import check_sizes

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_MOST_NODES = 20_000
_MOST_BYTES = 2**31
_HALF, _EXTERNAL = 10, 1
_SCORES: dict[str, Literal["probabilities", "log-probabilities"]] = {
    "Softmax": "probabilities",
    "LogSoftmax": "log-probabilities",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a graph's last layer is, and how its axes and classes lie.

    Attributes:
        features: The tensor that goes into the last fully connected layer.
        logits: The tensor that comes out of it.
        weight: Its weight, an initializer or a constant.
        bias: Its bias; empty if it has none.
        transposed: Whether the weight is (C, D) instead of (D, C).
        output: What the graph gives: logits, probabilities or log-probabilities.
        stride: Pixels a frame.
        frames_first: Whether the output is (T, N, C).
        blank_last: Whether the blank is the last class.
        space_last: Whether the space is the last class, without being among the characters of the metadata.
        frames: The tensor (N, channels, rows, T) that goes into what looks along a line; empty if that is not known.
        frame_shape: Its channels and rows.
    """

    features: str
    logits: str
    weight: str
    bias: str
    transposed: bool
    output: Literal["logits", "probabilities", "log-probabilities"]
    stride: int = 0
    frames_first: bool = False
    blank_last: bool = False
    space_last: bool = False
    frames: str = ""
    frame_shape: tuple[int, int] = (0, 0)


def open_file(path: Path) -> ModelProto:
    """Read an ONNX file and its external data, if that lies in the same folder.

    Raises:
        ConfigError: onnx is not installed.
        ModelError: It is damaged, hostile, quantised, or holds what no CTC recogniser has.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx.external_data_helper import load_external_data_for_model
    except ImportError:
        raise ConfigError(f"{path}: reading it needs the package onnx", 'pip install "ocrcc[onnx]"') from None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size} bytes are more than an ONNX file may have")
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not an ONNX file that can be read: {error}") from None
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{path}: not an ONNX file that can be read: it has no graph")
    check_texts(model, path)
    if any(tensor.data_type == _HALF and len(tensor.dims) > 1 for tensor in _tensors(model.graph)):
        raise ModelError(f"{path}: its weights are in float16", "take the float32 file that it was made of")
    check_nodes(model, path)
    _check_external(model, path)
    try:
        load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx's own checks of the place have no common base
        raise ModelError(f"{path}: its external data cannot be read: {str(error).splitlines()[0]}") from None
    _check_tensors(model, path)
    check_sizes(model, path)
    return model


def check_texts(message: Message, path: Path | str) -> None:
    """Make sure that every text in a file is one: protobuf hands what is no UTF-8 over as bytes, wherever it stands.

    Raises:
        ModelError: One is not.
    """
    for field, value in message.ListFields():
        if field.type not in (field.TYPE_STRING, field.TYPE_MESSAGE):
            continue
        one = isinstance(value, (str, bytes)) or hasattr(value, "ListFields")
        for each in (value,) if one else value:
            if field.type == field.TYPE_MESSAGE:
                check_texts(each, path)
            elif isinstance(each, bytes):
                raise ModelError(f"{path}: damaged: a {field.name.replace('_', ' ')} in it is no UTF-8")


def check_nodes(model: ModelProto, path: Path) -> None:
    """Refuse graphs that no CTC recogniser has.

    Raises:
        ModelError: It is too large, has loops, is quantised, or its values come from nowhere.
    """
    graph = model.graph
    if len(graph.node) > _MOST_NODES:
        raise ModelError(f"{path}: has {len(graph.node)} operations, more than {_MOST_NODES}")
    if model.functions or graph.sparse_initializer:
        raise ModelError(f"{path}: has functions or sparse weights of its own, which are not read")
    initialized = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in initialized]
    made = initialized | set(inputs) | {""}
    for node in graph.node:
        if node.op_type in ("Loop", "Scan", "If") or any(one.HasField("g") or one.graphs for one in node.attribute):
            raise ModelError(
                f"{path}: has a {node.op_type}: a decoder that reads character by character, not a CTC recogniser",
                "such as PP-OCR's recognisers, CRNN and SVTR are",
            )
        if "quant" in node.op_type.lower() or "Integer" in node.op_type or node.op_type.startswith("QLinear"):
            raise ModelError(
                f"{path}: its weights are quantised ({node.op_type}), which cannot be trained",
                "take the float32 file that it was made of",
            )
        if unmade := [name for name in node.input if name not in made]:
            raise ModelError(f"{path}: {node.op_type} takes {unmade[0]!r} before it is made")
        made.update(node.output)
    if len(inputs) != 1:
        raise ModelError(
            f"{path}: has {len(inputs)} inputs ({', '.join(inputs[:4])}); a CTC recogniser has one, the image"
        )


def _check_external(model: ModelProto, path: Path) -> None:
    for tensor in _tensors(model.graph):
        if tensor.data_location != _EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        file = path.parent / place
        if not place or PurePosixPath(place).is_absolute() or file.resolve().parent != path.parent.resolve():
            raise ModelError(f"{path}: its weights lie outside its folder, at {place!r}", "they must lie beside it")
        if not file.is_file():
            raise ModelError(f"{path}: its weights are in {place!r}, and there is no such file", "put it beside it")


def _check_tensors(model: ModelProto, path: Path) -> None:
    """Refuse tensors that promise more numbers than they bring, before room is made for them."""
    for tensor in _tensors(model.graph):
        stored = len(tensor.raw_data) or sum(
            len(values) for values in (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
        )
        if min(tensor.dims, default=1) < 0 or int(np.prod([*map(int, tensor.dims)], dtype=object)) > stored:
            raise ModelError(f"{path}: its tensor {tensor.name!r} says {list(tensor.dims)} and brings {stored} numbers")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Name every tensor that the graph carries, whether as initializer or as a node."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def input_name(model: ModelProto) -> str:
    """Return the name of the image."""
    initialized = {tensor.name for tensor in model.graph.initializer}
    return next(value.name for value in model.graph.input if value.name not in initialized)


def find_layout(model: ModelProto, path: Path) -> Layout:
    """Find the last fully connected layer of a graph.

    Raises:
        ModelError: It has several outputs, or does not end with such a layer.
    """
    graph = model.graph
    shape = graph.output[0].type.tensor_type.shape.dim
    if len(graph.output) != 1 or (graph.output[0].type.tensor_type.HasField("shape") and len(shape) != 3):
        kind = {2: ", as a classifier's", 4: ", as a detector's"}.get(len(shape), "")
        raise ModelError(
            f"{path}: has {len(graph.output)} outputs, the first of {len(shape)} axes{kind}; a CTC recogniser gives "
            "one (lines, frames, classes)"
        )
    makers = {name: node for node in graph.node for name in node.output}
    found = constants(graph)
    origin = _origins(makers)
    output: Literal["logits", "probabilities", "log-probabilities"] = "logits"
    name = graph.output[0].name
    bias = ""
    logits = ""
    while (node := makers.get(name)) is not None:
        known = [origin(each) for each in node.input if origin(each) in found]
        if node.op_type in _SCORES and not logits:
            output = _SCORES[node.op_type]
        elif node.op_type == "Add" and len(known) == 1 and not bias:
            bias, logits = known[0], name
            name = next(each for each in node.input if origin(each) != bias)
            continue
        elif node.op_type == "MatMul" and origin(node.input[1]) in found:
            weight = origin(node.input[1])
            return _checked(
                Layout(
                    features=node.input[0], logits=logits or name, weight=weight, bias=bias, transposed=False,
                    output=output,
                ),
                found, path,
            )  # fmt: skip
        elif node.op_type != "Identity":
            break
        name = node.input[0]
    last = "nothing" if node is None else node.op_type
    raise ModelError(
        f"{path}: ends with {last}, not with a fully connected layer (MatMul, Add) and perhaps a softmax",
        "that is how CTC recognisers end; is it one?",
    )


def _origins(makers: Mapping[str, NodeProto]) -> Any:
    """Make what follows a name back through nodes that change nothing."""

    def origin(name: str) -> str:
        while (node := makers.get(name)) is not None and node.op_type == "Identity":
            name = node.input[0]
        return name

    return origin


def _checked(layout: Layout, found: Mapping[str, TensorProto], path: Path) -> Layout:
    weight = found[layout.weight]
    bias = found[layout.bias] if layout.bias else None
    if len(weight.dims) != 2 or (bias is not None and list(bias.dims) != [weight.dims[1]]):
        raise ModelError(f"{path}: its last layer has weights {list(weight.dims)}, not (features, classes) and a bias")
    return layout


def runtime_graph(model: ModelProto, layout: Layout) -> bytes:
    """Return the graph with the features and the logits as its outputs, and nothing behind them.

    It takes any number of lines: many files say one where nothing in them needs that.
    """
    import onnx
    from onnx import TensorProto, helper

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    for value in graph.input:
        if value.name == input_name(model) and value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].Clear()
    del graph.output[:]
    for name in (layout.features, layout.logits):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    needed = {layout.features, layout.logits}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return changed.SerializeToString()

"""A recogniser that came from an ONNX file, as such a file again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.graphs import onnx_file
from ocrcc.graphs.backbone import GraphBackbone, GraphEncoder
from ocrcc.graphs.expert import GraphExpert, add_experts
from ocrcc.graphs.onnx_file import Layout
from ocrcc.graphs.skeleton import open_skeleton
from ocrcc.models import onnx_contract
from ocrcc.models.contract import KEY, describe
from ocrcc.models.experts import ExpertEncoder, Gate, parsed
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import MODELS

if TYPE_CHECKING:
    from onnx import ModelProto


def _as_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {key: value.detach().cpu().numpy() for key, value in tensors.items()}


def _as_graph_experts(encoder: ExpertEncoder) -> Iterator[GraphExpert]:
    for expert, gate in zip(encoder.experts, encoder.gates, strict=True):
        assert isinstance(expert, GraphEncoder)
        assert isinstance(gate, Gate)
        weight, bias = gate.weight.detach().cpu().numpy(), float(gate.bias)
        yield GraphExpert(weights=_as_arrays(expert.weights()), gate=weight, bias=bias)


def _add_bias(model: ModelProto, layout: Layout, bias: np.ndarray) -> None:
    """Add a bias to a last layer that has none; what comes out keeps its name."""
    from onnx import helper, numpy_helper

    product, added = "ocrcc.product", "ocrcc.bias"
    (place,) = (number for number, node in enumerate(model.graph.node) if layout.logits in node.output)
    model.graph.node[place].output[0] = product
    model.graph.initializer.append(numpy_helper.from_array(bias, added))
    model.graph.node.insert(place + 1, helper.make_node("Add", [product, added], [layout.logits]))


def give_back(recognizer: Recognizer, arch: str, charset: Charset, preprocessing: Preprocessing) -> ModelProto:
    """Return the file that a recogniser came from, with the weights that it has now.

    Names, shapes, opset and metadata are those of the original. Where characters were added, there are as many classes
    more, and the metadata lists them; a space that was the last class is so again. An expert stands in the graph beside
    what it was grown from.
    """
    from onnx import numpy_helper

    model, layout = open_skeleton(MODELS[parsed(arch)[0]].graph, arch)
    backbone, encoder = recognizer.backbone, recognizer.encoder
    assert isinstance(backbone, GraphBackbone)
    first = encoder.encoder if isinstance(encoder, ExpertEncoder) else encoder
    tensors = onnx_file.constants(model.graph)
    symbols = charset.symbols
    if layout.space_last and " " in symbols:
        symbols = symbols.replace(" ", "") + " "
    classes = [0, *(charset.id(symbol) for symbol in symbols)]
    classes = classes[1:] + classes[:1] if layout.blank_last else classes
    more = len(classes) > tensors[layout.weight].dims[0 if layout.transposed else 1]
    weight = recognizer.head.weight.detach().cpu().numpy()[classes]
    values = _as_arrays(backbone.weights())
    if isinstance(first, GraphEncoder):
        values |= _as_arrays(first.weights())
    values[layout.weight] = weight if layout.transposed else weight.T
    bias = recognizer.head.bias.detach().cpu().numpy()[classes]
    if layout.bias:
        values[layout.bias] = bias
    elif np.abs(bias).max() > 0:  # it learned none, but a new character that no line shows is silenced by one
        _add_bias(model, layout, bias)
    for key, value in values.items():
        tensors[key].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensors[key].name))
    for value in model.graph.input:  # old files list their weights there too
        if value.name in values:
            for dim, size in zip(value.type.tensor_type.shape.dim, tensors[value.name].dims, strict=True):
                dim.dim_value = size
    if isinstance(encoder, ExpertEncoder):
        add_experts(model, layout, [*_as_graph_experts(encoder)])
    last = model.graph.output[0].type.tensor_type.shape.dim
    if len(last) == 3 and last[2].dim_value:
        last[2].dim_value = len(classes)
    contract = describe(arch, Charset(symbols, charset.normalisation, charset.name), preprocessing)
    blank = "last" if layout.blank_last else "first"
    stored = {entry.key: entry for entry in model.metadata_props}
    if onnx_contract.CHARACTERS not in stored and more:  # what lists them elsewhere lacks the new ones
        stored[onnx_contract.CHARACTERS] = model.metadata_props.add(key=onnx_contract.CHARACTERS)
    listed = symbols.removesuffix(" ") if layout.space_last else symbols
    if onnx_contract.CHARACTERS in stored and "".join(stored[onnx_contract.CHARACTERS].value.split("\n")) != listed:
        # RapidOCR takes whatever Python's splitlines does for the end of a line, and every class behind it for another.
        stored[onnx_contract.CHARACTERS].value = "\n".join(" " if not char.splitlines()[0] else char for char in listed)
    model.metadata_props.add(key=KEY, value=json.dumps({**contract, "blank": blank}, ensure_ascii=False))
    return model

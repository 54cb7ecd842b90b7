"""Recognisers of other makes, from ONNX files, behind the face of our own: to read, to train and to give back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import ModelError
from ocrcc.graphs import onnx_file
from ocrcc.graphs.backbone import GraphBackbone, weight_names
from ocrcc.graphs.onnx_file import Layout
from ocrcc.models import onnx_contract
from ocrcc.models.contract import KEY, describe
from ocrcc.models.encoders import Through
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import MODELS, graph_name, register_graph

if TYPE_CHECKING:
    from onnx import ModelProto


def register_onnx(graph: bytes, arch: str) -> str:
    """Enter the architecture of an ONNX file.

    Args:
        graph: What `ocrcc.models.onnx_contract.skeleton` made.
        arch: Its name, ``onnx/NAME@DIGEST``.

    Raises:
        ModelError: The name is another graph's.
    """

    def build(_: Preprocessing) -> tuple[nn.Module, nn.Module]:
        model, layout = onnx_contract.open_skeleton(graph, arch)
        backbone = GraphBackbone(model, layout, arch)
        return backbone, Through(backbone.feature_width)

    return register_graph(arch, graph, "From an ONNX file.", build)


def import_onnx(path: Path, config: ImportConfig | None = None) -> tuple[Recognizer, str, Charset, Preprocessing]:
    """Make a recogniser of an ONNX file.

    Args:
        path: The file.
        config: What it does not say of itself.

    Returns:
        The recogniser, its name in the registry, what its classes mean, and what its input looks like.

    Raises:
        ConfigError: onnx is not installed.
        CharsetError: The file's charset is missing or does not fit.
        ModelError: The file is damaged, or no CTC recogniser that torch can run.
    """
    from onnx import numpy_helper

    config = config or ImportConfig()
    model = onnx_file.open_file(path)
    if onnx_contract.is_our_export(model, path):
        raise ModelError(f"{path}: made by ocrcc export, which torch does not read", "give the model it was made of")
    layout = onnx_file.find_layout(model, path)
    charset, preprocessing, space_last = onnx_contract.read_contract(model, layout, config, path)
    layout = replace(layout, space_last=space_last, stride=1)
    tensors = onnx_file.constants(model.graph)
    weight = numpy_helper.to_array(tensors[layout.weight])
    weight = weight if layout.transposed else weight.T
    bias = numpy_helper.to_array(tensors[layout.bias]) if layout.bias else np.zeros(len(weight), np.float32)
    backbone = GraphBackbone(model, layout, str(path)).eval()

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            features = backbone.run(torch.from_numpy(images)).numpy()
        return features, features @ weight.T + bias

    layout = onnx_contract.probe(run, layout, preprocessing, onnx_contract.stated(model, config), path)
    kept = {*weight_names(model, layout), layout.weight, layout.bias}
    graph = onnx_contract.skeleton(model, layout, kept)
    arch = register_onnx(graph, graph_name("onnx", path.stem, graph))
    parts = MODELS[arch].build(preprocessing)
    recognizer = Recognizer(*parts, charset.num_classes)
    order = _own_order(layout, charset.num_classes)
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    state |= {"head.weight": torch.tensor(weight[order]), "head.bias": torch.tensor(bias[order])}
    recognizer.load_state_dict(state)
    return recognizer.eval(), arch, charset, preprocessing


def _own_order(layout: Layout, classes: int) -> np.ndarray:
    """Return the file's class for each of ours."""
    return np.roll(np.arange(classes), 1) if layout.blank_last else np.arange(classes)


def give_back(recognizer: Recognizer, arch: str, charset: Charset, preprocessing: Preprocessing) -> ModelProto:
    """Return the file that a recogniser came from, with the weights that it has now.

    Names, shapes, opset and metadata are those of the original. Where characters were added, there are as many classes
    more, and the metadata lists them; a space that was the last class is so again.
    """
    from onnx import numpy_helper

    model, layout = onnx_contract.open_skeleton(MODELS[arch].graph, arch)
    backbone = recognizer.backbone
    assert isinstance(backbone, GraphBackbone)
    tensors = onnx_file.constants(model.graph)
    symbols = charset.symbols
    if layout.space_last and " " in symbols:
        symbols = symbols.replace(" ", "") + " "
    classes = [0, *(charset.id(symbol) for symbol in symbols)]
    classes = classes[1:] + classes[:1] if layout.blank_last else classes
    weight = recognizer.head.weight.detach().cpu().numpy()[classes]
    values = {key: value.detach().cpu().numpy() for key, value in backbone.weights().items()}
    values[layout.weight] = weight if layout.transposed else weight.T
    bias = recognizer.head.bias.detach().cpu().numpy()[classes]
    if layout.bias:
        values[layout.bias] = bias
    elif np.abs(bias).max() > 0:
        raise ModelError(f"{arch}: its file has no room for the bias that its last layer has learned")
    for key, value in values.items():
        tensors[key].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensors[key].name))
    last = model.graph.output[0].type.tensor_type.shape.dim
    if len(last) == 3 and last[2].dim_value:
        last[2].dim_value = len(classes)
    contract = describe(arch, Charset(symbols, charset.normalisation, charset.name), preprocessing)
    blank = "last" if layout.blank_last else "first"
    stored = {entry.key: entry for entry in model.metadata_props}
    listed = symbols.removesuffix(" ") if layout.space_last else symbols
    if onnx_contract.CHARACTERS in stored and "".join(stored[onnx_contract.CHARACTERS].value.split("\n")) != listed:
        stored[onnx_contract.CHARACTERS].value = "\n".join(listed)
    model.metadata_props.add(key=KEY, value=json.dumps({**contract, "blank": blank}, ensure_ascii=False))
    return model

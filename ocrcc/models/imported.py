"""Recognisers of other makes, from ONNX files, behind the face of our own: to read, to train and to give back.

The graph is walked through as it is, operation by operation, so every weight keeps the name that it has in the file,
and a file that is given back differs in nothing but numbers.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ocrcc.charset import Charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import ModelError
from ocrcc.graphs.operations import OPERATIONS
from ocrcc.models import onnx_file
from ocrcc.models.contract import KEY, describe
from ocrcc.models.onnx_file import CHARACTERS, Layout
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import MODELS, ModelSpec

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_MOST_WEIGHTS = 2**29
_NORMS = {"BatchNormalization": (3, 4)}
"""Inputs that are figures of the training data, not weights."""


class Through(nn.Module):
    """No encoder: a graph's backbone gives the features already.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.feature_width = width

    def forward(self, frames: Tensor) -> Tensor:
        """Give the frames (N, T, D) as they are."""
        return frames


class GraphBackbone(nn.Module):
    """An ONNX graph up to its last layer, as a torch module; batch norms keep the figures that they came with.

    Args:
        model: The graph; weights that it lacks are zeros.
        layout: Of it.
        name: For messages.

    Attributes:
        width_stride: Pixels a frame.
        feature_width: D.

    Raises:
        ModelError: An operation cannot be run in torch.
    """

    def __init__(self, model: ModelProto, layout: Layout, name: str) -> None:
        super().__init__()
        tensors = onnx_file.constants(model.graph)
        self.width_stride = layout.stride
        weight = tensors[layout.weight].dims
        self.feature_width = int(weight[1 if layout.transposed else 0])
        self._frames_first = layout.frames_first
        self._input, self._output = onnx_file.input_name(model), layout.features
        nodes = _needed(model, layout.features)
        _check_operations(nodes, name)
        self._steps = _steps(model, nodes)
        self._last_use = _last_uses(self._steps, layout.features)
        self._names: dict[str, str] = {}
        self._numbers: dict[str, Tensor] = {}
        figures = {node.input[at] for node in nodes for at in _NORMS.get(node.op_type, ()) if at < len(node.input)}
        names = weight_names(model, layout)
        for number, key in enumerate(names):
            value = _tensor(tensors[key])
            self._names[key] = f"w{number}"
            if key in figures:
                self.register_buffer(f"w{number}", value)
            else:
                self.register_parameter(f"w{number}", nn.Parameter(value))
        for key, tensor in tensors.items():
            if key in self._names or key in (layout.weight, layout.bias):
                continue
            value = _tensor(tensor)
            if value.is_floating_point():  # goes with the weights to where they are, and is not one
                self._names[key] = f"c{len(self._names)}"
                self.register_buffer(self._names[key], value, persistent=False)
            else:
                self._numbers[key] = value

    def weights(self) -> dict[str, Tensor]:
        """Return every weight by its name in the file."""
        return {key: getattr(self, own) for key, own in self._names.items() if own.startswith("w")}

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into features (N, T, D), T = W / width_stride, rounded up."""
        features = self.run(images)
        if self._frames_first:
            features = features.transpose(0, 1)
        wanted = math.ceil(images.shape[3] / self.width_stride)
        missing = wanted - features.shape[1]
        if missing > 0:  # some graphs drop what is no whole frame; the last one once more changes no text
            features = torch.cat([features, features[:, -1:].expand(-1, missing, -1)], 1)
        return features[:, :wanted]

    def run(self, images: Tensor) -> Tensor:
        """Return the graph's features as they are."""
        values: dict[str, Tensor] = {self._input: images, **self._numbers}
        values |= {key: getattr(self, own) for key, own in self._names.items()}
        for number, (kind, attributes, inputs, outputs) in enumerate(self._steps):
            found = OPERATIONS[kind](attributes, *(values[name] if name else None for name in inputs))
            for name, value in zip(outputs, (found,) if isinstance(found, Tensor) else found, strict=False):
                values[name] = value
            for name in self._last_use.get(number, ()):
                del values[name]
        return values[self._output]


def weight_names(model: ModelProto, layout: Layout) -> list[str]:
    """Name a graph's weights, those of the last layer left out: all tensors of more than one floating-point number."""
    return [
        name
        for name, tensor in onnx_file.constants(model.graph).items()
        if tensor.data_type == 1 and math.prod(tensor.dims) > 1 and name not in (layout.weight, layout.bias)
    ]


def _needed(model: ModelProto, output: str) -> list[NodeProto]:
    needed, nodes = {output}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    return [node for node in reversed(nodes) if node.op_type != "Constant"]


def _check_operations(nodes: list[NodeProto], name: str) -> None:
    unknown = sorted(
        {node.op_type for node in nodes if node.op_type not in OPERATIONS or node.domain not in ("", "ai.onnx")}
    )
    if unknown:
        raise ModelError(
            f"{name}: cannot be run in torch, for its {', '.join(unknown)}", "predict and eval read it all the same"
        )


def _steps(model: ModelProto, nodes: list[NodeProto]) -> list[tuple[str, dict[str, Any], list[str], list[str]]]:
    from onnx import helper

    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=11)
    steps = []
    for node in nodes:
        attributes: dict[str, Any] = {"opset": opset, "outputs": len(node.output)}
        for attribute in node.attribute:
            value = helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        steps.append((node.op_type, attributes, list(node.input), list(node.output)))
    return steps


def _last_uses(steps: list[tuple[str, dict[str, Any], list[str], list[str]]], output: str) -> dict[int, list[str]]:
    """Say after which step each value is no longer needed."""
    made = {name for _, _, _, outputs in steps for name in outputs}
    last: dict[str, int] = {}
    for number, (_, _, inputs, outputs) in enumerate(steps):
        last |= {name: number for name in (*inputs, *outputs) if name in made and name != output}
    found: defaultdict[int, list[str]] = defaultdict(list)
    for name, number in last.items():
        found[number].append(name)
    return dict(found)


def _tensor(tensor: TensorProto) -> Tensor:
    """Read a tensor; one whose numbers were left out is zeros."""
    from onnx import numpy_helper

    if tensor.data_type == 1 and not (tensor.raw_data or tensor.float_data) and math.prod(tensor.dims) > 1:
        if math.prod(tensor.dims) > _MOST_WEIGHTS:
            raise ModelError(f"a weight {tensor.name!r} of {list(tensor.dims)} is too large")
        return torch.zeros(list(tensor.dims))
    return torch.from_numpy(np.array(numpy_helper.to_array(tensor)))


def register_graph(graph: bytes, arch: str) -> str:
    """Enter an architecture that a file brought; its name holds a digest of it, so that it means this one alone.

    Args:
        graph: What `ocrcc.models.onnx_file.skeleton` made.
        arch: Its name, ``onnx/NAME@DIGEST``.

    Raises:
        ModelError: The name is another graph's.
    """
    if arch != _name(graph, arch.removeprefix("onnx/").rpartition("@")[0]):
        raise ModelError(f"its graph is not that of {arch}")

    def build(_: Preprocessing) -> tuple[nn.Module, nn.Module]:
        model, layout = onnx_file.open_skeleton(graph, arch)
        backbone = GraphBackbone(model, layout, arch)
        return backbone, Through(backbone.feature_width)

    MODELS[arch] = ModelSpec(name=arch, description="From an ONNX file.", build=build, graph=graph)
    return arch


def _name(graph: bytes, stem: str) -> str:
    return f"onnx/{stem}@{hashlib.sha256(graph).hexdigest()[:12]}"


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
    if onnx_file.is_our_export(model, path):
        raise ModelError(f"{path}: made by ocrcc export, which torch does not read", "give the model it was made of")
    layout = onnx_file.find_layout(model, path)
    charset, preprocessing, space_last = onnx_file.read_contract(model, layout, config, path)
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

    layout = onnx_file.probe(run, layout, preprocessing, onnx_file.stated(model, config), path)
    kept = {*weight_names(model, layout), layout.weight, layout.bias}
    graph = onnx_file.skeleton(model, layout, kept)
    arch = register_graph(graph, _name(graph, path.stem))
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

    model, layout = onnx_file.open_skeleton(MODELS[arch].graph, arch)
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
    if CHARACTERS in stored and "".join(stored[CHARACTERS].value.split("\n")) != listed:
        stored[CHARACTERS].value = "\n".join(listed)
    model.metadata_props.add(key=KEY, value=json.dumps({**contract, "blank": blank}, ensure_ascii=False))
    return model

"""An ONNX graph as a torch module, walked through operation by operation.

Every weight keeps the name that it has in the file, so that a file that is given back differs in nothing but numbers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ocrcc.errors import ModelError
from ocrcc.graphs.onnx_file import Layout, constants, input_name
from ocrcc.graphs.operations import OPERATIONS

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_MOST_WEIGHTS = 2**29
_MOST_VALUES = 2**26
"""Of a line, at any place of the graph; PP-OCR's have less than 2**22 on the longest line."""
_NORMS = {"BatchNormalization": (3, 4)}
"""Inputs that are figures of the training data, not weights."""


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
        tensors = constants(model.graph)
        self.width_stride = layout.stride
        weight = tensors[layout.weight].dims
        self.feature_width = int(weight[1 if layout.transposed else 0])
        self._frames_first = layout.frames_first
        self._input, self._output = input_name(model), layout.features
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
        return with_frames(features, math.ceil(images.shape[3] / self.width_stride))

    def run(self, images: Tensor) -> Tensor:
        """Return the graph's features as they are."""
        values: dict[str, Tensor] = {self._input: images, **self._numbers}
        values |= {key: getattr(self, own) for key, own in self._names.items()}
        for number, (kind, attributes, inputs, outputs) in enumerate(self._steps):
            found = OPERATIONS[kind](attributes, *(values[name] if name else None for name in inputs))
            for name, value in zip(outputs, (found,) if isinstance(found, Tensor) else found, strict=False):
                if value.numel() > _MOST_VALUES * len(images):  # a graph of forty doublings fills any memory
                    raise ValueError(f"{kind} gives {tuple(value.shape)}, too many values for a line")
                values[name] = value
            for name in self._last_use.get(number, ()):
                del values[name]
        return values[self._output]


def with_frames(features: Tensor, frames: int) -> Tensor:
    """Give features (N, T, D) of so many frames."""
    missing = frames - features.shape[1]
    if missing > 0:  # some makes drop what is no whole frame; the last one once more changes no text
        features = torch.cat([features, features[:, -1:].expand(-1, missing, -1)], 1)
    return features[:, :frames]


def weight_names(model: ModelProto, layout: Layout) -> list[str]:
    """Name a graph's weights, those of the last layer left out: all tensors of more than one floating-point number."""
    return [
        name
        for name, tensor in constants(model.graph).items()
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

"""An ONNX graph as a torch module, walked through operation by operation.

Every weight keeps the name that it has in the file, so that a file that is given back differs in nothing but numbers.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace
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
_STRAITS = 4
"""Tensors that are tried for frames: behind the backbone of PP-OCR's comes the right one at once."""
_NORMS = {"BatchNormalization": (3, 4)}
"""Inputs that are figures of the training data, not weights."""


class GraphPart(nn.Module):
    """A part of an ONNX graph as a torch module; batch norms keep the figures that they came with.

    Args:
        model: The graph; weights that it lacks are zeros.
        layout: Of it.
        start: The tensor that the part takes.
        end: The tensor that it gives.
        weights: Those that it holds, by their names in the file.
        name: For messages.

    Raises:
        ModelError: An operation cannot be run in torch.
    """

    def __init__(
        self, model: ModelProto, layout: Layout, start: str, end: str, weights: Container[str], name: str
    ) -> None:
        super().__init__()
        tensors = constants(model.graph)
        self._input, self._output = start, end
        nodes = needed(model, end, start)
        _check_operations(nodes, name)
        self._steps = _steps(model, nodes)
        self._last_use = _last_uses(self._steps, end)
        self._names: dict[str, str] = {}
        self._numbers: dict[str, Tensor] = {}
        figures = {node.input[at] for node in nodes for at in _NORMS.get(node.op_type, ()) if at < len(node.input)}
        names = weight_names(model, layout)
        for number, key in enumerate(names):
            if key not in weights:
                continue
            value = _tensor(tensors[key])
            self._names[key] = f"w{number}"
            if key in figures:
                self.register_buffer(f"w{number}", value)
            else:
                self.register_parameter(f"w{number}", nn.Parameter(value))
        used = {key for node in nodes for key in node.input}
        for key in [key for key in tensors if key in used and key not in names]:
            value = _tensor(tensors[key])
            if value.is_floating_point():  # goes with the weights to where they are, and is not one
                self._names[key] = f"c{len(self._names)}"
                self.register_buffer(self._names[key], value, persistent=False)
            else:
                self._numbers[key] = value

    def weights(self) -> dict[str, Tensor]:
        """Return every weight by its name in the file."""
        return {key: getattr(self, own) for key, own in self._names.items() if own.startswith("w")}

    def run(self, value: Tensor) -> Tensor:
        """Return what the graph makes of a value (N, …), as it is."""
        values: dict[str, Tensor] = {self._input: value, **self._numbers}
        values |= {key: getattr(self, own) for key, own in self._names.items()}
        for number, (kind, attributes, inputs, outputs) in enumerate(self._steps):
            found = OPERATIONS[kind](attributes, *(values[name] if name else None for name in inputs))
            for name, made in zip(outputs, (found,) if isinstance(found, Tensor) else found, strict=False):
                if made.numel() > _MOST_VALUES * len(value):  # a graph of forty doublings fills any memory
                    raise ValueError(f"{kind} gives {tuple(made.shape)}, too many values for a line")
                values[name] = made
            for name in self._last_use.get(number, ()):
                del values[name]
        return values[self._output]


class GraphBackbone(GraphPart):
    """An ONNX graph up to what looks along a line, or, where that is not known, up to its last layer.

    Args:
        model: The graph.
        layout: Of it.
        name: For messages.

    Attributes:
        width_stride: Pixels a frame.
        feature_width: D.
        head_has_bias: Whether the last layer behind it can have one, in the file.

    Raises:
        ModelError: An operation cannot be run in torch.
    """

    def __init__(self, model: ModelProto, layout: Layout, name: str) -> None:
        behind = _weights_behind(model, layout)
        own = [key for key in weight_names(model, layout) if key not in behind]
        super().__init__(model, layout, input_name(model), layout.frames or layout.features, own, name)
        self.width_stride, self.head_has_bias = layout.stride, bool(layout.bias)
        self._parted, self._frames_first = bool(layout.frames), layout.frames_first
        self.feature_width = math.prod(layout.frame_shape) if layout.frames else _inputs(model, layout)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into frames (N, T, D), T = W / width_stride; some drop what is no whole frame."""
        found = self.run(images)
        if self._parted:
            return found.flatten(1, 2).transpose(1, 2)
        return found.transpose(0, 1) if self._frames_first else found


class GraphEncoder(GraphPart):
    """What looks along a line in an ONNX graph: from the backbone's frames to what the last layer takes.

    Args:
        model: The graph.
        layout: Of it; says what the frames are.
        name: For messages.

    Attributes:
        feature_width: D, of the features.

    Raises:
        ModelError: An operation cannot be run in torch.
    """

    def __init__(self, model: ModelProto, layout: Layout, name: str) -> None:
        own = _weights_behind(model, layout)
        super().__init__(model, layout, layout.frames, layout.features, own, name)
        self.feature_width = _inputs(model, layout)
        self._frame_shape, self._frames_first = layout.frame_shape, layout.frames_first

    def forward(self, frames: Tensor) -> Tensor:
        """Turn frames (N, T, inputs) into features (N, T, D)."""
        features = self.run(frames.transpose(1, 2).unflatten(1, self._frame_shape))
        return features.transpose(0, 1) if self._frames_first else features


def _inputs(model: ModelProto, layout: Layout) -> int:
    return int(constants(model.graph)[layout.weight].dims[1 if layout.transposed else 0])


def _weights_behind(model: ModelProto, layout: Layout) -> set[str]:
    """Name the weights of what looks along a line."""
    if not layout.frames:
        return set()
    used = {key for node in needed(model, layout.features, layout.frames) for key in node.input}
    return used.intersection(weight_names(model, layout))


def find_frames(model: ModelProto, layout: Layout, name: str, side: tuple[int, int], widths: Sequence[int]) -> Layout:
    """Find the tensor of frames that goes into what looks along a line.

    It is the last one before the first attention that everything behind is made of. Without attention, with frames
    that do not become one feature each, or with a weight on both sides, the graph is left in one part.

    Args:
        model: The graph.
        layout: Of it.
        name: For messages.
        side: Channels and height of the images.
        widths: Of images to try.
    """
    for tensor in _straits(model, layout)[:_STRAITS]:
        front = GraphPart(model, layout, input_name(model), tensor, weight_names(model, layout), name)
        with torch.no_grad():
            tried = [front.run(torch.zeros(2, *side, width)) for width in widths]
        if any(one.ndim != 4 or one.shape[:3] != tried[0].shape[:3] for one in tried):
            continue
        parted = replace(layout, frames=tensor, frame_shape=(tried[0].shape[1], tried[0].shape[2]))
        encoder = GraphEncoder(model, parted, name)
        with torch.no_grad():
            lengths = [encoder.run(one).shape[0 if layout.frames_first else 1] for one in tried]
        before = {key for node in needed(model, tensor, input_name(model)) for key in node.input}
        if lengths == [one.shape[3] for one in tried] and not before & _weights_behind(model, parted):
            return parted
    return layout


def _straits(model: ModelProto, layout: Layout) -> list[str]:
    """Name the tensors before the first attention that all behind is made of, the last one first."""
    nodes = needed(model, layout.features, input_name(model))
    fixed = set(constants(model.graph)) | {""}
    made: set[str] = set()
    last: dict[str, int] = {layout.features: len(nodes)}
    for number, node in enumerate(nodes):
        last |= dict.fromkeys(node.input, number)
    found: list[str] = []
    for number, node in enumerate(nodes):
        if node.op_type == "Softmax":
            return found[::-1]
        if fixed.issuperset(node.input):
            fixed.update(node.output)
            continue
        made.update(node.output)
        made = {key for key in made if last.get(key, -1) > number}
        if len(made) == 1:
            found += made
    return []


def weight_names(model: ModelProto, layout: Layout) -> list[str]:
    """Name a graph's weights, those of the last layer left out: all tensors of more than one floating-point number."""
    return [
        name
        for name, tensor in constants(model.graph).items()
        if tensor.data_type == 1 and math.prod(tensor.dims) > 1 and name not in (layout.weight, layout.bias)
    ]


def needed(model: ModelProto, end: str, start: str) -> list[NodeProto]:
    """List what makes one tensor of another, in order."""
    wanted, nodes = {end}, []
    for node in reversed(model.graph.node):
        if (wanted - {start}).intersection(node.output):
            wanted |= set(node.input)
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

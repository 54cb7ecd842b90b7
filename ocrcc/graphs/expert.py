"""An expert in an ONNX graph: what looks along a line once more, with other weights, for lines that its gate takes.

The operations are those of `ocrcc.models.experts`, of kinds that every opset from 9 on has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ocrcc.graphs.backbone import needed
from ocrcc.graphs.onnx_file import Layout

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_INPUTS_SINCE = {"Slice": 10, "ReduceSum": 13}
"""The opsets in which what was an attribute became an input."""
_END = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class GraphExpert:
    """An expert, as arrays.

    Attributes:
        weights: By the names of those that it was grown from.
        gate: (2 D, 1), of its gate.
        bias: Of its gate.
    """

    weights: Mapping[str, np.ndarray]
    gate: np.ndarray
    bias: float


def add_experts(model: ModelProto, layout: Layout, experts: Sequence[GraphExpert]) -> None:
    """Add experts to a graph; where several gates take a line, the last one's expert reads it.

    Args:
        model: The graph, changed in place.
        layout: Of it; says what the frames are.
        experts: In their order; at least one.
    """
    graph = model.graph
    there = {name for node in graph.node for name in node.output}
    unused = (number for number in range(1, len(there) + 2) if f"expert{number}.taken" not in there)
    builds = [_Building(model, f"expert{number}.") for number, _ in zip(unused, experts, strict=False)]
    read = builds[0].named("before")  # what the features were called so far
    for node in graph.node:
        node.output[:] = [read if name == layout.features else name for name in node.output]
    nodes = list(graph.node)
    behind = needed(model, read, layout.frames)
    place = 1 + max(number for number, node in enumerate(nodes) if read in node.output)
    added: list[NodeProto] = []
    for build, expert in zip(builds, experts, strict=True):
        features = build.copy(behind, expert.weights)
        chosen = build.gate(layout, expert.gate, expert.bias)
        read = build.add("Where", [chosen, features, read], "read")
        added += build.nodes
    added[-1].output[0] = layout.features
    del graph.node[:]
    graph.node.extend([*nodes[:place], *added, *nodes[place:]])


class _Building:
    """Nodes and tensors of an expert, all of whose names have its prefix.

    Args:
        model: The graph; tensors are added to it, nodes are not.
        prefix: Of the names.
    """

    def __init__(self, model: ModelProto, prefix: str) -> None:
        self._model, self._prefix = model, prefix
        self._opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=11)
        self.nodes: list[NodeProto] = []

    def named(self, name: str) -> str:
        return self._prefix + name

    def tensor(self, name: str, value: np.ndarray) -> str:
        """Add a tensor; return its name."""
        from onnx import numpy_helper

        self._model.graph.initializer.append(numpy_helper.from_array(value, self.named(name)))
        return self.named(name)

    def number(self, name: str, value: float) -> str:
        """Add a number; return its name."""
        return self.tensor(name, np.array(value, np.float32))

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add an operation; return the name of what it gives."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [self.named(output)], **attributes))
        return self.named(output)

    def _with_ints(self, kind: str, value: str, output: str, ints: Mapping[str, int], **attributes: Any) -> str:
        """Add an operation some of whose inputs, lists of one number each, were attributes once."""
        if self._opset < _INPUTS_SINCE[kind]:
            return self.add(kind, [value], output, **{key: [one] for key, one in ints.items()}, **attributes)
        given = [self.tensor(f"{output}.{key}", np.array([one], np.int64)) for key, one in ints.items()]
        return self.add(kind, [value, *given], output, **attributes)

    def _slice(self, value: str, output: str, start: int, end: int) -> str:
        return self._with_ints("Slice", value, output, {"starts": start, "ends": end, "axes": 1})

    def _sum(self, value: str, output: str, axis: int) -> str:
        return self._with_ints("ReduceSum", value, output, {"axes": axis}, keepdims=1)

    def copy(self, nodes: list[NodeProto], weights: Mapping[str, np.ndarray]) -> str:
        """Add nodes once more, with other weights; return the name of what the last one gives."""
        import onnx

        renamed = {name: self.named(name) for node in nodes for name in node.output}
        renamed |= {name: self.tensor(name, value) for name, value in weights.items()}
        for node in nodes:
            again = onnx.NodeProto()
            again.CopyFrom(node)
            again.name = self.named(node.name) if node.name else ""
            again.input[:] = [renamed.get(name, name) for name in node.input]
            again.output[:] = [renamed.get(name, name) for name in node.output]
            self.nodes.append(again)
        return self.nodes[-1].output[0]

    def gate(self, layout: Layout, weight: np.ndarray, bias: float) -> str:
        """Add what tells lines of the kind by their frames; return the name of a truth value a line."""
        add = self.add
        width = int(np.prod(layout.frame_shape))
        rows = add("Reshape", [layout.frames, self.tensor("shape", np.array([0, width, -1]))], "rows")
        frames = add("Transpose", [rows], "frames", perm=[0, 2, 1])  # (N, T, D)
        later = self._slice(frames, "later", 1, _END)
        earlier = self._slice(frames, "earlier", 0, -1)
        first = self._slice(frames, "first", 0, 1)
        step = add("Sub", [later, earlier], "step")
        summed = self._sum(add("Mul", [step, step], "squared_step"), "squares_of_steps", 2)
        none = add("Mul", [self._sum(first, "sum_of_the_first", 2), self.number("zero", 0.0)], "no_step")
        changes = add("Concat", [add("Sqrt", [summed], "steps"), none], "changes", axis=1)  # (N, T, 1)
        total = add("Max", [self._sum(changes, "sum", 1), self.number("least", 1e-6)], "total")
        weights = add("Transpose", [add("Div", [changes, total], "column")], "weights", perm=[0, 2, 1])  # (N, 1, T)
        mean = add("MatMul", [weights, frames], "mean")  # (N, 1, D)
        squares = add("MatMul", [weights, add("Mul", [frames, frames], "squared_frames")], "squares")
        variance = add("Sub", [squares, add("Mul", [mean, mean], "squared_mean")], "difference")
        spread = add("Sqrt", [add("Max", [variance, self.number("none", 0.0)], "variance")], "deviation")
        kind = add("Concat", [mean, spread], "kind", axis=2)
        product = add("MatMul", [kind, self.tensor("gate", weight.astype(np.float32))], "product")
        score = add("Add", [product, self.number("bias", bias)], "score")  # (N, 1, 1)
        if layout.frames_first:
            score = add("Transpose", [score], "turned_score", perm=[1, 0, 2])
        return add("Greater", [score, self.named("zero")], "taken")

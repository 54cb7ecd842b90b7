"""A recogniser as an ONNX graph: traced by torch, then made quick and small without changing what it reads."""

from __future__ import annotations

import tempfile
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from ocrcc.config import Preprocessing
from ocrcc.errors import ModelError
from ocrcc.models.recognizer import Recognizer
from ocrcc.reading.onnx_engine import FEATURES, INPUT, LOGITS

_OPSET = 17
"""The first with layer normalisation in one piece; ONNX Runtime reads it since 1.12."""
_EXAMPLE = (2, 96)
"""Lines and pixels traced; both are free afterwards."""


class _Pair(nn.Module):
    """A recogniser whose output is a tuple, which is what the exporter takes."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        self.recognizer = recognizer

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        output = self.recognizer(images)
        return output.features, output.logits


def trace(recognizer: Recognizer, arch: str, preprocessing: Preprocessing) -> ModelProto:
    """Turn a recogniser in evaluation mode into a graph with free batch size and width.

    Batch norms are merged into the convolutions before them.

    Raises:
        ModelError: torch cannot export this architecture.
    """
    lines, width = _EXAMPLE
    images = torch.zeros(lines, preprocessing.channels, preprocessing.height, width)
    frames = {0: "lines", 1: "frames"}
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
            path = Path(folder) / "traced.onnx"
            warnings.simplefilter("ignore")  # that this exporter is the older one, and notes on its own passes
            # The newer exporter needs further packages and minutes, and gives no better graph of a CNN.
            torch.onnx.export(
                _Pair(recognizer).eval(),
                (images,),
                path,
                input_names=[INPUT],
                output_names=[FEATURES, LOGITS],
                dynamic_axes={INPUT: {0: "lines", 3: "width"}, FEATURES: frames, LOGITS: frames},
                opset_version=_OPSET,
                dynamo=False,
            )
            model = onnx.load(str(path))
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ModelError(f"{arch} cannot be exported: {str(error).strip().splitlines()[0]}") from None
    for node in model.graph.node:
        node.doc_string = ""  # may name files of this machine
    return model


def fold_affines(model: ModelProto) -> int:
    """Merge the scale and shift after an activation into the convolution before it.

    HGNetV2 computes ``s * relu(conv(x)) + b``, which is ``max(s * conv(x) + b, b)`` for a positive s and the
    minimum for a negative one: a convolution with other weights, clipped on one side at b. Runtimes do that in
    one pass, in place of three and the changes of memory layout between them.

    Returns:
        How many there were.
    """
    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    users: defaultdict[str, list[NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            users[name].append(node)
    # The exporter keeps equal numbers once, and names the others by Identity.
    numbers = tensors | {
        node.output[0]: tensors[node.input[0]]
        for node in graph.node
        if node.op_type == "Identity" and node.input[0] in tensors
    }
    replaced: dict[str, list[NodeProto]] = {}
    gone: set[str] = set()
    for relu in graph.node:
        conv = makers.get(relu.input[0]) if relu.op_type == "Relu" else None
        if conv is None or conv.op_type != "Conv" or len(conv.input) != 3 or len(users[conv.output[0]]) != 1:
            continue
        weight, bias = (tensors.get(name) for name in conv.input[1:])
        mul, scale = _scalar_after(relu, "Mul", users, numbers)
        add, shift = _scalar_after(mul, "Add", users, numbers)
        if weight is None or bias is None or add is None or any(len(users[each]) != 1 for each in conv.input[1:]):
            continue
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * scale, weight.name))
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * scale + shift, bias.name))
        limit = f"{add.output[0]}_limit"
        bounds = [limit] if scale >= 0 else ["", limit]
        replaced[relu.output[0]] = [
            helper.make_node("Constant", [], [limit], value=numpy_helper.from_array(shift)),
            helper.make_node("Clip", [conv.output[0], *bounds], [add.output[0]], name=f"{relu.name}_clip"),
        ]
        gone |= {node.output[0] for node in (mul, add) if node is not None}
    nodes = [new for node in graph.node for new in replaced.get(node.output[0], [node]) if node.output[0] not in gone]
    _set_nodes(model, nodes)
    return len(replaced)


def _scalar_after(
    node: NodeProto | None, kind: str, users: dict[str, list[NodeProto]], numbers: dict[str, TensorProto]
) -> tuple[NodeProto | None, np.ndarray]:
    """Find the only user of a node, if it is of a kind and its other operand is a constant number."""
    nothing = np.zeros((), np.float32)
    if node is None or len(users[node.output[0]]) != 1:
        return None, nothing
    (user,) = users[node.output[0]]
    other = [numbers[name] for name in user.input if name in numbers]
    if user.op_type != kind or len(other) != 1 or int(np.prod(other[0].dims)) != 1:
        return None, nothing
    return user, numpy_helper.to_array(other[0]).astype(np.float32).reshape(())


def add_constant(model: ModelProto, name: str, value: np.ndarray) -> None:
    """Give a graph an output that no input changes."""
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), f"{name}_value"))
    model.graph.node.append(helper.make_node("Identity", [f"{name}_value"], [name], name=name))
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))


def halve(model: ModelProto) -> None:
    """Store weights in float16; they are computed with in float32, as they are brought to that on loading."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1:
            name, stored = tensor.name, f"{tensor.name}_half"
            with np.errstate(over="ignore"):  # the check of what it reads finds infinite weights
                tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), stored))
            casts.append(helper.make_node("Cast", [stored], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    _set_nodes(model, [*casts, *model.graph.node])


def _set_nodes(model: ModelProto, nodes: list[NodeProto]) -> None:
    """Replace a graph's nodes; drop tensors that none of them uses any more."""
    graph = model.graph
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]  # else the deletion takes them along
    del graph.node[:]
    graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    kept = [TensorProto.FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:]
    graph.initializer.extend(kept)

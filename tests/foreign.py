"""A small recogniser of another make, as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHARS = "0123456789"


def foreign(
    path: Path,
    chars: str = CHARS,
    classes: int = 12,
    extra=(),
    ends: str = "Softmax",
    character: bool = True,
    attention: bool = False,
    opset: int = 11,
    bias: bool = True,
) -> Path:
    """Write a small recogniser as PaddlePaddle's converter does: weights as constants, SAME padding, space last.

    With attention, its features are frames that look at each other before the last layer.
    """
    rng = np.random.default_rng(5)
    weights = {
        "conv.w": rng.normal(size=(6, 3, 2, 2)) * 0.3, "conv.b": rng.normal(size=6) * 0.1,
        "down.w": rng.normal(size=(8, 6, 3, 3)) * 0.2, "fc.w": rng.normal(size=(8, classes)),
        "fc.b": rng.normal(size=classes),
    }  # fmt: skip
    if not bias:
        del weights["fc.b"]
    if attention:
        weights |= {"q.w": rng.normal(size=(8, 8)), "k.w": rng.normal(size=(8, 8))}
    make = helper.make_node
    looks = [
        make("Transpose", ["s"], ["f"], perm=[0, 2, 1]),
        make("MatMul", ["f", "q.w"], ["q"]),
        make("MatMul", ["f", "k.w"], ["k"]),
        make("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        make("MatMul", ["q", "kt"], ["qk"]),
        make("Softmax", ["qk"], ["a.w"], axis=2),
        make("MatMul", ["a.w", "f"], ["seen"]),
        make("Add", ["seen", "f"], ["t"]),
    ]
    nodes = [make("Constant", [], [k], value=numpy_helper.from_array(v.astype(np.float32))) for k, v in weights.items()]
    nodes += [
        make("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([0, 8, -1]))),
        make("Conv", ["x", "conv.w", "conv.b"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[2, 2]),
        make("Relu", ["a"], ["r"]),
        make("Conv", ["r", "down.w"], ["b"], strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        *extra,
        make("AveragePool", ["b"], ["p"], kernel_shape=[12, 2], strides=[12, 2]),
        make("Reshape", ["p", "shape"], ["s"]),
        *(looks if attention else [make("Transpose", ["s"], ["t"], perm=[0, 2, 1])]),
        make("MatMul", ["t", "fc.w"], ["m"]),
        *([make("Add", ["m", "fc.b"], ["l"])] if bias else []),
        make(ends, ["l" if bias else "m"], ["y"], axis=2),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 48, "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "t", classes])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    if character:
        model.metadata_props.add(key="character", value="\n".join(chars))
    onnx.save(model, str(path))
    return path

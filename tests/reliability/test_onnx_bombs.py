"""Small ONNX files that would fill a machine are refused before they get any memory, and the value is named."""

from __future__ import annotations

import pytest

from ocrcc.errors import ModelError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

from ocrcc.graphs.onnx_file import open_file  # noqa: E402


def ints(name, values):
    return helper.make_tensor(name, TensorProto.INT64, [len(values)] if isinstance(values, list) else [],
                              values if isinstance(values, list) else [values])  # fmt: skip


BOMBS = {
    "ConstantOfShape": (["big"], [ints("big", [1024, 1024, 2048])]),
    "Expand": (["one", "big"], [helper.make_tensor("one", TensorProto.FLOAT, [1], [0.0]), ints("big", [2**11, 2**20])]),
    "Range": (["from", "to", "by"], [ints("from", 0), ints("to", 2**31), ints("by", 1)]),
    "Tile": (["x", "often"], [ints("often", [1, 1, 2**10, 2**12])]),
    "Pad": (["x", "wide"], [ints("wide", [0, 0, 0, 0, 0, 0, 2**16, 2**16])]),
    "Resize": (["x", "", "scales"], [helper.make_tensor("scales", TensorProto.FLOAT, [4], [1, 1, 1e3, 1e3])]),
}


def write(path, nodes, tensors):
    shape = [1, 3, 48, None]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", BOMBS)
def test_a_value_that_is_far_too_large_is_named(tmp_path, kind):
    inputs, tensors = BOMBS[kind]
    cast = helper.make_node("Cast", ["v"], ["y"], to=TensorProto.FLOAT)
    path = write(tmp_path / "a.onnx", [helper.make_node(kind, inputs, ["v"]), cast], tensors)
    assert path.stat().st_size < 1000
    with pytest.raises(ModelError, match=r"a\.onnx: its value '[vy]' would have \[.*\] numbers, more than"):
        open_file(path)


def test_doubling_is_seen_through(tmp_path):
    nodes = [helper.make_node("Concat", [f"v{n}", f"v{n}"], [f"v{n + 1}"], axis=3) for n in range(40)]
    nodes.insert(0, helper.make_node("Relu", ["x"], ["v0"]))
    nodes.append(helper.make_node("Relu", ["v40"], ["y"]))
    with pytest.raises(ModelError, match="its value 'v[0-9]+' would have"):
        open_file(write(tmp_path / "a.onnx", nodes, []))


def test_a_weight_that_promises_more_than_it_brings(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**16, 2**16], raw_data=b"\0" * 16)
    with pytest.raises(ModelError, match="its tensor 'w' says .* and brings 16 numbers"):
        open_file(write(tmp_path / "a.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], [tensor]))

"""ONNX files that are no CTC recognisers, broken, or hostile: each is refused, and says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from foreign import foreign

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper  # noqa: E402

from ocrcc.errors import ModelError  # noqa: E402
from ocrcc.models.checkpoint import load_model  # noqa: E402
from ocrcc.reading.onnx_engine import load_onnx  # noqa: E402


def changed(tmp_path: Path, change, **how) -> Path:
    """Write a recogniser that was changed."""
    path = foreign(tmp_path / "bad.onnx", **how)
    model = onnx.load(str(path))
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def small(path: Path, nodes, inputs, output_shape) -> Path:
    """Write a graph of a few nodes."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)
    graph = helper.make_graph(nodes, "g", values, [output])
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    )
    return path


IMAGE = {"x": ["n", 3, "h", "w"]}


def test_a_detector(tmp_path):
    path = small(tmp_path / "det.onnx", [helper.make_node("Sigmoid", ["x"], ["y"])], IMAGE, ["n", 1, "h", "w"])
    with pytest.raises(ModelError, match="4 axes, as a detector's"):
        load_model(path)


def test_a_classifier(tmp_path):
    path = small(tmp_path / "cls.onnx", [helper.make_node("Flatten", ["x"], ["y"])], IMAGE, ["n", 2])
    with pytest.raises(ModelError, match="2 axes, as a classifier's"):
        load_model(path)


def test_the_detector_that_rapidocr_carries():
    rapidocr = pytest.importorskip("rapidocr")
    folder = Path(rapidocr.__file__).parent / "models"
    for path in [*folder.glob("*_det_*.onnx"), *folder.glob("*_cls_*.onnx")]:
        with pytest.raises(ModelError, match=r"(detector|classifier)'s"):
            load_model(path)


@pytest.mark.parametrize("kind", ["Loop", "Scan", "If"])
def test_a_decoder_that_reads_character_by_character(tmp_path, kind):
    path = foreign(tmp_path / "bad.onnx", extra=[helper.make_node(kind, ["b"], ["q"])])
    with pytest.raises(ModelError, match=f"has a {kind}: a decoder that reads character by character"):
        load_model(path)


def test_a_decoder_that_takes_what_it_wrote(tmp_path):
    inputs = {**IMAGE, "previous": ["n", "t"]}
    path = small(tmp_path / "dec.onnx", [helper.make_node("Relu", ["x"], ["y"])], inputs, ["n", "t", "c"])
    with pytest.raises(ModelError, match=r"2 inputs \(x, previous\); a CTC recogniser has one"):
        load_model(path)


def test_an_operation_that_torch_cannot_run_is_named_and_onnx_runtime_reads_it(tmp_path):
    def change(model):
        next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Softsign"

    path = changed(tmp_path, change)
    with pytest.raises(ModelError, match="for its Softsign"):
        load_model(path)
    assert load_onnx(path).charset.num_classes == 12


@pytest.mark.parametrize("kind", ["QLinearConv", "MatMulInteger", "DequantizeLinear"])
def test_quantised_weights(tmp_path, kind):
    path = foreign(tmp_path / "bad.onnx", extra=[helper.make_node(kind, ["b"], ["q"])])
    with pytest.raises(ModelError, match="quantised"):
        load_model(path)


def outside(model, place: str) -> None:
    """Let one of the weights lie in another file."""
    tensor = next(one for node in model.graph.node for one in (a.t for a in node.attribute) if len(one.dims) == 4)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("weights.bin", "no such file"),
        ("../weights.bin", "outside its folder"),
        ("/etc/passwd", "outside its folder"),
        ("sub/../../weights.bin", "outside its folder"),
        ("", "outside its folder"),
    ],
)
def test_external_weights(tmp_path, place, message):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "weights.bin").write_bytes(np.zeros(72, np.float32).tobytes())
    path = changed(inside, lambda model: outside(model, place))
    with pytest.raises(ModelError, match=message):
        load_model(path)


def test_half_precision_is_named_whatever_order_the_operations_stand_in(tmp_path):
    """A converter puts what turns the input to float16 behind all else."""

    def halved(model):
        for node in model.graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
                    values = onnx.numpy_helper.to_array(attribute.t).astype(np.float16)
                    attribute.t.CopyFrom(onnx.numpy_helper.from_array(values))
        (conv,) = (node for node in model.graph.node if "x" in node.input)
        conv.input[0] = "half_x"
        model.graph.node.append(helper.make_node("Cast", ["x"], ["half_x"], to=TensorProto.FLOAT16))

    with pytest.raises(ModelError, match="its weights are in float16"):
        load_model(changed(tmp_path, halved))


def test_external_weights_behind_a_link(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "weights.bin").write_bytes(np.zeros(72, np.float32).tobytes())
    (inside / "weights.bin").symlink_to(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="outside its folder"):
        load_model(changed(inside, lambda model: outside(model, "weights.bin")))


def test_external_weights_beside_it_are_read(tmp_path):
    whole = load_model(foreign(tmp_path / "whole.onnx"), device="cpu")
    values = next(value for value in whole.recognizer.state_dict().values() if value.ndim == 4)
    (tmp_path / "weights.bin").write_bytes(values.numpy().tobytes())
    found = load_model(changed(tmp_path, lambda model: outside(model, "weights.bin")), device="cpu")
    np.testing.assert_array_equal(
        next(value for value in found.recognizer.state_dict().values() if value.ndim == 4), values
    )


def test_a_weight_that_promises_more_than_it_brings(tmp_path):
    def change(model):
        tensor = next(one for node in model.graph.node for one in (a.t for a in node.attribute) if len(one.dims) == 4)
        tensor.dims[0] = 2**40

    with pytest.raises(ModelError, match=r"says \[1099511627776, "):
        load_model(changed(tmp_path, change))


def test_too_many_operations(tmp_path):
    def change(model):
        model.graph.node.extend([helper.make_node("Identity", ["x"], [f"i{n}"]) for n in range(20_001)])

    with pytest.raises(ModelError, match="more than 20000"):
        load_model(changed(tmp_path, change))


def test_values_that_come_from_nowhere(tmp_path):
    def change(model):
        model.graph.node[-1].input[0] = "y"

    with pytest.raises(ModelError, match="takes 'y' before it is made"):
        load_model(changed(tmp_path, change))


def test_forty_doublings(tmp_path):
    def change(model):
        nodes = list(model.graph.node)
        at = next(number for number, node in enumerate(nodes) if node.op_type == "Conv")
        names = ["x", *(f"twice{number}" for number in range(40))]
        doubled = [
            helper.make_node("Concat", [one, one], [two], axis=3)
            for one, two in zip(names[:-1], names[1:], strict=True)
        ]
        nodes[at].input[0] = names[-1]
        del model.graph.node[:]
        model.graph.node.extend([*nodes[:at], *doubled, *nodes[at:]])

    with pytest.raises(ModelError, match=r"too many values for a line|would have"):
        load_model(changed(tmp_path, change))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x08\x08" + bytes(100)])
def test_what_is_no_onnx_file(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not an ONNX file that can be read"):
        load_model(path)


@pytest.mark.parametrize("text", [b"Softmax", b"character", b"conv.w", b"perm", b"SAME_UPPER"])
def test_a_text_that_is_none(tmp_path, capsys, text):
    path = foreign(tmp_path / "bad.onnx")
    path.write_bytes(path.read_bytes().replace(text, b"\xff" + text[1:]))
    for load in (load_model, load_onnx):
        with pytest.raises(ModelError, match=r"bad\.onnx: .*(UTF-8|utf-8|does not run|not an ONNX file)"):
            load(path)
    assert not capsys.readouterr().out  # ONNX Runtime's banners

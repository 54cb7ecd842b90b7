"""Recognisers of other makes: in, through training, and back."""

import copy
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from drawn_lines import draw_line
from foreign import CHARS, foreign
from onnx import helper

from ocrcc.config import ImportConfig
from ocrcc.errors import CharsetError, ConfigError, ModelError
from ocrcc.export.export import export
from ocrcc.graphs.backbone import GraphEncoder
from ocrcc.graphs.skeleton import open_skeleton
from ocrcc.images.transforms import pad, prepare
from ocrcc.models.checkpoint import import_model, load_model, save_model
from ocrcc.models.experts import Gate, can_have_an_expert, kind_of, with_expert
from ocrcc.models.imported import register_onnx
from ocrcc.models.registry import MODELS, create_model, graph_name
from ocrcc.reading.onnx_engine import load_onnx
from ocrcc.training.transfer import transfer


@pytest.fixture(params=[False, True], ids=["convolutions", "attention"])
def file(request, tmp_path):
    return foreign(tmp_path / "foreign.onnx", attention=request.param)


def batch(model):
    lines = [prepare(draw_line(text), model.preprocessing) for text in ("1234", "0987654321" * 3)]
    return pad(lines, 705)  # no whole number of frames


def save(path, loaded, recognizer=None, charset=None):
    save_model(
        path, recognizer_state=(recognizer or loaded.recognizer).state_dict(), arch=loaded.arch,
        charset=charset or loaded.charset, preprocessing=loaded.preprocessing, info={},
    )  # fmt: skip
    return path


def test_torch_and_onnx_runtime_agree(file):
    loaded, runtime = load_model(file, device="cpu"), load_onnx(file)
    assert loaded.charset.symbols == runtime.charset.symbols == CHARS + " "
    assert (loaded.recognizer.width_stride, loaded.recognizer.feature_width) == (runtime.width_stride, 8) == (8, 8)
    for width in (512, 513, 516, 517, 519):
        images = np.random.default_rng(width).normal(size=(2, 3, 48, width)).astype(np.float32)
        with torch.no_grad():
            found = loaded.recognizer(torch.from_numpy(images))
        features, logits = runtime.engine(images)
        assert found.logits.shape == logits.shape == (2, -(-width // 8), 12)
        np.testing.assert_allclose(found.features.numpy(), features, atol=1e-4)
        np.testing.assert_allclose(found.logits.numpy(), logits, atol=1e-4)


def with_experts(loaded, lines):
    """Give a model two experts with other weights; the gate of each takes two of four lines."""
    made, kinds = loaded.recognizer, kind_of(loaded.recognizer.backbone(lines)).detach()
    for number in (1, 2):
        gate = Gate(kinds.shape[1] // 2)
        torch.manual_seed(number)
        gate.weight.copy_(torch.randn(kinds.shape[1], 1))
        scores = gate.score(kinds).sort().values
        gate.bias -= (scores[1] + scores[2]) / 2
        tuned = copy.deepcopy(loaded.recognizer)
        with torch.no_grad():
            for weight in tuned.encoder.parameters():
                weight += torch.randn_like(weight)
        made = with_expert(made, tuned, gate)
    return made


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_an_expert_of_a_file_goes_back_into_it(tmp_path, opset):
    file = foreign(tmp_path / "foreign.onnx", attention=True, opset=opset)
    loaded = load_model(file, device="cpu")
    assert can_have_an_expert(loaded.recognizer)
    lines = torch.from_numpy(np.random.default_rng(3).normal(size=(4, 3, 48, 517)).astype(np.float32))
    grown = with_experts(loaded, lines)
    chosen = grown.encoder.chosen(grown.backbone(lines))
    assert len(set(chosen.tolist())) == 3, "each reads some line"
    stored = tmp_path / "m.safetensors"
    save_model(
        stored, recognizer_state=grown.state_dict(), arch=f"{loaded.arch}+experts2", charset=loaded.charset,
        preprocessing=loaded.preprocessing, info={"step": 0, "metrics": {}},
    )  # fmt: skip
    back = tmp_path / "back.onnx"
    export(stored, back)
    old, new = onnx.load(str(file)), onnx.load(str(back))
    assert (old.opset_import, old.graph.input, old.graph.output) == (
        new.opset_import, new.graph.input, new.graph.output,
    )  # fmt: skip
    assert old.metadata_props[0] == new.metadata_props[0]
    onnx.checker.check_model(new)

    with torch.no_grad():
        wanted = load_model(stored, device="cpu").recognizer(lines).logits.numpy()
        again = load_model(back, device="cpu")
        np.testing.assert_allclose(again.recognizer(lines).logits.numpy(), wanted, atol=1e-4)
    np.testing.assert_allclose(load_onnx(back).engine(lines.numpy())[1], wanted, atol=1e-4)
    before = load_onnx(file).engine(lines.numpy())[1]
    same = np.abs(wanted - before).max((1, 2)) < 1e-4
    assert same.tolist() == (chosen < 0).tolist()

    assert isinstance(again.recognizer.encoder, GraphEncoder), "and it can be grown once more"
    more = with_experts(again, lines)
    save_model(
        stored, recognizer_state=more.state_dict(), arch=f"{again.arch}+experts2", charset=loaded.charset,
        preprocessing=loaded.preprocessing, info={"step": 0, "metrics": {}},
    )  # fmt: skip
    export(stored, tmp_path / "twice.onnx")
    with torch.no_grad():
        wanted = more(lines).logits.numpy()
    np.testing.assert_allclose(load_onnx(tmp_path / "twice.onnx").engine(lines.numpy())[1], wanted, atol=1e-4)


def test_frames_that_no_graph_has_are_a_damaged_file(file):
    loaded = load_model(file, device="cpu")
    model = onnx.ModelProto.FromString(MODELS[loaded.arch].graph)
    (place,) = [entry for entry in model.metadata_props if entry.key == "ocrcc.graph"]
    layout = json.loads(place.value)
    for changes in (
        {"frames": "p", "frame_shape": [8, 0]},
        {"frames": "p", "frame_shape": [8]},
        {"frames": "nothing", "frame_shape": [8, 1]},
        {"frame_shape": 8},
    ):
        place.value = json.dumps(layout | changes)
        with pytest.raises(ModelError, match="damaged"):
            open_skeleton(model.SerializeToString(), "m")


def test_a_graph_that_does_not_run_is_a_damaged_file(tmp_path):
    loaded = load_model(foreign(tmp_path / "foreign.onnx", attention=True), device="cpu")
    graph = MODELS[loaded.arch].graph.replace(b'"frame_shape": [8, 1]', b'"frame_shape": [5, 1]')
    arch = register_onnx(graph, graph_name("onnx", "foreign", graph))
    stored = tmp_path / "m.safetensors"
    save_model(
        stored, recognizer_state=loaded.recognizer.state_dict(), arch=arch, charset=loaded.charset,
        preprocessing=loaded.preprocessing, info={"step": 0, "metrics": {}},
    )  # fmt: skip
    with pytest.raises(ModelError, match="does not read an empty line"):
        load_model(stored, device="cpu")


def test_every_weight_learns_and_a_saved_one_is_the_same(file, tmp_path):
    loaded = load_model(file, device="cpu")
    images = torch.from_numpy(batch(loaded))
    loaded.recognizer.train()(images).logits.square().mean().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in loaded.recognizer.parameters())
    again = load_model(save(tmp_path / "m.safetensors", loaded), device="cpu")
    assert torch.equal(again.recognizer(images).logits, loaded.recognizer.eval()(images).logits)
    assert again.preprocessing == loaded.preprocessing


def test_given_back_it_differs_in_its_weights_alone(file, tmp_path):
    loaded = load_model(file, device="cpu")
    with torch.no_grad():
        loaded.recognizer.head.bias += 1
    back = tmp_path / "back.onnx"
    export(save(tmp_path / "m.safetensors", loaded), back)
    old, new = onnx.load(str(file)), onnx.load(str(back))
    assert old.opset_import == new.opset_import
    assert old.graph.input == new.graph.input
    assert old.graph.output == new.graph.output
    assert [node.op_type for node in old.graph.node] == [node.op_type for node in new.graph.node]
    assert old.metadata_props[0] == new.metadata_props[0]
    with torch.no_grad():
        wanted = loaded.recognizer(torch.from_numpy(batch(loaded))[..., :512]).logits.softmax(-1)
    found = onnxruntime.InferenceSession(str(back)).run(None, {"x": batch(loaded)[..., :512]})[0]
    np.testing.assert_allclose(wanted.numpy(), found, atol=1e-5)


def test_new_characters_come_before_the_space_again(file, tmp_path):
    loaded = load_model(file, device="cpu")
    charset = loaded.charset.merge("AB")
    grown = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
    transfer(loaded, grown, charset)
    back = tmp_path / "back.onnx"
    export(save(tmp_path / "m.safetensors", loaded, grown, charset), back)
    stored = {entry.key: entry.value for entry in onnx.load(str(back)).metadata_props}
    assert stored["character"] == "\n".join(CHARS + "AB")
    read = load_onnx(back)
    assert read.charset.symbols == CHARS + "AB "
    images = batch(loaded)
    old, new = load_onnx(file).engine(images)[1], read.engine(images)[1]
    np.testing.assert_allclose(new[..., [*range(11), 13]], old, atol=1e-5)


def grown_by(loaded, chars):
    charset = loaded.charset.merge(chars)
    grown = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
    transfer(loaded, grown, charset)
    return grown, charset


def test_a_character_that_ends_lines_moves_no_class_of_who_reads_the_file(file, tmp_path):
    loaded = load_model(file, device="cpu")
    back = tmp_path / "back.onnx"
    export(save(tmp_path / "m.safetensors", loaded, *grown_by(loaded, "A\x85B\u2028C")), back)
    stored = {entry.key: entry.value for entry in onnx.load(str(back)).metadata_props}
    assert stored["character"].splitlines() == [*CHARS, "A", " ", "B", " ", "C"], "as RapidOCR parts them"
    assert load_onnx(back).charset.symbols == load_model(back, device="cpu").charset.symbols == CHARS + "A\x85B\u2028C "


def test_new_characters_are_listed_in_a_file_that_listed_none(tmp_path):
    (tmp_path / "chars.txt").write_text("\n".join(CHARS + " "))
    bare = foreign(tmp_path / "bare.onnx", character=False)
    config = ImportConfig(charset=str(tmp_path / "chars.txt"))
    loaded = import_model(bare, config, device="cpu")
    for name, recognizer, charset in (("same", loaded.recognizer, loaded.charset), ("more", *grown_by(loaded, "A"))):
        back = tmp_path / f"{name}.onnx"
        export(save(tmp_path / f"{name}.safetensors", loaded, recognizer, charset), back)
        stored = {entry.key: entry.value for entry in onnx.load(str(back)).metadata_props}
        assert stored.get("character") == {"same": None, "more": "\n".join(CHARS + " A")}[name]
        assert load_onnx(back).charset.symbols == charset.symbols


def test_a_new_character_that_nothing_shows_goes_into_a_file_without_a_bias(tmp_path):
    loaded = load_model(foreign(tmp_path / "one.onnx", classes=11, bias=False), device="cpu")
    grown, charset = grown_by(loaded, "A")
    with torch.no_grad():  # as `finetune` keeps it from being read
        grown.head.weight[-1], grown.head.bias[-1] = 0, -40
        wanted = grown.eval()(torch.from_numpy(batch(loaded)))
    back = tmp_path / "back.onnx"
    export(save(tmp_path / "m.safetensors", loaded, grown, charset), back)
    onnx.checker.check_model(onnx.load(str(back)))
    np.testing.assert_allclose(load_onnx(back).engine(batch(loaded))[1], wanted.logits, atol=1e-4)
    given = onnxruntime.InferenceSession(str(back)).run(None, {"x": batch(loaded)[..., :512]})[0]
    assert given[..., -1].max() < 1e-6
    again = load_model(back, device="cpu").recognizer.head.bias
    assert again.tolist() == [0.0] * 11 + [-40.0]


def test_weights_that_are_listed_as_inputs_take_new_characters(tmp_path):
    file = foreign(tmp_path / "old.onnx")
    model = onnx.load(str(file))
    for node in [node for node in model.graph.node if node.op_type == "Constant"]:
        (value,) = node.attribute
        value.t.name = node.output[0]
        model.graph.initializer.append(value.t)
        dims = list(value.t.dims)
        model.graph.input.append(helper.make_tensor_value_info(value.t.name, value.t.data_type, dims))
        model.graph.node.remove(node)
    onnx.save(model, str(file))
    loaded = load_model(file, device="cpu")
    back = tmp_path / "back.onnx"
    export(save(tmp_path / "m.safetensors", loaded, *grown_by(loaded, "AB")), back)
    onnx.checker.check_model(onnx.load(str(back)))
    assert load_onnx(back).charset.symbols == CHARS + "AB "


@pytest.mark.parametrize("lines", [1, 2])
def test_a_file_that_says_how_many_lines_it_takes_reads_any_number(tmp_path, lines):
    file = foreign(tmp_path / "fixed.onnx")
    wanted = load_onnx(file).engine(np.ones((3, 3, 48, 320), np.float32))[1]
    model = onnx.load(str(file))
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = lines
    onnx.save(model, str(file))
    np.testing.assert_allclose(load_onnx(file).engine(np.ones((3, 3, 48, 320), np.float32))[1], wanted, atol=1e-5)
    back = tmp_path / "back.onnx"
    export(save(tmp_path / "m.safetensors", load_model(file, device="cpu")), back)
    assert onnx.load(str(back)).graph.input[0].type.tensor_type.shape.dim[0].dim_value == lines


def test_what_was_given_back_is_ours_to_replace_and_no_other_is(file, tmp_path):
    stored, back = save(tmp_path / "m.safetensors", load_model(file, device="cpu")), tmp_path / "back.onnx"
    before = file.read_bytes()
    for _ in range(2):
        export(stored, back)
    with pytest.raises(ConfigError, match="is no exported model that ocrcc made"):
        export(stored, file)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        ({"classes": 20}, CharsetError, "20 classes"),
        ({"chars": "0123456780", "classes": 12}, CharsetError, "more than one class"),
        ({"extra": [helper.make_node("Loop", ["b"], ["q"])]}, ModelError, "Loop"),
        ({"extra": [helper.make_node("DynamicQuantizeLinear", ["b"], ["q", "z", "u"])]}, ModelError, "quantised"),
        ({"ends": "Relu"}, ModelError, "ends with Relu"),
    ],
)
def test_what_is_no_ctc_recogniser_is_named(tmp_path, make, kind, message):
    path = foreign(tmp_path / "bad.onnx", **make)
    for load in (load_model, load_onnx):
        with pytest.raises((kind, ModelError), match=message if load is load_model else None):
            load(path)

"""Label files, charsets, lists, settings, models: whatever their bytes, they are read or refused in a sentence, soon.

``python tests/reliability inputs 100000 7`` changes so many, of all kinds of files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from attacks import Target, attack, check
from long import times

from ocrcc.charset import Charset, load_charset
from ocrcc.cli.options import _load_config
from ocrcc.config import Preprocessing
from ocrcc.labels.find import find_labels
from ocrcc.lookalikes import HEADER, load_lookalikes
from ocrcc.models.checkpoint import load_model, save_model
from ocrcc.models.imported import import_onnx
from ocrcc.models.registry import create_model
from ocrcc.texts.corpus import CorpusFile, read_templates
from ocrcc.texts.templates import Vocabulary

STRANGE = (b"\0", b"\n", b"\t", b'"', b"\xff\xfe", b"[" * 3000, b"9" * 5000, b"-1", b"1e999", b"null", b"{}")
Reader = Callable[[Path], object]
TEXTS = {
    "tab.txt": "a.png\t己已\nb.png\t12\n",
    "space.txt": "a.png 己已\nb.png 12\n",
    "icdar.txt": 'a.png, "己已"\nb.png, "12"\n',
    "table.csv": 'file_name,text\na.png,"己, 已"\nb.png,12\n',
    "lines.jsonl": '{"file_name": "a.png", "text": "己"}\n{"file_name": "b.png", "text": "2"}\n',
    "Label.txt": 'a.png\t[{"transcription": "己", "points": [[0,0],[9,0],[9,9],[0,9]], "difficult": false}]\n',
    "page.xml": '<?xml version="1.0"?><PcGts><Page imageFilename="a.png" imageWidth="90" imageHeight="40"><TextRegion>'
    '<TextLine><Coords points="0,0 9,0 9,9 0,9"/><TextEquiv><Unicode>己</Unicode></TextEquiv></TextLine></TextRegion>'
    "</Page></PcGts>",
    "alto.xml": "<alto><Description><sourceImageInformation><fileName>a.png</fileName></sourceImageInformation>"
    '</Description><Layout><Page WIDTH="9" HEIGHT="9"><TextLine HPOS="0" VPOS="0" WIDTH="9" HEIGHT="9">'
    '<String CONTENT="己"/></TextLine></Page></Layout></alto>',
    "a.hocr": '<html><body><div class="ocr_page" title="image &quot;a.png&quot;; bbox 0 0 90 40"><span '
    'class="ocr_line" title="bbox 0 0 9 9"><span class="ocrx_word" title="bbox 0 0 9 9">己</span></span></div></body>'
    "</html>",
    "me.json": '{"imagePath": "a.png", "imageHeight": 40, "imageWidth": 90, "shapes": [{"label": "己", "points": '
    '[[0, 0], [9, 9]], "shape_type": "rectangle"}]}',
    "studio.json": '[{"data": {"image": "a.png"}, "annotations": [{"result": [{"id": "1", "type": "rectangle", '
    '"value": {"x": 1, "y": 1, "width": 9, "height": 9}}, {"id": "1", "type": "textarea", "value": {"text": '
    '["己"]}}]}]}]',
}
SETTINGS = 'strict = false\nseed = 7\nval-fraction = 0.25\nformat = "tab"\n'


def small_model(path: Path) -> bytes:
    charset, preprocessing = Charset("0123456789"), Preprocessing()
    save_model(
        path, recognizer_state=create_model("lcnet_050", charset.num_classes, preprocessing).state_dict(),
        arch="lcnet_050", charset=charset, preprocessing=preprocessing, info={"step": 1, "metrics": {}, "config": {}},
    )  # fmt: skip
    return path.read_bytes()


def small_onnx() -> bytes:
    """A recogniser of four characters: one convolution over the whole height, one fully connected layer."""
    from onnx import TensorProto, helper, numpy_helper

    dice = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(dice.normal(size=size).astype(np.float32), name)
        for name, size in (("kernel", (12, 3, 48, 4)), ("w", (12, 5)), ("b", (5,)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"], kernel_shape=[48, 4], strides=[48, 4]),
        helper.make_node("Squeeze", ["c", "axis"], ["s"]),
        helper.make_node("Transpose", ["s"], ["f"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["f", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"], axis=2),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 48, "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "T", 5])],
        [*tensors, numpy_helper.from_array(np.array([2]), "axis")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.metadata_props.add(key="character", value="0\n1\n己\n已")
    return bytes(model.SerializeToString())


def read_labels(path: Path) -> None:
    for labels in find_labels(path):
        list(labels)


def read_settings(path: Path) -> None:
    _load_config(typer.Context(typer.main.get_command(_settings_app()), info_name="build-lmdb"), path)


def _settings_app() -> typer.Typer:
    from ocrcc.cli.commands.build_lmdb import command

    app = typer.Typer()
    app.command()(command)
    return app


def read_onnx(path: Path) -> None:
    import_onnx(path)


def kinds(folder: Path) -> dict[str, Callable[[], Target]]:
    """Name what is attacked; each is made when it is called for."""

    def of(name: str, whole: Callable[[], bytes], read: Reader) -> Callable[[], Target]:
        return lambda: Target(name, whole(), mutated, read)

    found = {name: of(name, text.encode, read_labels) for name, text in TEXTS.items()}
    for name, text, read in (
        ("charset", "0\n1\n己\n已\n \n", lambda path: load_charset(str(path))),
        (
            "groups.tsv",
            f"{HEADER}\n1\t己已巳\t0.9\tlisted\n2\t0O\t0.5\tglyphs\n",
            lambda path: load_lookalikes(str(path)),
        ),
        ("corpus.txt", "己已\nhello 12\n", CorpusFile),
        ("templates", "{digits:3} of {digits:4}\n3| x\n", lambda path: read_templates(path, Vocabulary({}, "己"))),
        ("settings.toml", SETTINGS, read_settings),
    ):
        found[name] = of(name, text.encode, read)
    found["m.safetensors"] = of("m.safetensors", lambda: small_model(folder / "model"), load_model)
    found["m.onnx"] = of("m.onnx", small_onnx, read_onnx)
    return found


def mutated(whole: bytes, dice: np.random.Generator) -> bytes:
    data = bytearray(whole)
    head = min(len(data), 3000)
    for _ in range(int(dice.integers(1, 6))):
        place = int(dice.integers(head if dice.random() < 0.9 else len(data)))
        how = dice.random()
        if how < 0.4:
            data[place : place + 1] = bytes([int(dice.integers(256))])
        elif how < 0.6:
            del data[place : place + int(dice.integers(1, 20))]
        elif how < 0.8:
            start = int(dice.integers(head))
            data[place:place] = data[start : start + int(dice.integers(1, 60))]
        else:
            data[place:place] = STRANGE[int(dice.integers(len(STRANGE)))]
        head = max(1, min(len(data), 3000))
        if not data:
            return b""
    return bytes(data)


@pytest.mark.parametrize("name", kinds(Path()))
def test_mutated_files_are_read_or_refused(tmp_path, name):
    if name == "m.onnx":
        pytest.importorskip("onnx")
    check(attack(tmp_path, kinds(tmp_path)[name](), times(20 if name == "m.safetensors" else 100), seed=0))

"""Files whose form is right and whose values are not: JSON and what holds it, datasets, pages; read or refused."""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from attacks import Change, Target, attack, check
from drawn_lines import draw_line
from long import times
from PIL import Image
from stored_lines import store_drawn
from test_mutated_files import TEXTS, mutated, read_labels, small_model

from ocrcc import load_recognizer
from ocrcc.annotations.entries import Entry, Problem
from ocrcc.charset import load_charset
from ocrcc.config import ExportConfig
from ocrcc.data.lmdb_index import COUNT, INDEX, META
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import DataError
from ocrcc.glyphs.lookalikes import _from_evaluations
from ocrcc.labels.find import find_labels
from ocrcc.pages.documents import open_frames
from ocrcc.review.log import opened
from ocrcc.review.readings import read_readings

STRANGE = (
    *("null", "true", "-1", "0", "1", "0.5", "1e999", "-1e999", "NaN", "1e-300", "9" * 5000, "9" * 400, str(2**31)),
    *(str(2**63), "1e18", '""', '"x"', '"9"', '"nan"', '"\\u0000"', '"\\ud800"', '"\\u202e\\u009b"', '"../a.png"'),
    *("[]", "{}", "[[]]", "[1]", '{"a": {}}', "[" * 3000, '{"a":' * 3000, "-0", '"' + "x" * 70_000 + '"'),
)
CHAR = {
    "char": "1", "confidence": 0.5, "left": 0, "right": 9, "margin": 0.5, "box": [[0, 0], [9, 0], [9, 9], [0, 9]],
    "alternatives": [{"char": "l", "confidence": 0.25}], "doubt": {"wrong": 0.5, "lookalike": 0.5, "dropped": 0.0},
}  # fmt: skip
LINE = {"path": "a.png", "text": "1", "confidence": 0.5, "chars": [CHAR]}
DECISION = {
    "line": "0" * 20, "read": ["1", "2"], "position": 0, "looks": "x", "cells": {"0": "l"}, "decided": [0], "open": 0,
    "text": "l2", "left_out": False, "seconds": 1.5,
}  # fmt: skip


def changed_json(whole: bytes, dice: np.random.Generator) -> bytes:
    """Put something else in one to three places of a JSON, or less, or more than once."""
    value, put = json.loads(whole), []
    for _ in range(int(dice.integers(1, 4))):
        spots = [*_spots(value)]
        if not spots:
            break
        inside, key = spots[int(dice.integers(len(spots)))]
        how = dice.random()
        if how < 0.7:
            inside[key] = "\ue000"
            put.append(STRANGE[int(dice.integers(len(STRANGE)))])
        elif how < 0.85:
            del inside[key]
        elif isinstance(inside, list):
            inside.extend(inside * int(dice.integers(1, 3)))
        else:
            inside[f"{key}x"] = inside.pop(key)
    parts = json.dumps(value).split('"\\ue000"')
    text = "".join(part + strange for part, strange in zip(parts, [*put, *[""] * len(parts)], strict=False))
    return text.encode("utf-8", "surrogatepass")


def _spots(value: Any) -> Any:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _spots(value[key])


def changed_line(whole: bytes, dice: np.random.Generator) -> bytes:
    """Change one of several lines of JSON."""
    rows = whole.splitlines()
    changed = int(dice.integers(len(rows)))
    rows[changed] = changed_json(rows[changed], dice)
    return b"\n".join([*rows, b""])


def changed_boxes(whole: bytes, dice: np.random.Generator) -> bytes:
    """Change the JSON behind a name."""
    name, tab, boxes = whole.partition(b"\t")
    return name + tab + changed_json(boxes, dice)


def changed_model(whole: bytes, dice: np.random.Generator) -> bytes:
    """Change what a model says of itself, or where its tensors lie."""
    size = int.from_bytes(whole[:8], "little")
    raw = whole[8 : 8 + size]
    if dice.random() < 0.8:
        header = json.loads(raw)
        described = changed_json(header["__metadata__"]["ocrcc"].encode(), dice)
        header["__metadata__"]["ocrcc"] = described.decode("utf-8", "surrogatepass")
        raw = json.dumps(header).encode()
    else:
        raw = changed_json(raw, dice)
    return len(raw).to_bytes(8, "little") + raw + whole[8 + size :]


def changed_export(whole: bytes, dice: np.random.Generator) -> bytes:
    """Change what an ONNX file of ours says of itself."""
    import onnx

    graph = onnx.ModelProto.FromString(whole)
    (entry,) = [one for one in graph.metadata_props if one.key == "ocrcc"]
    entry.value = changed_json(entry.value.encode(), dice)
    return bytes(graph.SerializeToString())


def changed_dataset(whole: bytes, dice: np.random.Generator) -> bytes:
    """Change values that a dataset of ours stores."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "data.mdb")
        path.write_bytes(whole)
        with lmdb.open(name, map_size=1 << 22, lock=False) as env, env.begin(write=True) as change:
            keys = [*change.cursor().iternext(values=False)] if dice.random() < 0.3 else [META, INDEX, COUNT]
            key = keys[int(dice.integers(len(keys)))]
            value = bytes(change.get(key))
            if key == META and dice.random() < 0.8:
                value = changed_json(value, dice)
            elif key == INDEX and dice.random() < 0.8:
                value = zlib.compress(mutated(zlib.decompress(value), dice))
            else:
                value = mutated(value, dice)
            change.put(key, value)
        return path.read_bytes()


def use_model(path: Path) -> None:
    reading = load_recognizer(str(path), device="cpu").recognize(draw_line("123"))
    assert reading.text is not None


def exported(folder: Path) -> bytes:
    """Give an ONNX file of ``ocrcc export``."""
    from ocrcc.export.export import export

    small_model(folder / "of.safetensors")
    return export(folder / "of.safetensors", folder / "of.onnx", ExportConfig(samples=2, rendered=0)).path.read_bytes()


def read_dataset(path: Path) -> None:
    data = LmdbDataset(path)
    _ = data.widths, data.heights, data.label_lengths, data.characters, data.sha256
    for index in range(len(data)):
        data.line(index)


def read_frames(path: Path) -> None:
    for frame in open_frames(str(path), dpi=30, max_pixels=1_000_000):
        frame.load()


def read_log(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as name:
        folder = Path(name)
        (folder / "decisions.jsonl").write_bytes(path.read_bytes())
        with opened(folder) as log:
            log.labels()


def pages(folder: Path, kind: str) -> bytes:
    sheets = [Image.fromarray(np.full((40, 60), shade, np.uint8)) for shade in (0, 99, 200)]
    sheets[0].save(folder / f"pages.{kind}", save_all=True, append_images=sheets[1:])
    return (folder / f"pages.{kind}").read_bytes()


def kinds(folder: Path) -> dict[str, Callable[[], Target]]:
    """Name what is attacked; each is made when it is called for."""
    page = {"path": "a.png", "width": 90, "height": 40, "lines": [{**LINE, "box": CHAR["box"]}]}
    log = [{"ocrcc": "decisions", "version": 1}, DECISION, {"undo": DECISION["line"]}, DECISION]
    report = {
        "confusions": [{"truth": "0", "predicted": "O", "count": 3}, {"truth": "1", "predicted": "l", "count": 1}]
    }
    digits = load_charset("ascii")

    def rows(*values: Any) -> Callable[[], bytes]:
        return lambda: "".join(json.dumps(value) + "\n" for value in values).encode()

    def stored() -> bytes:
        return (store_drawn(folder / "whole.lmdb", map(str, range(20))) / "data.mdb").read_bytes()

    found: dict[str, tuple[Callable[[], bytes], Change, Callable[[Path], object]]] = {
        "Label.txt": (TEXTS["Label.txt"].encode, changed_boxes, read_labels),
        "me.json": (TEXTS["me.json"].encode, changed_json, read_labels),
        "studio.json": (TEXTS["studio.json"].encode, changed_json, read_labels),
        "lines.jsonl": (TEXTS["lines.jsonl"].encode, changed_line, read_labels),
        "readings.jsonl": (rows(LINE, page), changed_line, lambda path: list(read_readings(path))),
        "decisions.jsonl": (rows(*log), changed_line, read_log),
        "report.json": (rows(report), changed_json, lambda path: _from_evaluations([str(path)], digits)),
        "m.safetensors": (lambda: small_model(folder / "model"), changed_model, use_model),
        "m.onnx": (lambda: exported(folder), changed_export, use_model),
        "data.mdb": (stored, changed_dataset, read_dataset),
        "a.tif": (lambda: pages(folder, "tif"), mutated, read_frames),
        "a.pdf": (lambda: pages(folder, "pdf"), mutated, read_frames),
    }
    return {f"values of {name}": partial(_target, name, *how) for name, how in found.items()}


def _target(name: str, whole: Callable[[], bytes], change: Change, read: Callable[[Path], object]) -> Target:
    return Target(name, whole(), change, read)


SLOW = ("values of m.safetensors", "values of m.onnx")


@pytest.mark.parametrize("name", kinds(Path()))
def test_changed_values_are_read_or_refused(tmp_path, name):
    for package in {"values of m.onnx": ("onnx", "onnxruntime"), "values of a.pdf": ("pypdfium2",)}.get(name, ()):
        pytest.importorskip(package)
    check(attack(tmp_path, kinds(tmp_path)[name](), times(20 if name in SLOW else 150), seed=0))


def test_endless_numbers_are_no_reading_and_no_count(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(LINE).replace('"left": 0', '"left": 1e999'))
    with pytest.raises(DataError, match="a.json:1: no reading"):
        list(read_readings(path))
    for count in ("1e999", "-1", "0"):
        path.write_text('{"confusions": [{"truth": "0", "predicted": "O", "count": N}]}'.replace("N", count))
        with pytest.raises(DataError, match="no confusions in it"):
            _from_evaluations([str(path)], load_charset("ascii"))


@pytest.mark.parametrize("wrong", ['{"annotations": [{"result": 5}]}', '{"annotations": 5}', '{"a": [{"x": 1}, 5]}'])
def test_one_damaged_task_leaves_the_others(tmp_path, wrong):
    path = tmp_path / "studio.json"
    value = {"x": 0, "y": 0, "width": 9, "height": 9, "text": ["己"]}
    result = {"id": "1", "type": "textarea", "original_width": 90, "original_height": 40, "value": value}
    whole = json.dumps({"data": {"image": "a.png"}, "annotations": [{"result": [result]}]})
    path.write_text(f"[{wrong}, {whole}]")
    (labels,) = find_labels(path)
    damaged, good = labels
    assert isinstance(damaged, Problem)
    assert (damaged.reason, damaged.where) == ("not as such a file has it", f"{path} (task 1)")
    assert isinstance(good, Entry)
    assert good.text == "己"


@pytest.mark.parametrize("wrong", ["5", "null"])
def test_a_damaged_document_is_a_problem_that_is_counted(tmp_path, wrong):
    path = tmp_path / "me.json"
    path.write_text('{"imagePath": "a.png", "shapes": N}'.replace("N", wrong))
    (labels,) = find_labels(path)
    assert [problem.reason for problem in labels] == ["label file that cannot be read"]

"""Recognisers of other makes, from ONNX files, behind the face of our own: to read and to train."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import ModelError
from ocrcc.graphs import onnx_file
from ocrcc.graphs.backbone import GraphBackbone, GraphEncoder, find_frames, weight_names
from ocrcc.graphs.onnx_file import Layout
from ocrcc.graphs.skeleton import open_skeleton, skeleton
from ocrcc.models import onnx_contract
from ocrcc.models.contract import KEY
from ocrcc.models.encoders import Through
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import MODELS, graph_name, register_graph


def register_onnx(graph: bytes, arch: str) -> str:
    """Enter the architecture of an ONNX file.

    Args:
        graph: What `ocrcc.graphs.skeleton.skeleton` made.
        arch: Its name, ``onnx/NAME@DIGEST``.

    Raises:
        ModelError: The name is another graph's.
    """

    def build(_: Preprocessing) -> tuple[nn.Module, nn.Module]:
        model, layout = open_skeleton(graph, arch)
        backbone = GraphBackbone(model, layout, arch)
        return backbone, GraphEncoder(model, layout, arch) if layout.frames else Through(backbone.feature_width)

    return register_graph(arch, graph, "From an ONNX file.", build)


def import_onnx(path: Path, config: ImportConfig | None = None) -> tuple[Recognizer, str, Charset, Preprocessing]:
    """Make a recogniser of an ONNX file.

    Args:
        path: The file.
        config: What it does not say of itself.

    Returns:
        The recogniser, its name in the registry, what its classes mean, and what its input looks like.

    Raises:
        ConfigError: onnx is not installed.
        CharsetError: The file's charset is missing or does not fit.
        ModelError: The file is damaged, or no CTC recogniser that torch can run.
    """
    from onnx import numpy_helper

    config = config or ImportConfig()
    model = onnx_file.open_file(path)
    if onnx_contract.is_our_export(model, path):
        raise ModelError(f"{path}: made by ocrcc export, which torch does not read", "give the model it was made of")
    layout = onnx_file.find_layout(model, path)
    charset, preprocessing, space_last = onnx_contract.read_contract(model, layout, config, path)
    layout = replace(layout, space_last=space_last, stride=1)
    tensors = onnx_file.constants(model.graph)
    weight = numpy_helper.to_array(tensors[layout.weight])
    weight = weight if layout.transposed else weight.T
    bias = numpy_helper.to_array(tensors[layout.bias]) if layout.bias else np.zeros(len(weight), np.float32)
    backbone = GraphBackbone(model, layout, str(path)).eval()

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            features = backbone.run(torch.from_numpy(images)).numpy()
        return features, features @ weight.T + bias

    layout = onnx_contract.probe(run, layout, preprocessing, onnx_contract.stated(model, config), path)
    widths = {min(max(width, preprocessing.min_width), preprocessing.max_width) for width in _tried(layout.stride)}
    side = preprocessing.channels, preprocessing.height
    layout = find_frames(model, layout, str(path), side, sorted(widths))
    kept = {*weight_names(model, layout), layout.weight, layout.bias}
    graph = skeleton(model, layout, kept, own_key=KEY)
    arch = register_onnx(graph, graph_name("onnx", path.stem, graph))
    parts = MODELS[arch].build(preprocessing)
    recognizer = Recognizer(*parts, charset.num_classes)
    order = _own_order(layout, charset.num_classes)
    behind = recognizer.encoder.state_dict()
    state = {f"{'encoder' if key in behind else 'backbone'}.{key}": one for key, one in backbone.state_dict().items()}
    state |= {"head.weight": torch.tensor(weight[order]), "head.bias": torch.tensor(bias[order])}
    recognizer.load_state_dict(state)
    return recognizer.eval(), arch, charset, preprocessing


def _tried(stride: int) -> tuple[int, int]:
    """Return the most and the least pixels that so many frames stand for."""
    return 80 * stride, 79 * stride + 1


def _own_order(layout: Layout, classes: int) -> np.ndarray:
    """Return the file's class for each of ours."""
    return np.roll(np.arange(classes), 1) if layout.blank_last else np.arange(classes)

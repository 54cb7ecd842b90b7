"""PP-OCRv6 small as RapidOCR carries it, placed into Transformers' architecture: batch norms are folded there."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import nn

_LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear, nn.LayerNorm)


def save_as_transformers(path: Path, folder: Path) -> Path:
    """Write a folder of ``save_pretrained`` with the weights of an ONNX file.

    Layers are paired by the order in which they run. A convolution that has a bias in the file and none in the
    architecture leaves it to the batch norm behind it, which then does nothing else.
    """
    import transformers

    graph = onnx.load(str(path))
    values = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.graph.initializer}
    characters = next(entry.value for entry in graph.metadata_props if entry.key == "character").split("\n")
    config = transformers.AutoConfig.for_model(
        "pp_ocrv6_small_rec", head_out_channels=len(characters) + 2, backbone_config={"model_type": "pp_lcnet_v4"}
    )
    model = transformers.AutoModelForTextRecognition.from_config(config).eval()
    order: list[nn.Module] = []
    hooks = [
        module.register_forward_hook(lambda module, _in, _out: order.append(module))
        for module in model.modules()
        if isinstance(module, _LAYERS)
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, 48, 320))
        for hook in hooks:
            hook.remove()
        _place(_layers_of(graph, values), order)
    model.save_pretrained(folder)
    processor = transformers.PPOCRV6SmallRecImageProcessor(
        character_list=["blank", *characters, " "], image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    processor.save_pretrained(folder)
    return folder


def _layers_of(graph: onnx.ModelProto, values: dict[str, torch.Tensor]) -> list[tuple[str, list[torch.Tensor]]]:
    """Name the layers of a graph in their order, each with its weight, its bias and so on."""
    nodes = graph.graph.node
    takers: dict[str, list[onnx.NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            takers.setdefault(name, []).append(node)

    def added(name: str) -> list[torch.Tensor]:
        node = takers[name][0]
        known = [values[one].flatten() for one in node.input if one in values]
        return known if node.op_type == "Add" else []

    found = []
    for node in nodes:
        if node.op_type == "Conv":
            found.append(("conv", [values[node.input[1]], *added(node.output[0])]))
        elif node.op_type == "BatchNormalization":
            found.append(("norm", [values[name] for name in node.input[1:5]]))
        elif node.op_type == "MatMul" and node.input[1] in values:
            found.append(("linear", [values[node.input[1]].T, *added(node.output[0])]))
        elif node.op_type == "Mul" and takers[node.output[0]][0].op_type == "Add":
            scale = [values[one].flatten() for one in node.input if one in values and values[one].numel() == 120]
            if scale:
                found.append(("layer norm", [*scale, *added(node.output[0])]))
    return found


def _place(layers: list[tuple[str, list[torch.Tensor]]], order: list[nn.Module]) -> None:
    left = iter(layers)
    folded: torch.Tensor | None = None
    for module in order:
        if isinstance(module, nn.BatchNorm2d) and folded is not None:
            module.weight.fill_(1)
            module.bias.copy_(folded)
            module.running_mean.zero_()
            module.running_var.fill_(1 - module.eps)
            folded = None
            continue
        kind, weights = next(left)
        wanted = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm", nn.Linear: "linear", nn.LayerNorm: "layer norm"}
        assert kind == wanted[type(module)], (kind, module)
        module.weight.copy_(weights[0])
        if isinstance(module, nn.Conv2d) and module.bias is None:
            folded = weights[1] if len(weights) > 1 else None
        else:
            module.bias.copy_(weights[1])
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(weights[2])
            module.running_var.copy_(weights[3])
    assert next(left, None) is None

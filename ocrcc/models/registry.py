"""The recognisers by name. A function's name is the model's id, everywhere."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ocrcc.config import Preprocessing
from ocrcc.errors import ModelError
from ocrcc.models.backbones import TimmBackbone, VggBackbone
from ocrcc.models.encoders import BiLstm, Projection, Transformer
from ocrcc.models.experts import ExpertEncoder, parsed
from ocrcc.models.recognizer import Recognizer

Parts = tuple[nn.Module, nn.Module]
"""A backbone and the encoder that takes its frames."""
Builder = Callable[[Preprocessing], Parts]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """An entry of the registry.

    Attributes:
        name: The id.
        description: One line.
        build: Makes the backbone and the encoder.
        graph: What it is made of, if a file of another make brought it (an ONNX graph, or a configuration as JSON);
            saved with its weights.
    """

    name: str
    description: str
    build: Builder
    graph: bytes = b""


MODELS: dict[str, ModelSpec] = {}
"""Every registered recogniser; `register` fills it."""


def register(build: Builder) -> Builder:
    """Enter a function under its own name; its docstring is the description.

    Raises:
        ValueError: The name is taken.
    """
    name = build.__name__
    if name in MODELS:
        raise ValueError(f"two models are named {name}")
    MODELS[name] = ModelSpec(name=name, description=(build.__doc__ or "").strip(), build=build)
    return build


def graph_name(maker: str, stem: str, graph: bytes) -> str:
    """Name an architecture that a file brought; the name holds a digest of it, so that it means this one alone."""
    return f"{maker}/{stem}@{hashlib.sha256(graph).hexdigest()[:12]}"


def register_graph(arch: str, graph: bytes, description: str, build: Builder) -> str:
    """Enter an architecture that a file brought.

    Raises:
        ModelError: The name is another graph's.
    """
    maker, _, name = arch.partition("/")
    if arch != graph_name(maker, name.rpartition("@")[0], graph):
        raise ModelError(f"its graph is not that of {arch}")
    MODELS[arch] = ModelSpec(name=arch, description=description, build=build, graph=graph)
    return arch


_ENCODERS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda inputs: Projection(inputs, 256),
    "bilstm": lambda inputs: BiLstm(inputs),
    "transformer": lambda inputs: Transformer(inputs, 192),
}


def _timm(preprocessing: Preprocessing, name: str, encoder: str) -> Parts:
    backbone = TimmBackbone(name, preprocessing.channels, preprocessing.height)
    return backbone, _ENCODERS[encoder](backbone.feature_width)


def create_model(name: str, num_classes: int, preprocessing: Preprocessing | None = None) -> Recognizer:
    """Make a recogniser with fresh weights.

    Args:
        name: A registered name, or ``timm/NAME`` for any timm backbone that can be cut to width stride 4,
            with ``+none``, ``+bilstm`` or ``+transformer`` (the default) for its encoder; with ``+expertsN``, it has N
            experts beside that.
        num_classes: C, the blank among them.
        preprocessing: Gives the height and the channels.

    Raises:
        ModelError: No such model, or it cannot be cut.
    """
    preprocessing = preprocessing or Preprocessing()
    name, experts = parsed(name)
    if name in MODELS:
        backbone, encoder = MODELS[name].build(preprocessing)
    elif match := re.fullmatch(rf"timm/([\w.]+)(?:\+({'|'.join(_ENCODERS)}))?", name):
        backbone, encoder = _timm(preprocessing, match[1], match[2] or "transformer")
    else:
        close = difflib.get_close_matches(name, MODELS, n=1)
        raise ModelError(
            f"no model named {name!r}",
            (f"did you mean {close[0]}? " if close else "")
            + f"names: {', '.join(MODELS)}, or timm/NAME[+{'|'.join(_ENCODERS)}]",
        )
    if experts:
        encoder = ExpertEncoder(encoder, experts, int(backbone.feature_width))  # type: ignore[arg-type]
    return Recognizer(backbone, encoder, num_classes)


@register
def crnn(p: Preprocessing) -> Parts:
    """CRNN as published in 2015: seven VGG convolutions, two BiLSTM layers."""
    return VggBackbone(p.channels), BiLstm(512)


@register
def resnet18_bilstm(p: Preprocessing) -> Parts:
    """ResNet-18 and two BiLSTM layers, the usual strong CRNN of 2018 to 2020."""
    return _timm(p, "resnet18", "bilstm")


@register
def resnet10_plain(p: Preprocessing) -> Parts:
    """ResNet-10 without any encoder: each frame sees its neighbourhood only."""
    return _timm(p, "resnet10t", "none")


@register
def densenet121_plain(p: Preprocessing) -> Parts:
    """DenseNet-121 without recurrence, as in the DenseNet + CTC readers of 2018."""
    return _timm(p, "densenet121", "none")


@register
def mobilenetv3_bilstm(p: Preprocessing) -> Parts:
    """MobileNetV3 (large) and two BiLSTM layers."""
    return _timm(p, "mobilenetv3_large_100", "bilstm")


@register
def tinynet_plain(p: Preprocessing) -> Parts:
    """TinyNet-E without any encoder, SqueezeNet-sized: half a million weights."""
    return _timm(p, "tinynet_e", "none")


@register
def hgnetv2_b0(p: Preprocessing) -> Parts:
    """HGNetV2-B0 and two attention blocks: the shipped model's, accurate and quick on a CPU."""
    return _timm(p, "hgnetv2_b0", "transformer")


@register
def mobilenetv3_small(p: Preprocessing) -> Parts:
    """MobileNetV3 (small) and two attention blocks."""
    return _timm(p, "mobilenetv3_small_100", "transformer")


@register
def lcnet_050(p: Preprocessing) -> Parts:
    """PP-LCNet x0.5 and two attention blocks: the quickest here."""
    return _timm(p, "lcnet_050", "transformer")


@register
def lcnet_100(p: Preprocessing) -> Parts:
    """PP-LCNet x1.0 and two attention blocks."""
    return _timm(p, "lcnet_100", "transformer")


@register
def fasternet_t0(p: Preprocessing) -> Parts:
    """FasterNet-T0 and two attention blocks."""
    return _timm(p, "fasternet_t0", "transformer")


@register
def convnext_atto(p: Preprocessing) -> Parts:
    """ConvNeXt-Atto and two attention blocks."""
    return _timm(p, "convnext_atto", "transformer")

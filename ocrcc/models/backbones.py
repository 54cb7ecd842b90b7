"""Image backbones from timm, cut so that a line keeps one frame for every four pixels of its width.

A classification backbone halves both sides of an image five times. A text line needs its width: once a
quarter of it is left, every further stride works on the height alone. What is left of the height at the end
is averaged.
"""

from __future__ import annotations

import math

import timm
import torch
from torch import Tensor, nn

from ocrcc.errors import ModelError

WIDTH_STRIDE = 4
_PROBE_WIDTH = 256
_ADVICE = "take a convolutional backbone whose strides are plain convolutions or poolings, such as hgnetv2_b0"
_STRIDED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
_CUTS: dict[tuple[str, int, int], tuple[tuple[str, ...], int]] = {}
"""Which layers lose their stride, and how wide the frames are, by name, channels and height: found once a process."""


class TimmBackbone(nn.Module):
    """A timm model's feature extractor with width stride 4.

    Args:
        name: A timm model name, without pretrained weights.
        channels: K.
        height: H, pixels.

    Raises:
        ModelError: timm has no such model, or it cannot be cut this way.
    """

    def __init__(self, name: str, channels: int, height: int) -> None:
        super().__init__()
        self.width_stride = WIDTH_STRIDE
        self.body = _build(name, channels)
        known = _CUTS.get((name, channels, height))
        if known:
            layers, self.feature_width = known
            for layer in layers:
                _stride_height_only(self.body.get_submodule(layer))
            return
        probe = torch.zeros(1, channels, height, _PROBE_WIDTH)
        try:
            layers = _keep_width(self.body, probe)
            shape = tuple(_run(self.body, probe).shape)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ModelError(f"timm/{name} does not run on lines {height} pixels high: {error}", _ADVICE) from None
        if len(shape) != 4 or shape[3] * WIDTH_STRIDE != _PROBE_WIDTH:
            raise ModelError(
                f"timm/{name} cannot be cut to width stride {WIDTH_STRIDE}: {_PROBE_WIDTH} pixels give {shape}", _ADVICE
            )
        self.feature_width = int(shape[1])
        _CUTS[name, channels, height] = layers, self.feature_width

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into frames (N, T, D) with T = W / 4."""
        return _rows_to_frames(self.body(images)[-1])


def _build(name: str, channels: int) -> nn.Module:
    if not timm.is_model(name):
        close = timm.list_models(f"{name.split('_')[0]}*")[:5] if name else []
        raise ModelError(f"timm has no model named {name!r}", f"similar: {', '.join(close)}" if close else None)
    try:
        return timm.create_model(name, features_only=True, in_chans=channels, out_indices=(-1,))
    except (RuntimeError, AttributeError, TypeError, AssertionError, ValueError) as error:
        raise ModelError(f"timm/{name} gives no feature maps: {error}", _ADVICE) from None


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _keep_width(body: nn.Module, probe: Tensor) -> tuple[str, ...]:
    """Take the width stride out of every layer that sees a quarter of the width or less; name these."""
    too_late: list[nn.Module] = []

    def look(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if _pair(layer.stride)[1] > 1 and inputs[0].shape[-1] * WIDTH_STRIDE <= probe.shape[-1]:  # type: ignore[arg-type]
            too_late.append(layer)

    hooks = [layer.register_forward_pre_hook(look) for layer in body.modules() if isinstance(layer, _STRIDED)]
    try:
        _run(body, probe)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in dict.fromkeys(too_late):
        _stride_height_only(layer)
    return tuple(name for name, layer in body.named_modules() if layer in too_late)


def _run(body: nn.Module, probe: Tensor) -> Tensor:
    """Return the last feature map of a probe, with no trace left in the normalisation layers."""
    body.eval()
    with torch.no_grad():
        features = body(probe)[-1]
    body.train()
    return features


def _stride_height_only(layer: nn.Module) -> None:
    assert isinstance(layer, _STRIDED)
    kernel, stride = _pair(layer.kernel_size), _pair(layer.stride)
    layer.stride = (stride[0], 1)
    if kernel[1] % 2 == 0:  # an even kernel cannot be centered: a patch merger, which is to merge rows only now
        narrow = (kernel[0], 1)
        layer.kernel_size = narrow
        padding = _pair(layer.padding) if not isinstance(layer.padding, str) else None  # type: ignore[arg-type]
        if padding:
            layer.padding = (padding[0], 0)
        if isinstance(layer, nn.Conv2d):
            layer.weight = nn.Parameter(layer.weight.detach().mean(dim=3, keepdim=True) * math.sqrt(kernel[1]))


class VggBackbone(nn.Module):
    """The seven convolutions of CRNN (Shi et al. 2015, table 1), at width stride 4.

    Args:
        channels: K.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width_stride = WIDTH_STRIDE

        def block(inputs: int, outputs: int, norm: bool) -> list[nn.Module]:
            layers = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=not norm)]
            return [*layers, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True)]

        self.layers = nn.Sequential(
            *block(channels, 64, False), nn.MaxPool2d(2),
            *block(64, 128, False), nn.MaxPool2d(2),
            *block(128, 256, True), *block(256, 256, False), nn.MaxPool2d((2, 1)),
            *block(256, 512, True), *block(512, 512, False), nn.MaxPool2d((2, 1)),
            *block(512, 512, True),
        )  # fmt: skip
        self.feature_width = 512

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into frames (N, T, D) with T = W / 4."""
        return _rows_to_frames(self.layers(images))


def _rows_to_frames(features: Tensor) -> Tensor:
    """Turn features (N, D, H', T) into frames (N, T, D): the mean of their rows, which of a single row is that row."""
    rows = features[:, :, 0] if features.shape[2] == 1 else features.mean(dim=2)
    return rows.transpose(1, 2)

"""What the operations of an ONNX graph do, in torch: those that CTC recognisers of text lines are made of.

Each takes its node's attributes and inputs and gives its output. Shapes are computed with on the CPU, as
tensors of int64. Nothing here makes code of what a file says, and none has a loop or a graph within it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Attributes = Mapping[str, Any]
Operation = Callable[..., Tensor | Sequence[Tensor]]

_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}
"""ONNX's numbers of element types that graphs of recognisers cast to."""


def _ints(value: Tensor | Sequence[int] | None, default: Sequence[int] = ()) -> list[int]:
    if value is None:
        return list(default)
    return [int(one) for one in (value.flatten().tolist() if isinstance(value, Tensor) else value)]


def _axes(attributes: Attributes, given: Tensor | None) -> list[int]:
    """Return axes, which are an attribute up to opset 12 and an input since."""
    return _ints(attributes.get("axes") if given is None else given)


def _pads(attributes: Attributes, x: Tensor, kernel: Sequence[int]) -> list[int]:
    """Return what is added before and after each spatial axis, as F.pad takes it: the last axis first."""
    count = len(kernel)
    strides, dilations = attributes.get("strides", [1] * count), attributes.get("dilations", [1] * count)
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for size, side, stride, dilation in zip(x.shape[2:], kernel, strides, dilations, strict=True):
            total = max(0, (math.ceil(size / stride) - 1) * stride + (side - 1) * dilation + 1 - size)
            less, more = total // 2, total - total // 2
            before.append(less if mode == "SAME_UPPER" else more)
            after.append(more if mode == "SAME_UPPER" else less)
    elif mode not in ("VALID", "NOTSET"):
        raise ValueError(f"auto_pad is {mode!r}")
    else:
        pads = [0] * (2 * count) if mode == "VALID" else attributes.get("pads", [0] * (2 * count))
        before, after = list(pads[:count]), list(pads[count:])
    return [side for axis in reversed(range(count)) for side in (before[axis], after[axis])]


def _conv(a: Attributes, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    kernel = list(weight.shape[2:])
    pads = _pads(a, x, kernel)
    even = pads[::2] == pads[1::2]
    if not even:
        x = F.pad(x, pads)
    convolve = {1: F.conv1d, 2: F.conv2d}[len(kernel)]
    return convolve(
        x,
        weight,
        bias,
        stride=a.get("strides", [1] * len(kernel)),
        padding=pads[::2][::-1] if even else 0,
        dilation=a.get("dilations", [1] * len(kernel)),
        groups=a.get("group", 1),
    )


def _max_pool(a: Attributes, x: Tensor) -> Tensor:
    kernel = a["kernel_shape"]
    x = F.pad(x, _pads(a, x, kernel), value=-math.inf)
    return F.max_pool2d(x, kernel, a.get("strides", [1, 1]), ceil_mode=bool(a.get("ceil_mode", 0)))


def _average_pool(a: Attributes, x: Tensor) -> Tensor:
    kernel, strides = a["kernel_shape"], a.get("strides", [1, 1])
    pads = _pads(a, x, kernel)
    ceil_mode, included = bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0))
    if pads[::2] == pads[1::2]:
        return F.avg_pool2d(x, kernel, strides, pads[::2][::-1], ceil_mode, included)
    total = F.avg_pool2d(F.pad(x, pads), kernel, strides, 0, ceil_mode)
    if included:
        return total
    return total / F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), pads), kernel, strides, 0, ceil_mode)


def _batch_norm(a: Attributes, x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return F.batch_norm(x, mean, variance, scale, shift, training=False, eps=a.get("epsilon", 1e-5))


def _layer_norm(a: Attributes, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    return F.layer_norm(x, x.shape[a.get("axis", -1) :], scale, shift, a.get("epsilon", 1e-5))


def _gemm(a: Attributes, x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    product = (x.T if a.get("transA") else x) @ (y.T if a.get("transB") else y) * a.get("alpha", 1.0)
    return product if z is None else product + a.get("beta", 1.0) * z


def _clip(a: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    least = a.get("min") if low is None else float(low)
    most = a.get("max") if high is None else float(high)
    return x if least is None and most is None else x.clamp(least, most)


def _reshape(a: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = _ints(shape)
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)])


def _flatten(a: Attributes, x: Tensor) -> Tensor:
    axis = a.get("axis", 1) % (x.ndim + 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = _axes(a, axes)
    return x.squeeze(tuple(chosen)) if chosen else x.squeeze()


def _unsqueeze(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
    chosen = _axes(a, axes)
    for axis in sorted(one % (x.ndim + len(chosen)) for one in chosen):
        x = x.unsqueeze(axis)
    return x


def _slice(a: Attributes, x: Tensor, *given: Tensor | None) -> Tensor:
    starts, ends, axes, steps = ([*given, None, None, None, None])[:4]
    first = _ints(a.get("starts") if starts is None else starts)
    last = _ints(a.get("ends") if ends is None else ends)
    chosen = _ints(a.get("axes") if axes is None else axes, range(len(first)))
    for axis, start, end, step in zip(chosen, first, last, _ints(steps, [1] * len(first)), strict=True):
        if step < 1:
            raise ValueError("a slice that goes backwards")
        size = x.shape[axis]
        start, end = (max(0, min(size, at + size if at < 0 else at)) for at in (start, end))
        taken = torch.arange(start, max(start, end), step, device=x.device) if step > 1 else None
        x = x.narrow(axis, start, max(0, end - start)) if taken is None else x.index_select(axis, taken)
    return x


def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> Sequence[Tensor]:
    axis, count = a.get("axis", 0), a.get("num_outputs", a["outputs"])
    given = _ints(a.get("split") if sizes is None else sizes)
    return x.split(given, axis) if given else x.split(math.ceil(x.shape[axis] / count), axis)


def _gather(a: Attributes, x: Tensor, indices: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    places = indices.to(x.device).long()
    places = torch.where(places < 0, places + x.shape[axis], places)
    found = x.index_select(axis, places.flatten())
    return found.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :])


def _reduce(how: Callable[..., Tensor]) -> Operation:
    def reduce(a: Attributes, x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = _axes(a, axes) or list(range(x.ndim))
        return how(x, dim=chosen, keepdim=bool(a.get("keepdims", 1)))

    return reduce


def _softmax(how: Callable[..., Tensor]) -> Operation:
    def softmax(a: Attributes, x: Tensor) -> Tensor:
        axis = a.get("axis", -1 if a["opset"] >= 13 else 1)
        if a["opset"] < 13 and axis % x.ndim != x.ndim - 1:
            return how(x.flatten(axis), dim=-1).reshape(x.shape)  # older ones take all the axes that follow as one
        return how(x, dim=axis)

    return softmax


def _div(a: Attributes, x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


def _together(how: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    def of_all(a: Attributes, *xs: Tensor) -> Tensor:
        found = xs[0]
        for x in xs[1:]:
            found = how(found, x)
        return found

    return of_all


def _of_one(how: Callable[[Tensor], Tensor]) -> Operation:
    return lambda _a, x: how(x)


def _of_two(how: Callable[[Tensor, Tensor], Tensor]) -> Operation:
    return lambda _a, x, y: how(x, y)


def _hard_sigmoid(a: Attributes, x: Tensor) -> Tensor:
    return (a.get("alpha", 0.2) * x + a.get("beta", 0.5)).clamp(0, 1)


OPERATIONS: dict[str, Operation] = {
    "Abs": _of_one(torch.abs),
    "Add": _of_two(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": lambda a, x: x.to(_TYPES[a["to"]]),
    "Clip": _clip,
    "Concat": lambda a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Div": _div,
    "Dropout": lambda a, x, *_: x,
    "Elu": lambda a, x: F.elu(x, a.get("alpha", 1.0)),
    "Erf": _of_one(torch.erf),
    "Exp": _of_one(torch.exp),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": lambda a, x: F.gelu(x, approximate=a.get("approximate", "none")),
    "Gemm": _gemm,
    "GlobalAveragePool": _of_one(lambda x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)),
    "Greater": _of_two(torch.gt),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _of_one(F.hardswish),
    "Identity": _of_one(lambda x: x),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda a, x: F.leaky_relu(x, a.get("alpha", 0.01)),
    "LogSoftmax": _softmax(F.log_softmax),
    "MatMul": _of_two(torch.matmul),
    "Max": _together(torch.maximum),
    "MaxPool": _max_pool,
    "Min": _together(torch.minimum),
    "Mul": _of_two(torch.mul),
    "Neg": _of_one(torch.neg),
    "PRelu": lambda a, x, slope: torch.where(x < 0, x * slope, x),
    "Pow": _of_two(torch.pow),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(torch.sum),
    "Relu": _of_one(F.relu),
    "Reshape": _reshape,
    "Shape": lambda a, x: torch.tensor(x.shape[a.get("start", 0) : a.get("end")], dtype=torch.int64),
    "Sigmoid": _of_one(torch.sigmoid),
    "Slice": _slice,
    "Softmax": _softmax(F.softmax),
    "Split": _split,
    "Sqrt": _of_one(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _of_two(torch.sub),
    "Tanh": _of_one(torch.tanh),
    "Transpose": lambda a, x: x.permute(a.get("perm", list(range(x.ndim))[::-1])),
    "Unsqueeze": _unsqueeze,
    "Where": lambda a, chosen, x, y: torch.where(chosen, x, y),
}
"""By ONNX's name; ``a`` holds the attributes, the number of outputs and the opset."""

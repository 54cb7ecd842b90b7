"""How much memory an ONNX file of a stranger will ask for, before it gets any: 300 bytes can fill 8 GB."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from ocrcc.errors import ModelError

if TYPE_CHECKING:
    from onnx import ModelProto

_INPUT = (2, 3, 64, 640)
"""What is not fixed of lines, channels, height and width."""
_MOST = 2**27
"""Numbers of one value, half a GB; the largest of PP-OCR's server models has a hundredth."""
_SMALL = 1024
"""Numbers of a tensor that may be a shape."""


def check_sizes(model: ModelProto, path: Path) -> None:
    """Refuse a graph one of whose values is far too large for a few lines, as far as shapes follow from the file.

    Nothing is computed but shapes. They follow where a graph's constants say them; one that works them out in several
    steps is not seen through, as onnx would take the very memory for those steps.

    Raises:
        ModelError: The value is named.
    """
    from onnx import helper, shape_inference

    bare = type(model)(ir_version=model.ir_version)
    bare.opset_import.extend(model.opset_import)
    bare.graph.name = "sizes"
    bare.graph.node.extend(model.graph.node)
    bare.graph.output.extend(model.graph.output)
    initialized = set()
    for tensor in model.graph.initializer:
        initialized.add(tensor.name)
        if math.prod(tensor.dims) > _SMALL:  # only its shape, as a copy would take as much again
            bare.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        else:
            bare.graph.initializer.append(tensor)
    for value in model.graph.input:
        if value.name not in initialized:
            bare.graph.input.append(value)
            for dim, size in zip(bare.graph.input[-1].type.tensor_type.shape.dim, _INPUT, strict=False):
                if dim.dim_value <= 0:
                    dim.dim_value = size
    try:
        inferred = shape_inference.infer_shapes(bare)
    except Exception as error:  # no common base
        raise ModelError(f"{path}: not a graph that fits together: {str(error).splitlines()[0]}") from None
    for value in (*inferred.graph.value_info, *inferred.graph.output, *inferred.graph.input):
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if math.prod(max(1, size) for size in dims) > _MOST:
            raise ModelError(f"{path}: its value {value.name!r} would have {dims} numbers, more than {_MOST}")

"""An exported graph in 8 bits: convolutions and matrix products on integers, scaled by what lines make of them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from ocrcc.config import Preprocessing
from ocrcc.errors import ModelError
from ocrcc.images.transforms import pad
from ocrcc.reading.onnx_engine import INPUT

_KINDS = ["Conv", "MatMul", "Gemm"]
_LARGE = 250_000
"""Weights that make a convolution worth 8 bits. The many small ones nearer to the image cost less time, and they are
where 8 bits lose: on some lines their outputs go far beyond all that was seen while the ranges were taken."""
_GATES = "/gates."
"""In the names of what chooses between experts: a line near the border is to be read by the same one as before."""
_LONGEST = 1024
"""Pixels of lines that ranges are taken from; longer ones cost time and show nothing new."""


class _Lines(CalibrationDataReader):
    def __init__(self, lines: Iterable[np.ndarray], preprocessing: Preprocessing) -> None:
        self._lines = iter(lines)
        self._preprocessing = preprocessing

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Give the next line as a batch of its own."""
        line = next(self._lines, None)
        if line is None:
            return None
        line = line[..., :_LONGEST]
        return {INPUT: pad([line], self._preprocessing.padded_width(line.shape[2]))}


def quantise(model: ModelProto, lines: Iterable[np.ndarray], preprocessing: Preprocessing) -> ModelProto:
    """Turn a graph's matrix products and large convolutions to 8-bit weights and 8-bit inputs.

    What goes into them is scaled by the lowest and highest value that it takes on some lines, which is quicker than
    to look for these while reading. What comes out of products, the logits among them, is not rounded. Attention,
    which multiplies what it computed, and smaller convolutions stay as they are.

    Args:
        model: A graph with constant weights.
        lines: Each (K, H, W), prepared; such as will be read.
        preprocessing: Of the model.

    Raises:
        ModelError: It cannot be done for this model.
    """
    weights = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    kept = [
        node.name
        for node in model.graph.node
        if max((weights.get(name, 0) for name in node.input), default=0) < (_LARGE if node.op_type == "Conv" else 1)
        or _GATES in node.name
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        logging.disable(logging.WARNING)  # advice to run another tool first, whose work is done here already
        try:
            quantize_static(
                model,
                path,
                _Lines(lines, preprocessing),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_KINDS,
                nodes_to_exclude=kept,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
            )
        except (ValueError, RuntimeError, TypeError) as error:
            raise ModelError(f"cannot be brought to 8 bits: {str(error).splitlines()[0]}") from None
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(str(path))

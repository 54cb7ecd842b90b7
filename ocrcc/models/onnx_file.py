"""ONNX files of other makes: what is in them, checked before anything runs. Needs onnx and numpy, not torch.

A CTC recogniser's graph ends with one fully connected layer, perhaps with a softmax behind it. What goes into that
layer are the features, what comes out of it the logits. The graph itself stays as it is, as data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ocrcc.charset import Charset, describe, load_charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import CharsetError, ConfigError, ModelError
from ocrcc.models.contract import KEY, parse_contract, parse_metadata
from ocrcc.models.onnx_sizes import check_sizes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

FEATURES, LOGITS = "features", "logits"
CHARACTERS = "character"
"""The key under which PP-OCR's files carry their charset: blank left out, and the space if it is last."""
_PLACE = "ocrcc.graph"
"""The key under which a graph that is kept as data says where its last layer is."""
_MOST_NODES = 20_000
_MOST_BYTES = 2**31
_FLOAT, _HALF, _EXTERNAL = 1, 10, 1
_DOMAINS = ("", "ai.onnx")
_SCORES: dict[str, Literal["probabilities", "log-probabilities"]] = {
    "Softmax": "probabilities",
    "LogSoftmax": "log-probabilities",
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a graph's last layer is, and how its axes and classes lie.

    Attributes:
        features: The tensor that goes into the last fully connected layer.
        logits: The tensor that comes out of it.
        weight: Its weight, an initializer or a constant.
        bias: Its bias; empty if it has none.
        transposed: Whether the weight is (C, D) instead of (D, C).
        output: What the graph gives: logits, probabilities or log-probabilities.
        stride: Pixels a frame.
        frames_first: Whether the output is (T, N, C).
        blank_last: Whether the blank is the last class.
        space_last: Whether the space is the last class, without being among the characters of the metadata.
    """

    features: str
    logits: str
    weight: str
    bias: str
    transposed: bool
    output: Literal["logits", "probabilities", "log-probabilities"]
    stride: int = 0
    frames_first: bool = False
    blank_last: bool = False
    space_last: bool = False


def open_file(path: Path) -> ModelProto:
    """Read an ONNX file and its external data, if that lies in the same folder.

    Raises:
        ConfigError: onnx is not installed.
        ModelError: It is damaged, hostile, quantised, or holds what no CTC recogniser has.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx.external_data_helper import load_external_data_for_model
    except ImportError:
        raise ConfigError(f"{path}: reading it needs the package onnx", 'pip install "ocrcc[onnx]"') from None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size} bytes are more than an ONNX file may have")
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not an ONNX file that can be read: {error}") from None
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{path}: not an ONNX file that can be read: it has no graph")
    _check_nodes(model, path)
    _check_external(model, path)
    try:
        load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # onnx's own checks of the place have no common base
        raise ModelError(f"{path}: its external data cannot be read: {str(error).splitlines()[0]}") from None
    _check_tensors(model, path)
    check_sizes(model, path)
    return model


def is_our_export(model: ModelProto, path: Path) -> bool:
    """Tell a model of our own that was exported from one of another make, given back or never here."""
    stored = [entry.value for entry in model.metadata_props if entry.key == KEY]
    return bool(stored) and not str(parse_metadata(stored[0], path).get("arch")).startswith("onnx/")


def _check_nodes(model: ModelProto, path: Path) -> None:
    graph = model.graph
    if len(graph.node) > _MOST_NODES:
        raise ModelError(f"{path}: has {len(graph.node)} operations, more than {_MOST_NODES}")
    if model.functions or graph.sparse_initializer:
        raise ModelError(f"{path}: has functions or sparse weights of its own, which are not read")
    initialized = {tensor.name for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in initialized]
    made = initialized | set(inputs) | {""}
    for node in graph.node:
        if node.op_type in ("Loop", "Scan", "If") or any(one.HasField("g") or one.graphs for one in node.attribute):
            raise ModelError(
                f"{path}: has a {node.op_type}: a decoder that reads character by character, not a CTC recogniser",
                "such as PP-OCR's recognisers, CRNN and SVTR are",
            )
        if "Quant" in node.op_type or "Integer" in node.op_type or node.op_type.startswith("QLinear"):
            raise ModelError(
                f"{path}: its weights are quantised ({node.op_type}), which cannot be trained",
                "take the float32 file that it was made of",
            )
        if unmade := [name for name in node.input if name not in made]:
            raise ModelError(f"{path}: {node.op_type} takes {unmade[0]!r} before it is made")
        made.update(node.output)
    if len(inputs) != 1:
        raise ModelError(
            f"{path}: has {len(inputs)} inputs ({', '.join(inputs[:4])}); a CTC recogniser has one, the image"
        )


def _check_external(model: ModelProto, path: Path) -> None:
    for tensor in _tensors(model.graph):
        if tensor.data_location != _EXTERNAL:
            continue
        place = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        file = path.parent / place
        if not place or PurePosixPath(place).is_absolute() or file.resolve().parent != path.parent.resolve():
            raise ModelError(f"{path}: its weights lie outside its folder, at {place!r}", "they must lie beside it")
        if not file.is_file():
            raise ModelError(f"{path}: its weights are in {place!r}, and there is no such file", "put it beside it")


def _check_tensors(model: ModelProto, path: Path) -> None:
    """Refuse tensors that promise more numbers than they bring, before room is made for them."""
    for tensor in _tensors(model.graph):
        stored = len(tensor.raw_data) or sum(
            len(values) for values in (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data)
        )
        if min(tensor.dims, default=1) < 0 or int(np.prod([*map(int, tensor.dims)], dtype=object)) > stored:
            raise ModelError(f"{path}: its tensor {tensor.name!r} says {list(tensor.dims)} and brings {stored} numbers")
        if tensor.data_type == _HALF and len(tensor.dims) > 1:
            raise ModelError(f"{path}: its weights are in float16", "take the float32 file that it was made of")


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def constants(graph: GraphProto) -> dict[str, TensorProto]:
    """Name every tensor that the graph carries, whether as initializer or as a node."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def input_name(model: ModelProto) -> str:
    """Return the name of the image."""
    initialized = {tensor.name for tensor in model.graph.initializer}
    return next(value.name for value in model.graph.input if value.name not in initialized)


def find_layout(model: ModelProto, path: Path) -> Layout:
    """Find the last fully connected layer of a graph.

    Raises:
        ModelError: It has several outputs, or does not end with such a layer.
    """
    graph = model.graph
    shape = graph.output[0].type.tensor_type.shape.dim
    if len(graph.output) != 1 or (graph.output[0].type.tensor_type.HasField("shape") and len(shape) != 3):
        kind = {2: ", as a classifier's", 4: ", as a detector's"}.get(len(shape), "")
        raise ModelError(
            f"{path}: has {len(graph.output)} outputs, the first of {len(shape)} axes{kind}; a CTC recogniser gives "
            "one (lines, frames, classes)"
        )
    makers = {name: node for node in graph.node for name in node.output}
    found = constants(graph)
    origin = _origins(makers)
    output: Literal["logits", "probabilities", "log-probabilities"] = "logits"
    name = graph.output[0].name
    bias = ""
    logits = ""
    while (node := makers.get(name)) is not None:
        known = [origin(each) for each in node.input if origin(each) in found]
        if node.op_type in _SCORES and not logits:
            output = _SCORES[node.op_type]
        elif node.op_type == "Add" and len(known) == 1 and not bias:
            bias, logits = known[0], name
            name = next(each for each in node.input if origin(each) != bias)
            continue
        elif node.op_type == "MatMul" and origin(node.input[1]) in found:
            weight = origin(node.input[1])
            return _checked(
                Layout(
                    features=node.input[0], logits=logits or name, weight=weight, bias=bias, transposed=False,
                    output=output,
                ),
                found, path,
            )  # fmt: skip
        elif node.op_type != "Identity":
            break
        name = node.input[0]
    last = "nothing" if node is None else node.op_type
    raise ModelError(
        f"{path}: ends with {last}, not with a fully connected layer (MatMul, Add) and perhaps a softmax",
        "that is how CTC recognisers end; is it one?",
    )


def _origins(makers: Mapping[str, NodeProto]) -> Any:
    """Make what follows a name back through nodes that change nothing."""

    def origin(name: str) -> str:
        while (node := makers.get(name)) is not None and node.op_type == "Identity":
            name = node.input[0]
        return name

    return origin


def _checked(layout: Layout, found: Mapping[str, TensorProto], path: Path) -> Layout:
    weight = found[layout.weight]
    bias = found[layout.bias] if layout.bias else None
    if len(weight.dims) != 2 or (bias is not None and list(bias.dims) != [weight.dims[1]]):
        raise ModelError(f"{path}: its last layer has weights {list(weight.dims)}, not (features, classes) and a bias")
    return layout


def runtime_graph(model: ModelProto, layout: Layout) -> bytes:
    """Return the graph with the features and the logits as its outputs, and nothing behind them."""
    import onnx
    from onnx import TensorProto, helper

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    del graph.output[:]
    for name in (layout.features, layout.logits):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    needed = {layout.features, layout.logits}
    kept = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return changed.SerializeToString()


def read_contract(
    model: ModelProto, layout: Layout, config: ImportConfig, path: Path
) -> tuple[Charset, Preprocessing, bool]:
    """Find out what a graph's classes mean and what its input looks like.

    Returns:
        The charset, the preprocessing, and whether the space is the last class without being told.

    Raises:
        CharsetError: There is no charset, or it has not as many characters as there are classes.
        ModelError: The input is no image of a line.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    classes = constants(model.graph)[layout.weight].dims[0 if layout.transposed else 1]
    if KEY in metadata:  # a file that was mended here says it itself
        _, charset, preprocessing = parse_contract(parse_metadata(metadata[KEY], path), path)
        space_last = CHARACTERS in metadata and len(_lines(metadata[CHARACTERS])) == classes - 2
        if charset.num_classes != classes:
            raise CharsetError(f"{path}: has {classes} classes and {len(charset)} characters beside the blank")
        return charset, preprocessing, space_last
    charset, space_last = _charset(metadata.get(CHARACTERS), classes, config, path)
    return charset, _preprocessing(model, config, path), space_last


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").replace("\r\n", "\n").split("\n")


def _charset(stored: str | None, classes: int, config: ImportConfig, path: Path) -> tuple[Charset, bool]:
    if config.charset:
        symbols = list(load_charset(config.charset))
    elif stored is not None:
        symbols = _lines(stored)
    else:
        raise CharsetError(
            f"{path}: does not say which character each of its {classes} classes is",
            "--charset FILE, with one character a line in class order",
        )
    space_last = len(symbols) == classes - 2 and " " not in symbols
    if space_last:
        symbols.append(" ")
    if len(symbols) != classes - 1:
        raise CharsetError(
            f"{path}: has {classes} classes, and {len(symbols)} characters beside the blank do not fit",
            "the blank, the characters and perhaps a space at the end are the classes",
        )
    if long := [symbol for symbol in symbols if len(symbol) != 1]:
        raise CharsetError(f"{path}: its class {long[0]!r} is {len(long[0])} characters; a class must be one")
    if len(set(symbols)) != len(symbols):
        twice = list(dict.fromkeys(symbol for symbol in symbols if symbols.count(symbol) > 1))
        raise CharsetError(f"{path}: has {describe(twice)} for more than one class", "--charset FILE can rename one")
    return Charset("".join(symbols), name=Path(config.charset).stem if config.charset else path.stem), space_last


def _preprocessing(model: ModelProto, config: ImportConfig, path: Path) -> Preprocessing:
    name = input_name(model)
    value = next(one for one in model.graph.input if one.name == name)
    sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if value.type.tensor_type.elem_type != _FLOAT or len(sides) != 4 or sides[1] not in (1, 3):
        raise ModelError(
            f"{path}: its input {name!r} is {sides} of type {value.type.tensor_type.elem_type}; a recogniser of lines "
            "takes float32 (lines, 1 or 3 channels, height, width)"
        )
    height, width = sides[2] or config.height, sides[3]
    try:
        return Preprocessing(
            height=height,
            channels=sides[1],  # type: ignore[arg-type]
            mean=config.mean,
            std=config.std,
            polarity="keep",
            width_step=1,
            min_width=width or config.min_width,
            max_width=width or 200 * height,
            colour_order=config.colour_order if sides[1] == 3 else "rgb",
            resize=config.resize,
            padding=config.padding,
            looks=False,
        )
    except ConfigError as error:
        raise ModelError(f"{path}: {error.message}") from None


def skeleton(model: ModelProto, layout: Layout, kept: set[str]) -> bytes:
    """Return a graph without its weights, and with where its last layer is: an architecture, as data.

    Args:
        model: The graph.
        layout: Of it.
        kept: Tensors whose numbers are weights, by name; they are left out and their shapes stay.
    """
    import onnx

    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for node in bare.graph.node:
        node.doc_string = ""
    for name, tensor in constants(bare.graph).items():
        if name in kept:
            tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=_FLOAT, dims=list(tensor.dims)))
    # What a mended file says of itself changes with it, and is not the architecture's.
    stay = [entry for entry in model.metadata_props if entry.key != KEY]
    del bare.metadata_props[:], bare.graph.value_info[:]
    bare.metadata_props.extend(stay)
    bare.metadata_props.add(key=_PLACE, value=json.dumps(asdict(layout)))
    return bare.SerializeToString(deterministic=True)


def open_skeleton(data: bytes, name: str) -> tuple[ModelProto, Layout]:
    """Read what `skeleton` made.

    Raises:
        ConfigError: onnx is not installed.
        ModelError: It is damaged.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ConfigError(
            f"{name}: a model from an ONNX file needs the package onnx", 'pip install "ocrcc[onnx]"'
        ) from None
    try:
        model = onnx.ModelProto.FromString(data)
        (place,) = [entry for entry in model.metadata_props if entry.key == _PLACE]
        layout = Layout(**json.loads(place.value))
        if not isinstance(layout.stride, int) or layout.stride < 1:
            raise ValueError(f"a stride of {layout.stride}")
    except (DecodeError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{name}: its graph is damaged: {error}") from None
    model.metadata_props.remove(place)
    _check_nodes(model, Path(name))
    return model, layout


Run = Any
"""From images (N, K, H, W) to what the graph calls features and logits, as numpy arrays."""


def probe(run: Run, layout: Layout, preprocessing: Preprocessing, config: ImportConfig, path: Path) -> Layout:
    """Run a graph on empty lines to see how its axes and classes lie.

    Raises:
        ModelError: It does not run, or its frames do not follow the width.
    """
    width = max(preprocessing.min_width, min(640, preprocessing.max_width))
    shape = (2, preprocessing.channels, preprocessing.height, width)
    paper = (1 - preprocessing.mean) / preprocessing.std
    try:
        features, logits = run(np.full(shape, paper, np.float32))
    except Exception as error:  # neither torch's nor ONNX Runtime's kinds of errors have a common base
        raise ModelError(f"{path}: does not run on two empty lines {shape}: {str(error).splitlines()[0]}") from None
    if features.ndim != 3 or logits.ndim != 3 or 2 not in logits.shape[:2] or features.shape[:2] != logits.shape[:2]:
        raise ModelError(f"{path}: gives {logits.shape} for {shape}, not (lines, frames, classes)")
    frames_first = logits.shape[0] != 2
    frames = logits.shape[0 if frames_first else 1]
    stride = round(width / frames)
    if not 1 <= stride <= 64 or abs(frames - width / stride) > 2:
        raise ModelError(f"{path}: gives {frames} frames for {width} pixels, of which no whole number makes a frame")
    blank_last = config.blank == "last"
    if config.blank == "auto":
        classes = logits.argmax(-1)
        last = logits.shape[-1] - 1
        blank_last = int((classes == last).sum()) > int((classes == 0).sum())
    if blank_last and layout.space_last:
        raise ModelError(f"{path}: its charset lacks a character, with the blank last", "--charset FILE")
    return replace(layout, stride=stride, frames_first=frames_first, blank_last=blank_last)


def stated(model: ModelProto, config: ImportConfig) -> ImportConfig:
    """Return the settings, with the blank's place as a file that was mended here states it."""
    kept = {entry.key: entry.value for entry in model.metadata_props}
    if KEY not in kept or config.blank != "auto":
        return config
    last = parse_metadata(kept[KEY], "the ONNX file").get("blank") == "last"
    return replace(config, blank="last" if last else "first")

"""What an ONNX file of another make means as a recogniser: its classes, its input, and how its axes lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ocrcc.charset import Charset, load_charset
from ocrcc.config import ImportConfig, Preprocessing
from ocrcc.errors import CharsetError, ConfigError, ModelError
from ocrcc.graphs.onnx_file import Layout, constants, input_name
from ocrcc.models.contract import KEY, charset_of_classes, parse_contract, parse_metadata

if TYPE_CHECKING:
    from onnx import ModelProto

CHARACTERS = "character"
"""The key under which PP-OCR's files carry their charset: blank left out, and the space if it is last."""
_FLOAT = 1


def is_our_export(model: ModelProto, path: Path) -> bool:
    """Tell a model of our own that was exported from one of another make, given back or never here."""
    stored = [entry.value for entry in model.metadata_props if entry.key == KEY]
    return bool(stored) and not str(parse_metadata(stored[0], path).get("arch")).startswith("onnx/")


def read_contract(
    model: ModelProto, layout: Layout, config: ImportConfig, path: Path
) -> tuple[Charset, Preprocessing, bool]:
    """Find out what a graph's classes mean and what its input looks like.

    Returns:
        The charset, the preprocessing, and whether the space is the last class without being told.

    Raises:
        CharsetError: There is no charset, or it has not as many characters as there are classes.
        ConfigError: Something is given that the file says itself.
        ModelError: The input is no image of a line.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    classes = constants(model.graph)[layout.weight].dims[0 if layout.transposed else 1]
    if KEY in metadata:  # a file that was mended here says it itself
        config.check_only("blank", path=path)
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
        symbols = list(load_charset(config.charset, in_class_order=True))
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
    name = Path(config.charset).stem if config.charset else path.stem
    return charset_of_classes(symbols, classes, name, path), space_last


def _preprocessing(model: ModelProto, config: ImportConfig, path: Path) -> Preprocessing:
    name = input_name(model)
    value = next(one for one in model.graph.input if one.name == name)
    sides = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if value.type.tensor_type.elem_type != _FLOAT or len(sides) != 4 or sides[1] not in (0, 1, 3):
        raise ModelError(
            f"{path}: its input {name!r} is {sides} of type {value.type.tensor_type.elem_type}; a recogniser of lines "
            "takes float32 (lines, 1 or 3 channels, height, width)"
        )
    channels = sides[1] or (1 if config.colour == "grey" else 3)
    if channels == 3 and config.colour == "grey":
        raise ModelError(f"{path}: takes three channels, not grey", "--colour bgr or rgb")
    height, width = sides[2] or config.height, sides[3]
    try:
        return Preprocessing(
            height=height,
            channels=channels,  # type: ignore[arg-type]
            mean=config.mean,
            std=config.std,
            polarity="keep",
            width_step=1,
            min_width=width or config.min_width,
            max_width=width or 200 * height,
            colour_order="bgr" if channels == 3 and config.colour == "bgr" else "rgb",
            resize=config.resize,
            padding=config.padding,
            looks=False,
        )
    except ConfigError as error:
        raise ModelError(f"{path}: {error.message}") from None


Run = Any
"""From images (N, K, H, W) to what the graph calls features and logits, as numpy arrays."""


def probe(run: Run, layout: Layout, preprocessing: Preprocessing, config: ImportConfig, path: Path) -> Layout:
    """Run a graph on empty lines to see how its axes and classes lie.

    Raises:
        ModelError: It does not run, or its frames do not follow the width.
    """
    width = max(preprocessing.min_width, min(640, preprocessing.max_width))
    shape = (2, preprocessing.channels, preprocessing.height, width)
    paper = np.reshape((1 - np.array(preprocessing.mean)) / preprocessing.std, (-1, 1, 1))
    try:
        features, logits = run(np.broadcast_to(paper, shape).astype(np.float32))
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

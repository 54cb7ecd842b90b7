"""Recognisers of other makes in: made models of ours, and proved on lines to read as the original does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ocrcc.calibration.store import KINDS
from ocrcc.config import ExportConfig, ImportConfig
from ocrcc.datasets.opened import Say, opened
from ocrcc.errors import ConfigError, DataError, ModelError
from ocrcc.export.parity import Parity, Report, check_lines, compare, prepared
from ocrcc.models.checkpoint import LoadedModel, import_model, save_model
from ocrcc.models.contract import resolve
from ocrcc.places import check_file, output
from ocrcc.reading.engines import Engine, torch_engine
from ocrcc.reading.onnx_engine import load_onnx

_MOST_LINES = 200
"""Of each dataset that is given, the check reads so many, spread over it."""


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """An imported model.

    Attributes:
        model: What it was made of.
        path: The file.
        size: Bytes.
        loaded: The model.
        original: What reads the original: ``ONNX Runtime`` or ``Transformers``.
        where_from: Which lines both read, in words.
        parity: How alike they read them.
    """

    model: Path
    path: Path
    size: int
    loaded: LoadedModel
    original: str
    where_from: str
    parity: Parity


def import_foreign(
    spec: str | Path,
    out: Path,
    config: ImportConfig | None = None,
    *,
    data: Sequence[Path] = (),
    say: Say = lambda _: None,
    report: Report = lambda _done, _total: None,
) -> ImportResult:
    """Make a model file of a recogniser of another make; it appears whole, and only if it reads as the original does.

    Args:
        spec: An ONNX file, a folder that Transformers saved, ``hf://owner/name`` with either, or ``rapidocr/NAME``.
        out: The model file, ``.safetensors``.
        config: What the original does not say of itself.
        data: Datasets, label files or folders with lines to check it on; without any, it is lines of the package and
            rendered ones.
        say: Told of lines that were left out.
        report: Told how many lines are done, of how many.

    Raises:
        ConfigError: A package is not installed, ``out`` has another suffix, or something else is there.
        CharsetError: The original's charset is missing or does not fit.
        ModelError: It is damaged, no CTC recogniser, ours already, or it reads otherwise here.
    """
    if out.suffix.lower() != ".safetensors":
        raise ConfigError(f"{out}: the name of a model ends in .safetensors")
    check_file(out, KINDS[".safetensors"])
    path = resolve(spec)
    loaded = import_model(path, config, device="cpu")
    images, where_from = _data_lines(data, say) if data else _check_lines(loaded)
    original, engine = _original(path, config)
    lines = prepared(images, loaded.preprocessing)
    with output(out, KINDS[".safetensors"]) as aside:
        save_model(
            aside,
            recognizer_state=loaded.recognizer.state_dict(),
            arch=loaded.arch,
            charset=loaded.charset,
            preprocessing=loaded.preprocessing,
            info=loaded.info,
        )
        parity = compare(engine, torch_engine(loaded.recognizer, "cpu"), lines, loaded, report=report)
        if not parity.exact or parity.same < parity.lines:
            raise ModelError(
                f"{out}: not written, since its logits differ by up to {parity.difference:.3g} from {original}'s, "
                f"which reach {parity.largest:.3g}, and "
                f"{parity.lines - parity.same} of {parity.lines} lines read otherwise"
            )
        size = aside.stat().st_size
    return ImportResult(
        model=path, path=out, size=size, loaded=loaded, original=original, where_from=where_from, parity=parity
    )


def _original(path: Path, config: ImportConfig | None) -> tuple[str, Engine]:
    """Open the original in what it was made for."""
    if path.suffix.lower() == ".onnx":
        return "ONNX Runtime", load_onnx(path, config=config).engine
    from ocrcc.models.from_transformers import original_engine

    return "Transformers", original_engine(path)


def _check_lines(loaded: LoadedModel) -> tuple[list[Image.Image], str]:
    images, rendered = check_lines(loaded, ExportConfig(agreement=1.0))
    return images, f"{len(images) - rendered} lines of the package and {rendered} rendered ones"


def _data_lines(data: Sequence[Path], say: Say) -> tuple[list[Image.Image], str]:
    images: list[Image.Image] = []
    unreadable = 0
    with opened(data, say) as datasets:
        for dataset in datasets:
            for number in np.unique(np.linspace(0, dataset.size - 1, _MOST_LINES).round().astype(int)):
                try:
                    images.append(dataset.line(int(number)).image)
                except DataError:
                    unreadable += 1
    if not images:
        raise DataError(f"{data[0]}: not one line that can be read")
    if unreadable:
        say(f"{unreadable} lines cannot be read and were left out of the check")
    return images, f"{len(images)} lines of {', '.join(path.name for path in data)}"

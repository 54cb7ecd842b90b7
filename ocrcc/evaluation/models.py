"""Models as they are measured: ours, recognisers of other makes, and exported ones, all behind one face."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ocrcc.charset import Charset
from ocrcc.config import EvaluateConfig, PredictConfig, Preprocessing
from ocrcc.decoding.rivals import Rivals
from ocrcc.errors import ModelError
from ocrcc.models.checkpoint import LoadedModel, load_model
from ocrcc.models.contract import resolve
from ocrcc.reading.engines import torch_engine
from ocrcc.reading.looks import find_rivals
from ocrcc.reading.onnx_engine import OnnxModel, load_onnx, pick_onnx
from ocrcc.reading.reader import LineReader
from ocrcc.types import RecognizerOutput


class _Exported(nn.Module):
    """An exported model, called as a recogniser is."""

    def __init__(self, model: OnnxModel) -> None:
        super().__init__()
        self.width_stride = model.width_stride
        self.num_classes = model.charset.num_classes
        self._engine = model.engine

    def forward(self, images: torch.Tensor) -> RecognizerOutput:
        """Turn images (N, K, H, W) into features and logits."""
        features, logits = self._engine(images.numpy())
        return RecognizerOutput(features=torch.from_numpy(features), logits=torch.from_numpy(logits))


@dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """An exported model with what `LoadedModel` has of ours, and called as that is."""

    recognizer: nn.Module
    charset: Charset
    preprocessing: Preprocessing
    centers: torch.Tensor | None
    center_counts: torch.Tensor | None
    path: Path
    device: str


def open_model(model: str | Path, device: str, threads: int) -> ExportedModel | LoadedModel:
    """Load a model of any make.

    Raises:
        ConfigError: ONNX Runtime is not installed, or does not read on this device.
        ModelError: It cannot be loaded.
    """
    path = resolve(model)
    if path.suffix.lower() != ".onnx":
        return load_model(path, device=device)
    exported = load_onnx(pick_onnx(path, "onnx", device) or path, threads=threads)
    return ExportedModel(
        recognizer=_Exported(exported),
        charset=exported.charset,
        preprocessing=exported.preprocessing,
        centers=None if exported.centers is None else torch.from_numpy(exported.centers),
        center_counts=None if exported.center_counts is None else torch.from_numpy(exported.center_counts),
        path=path,
        device="cpu",
    )


def rivals_of(loaded: ExportedModel | LoadedModel, config: EvaluateConfig) -> Rivals | None:
    """Find what centers decide between.

    Raises:
        ModelError: They shall, and the model has none.
    """
    if not config.center_share:
        return None
    if loaded.centers is None or loaded.center_counts is None:
        raise ModelError(f"{loaded.path}: no class centers to have a share", "ocrcc finetune makes them")
    return find_rivals(
        config.lookalikes, loaded.charset, loaded.centers.cpu().numpy(), loaded.center_counts.cpu().numpy()
    )


def line_reader(
    recognizer: nn.Module,
    charset: Charset,
    preprocessing: Preprocessing,
    device: str,
    rivals: Rivals | None,
    config: PredictConfig,
) -> LineReader:
    """Make the reader that reads single images as an evaluation with the same settings reads its lines."""
    return LineReader(
        torch_engine(recognizer, device),
        replace(charset, bidi=False),  # what is read is compared as it stands on the line
        preprocessing,
        width_stride=int(recognizer.width_stride),  # type: ignore[arg-type]
        rivals=rivals,
        config=config,
    )


def two_readers(model: str | Path, device: str, config: EvaluateConfig) -> LineReader:
    """Load a model and the second one that `config` names, to read as ``ocrcc predict --second-model`` does.

    Raises:
        ConfigError: One of them cannot be read by this engine.
        ModelError: One of them cannot be loaded.
    """
    settings = PredictConfig(
        batch_size=config.batch_size,
        threads=config.threads,
        lookalikes=config.lookalikes,
        center_share=config.center_share,
        second_look=config.second_look,
        second_model=config.second_model,
        second_doubt=config.second_doubt,
    )
    reader = LineReader.load(model, device=device, config=settings)
    for one in (reader, reader.second):
        if one is not None:
            one.charset = replace(one.charset, bidi=False)  # as in `line_reader`
    return reader

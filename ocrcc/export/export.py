"""Write a recogniser for others to use, and prove on lines that the file reads what the recogniser reads."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from ocrcc.calibration.store import KINDS, calibration_of
from ocrcc.config import EvaluateConfig, ExportConfig
from ocrcc.errors import ConfigError, ModelError
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.evaluation.report import EvaluationResult
from ocrcc.export.parity import Parity, Report, check_lines, compare, prepared
from ocrcc.models.checkpoint import LoadedModel, load_model, save_model
from ocrcc.models.contract import KEY, describe, fingerprint
from ocrcc.places import Kind, check_file, new_folder, output
from ocrcc.reading.engines import Engine, torch_engine
from ocrcc.reading.onnx_engine import CENTERS, COUNTS, load_onnx

_GIVEN_BACK = re.compile(rb'\n\x05ocrcc\x12.{1,4}\{"format": ', re.DOTALL)
"""What a file that was given back has near its end; who made it first stands at its start."""
_END = 1 << 20
"""Bytes in which that is looked for; the largest charset there can be fits."""


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """An exported model.

    Attributes:
        model: The model file.
        path: The file.
        size: Bytes.
        precision: Of its weights: ``float32``, ``float16`` or ``int8``.
        rendered: How many of the lines it was checked on were rendered; the others ship with the package.
        parity: How alike the model and the file read them.
        evaluation: Both on the given datasets, the model as the baseline; None without datasets.
    """

    model: Path
    path: Path
    size: int
    precision: str
    rendered: int
    parity: Parity
    evaluation: EvaluationResult | None


def export(
    model: str | Path,
    out: Path,
    config: ExportConfig | None = None,
    *,
    data: Sequence[Path] = (),
    report: Report = lambda _done, _total: None,
) -> ExportResult:
    """Write a model as an ONNX file with dynamic batch size and width, or as a model file without its history.

    The input of an ONNX file is ``images`` (N, K, H, W), its outputs are ``features`` (N, T, D) and ``logits``
    (N, T, C), all float32, and ``centers`` (C, D) and ``center_counts`` (C,) for a model that has them. Charset and
    preprocessing are in the metadata of either; the settings of the training run, with their paths, are not.

    Args:
        model: A file, a run folder, a shipped model's name, or ``hf://owner/name``.
        out: The file, ``.onnx`` or ``.safetensors``, or, for a model that came from Transformers, a new folder for
            `from_pretrained`; it appears whole, and only if it reads as the model does.
        config: How.
        data: Datasets to measure both on.
        report: Told how many lines are done, of how many.

    Raises:
        ConfigError: onnx or ONNX Runtime is not installed, or ``out`` has another suffix.
        ModelError: The model cannot be exported, or the file reads something else.
        DataError: The file cannot be written.
    """
    config = config or ExportConfig()
    suffix = out.suffix.lower()
    if suffix in _KINDS:
        check_file(out, _KINDS[suffix])
    if suffix == ".safetensors" and config.int8:
        raise ConfigError("int8 is for ONNX files alone")
    if suffix == ".onnx":
        _check_installed()
    loaded = load_model(model, device="cpu")
    if suffix not in _KINDS and not loaded.arch.startswith("transformers/"):
        raise ConfigError(f"{out}: the name of an ONNX file ends in .onnx, that of a model in .safetensors")
    if out.exists() and (out.samefile(loaded.path) or (out.parent / "state.pt").exists()):
        raise ConfigError(f"{out}: a model of a training run, which an export does not replace", "choose another name")
    images, rendered = check_lines(loaded, config)
    lines = prepared(images, loaded.preprocessing)
    with output(out, _KINDS[suffix]) if suffix in _KINDS else new_folder(out) as aside:
        engine = {".onnx": _write_onnx, ".safetensors": _write_model}.get(suffix, _write_folder)(loaded, config, aside)
        parity = compare(torch_engine(loaded.recognizer, "cpu"), engine, lines, loaded, report=report)
        _check(parity, config, out)
        evaluation = None
        if data:
            settings = EvaluateConfig(compare=(str(loaded.path),), workers=0)
            evaluation = evaluate(aside, data, settings, device="cpu", report=report)
        size = sum(file.stat().st_size for file in (aside.iterdir() if aside.is_dir() else [aside]))
    return ExportResult(
        model=loaded.path,
        path=out,
        size=size,
        precision="int8" if config.int8 else "float16" if config.half else "float32",
        rendered=rendered,
        parity=parity,
        evaluation=evaluation,
    )


def _is_export(path: Path) -> bool:
    """Tell what an export may replace: our own kind, and what was given back to another make."""
    if KINDS[".onnx"].ours(path) or not path.is_file():
        return path.is_file()
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END))
        return _GIVEN_BACK.search(file.read()) is not None


_KINDS = {**KINDS, ".onnx": Kind(KINDS[".onnx"].name, _is_export)}


def _write_folder(loaded: LoadedModel, config: ExportConfig, path: Path) -> Engine:
    """Write what Transformers reads, and let Transformers read it."""
    from ocrcc.models.from_transformers import WEIGHTS, original_engine, save_back

    if config.half or config.int8:
        raise ConfigError("a recogniser of another make is given back in float32", "without --half and --int8")
    save_back(loaded.recognizer, loaded.arch, loaded.charset, path)
    engine: Engine = original_engine(path / WEIGHTS)
    return engine


def _check_installed() -> None:
    missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"export needs {' and '.join(missing)}", 'pip install "ocrcc[onnx]"')


def _write_model(loaded: LoadedModel, config: ExportConfig, path: Path) -> Engine:
    """Write a model file that says nothing of where it was made, and open it."""
    save_model(
        path,
        recognizer_state=loaded.recognizer.state_dict(),
        arch=loaded.arch,
        charset=loaded.charset,
        preprocessing=loaded.preprocessing,
        info={"step": loaded.info["step"], "metrics": loaded.info["metrics"], "config": {}}
        | calibration_of(loaded.info),
        centers=loaded.centers,
        center_counts=loaded.center_counts,
        half=config.half,
    )
    return torch_engine(load_model(path, device="cpu").recognizer, "cpu")


def _write_onnx(loaded: LoadedModel, config: ExportConfig, path: Path) -> Engine:
    """Write an ONNX file and open it."""
    import onnx

    from ocrcc.export import graph, int8
    from ocrcc.export.giving_back import give_back
    from ocrcc.graphs.backbone import GraphBackbone

    if isinstance(loaded.recognizer.backbone, GraphBackbone):
        if config.half or config.int8:
            raise ConfigError("a recogniser of another make is given back in float32", "without --half and --int8")
        onnx.save(give_back(loaded.recognizer, loaded.arch, loaded.charset, loaded.preprocessing), str(path))
        found = load_onnx(path)
        order = [0, *(found.charset.id(char) for char in loaded.charset)]  # a space that is last stays so in the file

        def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            features, logits = found.engine(images)
            return features, logits[..., order]

        return read
    model = graph.trace(loaded.recognizer, loaded.arch, loaded.preprocessing)
    graph.fold_affines(model)
    if config.int8:
        others, _ = check_lines(loaded, config, other=True)
        model = int8.quantise(model, prepared(others, loaded.preprocessing), loaded.preprocessing)
    if loaded.centers is not None and loaded.center_counts is not None:
        graph.add_constant(model, CENTERS, loaded.centers.numpy())
        graph.add_constant(model, COUNTS, loaded.center_counts.numpy())
    if config.half:
        graph.halve(model)
    metadata = {
        **describe(loaded.arch, loaded.charset, loaded.preprocessing),
        "width_stride": loaded.recognizer.width_stride,
        "step": loaded.info["step"],
        "metrics": loaded.info["metrics"],
        "source": fingerprint(loaded.path),
        **calibration_of(loaded.info),
    }
    model.producer_name = "ocrcc"
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata, ensure_ascii=False)})
    onnx.save(model, str(path))
    return load_onnx(path).engine


def _check(parity: Parity, config: ExportConfig, out: Path) -> None:
    share = parity.same / parity.lines
    allowed = math.floor(100 * share) / 100
    exact = not (config.half or config.int8)
    if exact and not parity.exact:
        raise ModelError(
            f"{out}: not written, since its logits differ by up to {parity.difference:.3g} from torch's, which reach "
            f"{parity.largest:.3g}",
            "this version of torch may export the model wrongly; another one may not",
        )
    if share < config.agreement:
        raise ModelError(
            f"{out}: not written, since it reads {parity.lines - parity.same} of {parity.lines} lines differently",
            f"export without {'--int8' if config.int8 else '--half'}, or allow it: --agreement {allowed:.2f}"
            if not exact
            else None,
        )

"""Write a recogniser for others to use, and prove on lines that the file reads what the recogniser reads."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path

import numpy as np

from ocrcc import packaged
from ocrcc.calibration.store import KINDS, calibration_of
from ocrcc.config import EvaluateConfig, ExportConfig, Preprocessing
from ocrcc.decoding import greedy
from ocrcc.errors import ConfigError, ModelError, OcrccError
from ocrcc.evaluation.evaluate import evaluate
from ocrcc.evaluation.report import EvaluationResult
from ocrcc.images.opening import open_image
from ocrcc.images.transforms import pad, prepare
from ocrcc.models.checkpoint import LoadedModel, load_model, save_model
from ocrcc.models.contract import KEY, describe
from ocrcc.places import check_file, output
from ocrcc.reading.engines import Engine, lines_at_once, torch_engine
from ocrcc.reading.onnx_engine import CENTERS, COUNTS, load_onnx
from ocrcc.synth.source import load_source

_TOLERANCE = 1e-3
"""By which share of the largest logit others may differ in float32; it is some 1e-6 in truth."""
_BATCHES = (1, 2, 4, 8)
"""How many lines are read at once in turn."""

Report = Callable[[int, int | None], None]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How alike two engines read.

    Attributes:
        lines: Lines that both read.
        same: Lines on which both read the same text.
        difference: Largest difference of two logits.
        largest: The largest logit, without its sign.
    """

    lines: int
    same: int
    difference: float
    largest: float


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
        out: The file, ``.onnx`` or ``.safetensors``; it appears whole, and only if it reads as the model does.
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
    if suffix not in (".onnx", ".safetensors"):
        raise ConfigError(f"{out}: the name of an ONNX file ends in .onnx, that of a model in .safetensors")
    if suffix == ".safetensors" and config.int8:
        raise ConfigError("int8 is for ONNX files alone")
    check_file(out, KINDS[suffix])
    if suffix == ".onnx":
        _check_installed()
    loaded = load_model(model, device="cpu")
    if out.exists() and (out.samefile(loaded.path) or (out.parent / "state.pt").exists()):
        raise ConfigError(f"{out}: a model of a training run, which an export does not replace", "choose another name")
    lines, rendered = _lines(loaded, config)
    with output(out, KINDS[suffix]) as aside:
        engine = _write_onnx(loaded, config, aside) if suffix == ".onnx" else _write_model(loaded, config, aside)
        parity = compare(torch_engine(loaded.recognizer, "cpu"), engine, lines, loaded, report=report)
        _check(parity, config, out)
        evaluation = None
        if data:
            settings = EvaluateConfig(compare=str(loaded.path), workers=0)
            evaluation = evaluate(aside, data, settings, device="cpu", report=report)
        size = aside.stat().st_size
    return ExportResult(
        model=loaded.path,
        path=out,
        size=size,
        precision="int8" if config.int8 else "float16" if config.half else "float32",
        rendered=rendered,
        parity=parity,
        evaluation=evaluation,
    )


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
    from ocrcc.graphs.backbone import GraphBackbone
    from ocrcc.models.imported import give_back

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
        model = int8.quantise(model, _lines(loaded, config, other=True)[0], loaded.preprocessing)
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
        "source": hashlib.sha256(loaded.path.read_bytes()).hexdigest(),
        **calibration_of(loaded.info),
    }
    model.producer_name = "ocrcc"
    onnx.helper.set_model_props(model, {KEY: json.dumps(metadata, ensure_ascii=False)})
    onnx.save(model, str(path))
    return load_onnx(path).engine


def _lines(loaded: LoadedModel, config: ExportConfig, *, other: bool = False) -> tuple[list[np.ndarray], int]:
    """Prepare the lines of the check, or other ones of their kind, and say how many of them were rendered.

    Half of them ship with the package; the others are rendered in the model's charset, where there are fonts.
    The last one is several of them in a row, as long as a line may be.
    """
    paths = sorted((packaged.ASSETS / "samples" / "images").iterdir())
    step = max(1, len(paths) // max(1, config.samples))
    chosen = paths[step // 2 if other else 0 :: step][: config.samples]
    images = [open_image(path) for path in chosen]
    rendered = 0
    if config.rendered:
        try:
            source = load_source("synth:documents", loaded.charset, seed=config.seed + other)
            images += [source.line(index).image for index in range(config.rendered)]
            rendered = config.rendered
        except OcrccError:  # no fonts here, or none for this charset
            rendered = 0
    if not images:
        raise ConfigError("no lines to check on: there are no fonts to render them in", "--samples 48")
    lines = [prepare(image, loaded.preprocessing) for image in images]
    return [*lines, np.concatenate(lines[:8], axis=2)[..., : loaded.preprocessing.max_width]], rendered


def compare(
    reference: Engine,
    other: Engine,
    lines: Sequence[np.ndarray],
    model: LoadedModel,
    *,
    report: Report = lambda _done, _total: None,
) -> Parity:
    """Let two engines read the same lines, in batches of several sizes.

    Args:
        reference: How it should read.
        other: How it does.
        lines: Each (K, H, W), prepared.
        model: What both are.
        report: Told how many lines are done, of how many.

    Raises:
        ModelError: The reference's logits are not finite.
    """
    stride, charset = model.recognizer.width_stride, model.charset
    same, done, difference, largest = 0, 0, 0.0, 0.0
    for images, frames in _batches(lines, model.preprocessing, stride, charset.num_classes):
        wanted, found = reference(images)[1], other(images)[1]
        for logits in (wanted, found):
            greedy.check_finite(logits.max(-1), frames)
        for count, one, two in zip(frames, wanted, found, strict=True):
            difference = max(difference, float(np.abs(one[:count] - two[:count]).max()))
            largest = max(largest, float(np.abs(one[:count]).max()))
        texts = [greedy.texts(logits.argmax(-1), frames, charset) for logits in (wanted, found)]
        same += sum(one == two for one, two in zip(*texts, strict=True))
        done += len(images)
        report(done, len(lines))
    return Parity(lines=done, same=same, difference=difference, largest=largest)


def _batches(
    lines: Sequence[np.ndarray], preprocessing: Preprocessing, stride: int, num_classes: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    by_width: defaultdict[int, list[np.ndarray]] = defaultdict(list)
    for line in lines:
        by_width[preprocessing.padded_width(line.shape[2])].append(line)
    sizes = cycle(_BATCHES)
    for width, group in by_width.items():
        while group:
            count = lines_at_once(next(sizes), width // stride, num_classes)
            batch, group = group[:count], group[count:]
            yield (
                pad(batch, width, preprocessing.padding),
                np.array([math.ceil(line.shape[2] / stride) for line in batch]),
            )


def _check(parity: Parity, config: ExportConfig, out: Path) -> None:
    share = parity.same / parity.lines
    allowed = math.floor(100 * share) / 100
    exact = not (config.half or config.int8)
    if exact and parity.difference > _TOLERANCE * max(1.0, parity.largest):
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

"""How alike two engines read the same lines: what is checked before a model that was made of another appears."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from PIL import Image

from ocrcc import packaged
from ocrcc.config import ExportConfig, Preprocessing
from ocrcc.decoding import greedy
from ocrcc.errors import ConfigError, OcrccError
from ocrcc.images.opening import open_image
from ocrcc.images.transforms import pad, prepare
from ocrcc.models.checkpoint import LoadedModel
from ocrcc.reading.engines import Engine, lines_at_once
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

    @property
    def exact(self) -> bool:
        """Whether the logits differ by no more than rounding."""
        return self.difference <= _TOLERANCE * max(1.0, self.largest)


def check_lines(loaded: LoadedModel, config: ExportConfig, *, other: bool = False) -> tuple[list[Image.Image], int]:
    """Open the lines of a check, or other ones of their kind, and say how many of them were rendered.

    Half of them ship with the package; the others are rendered in the model's charset, where there are fonts.

    Raises:
        ConfigError: There are neither.
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
    return images, rendered


def prepared(images: Sequence[Image.Image], preprocessing: Preprocessing) -> list[np.ndarray]:
    """Prepare lines, (K, H, W) each; the last one is several of them in a row, as long as a line may be."""
    lines = [prepare(image, preprocessing) for image in images]
    return [*lines, np.concatenate(lines[:8], axis=2)[..., : preprocessing.max_width]]


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

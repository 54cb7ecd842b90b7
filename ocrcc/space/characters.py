"""Walk datasets with a model and give each aligned character: its feature, what is read there, its pixels."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ocrcc.charset import BLANK, Charset, lacks
from ocrcc.config import Preprocessing
from ocrcc.data.batching import evaluation_batches
from ocrcc.data.some_lines import SomeLines
from ocrcc.decoding.alignment import Alignment, align, gather_features
from ocrcc.decoding.boxes import glyph_boxes, ink_columns
from ocrcc.errors import ModelError
from ocrcc.lookalikes import Lookalikes, sibling_table
from ocrcc.losses.center import Centers
from ocrcc.losses.separation import separation
from ocrcc.models.checkpoint import LoadedModel
from ocrcc.models.recognizer import Recognizer
from ocrcc.reading.engines import lines_at_once
from ocrcc.types import Batch, LabelledLines

Report = Callable[[int, int | None], None]
Wanted = Mapping[int, Collection[int]]
"""Positions in the labels of a dataset's lines, by the line's number."""
_NAMED = 20


@dataclass
class Skipped:
    """Lines that took no part, counted, and the first of them named.

    Attributes:
        unreadable: Their image or label cannot be read.
        unwritable: The charset lacks characters of the label.
        unaligned: The line has too few frames for its label.
        named: For each of these, the first few.
    """

    unreadable: int = 0
    unwritable: int = 0
    unaligned: int = 0
    named: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: Literal["unreadable", "unwritable", "unaligned"], name: str) -> None:
        """Count a line."""
        setattr(self, kind, getattr(self, kind) + 1)
        names = self.named.setdefault(kind, [])
        if len(names) < _NAMED:
            names.append(name)


@dataclass(frozen=True, kw_only=True)
class Viewer:
    """A model, and how its characters are looked at.

    Attributes:
        recognizer: In evaluation mode.
        charset: What its classes mean.
        preprocessing: Of its input.
        device: Where it is.
        siblings: (C, K) look-alikes of each class, padded with the blank, on the same device.
        centers: What features are measured against, on the same device; None if there are none.
    """

    recognizer: Recognizer
    charset: Charset
    preprocessing: Preprocessing
    device: str
    siblings: Tensor
    centers: Centers | None

    @classmethod
    def of(cls, loaded: LoadedModel, lookalikes: Lookalikes) -> Viewer:
        """Look through a loaded model."""
        centers = None
        if loaded.centers is not None and loaded.center_counts is not None:
            centers = Centers(*loaded.centers.shape).to(loaded.device)
            centers.centers.copy_(loaded.centers)
            centers.center_counts.copy_(loaded.center_counts)
        return cls(
            recognizer=loaded.recognizer,
            charset=loaded.charset,
            preprocessing=loaded.preprocessing,
            device=loaded.device,
            siblings=siblings_of(lookalikes, loaded.charset).to(loaded.device),
            centers=centers,
        )


@dataclass(frozen=True, kw_only=True)
class CharacterBatch:
    """The M characters that were wanted of a batch of N lines.

    Attributes:
        dataset: Number of the dataset.
        features: (M, D) float32.
        classes: (M,) class ids of the label's characters.
        predicted: (M,) likeliest class there, the blank aside.
        confidence: (M,) its posterior on the character's best frame.
        sibling: (M,) the look-alike whose center is nearest; the blank where there is none.
        sibling_posterior: (M,) its posterior on that frame.
        margin: (M,) distance to that center minus the distance to the own one; NaN where there is none.
        lines: (M,) numbers of the lines in their dataset.
        positions: (M,) places in their labels, from 0.
        rows: (M,) numbers of the lines in the batch.
        boxes: (M, 2) first pixel column of the character on the prepared line, and one past the last.
        images: (N, K, H, W) float32, prepared lines.
        widths: (N,) columns of them that are the line's own.
        labels: N texts.
        sources: Where the N lines came from.
    """

    dataset: int
    features: np.ndarray
    classes: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    sibling: np.ndarray
    sibling_posterior: np.ndarray
    margin: np.ndarray
    lines: np.ndarray
    positions: np.ndarray
    rows: np.ndarray
    boxes: np.ndarray
    images: np.ndarray
    widths: np.ndarray
    labels: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.classes)


def siblings_of(lookalikes: Lookalikes, charset: Charset) -> Tensor:
    """Return (C, K) class ids of look-alikes, padded with the blank; K is at least 1."""
    table = torch.tensor(sibling_table(lookalikes, charset), dtype=torch.int64)
    return table if table.shape[1] else table.new_full((len(table), 1), BLANK)


def walk(
    viewer: Viewer,
    datasets: Sequence[LabelledLines],
    *,
    wanted: Sequence[Wanted] | None = None,
    batch_size: int,
    workers: int = 0,
    skipped: Skipped,
    report: Report = lambda _done, _total: None,
) -> Iterator[CharacterBatch]:
    """Read lines and give their characters, a batch at a time; nothing is kept.

    A label's character is sought where the model sees it or one of its look-alikes, so that a wrong label is
    found in its place, and not in some blank frame beside it.

    Args:
        viewer: The model.
        datasets: The lines.
        wanted: Of each dataset, which characters of which lines; other lines are not even read. None for all
            characters that have look-alikes.
        batch_size: Lines read at once, at most.
        workers: Processes that load; 0 loads in this one.
        skipped: Takes in the lines that cannot take part.
        report: Told how many lines are done, of how many.

    Raises:
        ModelError: The model gives no numbers.
    """
    numbers = [
        np.arange(dataset.size or 0) if wanted is None else np.array(sorted(wanted[which]), dtype=np.int64)
        for which, dataset in enumerate(datasets)
    ]
    total, done = sum(map(len, numbers)), 0
    for which, dataset in enumerate(datasets):
        batches = evaluation_batches(
            SomeLines(dataset, numbers[which]),
            viewer.charset,
            viewer.preprocessing,
            batch_size=batch_size,
            width_stride=viewer.recognizer.width_stride,
            workers=workers,
            on_problem=lambda problem: skipped.add("unreadable", problem),
        )
        for indices, batch in batches:
            lines = numbers[which][indices]
            num_frames = batch.images.shape[3] // viewer.recognizer.width_stride
            # four times, because log-probabilities stand beside the logits, and each is made of another
            step = lines_at_once(len(lines), num_frames, 4 * viewer.charset.num_classes)
            for first in range(0, len(lines), step):
                part = slice(first, first + step)
                found = _characters(viewer, _part(batch, part), lines[part], which, wanted, skipped)
                if found is not None and len(found):
                    yield found
            done += len(lines)
            report(done, total)


def _part(batch: Batch, part: slice) -> Batch:
    return Batch(
        images=batch.images[part],
        widths=batch.widths[part],
        frames=batch.frames[part],
        targets=batch.targets[part],
        target_lengths=batch.target_lengths[part],
        labels=batch.labels[part],
        sources=batch.sources[part],
    )


def _characters(
    viewer: Viewer, batch: Batch, lines: np.ndarray, which: int, wanted: Sequence[Wanted] | None, skipped: Skipped
) -> CharacterBatch | None:
    """Align a batch and take what is wanted of it."""
    if not batch.targets.shape[1]:
        alignment = None
    else:
        with torch.no_grad():
            here = batch.to(viewer.device)
            output = viewer.recognizer(here.images)
            scores = output.logits.float().log_softmax(2)
            alignment = align_tolerantly(scores, here.frames, here.targets, here.target_lengths, viewer.siblings)
            found = gather_features(output.features.float(), alignment, here.targets)
    aligned = [False] * len(lines) if alignment is None else alignment.aligned.tolist()
    for fits, label, length, source in zip(
        aligned, batch.labels, batch.target_lengths.tolist(), batch.sources, strict=True
    ):
        if label and not length:
            skipped.add("unwritable", f"{source}: {lacks(viewer.charset.name, viewer.charset.missing(label))}")
        elif label and not fits:
            skipped.add("unaligned", f"{source}: {label!r}")
    if alignment is None:
        return None
    if not bool(torch.isfinite(found.features).all()):
        raise ModelError("the model's features are not finite", "it is damaged, or its training went wrong")
    keep = _wanted(viewer, found.lines, found.positions, found.classes, lines, wanted[which] if wanted else None)
    rows, positions, classes, features = (
        values[keep] for values in (found.lines, found.positions, found.classes, found.features)
    )
    posteriors = scores[rows, alignment.peak[rows, positions]].exp()
    confidence, predicted = posteriors[:, 1:].max(1)
    sibling, margin = _nearest(viewer, features, classes)
    boxes = _all_boxes(alignment, batch, viewer)
    return CharacterBatch(
        dataset=which,
        features=features.cpu().numpy(),
        classes=classes.cpu().numpy(),
        predicted=(predicted + 1).cpu().numpy(),
        confidence=confidence.cpu().numpy(),
        sibling=sibling.cpu().numpy(),
        sibling_posterior=posteriors.gather(1, sibling[:, None])[:, 0].cpu().numpy(),
        margin=margin.cpu().numpy(),
        lines=lines[rows.cpu().numpy()],
        positions=positions.cpu().numpy(),
        rows=rows.cpu().numpy(),
        boxes=boxes[rows.cpu().numpy(), positions.cpu().numpy()],
        images=batch.images.numpy(),
        widths=batch.widths.numpy(),
        labels=batch.labels,
        sources=batch.sources,
    )


def align_tolerantly(
    scores: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor, siblings: Tensor
) -> Alignment:
    """Align labels whose every character may as well be one of its look-alikes.

    Args:
        scores: (N, T, C) log-probabilities.
        frames: (N,) frames that lie on each line's own pixels.
        targets: (N, L) class ids, L at least 1.
        target_lengths: (N,).
        siblings: (C, K) look-alikes of each class, padded with the blank.
    """
    kin = torch.cat((targets[:, :, None], siblings[targets]), dim=2)  # (N, L, 1 + K)
    absent = kin == BLANK
    absent[:, :, 0] = False
    columns = kin.flatten(1)[:, None].expand(-1, scores.shape[1], -1)
    chars = scores.gather(2, columns).unflatten(2, kin.shape[1:]).masked_fill_(absent[:, None], -torch.inf).logsumexp(3)
    # A class of its own for each place of the label, but one for equal characters: a blank stands between them.
    # That `align` scales each frame to a sum of one shifts all paths alike.
    places = 1 + (targets[:, :, None] == targets[:, None, :]).int().argmax(2)
    found = align(torch.cat((scores[:, :, :1], chars), dim=2), frames, places, target_lengths)
    time = torch.arange(scores.shape[1], device=scores.device)[:, None]
    span = (time >= found.start[:, None]) & (time < found.end[:, None])
    return replace(found, peak=chars.masked_fill(~span, -torch.inf).argmax(1) * found.mask)


def _wanted(
    viewer: Viewer, rows: Tensor, positions: Tensor, classes: Tensor, lines: np.ndarray, wanted: Wanted | None
) -> Tensor:
    """Return the numbers of the aligned characters that are wanted."""
    if wanted is None:
        return (viewer.siblings[classes, 0] != BLANK).nonzero()[:, 0]
    pairs = zip(lines[rows.cpu().numpy()].tolist(), positions.tolist(), strict=True)
    keep = [number for number, (line, position) in enumerate(pairs) if position in wanted[line]]
    return torch.tensor(keep, dtype=torch.int64, device=rows.device)


def _nearest(viewer: Viewer, features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the look-alike whose center is nearest, and the margin to it."""
    nothing = torch.full_like(classes, BLANK), features.new_full(classes.shape, torch.nan)
    if viewer.centers is None or not len(classes):
        return nothing
    measured = separation(features, viewer.centers.near(classes, viewer.siblings))
    there = measured.paired & measured.known
    nearest = viewer.siblings[classes].gather(1, measured.nearest[:, None])[:, 0]
    return torch.where(there, nearest, nothing[0]), torch.where(there, measured.margin, nothing[1])


def _all_boxes(alignment: Alignment, batch: Batch, viewer: Viewer) -> np.ndarray:
    """Return (N, L, 2) pixel columns of all characters of aligned lines; zeros elsewhere."""
    stride = viewer.recognizer.width_stride
    boxes = np.zeros((*batch.targets.shape, 2), dtype=np.int64)
    peaks, aligned = alignment.peak.cpu().numpy(), alignment.aligned.tolist()
    for row, (fits, length, frames) in enumerate(
        zip(aligned, batch.target_lengths.tolist(), batch.frames.tolist(), strict=True)
    ):
        if fits:
            pixels = batch.images[row, :, :, : frames * stride].numpy()
            spans = np.stack((peaks[row, :length], peaks[row, :length] + 1), axis=1) * stride
            boxes[row, :length] = glyph_boxes(spans, batch.labels[row], ink_columns(pixels), pixels.shape[1])
    return boxes


def cut(batch: CharacterBatch, number: int, preprocessing: Preprocessing) -> np.ndarray:
    """Cut a character out of its prepared line: (H, w) uint8 for grey, (H, w, 3) for colour."""
    left, right = batch.boxes[number]
    std, mean = (np.reshape(values, (-1, 1, 1)) for values in (preprocessing.std, preprocessing.mean))
    pixels = batch.images[batch.rows[number], :, :, left:right] * std + mean
    shades = np.clip(pixels * 255, 0, 255).round().astype(np.uint8)
    if preprocessing.colour_order == "bgr":
        shades = shades[::-1]
    return shades[0] if len(shades) == 1 else np.ascontiguousarray(shades.transpose(1, 2, 0))

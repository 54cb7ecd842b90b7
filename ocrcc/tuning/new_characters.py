"""Which characters a tuned model has, and the rows of new ones, by a few lines that show them, before any training.

A row is first predicted from the mean of the character's aligned features, by the very regression that holds between
the centers and the rows of all known characters (Qiao et al. 2018, "Few-Shot Image Recognition by Predicting Parameters
from Activations"). Then the new rows alone are fitted, with the known ones beside them as they are: a convex problem in
feature space that takes a second, where steps of training would move the whole model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ocrcc.charset import BLANK, Charset, describe, load_charset
from ocrcc.config import FinetuneConfig, Preprocessing, TrainConfig
from ocrcc.data.batching import evaluation_batches
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import FirstLines, SomeLines
from ocrcc.datasets.opened import Opener
from ocrcc.decoding.alignment import align, gather_features
from ocrcc.errors import CharsetError, OcrccError
from ocrcc.models.checkpoint import LoadedModel
from ocrcc.models.recognizer import Recognizer
from ocrcc.synth.source import load_source
from ocrcc.training.sources import Sources, charset_of
from ocrcc.training.transfer import Transfer
from ocrcc.types import LabelledLines, SizedLineSource

_RIDGE = 1e-3
"""Of the regression, relative to the centers' variance."""
_VARIANTS = 32
"""Positives made of each new character's mean: one or few samples say nothing of how it varies."""
_SPREAD = 1.5
"""Known characters vary around their centers by less than new ones will around the mean of few samples."""
_BLANKS = 3000
_CAUTION = 4.0
"""Weight of what is no new character: a known one that is lost costs more than a new one that is not yet read."""
_NEAR_START = 1e-4
_STEPS = 100
_ENOUGH = 20
"""Samples of a new character that are looked at."""
_RENDERED = 40
"""Lines rendered for each character that own lines show seldom."""
_BESIDE = 100
"""Known characters that these lines may show too."""
_TOLERATED = 0.01
"""Of lines without it, on which a new character may be read."""


def choose_charset(task: FinetuneConfig, start: LoadedModel, opener: Opener) -> Charset:
    """Bring the characters of the model and those of the labels, or of a named charset, together.

    Raises:
        CharsetError: They differ, and the policy is ``fail``.
    """
    normalisation = start.charset.normalisation
    if not task.charset and task.charset_policy != "extend":
        return start.charset
    if task.charset in ("", "from-data"):
        if all(spec.startswith("synth:") for spec in task.train):
            return start.charset
        wanted = charset_of(task.train, normalisation, opener)
    else:
        wanted = load_charset(task.charset, normalisation)
    new = [char for char in wanted if char not in start.charset]
    gone = [char for char in start.charset if char not in wanted]
    match task.charset_policy:
        case "extend":
            return start.charset.merge(wanted) if new else start.charset
        case "replace":
            return wanted
    if not new and not gone:
        return start.charset
    differences = [f"lacks {describe(new)}"] if new else []
    differences += [f"has {len(gone)} that it lacks: {describe(gone, 5)}"] if gone else []
    raise CharsetError(
        f"{start.path}: beside charset {wanted.name!r}, the model {' and '.join(differences)}",
        "--charset-policy extend keeps its characters and adds the new; replace drops the others",
    )


def place_all(
    recognizer: Recognizer,
    moved: Transfer,
    charset: Charset,
    start: LoadedModel,
    own: Sources,
    task: FinetuneConfig,
    config: TrainConfig,
    device: str,
) -> str:
    """Place new characters by own lines that show them, and by rendered ones; say how many by how many samples."""
    lines = showing(moved.new, charset, own, task.corpus, config.seed)
    seen = place_new(recognizer, moved, charset, start.preprocessing, lines, device)
    unseen = [char for char in moved.new if char not in seen]
    placed = f"{len(seen)} new characters are placed by {sum(seen.values())} samples"
    return placed + (f"; no line shows {describe(unseen)}" if unseen else "")


@torch.no_grad()
def robbing(
    recognizer: Recognizer,
    new: str,
    charset: Charset,
    preprocessing: Preprocessing,
    lines: Sequence[LabelledLines],
    device: str,
) -> dict[str, int]:
    """Find new characters that are read where known ones stand, such as full-width digits, which look like digits.

    Args:
        recognizer: With rows for them.
        new: The characters.
        charset: With them.
        preprocessing: Of the model.
        lines: General ones.
        device: Where to.

    Returns:
        On how many lines that were right without it each of these is read.
    """
    counts: Counter[int] = Counter()
    places = torch.tensor([charset.id(char) for char in new], device=device)
    for some in lines:
        for _, received in evaluation_batches(
            some, charset, preprocessing, batch_size=32, width_stride=recognizer.width_stride
        ):
            batch = received.to(device)
            logits = recognizer(batch.images).logits
            now, before = logits.argmax(-1), logits.index_fill(2, places, -torch.inf).argmax(-1)
            sizes = zip(batch.frames.tolist(), batch.target_lengths.tolist(), strict=True)
            for line, (frames, length) in enumerate(sizes):
                read = [number for number in before[line, :frames].unique_consecutive().tolist() if number != BLANK]
                if read == batch.targets[line, :length].tolist():
                    counts.update(now[line, :frames].unique().tolist())
    most = _TOLERATED * sum(len(some) for some in lines)
    return {char: counts[charset.id(char)] for char in new if counts[charset.id(char)] > most}


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Features of some lines.

    Attributes:
        features: (M, D), of their characters.
        classes: (M,) class ids.
        around: (A, D), of all frames of these characters: beside the one where it peaks, each has more that it could be
            read at, or a new one in its place.
        around_classes: (A,) class ids.
        blanks: (B, D), of frames that show no character.
    """

    features: Tensor
    classes: Tensor
    around: Tensor
    around_classes: Tensor
    blanks: Tensor


def place_new(
    recognizer: Recognizer,
    moved: Transfer,
    charset: Charset,
    preprocessing: Preprocessing,
    lines: Sequence[SizedLineSource],
    device: str,
) -> Counter[str]:
    """Set the classifier's rows of new characters, of those that lines show; the other rows stay.

    Args:
        recognizer: Its classes are those of ``charset``.
        moved: Says which characters are new, and has the centers of the others, if there are any.
        charset: With the new characters.
        preprocessing: Of the model.
        lines: Some that show them, a few each.
        device: Where to.

    Returns:
        How often each new character was seen.
    """
    recognizer.to(device).eval()
    new = torch.tensor(sorted(charset.id(char) for char in moved.new), device=device)
    known = torch.tensor([charset.id(char) for char in moved.kept], device=device)
    seen = _look_at(recognizer, charset, preprocessing, lines, new, known, device)
    counts = Counter(charset.char(number) for number in seen.classes[torch.isin(seen.classes, new)].tolist())
    shown = torch.tensor(sorted(charset.id(char) for char in counts), device=device)
    if not len(shown):
        return counts
    means = torch.stack([seen.features[seen.classes == number].mean(0) for number in shown])
    centers = None
    if moved.centers is not None and moved.center_counts is not None:
        known = known[moved.center_counts.to(device)[known] > 0]
        centers = moved.centers.to(device)
    head = recognizer.head
    start = _predicted(means, centers[known] if centers is not None else None, head.weight[known], head.bias[known])
    rows = _fitted(start, means, seen, shown, known, centers, head.weight, head.bias)
    with torch.no_grad():
        head.weight[shown], head.bias[shown] = rows[:, :-1], rows[:, -1]
    return counts


def showing(new: str, charset: Charset, own: Sources, corpus: Sequence[str], seed: int) -> list[SizedLineSource]:
    """Find lines that show new characters: own ones, and rendered ones of those that are seldom in these.

    Args:
        new: The characters.
        charset: With them.
        own: What is trained on.
        corpus: Text files for rendered lines.
        seed: Of rendered lines.
    """
    found: list[SizedLineSource] = []
    counts = dict.fromkeys(new, 0)
    for mixed in own.mixed:
        dataset = mixed.source
        if not isinstance(dataset, LmdbDataset | SomeLines):  # rendered lines are dealt with below
            continue
        kept = range(len(dataset)) if mixed.kept is None else mixed.kept.tolist()
        chosen = []
        for index in kept:
            chars = [char for char in charset.normalise(dataset.label(index)) if char in counts]
            if any(counts[char] < _ENOUGH for char in chars):
                chosen.append(index)
                for char in chars:
                    counts[char] += 1
        if chosen:
            found.append(SomeLines(dataset, np.array(chosen)))
    seldom = "".join(char for char, count in counts.items() if count < _ENOUGH)
    beside = "".join(char for char in charset if char not in new and char != " ")[:_BESIDE]
    if not seldom:
        return found
    with suppress(OcrccError):  # no font has them
        rendered = load_source(
            "synth:documents", Charset(seldom + beside), seed=seed, corpus=[Path(path) for path in corpus]
        )
        some = FirstLines(rendered, _RENDERED * len(seldom))
        shown = [index for index in range(len(some)) if any(char in seldom for char in some.label(index))]
        found.append(SomeLines(some, np.array(shown, np.int64)))
    return found


@torch.no_grad()
def _look_at(
    recognizer: Recognizer,
    charset: Charset,
    preprocessing: Preprocessing,
    lines: Sequence[SizedLineSource],
    new: Tensor,
    known: Tensor,
    device: str,
) -> _Seen:
    """Align lines whose new characters have no row yet: in its place stands that of whatever is known and likeliest."""
    found: list[tuple[Tensor, ...]] = []
    for some in lines:
        for _, received in evaluation_batches(
            some, charset, preprocessing, batch_size=32, width_stride=recognizer.width_stride
        ):
            batch = received.to(device)
            output = recognizer(batch.images)
            logits = output.logits.float().clone()
            logits[..., new] = logits[..., known].amax(-1, keepdim=True)
            alignment = align(logits, batch.frames, batch.targets, batch.target_lengths)
            aligned = gather_features(output.features, alignment, batch.targets)
            frames = torch.arange(logits.shape[1], device=device)
            spans = (frames >= alignment.start[..., None]) & (frames < alignment.end[..., None])  # (N, L, T)
            spans &= alignment.mask[..., None]
            line, place, frame = spans.nonzero(as_tuple=True)
            blank = (frames < batch.frames[:, None]) & (output.logits.argmax(-1) == BLANK) & ~spans.any(1)
            found.append(
                (
                    aligned.features.float(),
                    aligned.classes,
                    output.features[line, frame].float(),
                    batch.targets[line, place],
                    output.features[blank].float(),
                )
            )
    if not found:
        none, no_class = torch.zeros(0, recognizer.feature_width), torch.zeros(0, dtype=torch.int64)
        return _Seen(features=none, classes=no_class, around=none, around_classes=no_class, blanks=none)
    features, classes, around, around_classes, blanks = (torch.cat(parts) for parts in zip(*found, strict=True))
    return _Seen(features=features, classes=classes, around=around, around_classes=around_classes, blanks=blanks)


@torch.no_grad()
def _predicted(means: Tensor, centers: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
    """Return rows (K, D + 1), the bias last, for means (K, D), as the known ones follow from their centers."""
    rows = torch.cat([weight, bias[:, None]], 1).double()
    middle = rows.mean(0)
    if centers is None or len(centers) <= centers.shape[1]:
        return middle.expand(len(means), -1).float()
    origin = centers.double().mean(0)
    shifted = centers.double() - origin
    penalty = _RIDGE * len(shifted) * shifted.var() * torch.eye(shifted.shape[1], device=means.device)
    slope = torch.linalg.solve(shifted.T @ shifted + penalty, shifted.T @ (rows - middle))
    return ((means.double() - origin) @ slope + middle).float()


def _fitted(
    start: Tensor,
    means: Tensor,
    seen: _Seen,
    shown: Tensor,
    known: Tensor,
    centers: Tensor | None,
    weight: Tensor,
    bias: Tensor,
) -> Tensor:
    """Fit new rows (K, D + 1) by logistic regression, known rows and the blank's held, from where they start."""
    draw = torch.Generator(device="cpu").manual_seed(0)
    held = torch.isin(seen.classes, known)
    others = seen.features[held]
    spread = others - (others.mean(0) if centers is None else centers[seen.classes[held]])
    if not len(spread):
        spread = torch.zeros_like(means[:1])

    def some_of(values: Tensor, count: int) -> Tensor:
        return values[torch.randint(len(values), (count,), generator=draw).to(values.device)]

    varied = (
        means[:, None] + _SPREAD * some_of(spread, len(means) * _VARIANTS).view(len(means), _VARIANTS, -1)
    ).flatten(0, 1)
    ours = torch.isin(seen.around_classes, shown)
    positives = torch.cat([varied, seen.around[ours]])
    place = torch.arange(len(means), device=means.device)
    target = torch.cat([place.repeat_interleave(_VARIANTS), torch.searchsorted(shown, seen.around_classes[ours])])
    negatives = [
        seen.around[~ours],
        seen.blanks[torch.randperm(len(seen.blanks), generator=draw)[:_BLANKS].to(means.device)],
    ]
    if centers is not None:
        negatives += [centers[known], centers[known] + some_of(spread, len(known))]
    samples = torch.cat([positives, *negatives]).detach()
    beside = torch.cat([known.new_tensor([BLANK]), known])
    with torch.no_grad():
        rest = (samples @ weight[beside].T + bias[beside]).logsumexp(1)
    rows = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([rows], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        logits = samples @ rows[:, :-1].T + rows[:, -1]
        total = torch.logaddexp(rest, logits.logsumexp(1))
        count = len(positives)
        taken = (total[:count] - logits[torch.arange(count, device=logits.device), target]).mean()
        left = (total[count:] - rest[count:]).mean()
        return taken + _CAUTION * left + _NEAR_START * (rows - start).square().sum()

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        if not bias.requires_grad and rows.grad is not None:  # the model has none
            rows.grad[:, -1] = 0
        return value.item()

    optimizer.step(closure)
    return rows.detach()

"""Best-path decoding (Graves et al. 2006, section 3.2): the only place that knows how CTC frames collapse.

Everything here works on numpy arrays, so that engines without torch read by the very same code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ocrcc.charset import BLANK, Charset
from ocrcc.decoding.constraints import Rule
from ocrcc.decoding.evidence import from_logits
from ocrcc.decoding.likelihood import log_softmax
from ocrcc.decoding.rivals import Rivals
from ocrcc.errors import ModelError
from ocrcc.types import Alternative, CharSpan

_RUNS_AT_ONCE = 32
"""Runs whose posteriors are held at a time; a few megabytes for thousands of classes."""
_SIBLINGS_NAMED = 3
"""Look-alikes named among a character's alternatives."""


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The characters of a batch's best paths: runs of one class that is not the blank, ordered by line and frame.

    Attributes:
        lines: (R,) the line of each run, 0..N-1.
        classes: (R,) its class.
        starts: (R,) its first frame.
        ends: (R,) one past its last frame.
        num_lines: N.
    """

    lines: np.ndarray
    classes: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    num_lines: int

    def line_slices(self) -> list[slice]:
        """Return, for each of the N lines, which of the runs are its own."""
        bounds = np.searchsorted(self.lines, np.arange(self.num_lines + 1)).tolist()
        return [slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False)]

    def texts(self, charset: Charset) -> list[str]:
        """Return the N texts."""
        return [charset.decode(self.classes[own].tolist()) for own in self.line_slices()]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was read on one line.

    Attributes:
        spans: Its characters, in order.
        alternatives: For each of them, other characters of the same frames, the likeliest first.
        margins: For each of them, how much nearer its feature is to its own center than to the nearest
            look-alike's; None where that is not known.
        confidence: The lowest of the characters' confidences; of a line read as empty, the lowest posterior
            of the blank over its frames.
        evidence: For each of them, what its scores say (`ocrcc.decoding.evidence.from_logits`); empty where nobody
            asked.
        unmatched: Whether nothing plausible keeps to the rule that was given, so that the text was left as it is.
    """

    spans: tuple[CharSpan, ...]
    alternatives: tuple[tuple[Alternative, ...], ...]
    margins: tuple[float | None, ...]
    confidence: float
    evidence: tuple[tuple[float, ...], ...] = ()
    unmatched: bool = False

    @property
    def text(self) -> str:
        """The characters in a row."""
        return "".join(span.char for span in self.spans)


def collapse(classes: np.ndarray, frames: np.ndarray) -> Runs:
    """Collapse frame classes to characters: repeats merge, blanks separate and vanish.

    Args:
        classes: (N, T) the class of every frame.
        frames: (N,) how many frames are a line's own; later ones are padding and are not looked at.

    >>> runs = collapse(np.array([[1, 1, 0, 1, 2]]), np.array([5]))
    >>> runs.classes.tolist(), runs.starts.tolist(), runs.ends.tolist()
    ([1, 1, 2], [0, 3, 4], [2, 4, 5])
    """
    num_lines, num_frames = classes.shape
    own = np.where(np.arange(num_frames) < np.asarray(frames)[:, None], classes, BLANK)
    walled = np.pad(own, ((0, 0), (1, 1)), constant_values=BLANK)
    changes = walled[:, 1:] != walled[:, :-1]
    # Row by row the k-th start belongs to the k-th end, since runs of a line do not overlap.
    lines, starts = np.nonzero(changes[:, :-1] & (own != BLANK))
    _, ends = np.nonzero(changes[:, 1:] & (own != BLANK))
    return Runs(lines=lines, classes=own[lines, starts], starts=starts, ends=ends + 1, num_lines=num_lines)


def reread(runs: Runs, logits: np.ndarray, features: np.ndarray, rivals: Rivals, weight: float) -> Runs:
    """Decide once more between each character and its look-alikes, with the centers (`Rivals.decide`).

    A run stays one character, and is decided at the frame where it is likeliest.

    Args:
        runs: The characters of a batch.
        logits: (N, T, C) they were read from.
        features: (N, T, D) of the same frames.
        rivals: Who looks like whom.
        weight: Of the centers beside the classifier.
    """
    lengths = runs.ends - runs.starts
    peaks = runs.starts.copy()
    highest = logits[runs.lines, peaks, runs.classes]
    for step in range(1, int(lengths.max(initial=0))):
        frames = np.minimum(runs.starts + step, runs.ends - 1)
        scores = logits[runs.lines, frames, runs.classes]
        higher = scores > highest
        peaks, highest = np.where(higher, frames, peaks), np.where(higher, scores, highest)
    classes = rivals.decide(features[runs.lines, peaks], logits[runs.lines, peaks], runs.classes, weight)
    return replace(runs, classes=classes)


def texts(classes: np.ndarray, frames: np.ndarray, charset: Charset) -> list[str]:
    """Collapse the frame classes (N, T) of lines with ``frames`` (N,) frames of their own to their N texts.

    This is all that an evaluation needs, and spares it the posteriors that `decode` computes.
    """
    return collapse(classes, frames).texts(charset)


def decode(
    logits: np.ndarray,
    frames: np.ndarray,
    charset: Charset,
    *,
    alternatives: int = 0,
    rivals: Rivals | None = None,
    features: np.ndarray | None = None,
    center_share: float = 0.0,
    evidence: bool = False,
    rule: Rule | None = None,
) -> list[Reading]:
    """Read a batch: characters with their frames, how sure each is, and what else it could be.

    A character's confidence is the *mean* of its class's posterior over its run. A product would fall with
    the length of the run, that is with the width of the glyph; the maximum hides that half of the run was
    doubtful; the mean does neither.

    Args:
        logits: (N, T, C) scores before the softmax, or log posteriors, which are the same to it.
        frames: (N,) how many frames are a line's own.
        charset: What the classes mean.
        alternatives: How many other characters to name for each character.
        rivals: Who looks like whom. A character's likeliest look-alikes are named among its alternatives.
        features: (N, T, D); with `rivals`, they give the margins, each at the frame where the character is
            likeliest, which is where fine-tuning looks as well.
        center_share: Weight of the distances to the centers beside the classifier's scores, in deciding
            between look-alikes (`reread`).
        evidence: Gather what tells whether a character is right; with `rivals`.
        rule: What the lines may read as. It decides what is read, not how sure that is.

    Raises:
        ModelError: A score that decides is not finite.
    """
    scores = logits if rule is None else rule.masked(logits)
    best = scores.argmax(-1)
    check_finite(np.take_along_axis(logits, best[..., None], -1)[..., 0], frames)
    runs = collapse(best, frames)
    if rivals is not None and features is not None and center_share:
        runs = reread(runs, scores, features, rivals, center_share)
    unmatched: set[int] = set()
    if rule is not None and rule.acceptor is not None:
        runs, unmatched = _enforce(rule, runs, logits, frames, charset)
    found = [
        measured
        for first in range(0, len(runs.lines), _RUNS_AT_ONCE)
        for measured in _measure(
            logits, features, runs, slice(first, first + _RUNS_AT_ONCE), charset, alternatives, rivals
        )
    ]
    readings = []
    for line, own in enumerate(runs.line_slices()):
        spans, others, margins = zip(*found[own], strict=True) if found[own] else ((), (), ())
        sure = [span.confidence for span in spans] or [_emptiness(logits[line, : frames[line]])]
        told: tuple[tuple[float, ...], ...] = ()
        if evidence and rivals is not None:
            scores, run = logits[line, : frames[line]], (runs.classes[own], runs.starts[own], runs.ends[own])
            told = tuple(map(tuple, from_logits(scores, *run, rivals.siblings).tolist()))
        readings.append(
            Reading(
                spans=spans,
                alternatives=others,
                margins=margins,
                confidence=min(sure),
                evidence=told,
                unmatched=line in unmatched,
            )
        )
    return readings


def _enforce(rule: Rule, runs: Runs, logits: np.ndarray, frames: np.ndarray, charset: Charset) -> tuple[Runs, set[int]]:
    """Read lines that do not match a rule so that they do, and tell those for which that is not plausible."""
    unmatched = set()
    parts = []
    for line, own in enumerate(runs.line_slices()):
        classes, starts, ends = runs.classes[own], runs.starts[own], runs.ends[own]
        if not rule.holds(charset.decode(classes.tolist())):
            path = rule.path(log_softmax(logits[line, : frames[line]]), classes.tolist())
            if path is None:
                unmatched.add(line)
            else:
                found = collapse(path[None], np.array([len(path)]))
                classes, starts, ends = found.classes, found.starts, found.ends
        parts.append((np.full(len(classes), line), classes, starts, ends))
    if not parts:
        return runs, unmatched
    lines, classes, starts, ends = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Runs(lines=lines, classes=classes, starts=starts, ends=ends, num_lines=runs.num_lines), unmatched


def check_finite(highest: np.ndarray, frames: np.ndarray) -> None:
    """Refuse scores that decide nothing.

    Args:
        highest: (N, T) the score of each frame's likeliest class.
        frames: (N,) how many frames are a line's own.

    Raises:
        ModelError: One of them is not finite.
    """
    own = np.arange(highest.shape[1]) < np.asarray(frames)[:, None]
    if not np.isfinite(highest[own]).all():
        raise ModelError("the model's scores are not finite numbers", "its weights are damaged, or training diverged")


_Measured = tuple[CharSpan, tuple[Alternative, ...], float | None]


def _measure(
    logits: np.ndarray,
    features: np.ndarray | None,
    runs: Runs,
    group: slice,
    charset: Charset,
    alternatives: int,
    rivals: Rivals | None,
) -> list[_Measured]:
    """Return what a group of runs stands for, with the alternatives and the margin of each.

    Most frames are blank, so only those of the runs go through the softmax: with thousands of classes it
    costs more than all the rest of decoding.
    """
    classes, starts, ends = runs.classes[group], runs.starts[group], runs.ends[group]
    lengths = ends - starts
    offsets = np.cumsum(lengths) - lengths
    lines = np.repeat(runs.lines[group], lengths)
    frames = np.arange(len(lines)) + np.repeat(starts - offsets, lengths)
    posteriors = _softmax(logits[lines, frames].astype(np.float32, copy=False))
    own = posteriors[np.arange(len(lines)), np.repeat(classes, lengths)]
    sure = np.add.reduceat(own, offsets) / lengths
    spans = [
        CharSpan(char=charset.char(class_id), confidence=confidence, start=start, end=end)
        for class_id, confidence, start, end in zip(
            classes.tolist(), sure.tolist(), starts.tolist(), ends.tolist(), strict=True
        )
    ]
    margins: list[float | None] = [None] * len(spans)
    if rivals is not None and features is not None:
        peaks = np.array(
            [offset + own[offset : offset + length].argmax() for offset, length in zip(offsets, lengths, strict=True)]
        )
        found = rivals.margins(features[lines[peaks], frames[peaks]], classes)
        margins = [None if np.isnan(margin) else margin for margin in found.tolist()]
    count = max(0, min(alternatives, len(charset) - 1))
    if not count and rivals is None:
        return list(zip(spans, [()] * len(spans), margins, strict=True))
    others = _alternatives(posteriors, offsets, lengths, classes, charset, count, rivals)
    return list(zip(spans, others, margins, strict=True))


def _softmax(scores: np.ndarray) -> np.ndarray:
    """Turn scores (R, C) into posteriors, in place."""
    scores -= scores.max(-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return scores


def _alternatives(
    posteriors: np.ndarray,
    offsets: np.ndarray,
    lengths: np.ndarray,
    classes: np.ndarray,
    charset: Charset,
    count: int,
    rivals: Rivals | None,
) -> list[tuple[Alternative, ...]]:
    """Name other characters by mean posterior over each run's rows: the ``count`` likeliest, and look-alikes."""
    means = posteriors[offsets]
    for step in range(1, lengths.max()):
        longer = lengths > step
        means[longer] += posteriors[offsets[longer] + step]
    means /= lengths[:, None].astype(np.float32)
    means[:, BLANK] = -1
    means[np.arange(len(classes)), classes] = -1
    top = np.argpartition(means, -count, axis=-1)[:, -count:] if count else np.zeros((len(classes), 0), np.int64)
    if rivals is not None:
        siblings = rivals.siblings[classes]
        order = np.argsort(-np.take_along_axis(means, siblings, -1), axis=-1, kind="stable")[:, :_SIBLINGS_NAMED]
        top = np.concatenate((top, np.take_along_axis(siblings, order, -1)), axis=1)
    top = np.sort(top, axis=-1)
    chances = np.take_along_axis(means, top, -1)
    order = np.argsort(-chances, axis=-1, kind="stable")
    top, chances = np.take_along_axis(top, order, -1), np.take_along_axis(chances, order, -1)
    return [
        tuple(
            Alternative(char=charset.char(class_id), confidence=chance)
            for class_id, chance in dict(zip(ids, values, strict=True)).items()
            if class_id != BLANK
        )
        for ids, values in zip(top.tolist(), chances.tolist(), strict=True)
    ]


def _emptiness(logits: np.ndarray) -> float:
    """Return the lowest posterior of the blank over a line's frames (T, C); 1 where there are none."""
    return float(_softmax(logits.astype(np.float32))[:, BLANK].min()) if len(logits) else 1.0

"""How often a line is looked at, and which of the looks counts; evaluation and prediction share it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocrcc.charset import BLANK, Charset
from ocrcc.config import Preprocessing
from ocrcc.decoding.greedy import Reading
from ocrcc.decoding.likelihood import log_likelihoods, log_softmax
from ocrcc.decoding.rivals import Rivals
from ocrcc.images.transforms import closer, may_be_loose, pad, widen
from ocrcc.lookalikes import load_lookalikes, sibling_table

_WIDTHS: tuple[float, ...] = (1.3, 1.5)
"""What a line is stretched to. CTC needs a frame a character and one between two that are the same; condensed type
leaves it little more, and stretched type has more."""
_LOOSE = 2.0
"""If a line without its blank rows is enlarged to more than so many times its width, it is shown like that first."""
_LOST = 0.5
"""A line that is read less surely than this, however wide, may be upside down."""

Read = Callable[[np.ndarray, np.ndarray], tuple[list[Reading], np.ndarray]]
"""From images (N, K, H, W) and the columns (N,) that are each line's own to what was read on them, and the logits
(N, T, C) it was read from."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at a line.

    Attributes:
        reading: What was read.
        width: Of the line in pixels, as it was looked at.
        upside_down: Whether it was turned for that.
        logits: (T, C) of the line's own frames; None if it was read surely at once.
        looks: How many looks it was chosen from.
        agreement: For each of its characters the share of these that read the same there; empty for one look.
    """

    reading: Reading
    width: int
    upside_down: bool = False
    logits: np.ndarray | None = None
    looks: int = 1
    agreement: tuple[float, ...] = ()


def read_lines(
    lines: Sequence[np.ndarray],
    read: Read,
    preprocessing: Preprocessing,
    charset: Charset,
    *,
    width_stride: int,
    unsure: float,
    at_once: Callable[[int], int],
) -> list[Look]:
    """Read lines, and those that are read unsurely again.

    A line is looked at until some reading is sure enough: as it is, and then closer and wider (`_views`). Of what was
    read, the text counts that is likeliest on average over all these looks. A line that is hardly read at all is
    turned upside down as well; that counts only if it is sure enough. Nobody else's line has a say in it.

    Args:
        lines: (K, H, W) each, prepared.
        read: Reads lines of one padded width.
        preprocessing: Of the model.
        charset: Of the model.
        width_stride: Pixels a frame.
        unsure: Readings less confident than this are looked at again, 0..1; 0 for none.
        at_once: From a padded width to how many lines may be read together.

    Returns:
        The look at each line that counts.
    """
    unsure = unsure if preprocessing.looks else 0.0
    looks: list[list[Look]] = [[] for _ in lines]

    def look_at(views: Mapping[int, np.ndarray]) -> Iterator[tuple[int, Look]]:
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for index, view in views.items():
            groups[preprocessing.padded_width(view.shape[2])].append(index)
        for padded, group in groups.items():
            for first in range(0, len(group), at_once(padded)):
                indices = group[first : first + at_once(padded)]
                widths = np.array([views[index].shape[2] for index in indices])
                readings, logits = read(pad([views[index] for index in indices], padded, preprocessing.padding), widths)
                for index, reading, scores, width in zip(indices, readings, logits, widths.tolist(), strict=True):
                    compared = looks[index] or reading.confidence < unsure
                    kept = scores[: -(-width // width_stride)].copy() if compared else None
                    yield index, Look(reading=reading, width=width, logits=kept)

    views = [_views(line, preprocessing) for line in lines]
    doubted = list(range(len(lines)))
    while doubted:
        shown = {index: view for index in doubted if (view := next(views[index], None)) is not None}
        for index, look in look_at(shown):
            looks[index].append(look)
        doubted = [index for index in shown if looks[index][-1].reading.confidence < unsure]
    found = [_likeliest(each, charset) for each in looks]
    lost = min(unsure, _LOST)
    turned = {index: lines[index][:, ::-1, ::-1] for index, look in enumerate(found) if look.reading.confidence < lost}
    for index, look in look_at(turned):
        if look.reading.confidence >= unsure:
            found[index] = replace(look, upside_down=True)
    return found


def _views(line: np.ndarray, preprocessing: Preprocessing) -> Iterator[np.ndarray]:
    """Show a line as it is; then without blank rows, and that wider; or, where it has none, wider and wider still.

    A line of which more than half is blank is shown without that first: type that small loses its points, and surely.
    """
    enlarged = closer(line, preprocessing) if preprocessing.looks and may_be_loose(line) else None
    if enlarged is not None and enlarged.shape[2] > _LOOSE * line.shape[2]:
        yield enlarged
        yield line
    else:
        yield line
        if (enlarged := closer(line, preprocessing)) is not None:
            yield enlarged
    factors = _WIDTHS
    if enlarged is not None:
        line, factors = enlarged, factors[:1]
    width = line.shape[2]
    for factor in factors:
        view = widen(line, factor, preprocessing)
        if view.shape[2] > width:  # the widest lines that a model takes are not widened
            width = view.shape[2]
            yield view


def _likeliest(looks: Sequence[Look], charset: Charset) -> Look:
    """Choose the look whose text has the highest mean probability over all of them; of equal texts the surest.

    Where some keep to the rule that was given, the others do not count.
    """
    all_looks = looks
    looks = [look for look in looks if not look.reading.unmatched] or looks
    texts = list(dict.fromkeys(look.reading.text for look in looks))
    if len(texts) > 1:
        ids = [charset.encode(text) for text in texts]
        used = sorted({BLANK}.union(*ids))  # a text's likelihood asks for no other class
        place = {class_id: at for at, class_id in enumerate(used)}
        posteriors = [log_softmax(look.logits, used) for look in looks if look.logits is not None]
        targets = [[place[class_id] for class_id in each] for each in ids]
        scores = log_likelihoods(posteriors * len(ids), [each for each in targets for _ in posteriors])
        text = texts[int(np.logaddexp.reduce(scores.reshape(len(ids), -1), axis=1).argmax())]
        looks = [look for look in looks if look.reading.text == text]
    best = max(looks, key=lambda look: look.reading.confidence)
    return replace(best, looks=len(all_looks), agreement=_agreement(best, all_looks)) if len(all_looks) > 1 else best


def _agreement(best: Look, looks: Sequence[Look]) -> tuple[float, ...]:
    """Tell for each character of a look which share of the looks, itself included, reads it there."""
    text = best.reading.text
    same = np.zeros(len(text))
    for look in looks:
        for block in Levenshtein.opcodes(text, look.reading.text):
            if block.tag == "equal":
                same[block.src_start : block.src_end] += 1
    return tuple((same / len(looks)).tolist())


def find_rivals(
    lookalikes: str, charset: Charset, centers: np.ndarray | None, counts: np.ndarray | None
) -> Rivals | None:
    """Bring look-alike groups and a model's centers together.

    Args:
        lookalikes: Groups by name or file; empty for none.
        charset: Of the model.
        centers: (C, D), if the model has them.
        counts: (C,), how many characters each center stands on.

    Raises:
        CharsetError: The groups cannot be read.
    """
    if not lookalikes:
        return None
    table = sibling_table(load_lookalikes(lookalikes).for_training(), charset)
    return Rivals(siblings=np.array(table, np.int64), centers=centers, known=None if counts is None else counts > 0)

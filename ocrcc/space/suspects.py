"""Labels that the model disputes: characters that lie nearer to a look-alike's center, and are read as it.

One of the two is wrong; which, a person says (`ocrcc review`). On receipts it was the model 12 times of 13.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path

import numpy as np

from ocrcc.errors import DataError
from ocrcc.files import new_aside
from ocrcc.losses.center import Centers
from ocrcc.places import PICTURE, check_replaceable, claimed, folder_of, marked, output, remove, replace
from ocrcc.projection.points import visible
from ocrcc.projection.tiles import png
from ocrcc.space.characters import CharacterBatch, Report, Skipped, Viewer, cut, walk
from ocrcc.types import LabelledLines

HEADER = ("source", "position", "character", "suggested", "posterior", "margin", "label", "place", "crop")
_MOST = 10_000
"""So many suspects are kept, those with the highest posterior."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A character whose label the model disputes.

    Attributes:
        source: Where its line came from.
        position: Its place in the label, from 1.
        char: What the label says.
        suggested: What it looks like.
        posterior: The model's posterior of that on the character's best frame.
        margin: Distance to that one's center minus the distance to the label's; negative, and -inf where no other
            character of the data has that label.
        label: The whole label, as the charset normalises it.
        place: Where the character starts and ends, as shares of the line's width.
        crop: (H, w) or (H, w, 3) uint8.
    """

    source: str
    position: int
    char: str
    suggested: str
    posterior: float
    margin: float
    label: str
    place: tuple[float, float]
    crop: np.ndarray


@dataclass(frozen=True, kw_only=True)
class SuspectsResult:
    """What a check of labels found.

    Attributes:
        suspects: The likeliest first.
        checked: How many characters were looked at: those that have look-alikes with a center.
        left_out: Suspects beyond the most that are kept.
        own_means: Whether the model has no centers, so that the data's class means took their place.
    """

    suspects: tuple[Suspect, ...]
    checked: int
    left_out: int
    own_means: bool


def find_suspects(
    viewer: Viewer,
    datasets: Sequence[LabelledLines],
    *,
    posterior: float,
    batch_size: int,
    workers: int,
    skipped: Skipped,
    report: Report = lambda _done, _total: None,
) -> SuspectsResult:
    """Go through all lines; memory does not grow with them.

    A model without centers is given the means of the data's classes first, in a pass of its own.

    Args:
        viewer: The model.
        datasets: The lines.
        posterior: The least posterior of the look-alike.
        batch_size: Lines read at once.
        workers: Processes that load.
        skipped: Takes in the lines that could not be checked.
        report: Told how many lines are done, of how many.

    Raises:
        DataError: Not one character could be checked.
        ModelError: The model gives no numbers.
    """
    own_means = viewer.centers is None
    if own_means:
        viewer = changed(viewer, centers=_class_means(viewer, datasets, batch_size, workers, report))
    best: list[tuple[float, float, int, Suspect]] = []
    checked = found = 0
    for batch in walk(viewer, datasets, batch_size=batch_size, workers=workers, skipped=skipped, report=report):
        margin = _without_itself(batch, viewer.centers) if own_means else batch.margin
        checked += int((~np.isnan(margin)).sum())
        for number in np.flatnonzero((margin < 0) & (batch.sibling_posterior >= posterior)).tolist():
            found += 1
            suspect = Suspect(
                source=batch.sources[batch.rows[number]],
                position=int(batch.positions[number]) + 1,
                char=viewer.charset.char(int(batch.classes[number])),
                suggested=viewer.charset.char(int(batch.sibling[number])),
                posterior=float(batch.sibling_posterior[number]),
                margin=float(margin[number]),
                label=batch.labels[batch.rows[number]],
                place=_place(batch, number),
                crop=cut(batch, number, viewer.preprocessing),
            )
            entry = (suspect.posterior, -suspect.margin, -found, suspect)
            if len(best) < _MOST:
                heapq.heappush(best, entry)
            else:
                heapq.heappushpop(best, entry)
    if not checked:
        raise DataError(
            "not one character could be checked: none has a look-alike whose center is known",
            "give other groups: --lookalikes FILE, or a model whose charset has them",
        )
    return SuspectsResult(
        suspects=tuple(entry[3] for entry in sorted(best, reverse=True)),
        checked=checked,
        left_out=found - len(best),
        own_means=own_means,
    )


def _place(batch: CharacterBatch, number: int) -> tuple[float, float]:
    left, right = (batch.boxes[number] / batch.widths[batch.rows[number]]).clip(0, 1).tolist()
    return left, right


def _class_means(
    viewer: Viewer, datasets: Sequence[LabelledLines], batch_size: int, workers: int, report: Report
) -> Centers:
    import torch

    means = Centers(viewer.charset.num_classes, viewer.recognizer.feature_width)
    for batch in walk(
        viewer, datasets, batch_size=batch_size, workers=workers, skipped=Skipped(), report=report
    ):  # the second pass counts what is skipped
        means.accumulate(torch.from_numpy(batch.features), torch.from_numpy(batch.classes))
    return means.to(viewer.device)


def _without_itself(batch: CharacterBatch, means: Centers | None) -> np.ndarray:
    """Return margins (M,) to class means that each character has no part in; -inf if its class has no other."""
    assert means is not None
    own = np.linalg.norm(batch.features - means.centers.cpu().numpy()[batch.classes], axis=1)
    others = means.center_counts.cpu().numpy()[batch.classes] - 1
    farther = np.where(others > 0, own / np.maximum(others, 1), np.inf)
    margins: np.ndarray = batch.margin - farther
    return margins


def crop_folder(path: Path) -> Path:
    """Return the folder of the crops that belong to a list of suspects."""
    return path.with_name(f"{path.stem}-crops")


CROPS = folder_of("folder of crops", r"\d{5}\.png", PICTURE.ours)
LIST = marked("list of suspects", "\t".join(HEADER).encode())


def write_suspects(path: Path, result: SuspectsResult, *, crops: bool) -> None:
    """Write the list, `HEADER` first, and a folder of crops beside it; texts are made harmless.

    Args:
        path: TSV file; it appears whole, after its crops.
        result: What to write.
        crops: Write them.

    Raises:
        ConfigError: The folder of crops holds something else.
        DataError: Something cannot be written.
    """
    folder = crop_folder(path)
    if crops:
        _write_crops(folder, result.suspects)
    rows = [
        (
            visible(suspect.source),
            str(suspect.position),
            visible(suspect.char),
            visible(suspect.suggested),
            f"{suspect.posterior:.4f}",
            f"{suspect.margin:.4f}" if np.isfinite(suspect.margin) else "",
            visible(suspect.label),
            "{:.5f}-{:.5f}".format(*suspect.place),
            f"{visible(folder.name)}/{number:05d}.png" if crops else "",
        )
        for number, suspect in enumerate(result.suspects, start=1)
    ]
    with output(path, LIST) as aside:
        aside.write_text("".join("\t".join(row) + "\n" for row in (HEADER, *rows)), encoding="utf-8", newline="\n")


def _write_crops(folder: Path, suspects: Sequence[Suspect]) -> None:
    with claimed(folder):
        check_replaceable(folder, CROPS)
        real = folder.resolve()
        aside = new_aside(real)
        try:
            aside.mkdir()
            for number, suspect in enumerate(suspects, start=1):
                (aside / f"{number:05d}.png").write_bytes(png(suspect.crop))
            replace([(aside, real)])
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None
        finally:
            remove(aside)

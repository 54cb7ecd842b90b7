"""The feature space while a model learns: the same characters at the start, and every so many steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn

from ocrcc.charset import Charset
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import FirstLines
from ocrcc.errors import DataError
from ocrcc.lookalikes import Lookalikes
from ocrcc.models.recognizer import Recognizer
from ocrcc.projection.projector import write_tensors
from ocrcc.space.characters import Skipped, Viewer
from ocrcc.space.panels import frequent_groups, join_groups
from ocrcc.space.probe import choose, count_characters, look, to_shown, to_space
from ocrcc.types import LabelledLines, LineSource

_LINES = 512
"""So many lines of a source without end are looked at."""
_PANELS, _CHARACTERS, _PER_CHARACTER = 8, 48, 20
_BATCH = 32
NAME = "training"


class Snapshots:
    """Writes tensors of the same characters into a run's TensorBoard folder; call it with each step.

    Which characters depends on the data alone, so a resumed run goes on with the same: those of the look-alike
    groups that the data has most of.

    Args:
        viewer: How to look; its recogniser is replaced by that of each call.
        sources: Where the characters come from: datasets, or else the first lines of a renderer.
        lookalikes: The groups.
        every: Steps.
        logdir: The folder.

    Raises:
        DataError: The data has no two characters that look alike.
    """

    def __init__(
        self, viewer: Viewer, sources: Sequence[LineSource], lookalikes: Lookalikes, every: int, logdir: Path
    ) -> None:
        self._viewer, self._every, self._logdir = viewer, every, logdir
        datasets = [source for source in sources if isinstance(source, LmdbDataset)]
        self._datasets: Sequence[LabelledLines] = datasets or [FirstLines(source, _LINES) for source in sources[:1]]
        self._panels = _panels(self._datasets, viewer.charset, lookalikes)
        chars = "".join(dict.fromkeys("".join(self._panels)))
        most = _PER_CHARACTER * len(chars)
        self._places = choose(self._datasets, viewer.charset, chars, most, 0, Skipped())

    def __call__(self, step: int, recognizer: Callable[[], nn.Module]) -> None:
        """Take a snapshot if this is a step for one.

        Nothing of the run changes: a copy of the recogniser is asked, and the random state is kept.

        Args:
            step: Optimizer steps done.
            recognizer: Gives the weights as they are.
        """
        if step % self._every:
            return
        copied = cast(Recognizer, deepcopy(recognizer()).eval())
        device = str(next(copied.parameters()).device)
        viewer = replace(self._viewer, recognizer=copied, device=device, siblings=self._viewer.siblings.to(device))
        with torch.random.fork_rng(devices=[]):
            sample = look(viewer, self._datasets, self._places, batch_size=_BATCH, workers=0, skipped=Skipped())
        if len(sample):  # lines that are too short for their labels may be all there are
            shown = to_shown(sample, self._panels)
            write_tensors(self._logdir, shown, [to_space(NAME, viewer, sample, shown)], step=step)


def _panels(datasets: Sequence[LabelledLines], charset: Charset, lookalikes: Lookalikes) -> list[str]:
    counts = {char: count for char, count in count_characters(datasets, charset).items() if char in charset}
    groups = frequent_groups(counts, lookalikes, _CHARACTERS)
    if not groups:
        raise DataError(
            "the data has no two characters that look alike, so there is nothing to project",
            "leave out --project-every, or give other --lookalikes",
        )
    return join_groups(groups, _PANELS)

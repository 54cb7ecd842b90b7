"""Which groups of characters are compared: those asked for, or those that a model tells apart worst."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocrcc.charset import Charset, describe
from ocrcc.config import ProjectConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.errors import ConfigError, DataError
from ocrcc.lookalikes import Lookalikes
from ocrcc.workflows.characters import Report, Skipped, Viewer
from ocrcc.workflows.probe import Sample, choose, class_centers, count_characters, look

_PANEL = 6
"""Characters that overlapping groups may make one panel of."""
_FREQUENT = 8


@dataclass(frozen=True)
class Panels:
    """The groups that are compared.

    Attributes:
        panels: Each written together.
        absent: Characters that were asked for but are not there, and why.
    """

    panels: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()

    def characters(self) -> str:
        """List the different characters of all panels."""
        return "".join(dict.fromkeys("".join(self.panels)))

    @classmethod
    def present(cls, asked: Sequence[str], datasets: Sequence[LmdbDataset], charset: Charset) -> Panels:
        """Keep the characters that the model knows and the data has.

        Raises:
            DataError: None is left.
        """
        counts = count_characters(datasets, charset)
        wanted = dict.fromkeys("".join(asked))
        unknown = [char for char in wanted if char not in charset]
        unseen = [char for char in wanted if char in charset and not counts[char]]
        absent = [f"the model's charset lacks {describe(unknown)}"] if unknown else []
        absent += [f"the data has no {describe(unseen)}"] if unseen else []
        gone = {*unknown, *unseen}
        panels = ["".join(char for char in panel if char not in gone) for panel in asked]
        if not any(panels):
            raise DataError("; ".join(absent), "ocrcc inspect says which characters the data has")
        return cls(tuple(panel for panel in panels if panel), tuple(absent))


def asked_panels(config: ProjectConfig, lookalikes: Lookalikes) -> list[str]:
    """Return the panels that the options name.

    Raises:
        ConfigError: There is no group of such a number.
    """
    asked = ["".join(dict.fromkeys(chars)) for chars in config.chars]
    for number in config.group:
        if not 1 <= number <= len(lookalikes.groups):
            raise ConfigError(f"look-alikes {config.lookalikes!r} have groups 1..{len(lookalikes.groups)}, no {number}")
        asked.append(lookalikes.groups[number - 1].characters)
    return list(dict.fromkeys(asked))


def worst_panels(
    viewer: Viewer, datasets: Sequence[LmdbDataset], lookalikes: Lookalikes, config: ProjectConfig, report: Report
) -> Panels:
    """Find the look-alike groups in the data whose characters lie nearest to one another's centers.

    Data without any look-alikes gives one panel of its most frequent characters.

    Args:
        viewer: The model.
        datasets: The data.
        lookalikes: The groups.
        config: How many panels, and of how many characters they are judged.
        report: Told how many lines are done, of how many.

    Raises:
        DataError: The data has no characters at all.
    """
    counts = count_characters(datasets, viewer.charset)
    here = {char for char, count in counts.items() if count and char in viewer.charset}
    groups = [group.characters for group in lookalikes.restrict(here).groups]
    if not groups:
        frequent = "".join(char for char, _ in counts.most_common() if char in here)[:_FREQUENT]
        if not frequent:
            raise DataError("the data has no character that the model knows", f"its charset is {viewer.charset.name!r}")
        return Panels((frequent,), ("the data has no two characters that look alike",))
    chars = "".join(dict.fromkeys("".join(groups)))
    skipped = Skipped()  # what is skipped is counted when the panels' characters are looked at
    places = choose(datasets, viewer.charset, chars, config.max_points, config.seed, skipped)
    sample = look(
        viewer,
        datasets,
        places,
        batch_size=config.batch_size,
        workers=config.workers,
        skipped=skipped,
        report=report,
    )
    return Panels(tuple(_join(sorted(groups, key=group_margins(viewer, sample, groups).__getitem__), config.worst)))


def group_margins(viewer: Viewer, sample: Sample, groups: Sequence[str]) -> dict[str, float]:
    """Return the mean margin of each group's characters towards one another, over the distance of their centers.

    Infinite where fewer than two of them have a center, or were seen at all.
    """
    chars = list(dict.fromkeys(sample.chars))
    if not chars:
        return dict.fromkeys(groups, np.inf)
    centers = dict(zip(chars, class_centers(viewer, sample, chars)[0], strict=True))
    return {group: _margin(sample, [char for char in group if char in centers], centers) for group in groups}


def _margin(sample: Sample, group: Sequence[str], centers: dict[str, np.ndarray]) -> float:
    if len(group) < 2:
        return np.inf
    chars = np.array(sample.chars)
    margins = []
    own_centers = np.stack([centers[char] for char in group])
    for place, char in enumerate(group):
        features = sample.features[chars == char]
        away = np.linalg.norm(features[:, None] - own_centers, axis=2)
        others = np.delete(away, place, axis=1)
        apart = np.linalg.norm(own_centers - own_centers[place], axis=1)[np.arange(len(group)) != place]
        margins.append(float(((others - away[:, [place]]) / np.maximum(apart, 1e-12)).min(axis=1).mean()))
    return float(np.mean(margins))


def _join(groups: Sequence[str], most: int) -> list[str]:
    """Take the first groups; one that overlaps with a panel widens it while there is room.

    >>> _join(["己已", "未末", "已巳", "日曰"], 2)
    ['己已巳', '未末']
    """
    panels: list[str] = []
    for group in groups:
        shared = next((number for number, panel in enumerate(panels) if set(panel) & set(group)), None)
        if shared is None and len(panels) < most:
            panels.append(group)
        elif shared is not None:
            union = "".join(dict.fromkeys(panels[shared] + group))
            if len(union) <= _PANEL:
                panels[shared] = union
    return panels

"""Which groups of characters are compared: those asked for, or those that a model tells apart worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocrcc.charset import MISSING_HINT, Charset, describe, lacks
from ocrcc.config import ProjectConfig
from ocrcc.errors import ConfigError, DataError
from ocrcc.lookalikes import Lookalikes
from ocrcc.projection.points import without_itself
from ocrcc.space.characters import Report, Skipped, Viewer
from ocrcc.space.probe import Sample, choose, class_centers, count_characters, look
from ocrcc.types import LabelledLines

_PANEL = 6
"""Characters that overlapping groups may make one panel of."""
_FREQUENT = 8
_SEEN = 3
"""Of so many of a character, some can be told from a mean of the others."""
_ENOUGH = 8
"""Of each character, on the average, groups are judged by so many."""


@dataclass(frozen=True)
class Panels:
    """The groups that are compared.

    Attributes:
        panels: Each written together.
        absent: Characters that were asked for but are not there, and why.
        lacking: Whether the model's charset lacks some of them.
    """

    panels: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    lacking: bool = False

    def characters(self) -> str:
        """List the different characters of all panels."""
        return "".join(dict.fromkeys("".join(self.panels)))

    @classmethod
    def present(cls, asked: Sequence[str], datasets: Sequence[LabelledLines], charset: Charset) -> Panels:
        """Keep the characters that the model knows and the data has.

        Raises:
            DataError: None is left.
        """
        counts = count_characters(datasets, charset)
        wanted = dict.fromkeys("".join(asked))
        unknown = [char for char in wanted if char not in charset]
        unseen = [char for char in wanted if char in charset and not counts[char]]
        absent = [lacks(charset.name, unknown)] if unknown else []
        absent += [f"the data has no {describe(unseen)}"] if unseen else []
        gone = {*unknown, *unseen}
        panels = ["".join(char for char in panel if char not in gone) for panel in asked]
        if not any(panels):
            raise DataError(
                "; ".join(absent), MISSING_HINT if unknown else "ocrcc inspect says which characters the data has"
            )
        return cls(tuple(panel for panel in panels if panel), tuple(absent), bool(unknown))


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
    viewer: Viewer, datasets: Sequence[LabelledLines], lookalikes: Lookalikes, config: ProjectConfig, report: Report
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
    here = {char: count for char, count in counts.items() if count and char in viewer.charset}
    groups = frequent_groups(here, lookalikes, config.max_points // _ENOUGH)
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
    return Panels(
        tuple(join_groups(sorted(groups, key=group_margins(viewer, sample, groups).__getitem__), config.worst))
    )


def frequent_groups(counts: Mapping[str, int], lookalikes: Lookalikes, most: int) -> list[str]:
    """Return look-alike groups that the data has, the most frequent first, of ``most`` characters or so together.

    Characters that the data hardly has are left out of them, unless it has no others.
    """
    for least in (_SEEN, 1):
        seen = {char for char, count in counts.items() if count >= least}
        groups = [group.characters for group in lookalikes.restrict(seen).groups]
        if groups:
            break
    groups.sort(key=lambda group: -min(counts[char] for char in group))
    chars: set[str] = set()
    kept: list[str] = []
    for group in groups:
        if kept and len(chars | set(group)) > most:
            break
        chars |= set(group)
        kept.append(group)
    return kept


def group_margins(viewer: Viewer, sample: Sample, groups: Sequence[str]) -> dict[str, float]:
    """Return the mean margin of each group's characters towards one another, over the distance of their centers.

    Infinite where fewer than two of them were seen.
    """
    chars = list(dict.fromkeys(sample.chars))
    if not chars:
        return dict.fromkeys(groups, np.inf)
    centers, learned = class_centers(viewer, sample, chars)
    places = {char: place for place, char in enumerate(chars)}
    all_chars = np.array(sample.chars)
    features = {char: sample.features[all_chars == char] for char in chars}
    found = {}
    for group in groups:
        seen = [char for char in group if char in places]
        which = [places[char] for char in seen]
        found[group] = _margin([features[char] for char in seen], centers[which], learned[which])
    return found


def _margin(features: Sequence[np.ndarray], centers: np.ndarray, learned: np.ndarray) -> float:
    if len(features) < 2:
        return np.inf
    margins = []
    for place, own in enumerate(features):
        away = np.linalg.norm(own[:, None] - centers, axis=2)
        others = np.delete(away, place, axis=1)
        apart = np.delete(np.linalg.norm(centers - centers[place], axis=1), place)
        to_own = away[:, [place]] * (1.0 if learned[place] else without_itself(len(own)))
        margins.append(float(((others - to_own) / np.maximum(apart, 1e-12)).min(axis=1).mean()))
    return float(np.mean(margins))


def join_groups(groups: Sequence[str], most: int) -> list[str]:
    """Take the first groups; one that overlaps with a panel widens it while there is room.

    >>> join_groups(["己已", "未末", "已巳", "日曰"], 2)
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

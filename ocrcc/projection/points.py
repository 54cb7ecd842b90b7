"""What is shown: characters with their crops, and where each model puts them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ocrcc.harmless import harmless

TILE = 32
"""Pixels that crops are high and wide, whatever their character's shape."""


COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#bcbd22", "#9467bd")
"""Of the characters of a panel, in their order; the first ones can be told apart by the colour-blind too."""

_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The M characters that every model is asked about, in one order.

    Attributes:
        chars: M label characters.
        panels: The groups that are compared, each written together; a character may be in several.
        crops: (M, TILE, TILE) uint8 for grey or (M, TILE, TILE, 3) for colour.
        sources: Where the M lines came from.
        positions: (M,) places in their labels, from 0.
    """

    chars: Sequence[str]
    panels: Sequence[str]
    crops: np.ndarray
    sources: Sequence[str]
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.chars)

    def rows(self, panel: str) -> np.ndarray:
        """Return the numbers of the characters that belong to a panel."""
        found = [self._rows[char] for char in set(panel) if char in self._rows]
        return np.sort(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def panel_of(self, char: str) -> str:
        """Return the first panel that a character is in."""
        return self._first_panels.get(char, "")

    def different(self) -> list[str]:
        """List the different characters, panel by panel."""
        return list(self.places)

    @cached_property
    def places(self) -> dict[str, int]:
        """Say where in `different` each character is."""
        present = [char for char in dict.fromkeys("".join(self.panels)) if char in self._rows]
        return {char: place for place, char in enumerate(present)}

    @cached_property
    def _rows(self) -> dict[str, np.ndarray]:
        rows: defaultdict[str, list[int]] = defaultdict(list)
        for row, char in enumerate(self.chars):
            rows[char].append(row)
        return {char: np.array(found, np.int64) for char, found in rows.items()}

    @cached_property
    def _first_panels(self) -> dict[str, str]:
        return {char: panel for panel in reversed(self.panels) for char in panel}


@dataclass(frozen=True, kw_only=True)
class Space:
    """Where one model puts those characters.

    Attributes:
        name: Of the model; letters, digits, dots, dashes.
        features: (M, D) float32.
        predicted: What the model reads there, M characters.
        confidence: (M,) posterior of that, 0..1.
        margin: (M,) distance to the nearest look-alike's center minus that to the own one; NaN without centers.
        siblings: The character of that look-alike's center; empty where there is none.
        centers: (P, D), one for each of `Shown.different`.
        learned: (P,) bool; false where the model has no center and the mean of the shown features stands in.
    """

    name: str
    features: np.ndarray
    predicted: Sequence[str]
    confidence: np.ndarray
    margin: np.ndarray
    siblings: Sequence[str]
    centers: np.ndarray
    learned: np.ndarray


def visible(text: str) -> str:
    r"""Write what has no shape, or would break a table, by its code; labels and file names are data.

    >>> visible("a\tb\n"), visible(" "), visible("")
    ('a\\x09b\\x0a', '␣', '∅')
    """
    if not text.strip(" "):
        return "␣" * len(text) or "∅"
    return harmless(text)


@dataclass(frozen=True, kw_only=True)
class PanelView:
    """The m characters of one panel as one model sees them.

    Attributes:
        chars: The panel's different characters, P of them.
        rows: (m,) numbers of the panel's characters among all shown.
        classes: (m,) which of `chars` each is.
        points: (m + P, D), the features, and the centers after them.
        strangeness: (m,) distance to the own center over that to the nearest other; above 1 is nearer to the other.
    """

    chars: tuple[str, ...]
    rows: np.ndarray
    classes: np.ndarray
    points: np.ndarray
    strangeness: np.ndarray

    @property
    def own_share(self) -> float:
        """Share of the characters that are nearest to their own center."""
        return float((self.strangeness < 1).mean())

    def oddest(self, most: int) -> np.ndarray:
        """Return the places among `rows` of the characters that look least like their own, the oddest first."""
        return np.argsort(-self.strangeness, kind="stable")[:most]

    def plainest(self, place: int, most: int) -> np.ndarray:
        """Return the places among `rows` of those that look most like their own, of one of `chars`."""
        own = np.flatnonzero(self.classes == place)
        return own[np.argsort(self.strangeness[own], kind="stable")[:most]]


def view_panel(shown: Shown, space: Space, panel: str) -> PanelView:
    """Take one panel out of all that is shown."""
    chars = tuple(sorted({char for char in panel if char in shown.places}, key=shown.places.__getitem__))
    which = [shown.places[char] for char in chars]
    rows = shown.rows(panel)
    numbers = {char: number for number, char in enumerate(chars)}
    classes = np.array([numbers[shown.chars[row]] for row in rows], dtype=np.int64)
    features, centers = space.features[rows], space.centers[which]
    counts = np.bincount(classes, minlength=len(chars)).tolist()
    fair = np.array(
        [1.0 if known else without_itself(count) for known, count in zip(space.learned[which], counts, strict=True)]
    )
    own, other = _own_and_other(features, centers, classes)
    return PanelView(
        chars=chars,
        rows=rows,
        classes=classes,
        points=np.concatenate((features, centers)),
        strangeness=own * fair[classes] / np.maximum(other, 1e-12),
    )


def _own_and_other(features: np.ndarray, centers: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances (m,) to the own center and to the nearest other one, in little memory."""
    own, other = np.empty(len(features)), np.full(len(features), np.inf)
    for first in range(0, len(features), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        far = features[part].astype(np.float64)
        squared = (far**2).sum(axis=1)[:, None] - 2 * far @ centers.T + (centers.astype(np.float64) ** 2).sum(axis=1)
        away = np.sqrt(squared.clip(min=0))
        own[part] = np.take_along_axis(away, classes[part, None], axis=1)[:, 0]
        np.put_along_axis(away, classes[part, None], np.inf, axis=1)
        other[part] = away.min(axis=1)
    return own, other


def without_itself(count: int) -> float:
    """Return by what a point's distance to the mean of ``count`` is too short, for being one of them itself.

    >>> without_itself(5), without_itself(1)
    (1.25, 1.0)
    """
    return count / (count - 1) if count > 1 else 1.0


def nearest_shares(shown: Shown, space: Space) -> dict[str, float]:
    """Return what share of each panel's characters is nearest to their own center."""
    return {panel: view_panel(shown, space, panel).own_share for panel in shown.panels if len(shown.rows(panel))}

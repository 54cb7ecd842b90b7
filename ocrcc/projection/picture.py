"""The feature space as a picture: for each group of look-alikes, one plot a model side by side.

Characters are named by their own crops, so no font is needed that can write them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ocrcc.places import PICTURE, SOFTWARE, output
from ocrcc.projection.plane import Method, to_planes
from ocrcc.projection.points import COLORS, PanelView, Shown, Space, view_panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

_OUTLIERS = 8
_ODD = 0.8  # the least strangeness of an outlier
_APART = 0.17  # of the plot, so that crops do not hide one another
_EXAMPLES = 4
_LIMITS = (-0.2, 1.2)
"""Of the axes around the unit square: room for the crops around the points."""
_ROW, _COLUMN, _LEGEND = 3.2, 4.0, 1.5  # inches


def write_picture(path: Path, shown: Shown, spaces: Sequence[Space], *, method: Method = "pca", seed: int = 0) -> None:
    """Draw the characters of each panel as each model sees them, with crops for the outliers.

    Args:
        path: PNG file; it appears whole or not at all.
        shown: The characters.
        spaces: Where the models put them.
        method: How features get to two dimensions, for each panel on its own; models of one space share the plane.
        seed: Of that.

    Raises:
        DataError: The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [panel for panel in shown.panels if len(shown.rows(panel))]
    across = 1 if len(spaces) > 1 or len(panels) == 1 else 2  # panels in a row
    widths = [_LEGEND, *[_COLUMN] * len(spaces)]
    rows = math.ceil(len(panels) / across)
    figure = Figure(figsize=(across * sum(widths), _ROW * rows), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, across * len(widths), squeeze=False, width_ratios=widths * across)
    places = grid.reshape(rows * across, len(widths))
    for axes, panel in zip(places, panels, strict=False):
        views = [view_panel(shown, space, panel) for space in spaces]
        _legend(axes[0], shown, views[-1])
        planes = to_planes([view.points for view in views], method, seed, centers=len(views[0].chars))
        for place, space, view, plane in zip(axes[1:], spaces, views, planes, strict=True):
            _scatter(place, shown, view, plane)
            place.set_title(f"{space.name}: {view.own_share:.1%} nearest to their own center", fontsize=9)
    for axes in places[len(panels) :]:
        for place in axes:
            place.set_axis_off()
    with output(path, PICTURE) as aside, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # of a model's name
        figure.savefig(aside, format="png", metadata={"Software": SOFTWARE})


def _scatter(axes: Axes, shown: Shown, view: PanelView, plane: np.ndarray) -> None:
    """Draw points in the unit square, centers over them, and crops of the outliers around them."""
    points, centers = plane[: len(view.rows)], plane[len(view.rows) :]
    for place in range(len(view.chars)):
        own = points[view.classes == place]
        color = COLORS[place % len(COLORS)]
        axes.scatter(own[:, 0], own[:, 1], s=9, color=color, alpha=0.55, linewidths=0)
        x, y = centers[place]
        axes.scatter(x, y, s=170, color=color, marker="X", edgecolors="black", linewidths=1.2, zorder=4)
    middle = np.median(plane, axis=0)
    drawn: list[np.ndarray] = []
    for which in view.oddest(len(view.rows)):
        if view.strangeness[which] < _ODD or len(drawn) == _OUTLIERS:
            break
        place = points[which] - middle
        if all(np.linalg.norm(place - other) > _APART for other in drawn):
            drawn.append(place)
            offset = 26 * place / max(float(np.linalg.norm(place)), 1e-9)
            _thumbnail(axes, shown.crops[view.rows[which]], points[which], offset, view.classes[which])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlim(*_LIMITS)
    axes.set_ylim(*_LIMITS)


def _thumbnail(axes: Axes, crop: np.ndarray, point: np.ndarray, offset: np.ndarray, place: int) -> None:
    """Tie a crop to its point, framed in the colour of its label."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    box = AnnotationBbox(
        OffsetImage(crop, cmap="gray", norm=_shades(), zoom=0.6),
        (float(point[0]), float(point[1])),
        xybox=(float(offset[0]), float(offset[1])),
        boxcoords="offset points",
        pad=0.1,
        bboxprops={"edgecolor": COLORS[place % len(COLORS)], "linewidth": 1.5},
        arrowprops={"arrowstyle": "-", "color": "0.4", "linewidth": 0.6},
        zorder=5,
    )
    axes.add_artist(box)


def _legend(axes: Axes, shown: Shown, view: PanelView) -> None:
    """Show some plain crops of each character beside its colour."""
    axes.set_axis_off()
    axes.set_xlim(-1.2, _EXAMPLES)
    axes.set_ylim(max(4, len(view.chars)), 0)
    axes.set_aspect("equal", anchor="W")
    for place in range(len(view.chars)):
        axes.scatter(-0.6, place + 0.5, s=60, color=COLORS[place % len(COLORS)], marker="o")
        for column, which in enumerate(view.plainest(place, _EXAMPLES)):
            axes.imshow(
                shown.crops[view.rows[which]],
                cmap="gray",
                norm=_shades(),
                extent=(column + 0.05, column + 0.95, place + 0.95, place + 0.05),
            )
    axes.set_xlim(-1.2, _EXAMPLES)  # imshow changes them
    axes.set_ylim(max(4, len(view.chars)), 0)


def _shades() -> Normalize:
    from matplotlib.colors import Normalize

    return Normalize(0, 255)

"""Lines that one model misread and another reads right, as a picture."""

from __future__ import annotations

import logging
import unicodedata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ocrcc.evaluation.line_log import WrongRead
from ocrcc.places import PICTURE, SOFTWARE, output
from ocrcc.projection.points import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ocrcc.evaluation.evaluate import Readings

# It tells of every weight that a font lacks.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)

_LINES = 3
_WIDTH, _HEIGHT = 6.4, 1.35
"""Inches of a line with its texts."""
_LONGEST = 42
"""Columns of text."""
_WRONG, _RIGHT, _INK = "#c62828", "#1b7f3b", "#222222"
_WIDE = (
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "Droid Sans Fallback",
)
"""Fonts that write what the one that comes with matplotlib lacks, if one of them is there."""


def write_mended(path: Path, readings: Readings) -> None:
    """Draw some lines that the first model misread and the last one reads right, with what either read.

    Of all such lines, those that differ in the fewest characters are drawn: look-alikes rather than lost lines.

    Args:
        path: PNG file; it appears whole or not at all.
        readings: Of two models or more.

    Raises:
        DataError: The file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import get_font_names

    before, now = readings.logs[0].wrong, readings.logs[-1].wrong
    mended = [line for place, line in before.items() if place not in now]
    drawn = sorted(mended, key=lambda line: line.edits)[:_LINES]
    there = set(get_font_names())
    families = ["DejaVu Sans Mono", *(name for name in _WIDE if name in there)]
    with rc_context({"font.family": families, "font.size": 11}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        rows = max(1, len(drawn))
        figure = Figure(figsize=(_WIDTH, _HEIGHT * rows), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, line in zip(figure.subplots(2 * rows, 1).reshape(rows, 2), drawn, strict=False):
            image = np.asarray(readings.datasets[line.dataset].line(line.index).image.convert("L"))
            axes[0].imshow(image, cmap="gray", vmin=0, vmax=255)
            axes[0].set_anchor("W")
            _texts(axes[1], line)
        for axes in figure.axes:
            axes.set_axis_off()
        if not drawn:
            figure.text(0.02, 0.5, "no line is read right that was misread before", color=_INK)
        with output(path, PICTURE) as aside:
            figure.savefig(aside, format="png", metadata={"Software": SOFTWARE})


def _texts(axes: Axes, line: WrongRead) -> None:
    """Write what was read before and what is read now, one above the other, each character in a column of its own."""
    axes.set_xlim(0, _LONGEST + 8)
    axes.set_ylim(0, 2)
    right, wrong = line.parts()
    for name, height, texts, color in (("before", 1.5, wrong, _WRONG), ("now", 0.5, right, _RIGHT)):
        axes.text(0, height, name, color="#777777", va="center", fontsize=9)
        _text(axes, height, texts, color)


def _text(axes: Axes, height: float, parts: Sequence[tuple[bool, str]], color: str) -> None:
    column = 8
    for same, text in parts:
        for char in visible(text):
            wide = 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if column + wide > _LONGEST + 8:
                return
            axes.text(
                column + wide / 2,
                height,
                char,
                color=_INK if same else color,
                ha="center",
                va="center",
            )
            column += wide

"""The figures of a report, as SVG that takes its ink from the page and so suits light, dark and paper."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ocrcc.evaluation.line_log import LineLog

COLORS = ("#8a94a6", "#2f7ed8")
"""Of the model compared with, and of the model; both are seen on white and on black."""
_INK = "#0a0b0c"
"""Stands for the page's own colour of text until the figure is written."""
_SIZE = (4.6, 2.7)
_LENGTHS = (1, 5, 9, 17, 33)
_ASPECTS = (0, 4, 8, 16, 32)
_CONFIDENCES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
_BINS = 15
_LEAST = 10
"""Bins of fewer lines are drawn pale: they say little."""


def accuracy_by_length(logs: Sequence[LineLog]) -> str:
    """Draw the share of lines that were read exactly, by the characters of their labels; a log for each model."""
    names = [f"{low}–{high - 1}" for low, high in zip(_LENGTHS, _LENGTHS[1:], strict=False)] + [f"{_LENGTHS[-1]}+"]
    return _bars([(log.lengths, log.right) for log in logs], _LENGTHS, names, "characters of the label", "length")


def accuracy_by_width(logs: Sequence[LineLog]) -> str:
    """Draw the share of lines that were read exactly, by the width of the image over its height."""
    names = [f"{low}–{high}" for low, high in zip(_ASPECTS, _ASPECTS[1:], strict=False)] + [f"{_ASPECTS[-1]}+"]
    return _bars([(log.aspects, log.right) for log in logs], _ASPECTS, names, "width / height of the image", "width")


def accuracy_by_confidence(logs: Sequence[LineLog]) -> str:
    """Draw the share of lines that were read exactly, by the confidence of the reading."""
    names = [f"{low:g}+" for low in _CONFIDENCES]
    names[0] = f"< {_CONFIDENCES[1]:g}"
    return _bars([(log.confidences, log.right) for log in logs], _CONFIDENCES, names, "confidence of the line", "sure")


def reliability(logs: Sequence[LineLog]) -> str:
    """Draw how many of the characters are right that were read with about the same confidence."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=":")
    lowest = 1.0
    for log, color in zip(logs, COLORS[-len(logs) :], strict=True):
        sure, right = log.characters
        groups = [group for group in np.array_split(np.argsort(sure, kind="stable"), _BINS) if len(group)]
        across, up = [sure[group].mean() for group in groups], [right[group].mean() for group in groups]
        axes.plot(across, up, color=color, marker="o", markersize=4)
        lowest = min(lowest, *across, *up)
    low = max(0.0, lowest - 0.05)
    axes.set(xlim=(low, 1.01), ylim=(low, 1.01), xlabel="confidence of a character", ylabel="share right")
    return _svg(figure, "reliability")


def _bars(
    logs: Sequence[tuple[np.ndarray, np.ndarray]], edges: Sequence[float], names: list[str], label: str, salt: str
) -> str:
    """Draw a bar for each range that starts at an edge and each model, and write how many lines it stands for."""
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(logs)
    for number, ((values, right), color) in enumerate(zip(logs, COLORS[-len(logs) :], strict=True)):
        bins = np.searchsorted(edges, values, side="right") - 1
        counts = np.bincount(bins.clip(0), minlength=len(edges))
        shares = np.bincount(bins.clip(0), weights=right, minlength=len(edges)) / np.maximum(counts, 1)
        places = np.arange(len(edges)) + (number - (len(logs) - 1) / 2) * width
        for place, share, count in zip(places.tolist(), shares.tolist(), counts.tolist(), strict=True):
            if count:
                axes.bar(place, share, width, color=color, alpha=1.0 if count >= _LEAST else 0.35)
    axes.set_xticks(
        range(len(edges)), [f"{name}\nn={count}" for name, count in zip(names, counts.tolist(), strict=True)]
    )
    axes.set(xlim=(-0.6, len(edges) - 0.4), ylim=(0, 1.02), xlabel=label, ylabel="lines right")
    return _svg(figure, salt)


def _svg(figure: Figure, salt: str) -> str:
    """Write a figure for the inside of a page: no background, the page's colours, the same bytes for the same data."""
    for axes in figure.axes:
        axes.patch.set_visible(False)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_INK)
        axes.tick_params(colors=_INK, labelsize=8)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set(color=_INK, fontsize=9)
    figure.patch.set_visible(False)
    FigureCanvasSVG(figure)
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": salt}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawn = file.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>", "", drawn, count=1, flags=re.DOTALL
    )  # it is for all of a page
    # Ids hold for the whole page, on which there are several figures.
    for start in ('id="', "url(#", 'href="#'):
        drawn = drawn.replace(start, f"{start}{salt}-")
    return drawn.replace(_INK, "currentColor")

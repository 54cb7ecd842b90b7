"""The feature space as one HTML file that loads nothing: points with their crops, told about on hovering."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ocrcc.places import marked, output
from ocrcc.projection.plane import Method, to_planes
from ocrcc.projection.points import COLORS, TILE, PanelView, Shown, Space, view_panel, visible
from ocrcc.projection.tiles import data_uri, sheet

_SIZE, _EDGE = 360, 14  # pixels of a plot, and of its empty edge


def write_page(path: Path, shown: Shown, spaces: Sequence[Space], *, method: Method = "pca", seed: int = 0) -> None:
    """Write the same points as `picture.write_picture`, each with its crop, label, reading and margin.

    Args:
        path: HTML file; it appears whole or not at all.
        shown: The characters.
        spaces: Where the models put them.
        method: How features get to two dimensions, for each panel on its own; models of one space share the plane.
        seed: Of that.

    Raises:
        DataError: The file cannot be written.
    """
    crops = sheet(shown.crops)
    panels = []
    for panel in shown.panels:
        if len(shown.rows(panel)):
            views = [view_panel(shown, space, panel) for space in spaces]
            planes = to_planes([view.points for view in views], method, seed, centers=len(views[0].chars))
            plots = map(_plot, spaces, views, planes)
            panels.append(f"<section><h2>{_text(panel)}</h2>{''.join(plots)}</section>")
    data = {
        "across": crops.shape[1] // TILE,
        "chars": [visible(char) for char in shown.chars],
        "lines": [visible(source) for source in shown.sources],
        "positions": [int(position) + 1 for position in shown.positions],
        "models": [_told(space) for space in spaces],
    }
    page = (
        _PAGE.replace("@COUNT@", str(len(shown)))
        .replace("@TILE@", str(TILE))
        .replace("@SHEET@", data_uri(crops))
        .replace("@PANELS@", "".join(panels))
        .replace("@DATA@", _json(data))
    )
    with output(path, PAGE) as aside:
        aside.write_text(page, encoding="utf-8")


def _plot(space: Space, view: PanelView, plane: np.ndarray) -> str:
    """Draw one panel of one model as SVG; a point's title is its number, which the script looks up."""
    places = _EDGE + plane * (_SIZE - 2 * _EDGE)
    places[:, 1] = _SIZE - places[:, 1]
    marks = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{COLORS[place % len(COLORS)]}" data-row="{row}"/>'
        for (x, y), place, row in zip(places.tolist(), view.classes.tolist(), view.rows.tolist(), strict=False)
    ]
    marks += [
        f'<path d="M{x - 8:.1f} {y - 8:.1f}l16 16m0 -16l-16 16" stroke="#000" stroke-width="7"/>'
        f'<path d="M{x - 8:.1f} {y - 8:.1f}l16 16m0 -16l-16 16" stroke="{COLORS[place % len(COLORS)]}"'
        ' stroke-width="4"/>'
        for place, (x, y) in enumerate(places[len(view.rows) :].tolist())
    ]
    legend = " ".join(
        f'<b style="color:{COLORS[place % len(COLORS)]}">{_text(char)}</b>' for place, char in enumerate(view.chars)
    )
    return (
        f"<figure><figcaption>{_text(space.name)}: {view.own_share:.1%} nearest to their own center {legend}"
        f'</figcaption><svg viewBox="0 0 {_SIZE} {_SIZE}" data-model="{_text(space.name)}">{"".join(marks)}</svg>'
        "</figure>"
    )


def _told(space: Space) -> dict[str, Any]:
    return {
        "name": space.name,
        "predicted": [visible(char) for char in space.predicted],
        "siblings": [visible(char) if char else "" for char in space.siblings],
        "confidence": [round(float(value), 4) for value in space.confidence],
        "margin": [None if np.isnan(value) else round(float(value), 3) for value in space.margin],
    }


def _text(text: str) -> str:
    return html.escape(visible(text))


def _json(data: Any) -> str:
    """Write JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


PAGE = marked("page", b"<title>ocrcc project</title>")
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>ocrcc project</title>
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<style>
body { font: 14px sans-serif; margin: 1em; color: #222; background: #fff }
section { border-top: 1px solid #ccc }
figure { display: inline-block; margin: 0 1em 1em 0 }
figcaption b { font-size: 18px }
svg { width: 360px; height: 360px; border: 1px solid #ddd }
circle { fill-opacity: .6 } circle.chosen { fill-opacity: 1; stroke: #000; stroke-width: 2 }
#told { position: fixed; pointer-events: none; background: #fff; border: 1px solid #888; padding: 6px; display: none;
 max-width: 40em; overflow-wrap: anywhere }
#crop { width: @TILE@px; height: @TILE@px; zoom: 3; image-rendering: pixelated; background-image: url(@SHEET@) }
</style></head><body>
<h1>Feature space: @COUNT@ characters</h1>
<p>Each point is a character at its feature; crosses are the centers of its class. Hover to see it.</p>
@PANELS@
<div id="told"><div id="crop"></div><div id="text"></div></div>
<script type="application/json" id="data">@DATA@</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const told = document.getElementById("told"), crop = document.getElementById("crop");
const text = document.getElementById("text"), models = new Map(data.models.map(model => [model.name, model]));
function mark(row, on) {
  for (const one of document.querySelectorAll(`circle[data-row="${row}"]`)) one.classList.toggle("chosen", on);
}
for (const circle of document.querySelectorAll("circle")) {
  const row = Number(circle.dataset.row), model = models.get(circle.ownerSVGElement.dataset.model);
  circle.addEventListener("mousemove", event => {
    mark(row, true);
    const margin = model.margin[row];
    text.textContent = `${data.chars[row]}, read ${model.predicted[row]} (${model.confidence[row].toFixed(3)})`
      + (margin === null ? "" : `, margin ${margin} to ${model.siblings[row]}`)
      + `; ${data.lines[row]}, character ${data.positions[row]}`;
    crop.style.backgroundPosition = `${-@TILE@ * (row % data.across)}px ${-@TILE@ * Math.floor(row / data.across)}px`;
    told.style.display = "block";
    told.style.left = Math.min(event.clientX + 12, innerWidth - told.offsetWidth - 8) + "px";
    told.style.top = Math.min(event.clientY + 12, innerHeight - told.offsetHeight - 8) + "px";
  });
  circle.addEventListener("mouseleave", () => { mark(row, false); told.style.display = "none"; });
}
</script></body></html>
"""

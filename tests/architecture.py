"""Draw the rooms and who knows whom, from the import statements: ``python tests/architecture.py``."""

from __future__ import annotations

from graphlib import TopologicalSorter
from html import escape
from itertools import pairwise

from test_layers import CORE, ROOT, used_arrows

PICTURE = ROOT / "assets" / "pictures" / "architecture.svg"
_WIDTH, _ROW, _BOX, _GAP, _HIGH, _MARGIN = 920, 84, 104, 56, 34, 20


def levels(arrows: dict[str, set[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """Put each room one row above the highest that it knows, and leave gaps in a row for the lines that pass it.

    Returns:
        The rows from the lowest, and each arrow as the names that it passes; those of gaps have a ``>``.
    """
    height: dict[str, int] = {}
    for name in TopologicalSorter(arrows).static_order():
        height[name] = 1 + max((height[known] for known in arrows[name]), default=-1)
    ways = [
        [name, *(f"{name}>{known}>{level}" for level in range(height[name] - 1, height[known], -1)), known]
        for name, known_ones in reduced(arrows).items()
        for known in sorted(known_ones)
    ]
    height |= {gap: int(gap.rpartition(">")[2]) for way in ways for gap in way[1:-1]}
    rows = [sorted(name for name in height if height[name] == level) for level in range(max(height.values()) + 1)]
    steps = [pair for way in ways for pair in pairwise(way)]
    place = {name: (number + 0.5) / len(row) for row in rows for number, name in enumerate(row)}
    for turn in range(40):  # each stands at the mean of those that it is joined with above, then below
        for row in rows if turn % 2 else rows[::-1]:
            for name in row:
                ends = [low if turn % 2 else high for high, low in steps if name == (high if turn % 2 else low)]
                if ends:
                    place[name] = sum(place[end] for end in ends) / len(ends)
            row.sort(key=lambda name: (round(place[name], 9), name))
            place |= {name: (number + 0.5) / len(row) for number, name in enumerate(row)}
    return rows, ways


def reduced(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out arrows that a longer way says already."""

    def all_below(name: str) -> set[str]:
        return arrows[name].union(*map(all_below, arrows[name]))

    return {name: known - set().union(*map(all_below, known)) for name, known in arrows.items()}


def _across(row: list[str]) -> list[float]:
    """Give where the middles of boxes and gaps of a row lie."""
    widths = [_GAP if ">" in name else _BOX + 20 for name in row]
    left = (_WIDTH - sum(widths)) / 2
    return [left + sum(widths[:number]) + width / 2 for number, width in enumerate(widths)]


def draw() -> str:
    """Return the picture as SVG."""
    rows, ways = levels(used_arrows())
    height = _MARGIN * 2 + _ROW * (len(rows) + 1) + _HIGH
    at = {
        name: (x, _MARGIN + _ROW * (len(rows) - level))
        for level, row in enumerate(rows)
        for name, x in zip(row, _across(row), strict=True)
    }
    lines = []
    for way in ways:
        x, y = at[way[0]]
        drawn = f'<path d="M{x:.0f} {y + _HIGH}'
        for name in way[1:]:
            (to_x, to_y), from_y = at[name], y + _HIGH
            middle = (from_y + to_y) / 2
            drawn += f" C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y}"
            drawn += f" V{to_y + _HIGH}" if ">" in name else ""
            x, y = to_x, to_y
        lines.append(drawn + '"/>')
    wide = _WIDTH - 2 * _MARGIN
    boxes = [(_MARGIN, _MARGIN, wide, "cli", "#dbe9f6"), (_MARGIN, height - _MARGIN - _HIGH, wide, "", "#e8e8e8")]
    boxes += [(x - _BOX / 2, y, _BOX, name, "#fdf3d8") for name, (x, y) in at.items() if ">" not in name]
    shapes = []
    for x, y, width, name, colour in boxes:
        said = escape(name or "core: " + ", ".join(sorted(CORE)))
        shapes.append(f'<rect x="{x:.0f}" y="{y}" width="{width}" height="{_HIGH}" rx="5" fill="{colour}"/>')
        shapes.append(f'<text x="{x + width / 2:.0f}" y="{y + 22}">{said}</text>')
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            'font-family="sans-serif" font-size="13" text-anchor="middle">',
            "<title>The rooms of ocrcc: each knows those that its lines lead down to, and all that these know</title>",
            f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
            '<g fill="none" stroke="#888" stroke-width="1.2">',
            *sorted(lines),
            '</g>\n<g stroke="#555" stroke-width="0.6">',
            *(shape for shape in shapes if shape.startswith("<rect")),
            "</g>",
            *(shape for shape in shapes if shape.startswith("<text")),
            "</svg>\n",
        )
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")

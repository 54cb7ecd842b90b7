"""Files of readings with known mistakes, for the tests of reviewing."""

from __future__ import annotations

import json
from pathlib import Path

from drawn_lines import draw_line
from PIL import Image


def reading(path: str, read: str, unsure: dict[int, float], choices: dict[int, str], width: int) -> dict:
    """Make a reading as ``predict --format json`` gives it: sure but for some positions."""
    step = width / max(1, len(read))
    return {
        "path": path,
        "text": read,
        "confidence": min(unsure.values(), default=0.99),
        "chars": [
            {
                "char": char,
                "confidence": unsure.get(at, 0.99),
                "left": int(at * step),
                "right": int((at + 1) * step),
                "margin": None,
                "alternatives": [{"char": other, "confidence": 0.01} for other in choices.get(at, "")],
            }
            for at, char in enumerate(read)
        ],
    }


def make_results(
    folder: Path, lines: list[tuple[str, str, dict[int, float], dict[int, str]]], name: str = "read.json"
) -> Path:
    """Draw lines and write their readings: (truth, read, how sure by position, alternatives by position)."""
    (folder / "lines").mkdir(exist_ok=True)
    rows = []
    for number, (truth, read, unsure, choices) in enumerate(lines):
        image = Image.new("L", (100, 32), 235)  # of one width, so that equal characters have equal crops
        image.paste(draw_line(truth))
        image.save(folder / "lines" / f"{number:03d}.png")
        rows.append(reading(f"lines/{number:03d}.png", read, unsure, choices, image.width))
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path

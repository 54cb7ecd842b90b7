"""Short strings as cells of tables hold them: are points, signs and brackets read, at any margin, in any face and size?

python tests/benchmarks/short_strings.py [--model MODEL ...] [--fonts DIR] [--lines 2000] [--json FILE]

Clean black type on white, drawn by Pillow and cut out with a margin of 0 to an em. Each line is one string in one face
at one size and margin; shapes, sizes and margins come equally often, faces by chance. A line is right if it is read as
it is, compatibility forms counting as the same (NFKC) and, but for the kind "spaces", white space ignored. A mark is
lost where the reading has fewer of it than the line, whatever else is wrong: that is counted beside, and how often with
a confidence over 0.9.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console

from ocrcc.cli import render
from ocrcc.config import DEFAULT_MODEL, PredictConfig
from ocrcc.evaluation.metrics import fold
from ocrcc.glyphs.fonts import Face, coverage, find_faces
from ocrcc.reading.reader import LineReader

SURE = 0.9
SIZES = (14, 18, 24, 32, 44)
MARGINS = (0.0, 0.04, 0.08, 0.15, 0.3, 0.5, 1.0)
"""In ems of the type, rounded to pixels."""
FACES = (
    *("Liberation Sans Regular", "Liberation Serif Regular", "Liberation Mono Regular", "DejaVu Sans Book"),
    *("Noto Sans CJK SC Regular", "Noto Serif CJK SC Regular", "WenQuanYi Zen Hei Regular", "AR PL UMing CN Light"),
)
MARKS = {"points": set(".,:、"), "signs": set("+-%°C¥"), "brackets": set("()[]"), "spaces": {" "}}
"""Of each kind, as NFKC leaves them."""


def _digits(dice: random.Random, most: int = 3) -> str:
    return "".join(dice.choice(string.digits) for _ in range(dice.randint(1, most)))


def _letter(dice: random.Random) -> str:
    return dice.choice(string.ascii_uppercase)


KINDS: dict[str, tuple[Callable[[random.Random], str], ...]] = {
    "points": (
        lambda dice: f"{_digits(dice, 1)}.{_digits(dice, 1)}",
        lambda dice: f"{_digits(dice)}.{_digits(dice, 2)}",
        lambda dice: f"{_digits(dice, 1)},{_digits(dice, 1)}",
        lambda dice: f"{_digits(dice)},{dice.randint(100, 999)}",
        lambda dice: f"{dice.randint(0, 23)}:{dice.randint(0, 59):02}",
        lambda dice: f"{_letter(dice)}.{_letter(dice)}",
        lambda dice: f"{dice.randint(1, 12)}.{dice.randint(1, 31)}",
        lambda dice: f"{dice.randint(1, 30)}{dice.choice('.、')}",
    ),
    "signs": (
        lambda dice: f"-{_digits(dice)}",
        lambda dice: f"+{_digits(dice, 2)}",
        lambda dice: f"-{_digits(dice, 1)}.{_digits(dice, 1)}",
        lambda dice: f"{_digits(dice)}%",
        lambda dice: f"{_digits(dice, 2)}.{_digits(dice, 1)}%",
        lambda dice: f"{_digits(dice, 2)}℃",
        lambda dice: f"¥{_digits(dice)}",
        lambda dice: f"{dice.randint(1, 12)}-{dice.randint(1, 31)}",
    ),
    "brackets": (
        lambda dice: f"({_digits(dice, 2)})",
        lambda dice: f"（{_digits(dice, 2)}）",
        lambda dice: f"[{_digits(dice, 2)}]",
        lambda dice: f"({_letter(dice)})",
        lambda dice: f"{_digits(dice, 2)})",
        lambda dice: f"({dice.choice('一二三四五六七八九十')})",
    ),
    "plain": (
        lambda dice: _digits(dice, 1),
        lambda dice: _digits(dice),
        lambda dice: f"{_letter(dice)}{_digits(dice, 2)}",
        lambda dice: dice.choice("申购赎回金额份日期余是否男女"),
        lambda dice: f"{dice.randint(1, 12)}/{dice.randint(1, 31)}",
    ),
    "spaces": (
        lambda dice: f"{_digits(dice, 1)} {_digits(dice, 1)}",
        lambda dice: f"{_digits(dice)} {_digits(dice)}",
    ),
}


@dataclass(frozen=True)
class Drawn:
    """A line and where it comes from."""

    kind: str
    text: str
    image: Image.Image
    face: str
    size: int
    margin: float


def main() -> None:
    """Print a table a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="a model or run folder; repeat it to compare")
    parser.add_argument("--fonts", default="", help="a folder of fonts, all of which are used; by default eight faces")
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    lines = list(draw(options.lines, options.fonts, options.seed))
    found = {}
    for model in options.model or [DEFAULT_MODEL]:
        config = PredictConfig(threads=options.threads, engine=options.engine)
        reader = LineReader.load(model, device="cpu", config=config)
        readings = [(reading.text, reading.confidence) for reading in reader.recognize([line.image for line in lines])]
        found[model] = figures(lines, readings)
        for table in tables(str(model), found[model]):
            Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(found, ensure_ascii=False, indent=1), encoding="utf-8")


def draw(count: int, folder: str = "", seed: int = 0) -> Iterator[Drawn]:
    """Draw lines: every shape of every kind at every size and margin in a shuffled order, before any comes again."""
    faces = [face for face in find_faces(folder) if folder or any(fnmatch(face.name, name) for name in FACES)]
    covered = [frozenset(map(chr, coverage(face).tolist())) for face in faces]
    dice = random.Random(seed)
    cells = [
        (kind, shape, size, margin) for kind in KINDS for shape in KINDS[kind] for size in SIZES for margin in MARGINS
    ]
    order: list[tuple] = []
    while count:
        if not order:
            order = dice.sample(cells, len(cells))
        kind, shape, size, margin = order.pop()
        text = shape(dice)
        able = [face for face, chars in zip(faces, covered, strict=True) if set(text) <= chars | {" "}]
        if not able:
            continue
        face = dice.choice(able)
        count -= 1
        yield Drawn(kind, text, picture(text, face, size, round(margin * size)), face.name, size, margin)


def picture(text: str, face: Face, size: int, margin: int) -> Image.Image:
    """Draw a text at a size, black on white, and cut it out with so many pixels around its ink."""
    font = ImageFont.truetype(face.path, size, face.index)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    image = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin), 255)
    ImageDraw.Draw(image).text((margin - left, margin - top), text, fill=0, font=font)
    return image


def figures(lines: list[Drawn], readings: list[tuple[str, float]]) -> dict[str, dict]:
    """Count lines that are right and marks that are lost, by kind, margin, size and face."""
    groups: dict[str, dict[str, Counter]] = {name: defaultdict(Counter) for name in ("kind", "margin", "size", "face")}
    wrong = []
    for line, (read, confidence) in zip(lines, readings, strict=True):
        truth, text = ((_spaced if line.kind == "spaces" else fold)(one) for one in (line.text, read))
        kept, given = Counter(text), Counter(truth)
        lost = any(kept[mark] < given[mark] for mark in MARKS.get(line.kind, ()))
        counts = Counter(
            lines=1,
            right=truth == text,
            sure=truth != text and confidence > SURE,
            lost=lost,
            lost_sure=lost and confidence > SURE,
        )
        for name, value in (("kind", line.kind), ("margin", line.margin), ("size", line.size), ("face", line.face)):
            groups[name][str(value)] += counts
        groups["kind"]["all"] += counts
        if truth != text:
            wrong.append((line.text, read, round(confidence, 3), line.face, line.size, line.margin))
    return {
        **{name: {key: dict(value) for key, value in group.items()} for name, group in groups.items()},
        "wrong": wrong,
    }


def _spaced(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())


def tables(model: str, found: dict[str, dict]) -> Iterator[object]:
    """Lay the counts out."""
    for name in ("kind", "margin", "size", "face"):
        headings = [name, "lines", "right %", f"wrong, sure of it (> {SURE})", "marks lost in", "sure of it"]
        rows = [
            [
                key,
                str(counts["lines"]),
                f"{100 * counts.get('right', 0) / counts['lines']:.1f}",
                *(str(counts.get(count, 0)) for count in ("sure", "lost", "lost_sure")),
            ]
            for key, counts in sorted(found[name].items())
        ]
        yield render.table(f"{Path(model).name}: by {name}", headings, rows)


if __name__ == "__main__":
    main()

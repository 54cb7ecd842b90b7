"""Look-alikes in fonts that no training draws in, clean and as small scans have them, drawn by Pillow alone.

    python -m tests.benchmarks.pairs --data FOLDER --fonts FOLDER [--model MODEL …] [--half HALF]
        [--factors [--size PIXELS]]

Every headline comes twice, with a character of a published list and with its look-alike, among the 2,500 characters
that the texts have most often. Nothing but the picture tells them apart, and our renderer, which a model was trained
with, has no say in it. Clean lines are black on white, 32 to 48 pixels to the em; degraded ones 13 to 20, blurred, dim,
noisy and compressed. Pairs are parted by their names: --half development for those that may be looked at while
something is chosen, confirmation for the others.

A line is right if it reads as it is, folded (NFKC), white space ignored. Confused are characters read as their
look-alike. Beside ours stand PP-OCRv4 mobile and PP-OCRv6 small where they are installed; p is McNemar's over lines, of
each reader against the first.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from rapidfuzz.distance import Levenshtein
from rich.console import Console

from ocrcc.charset import load_charset
from ocrcc.cli import render
from ocrcc.config import DEFAULT_MODEL
from ocrcc.evaluation.metrics import fold
from ocrcc.evaluation.significance import mcnemar
from ocrcc.glyphs.fonts import Face, coverage, find_faces
from tests.benchmarks.lookalike_recall import read_lists
from tests.benchmarks.peers import V6, Ours, PpOcrV4, PpOcrV6, half_of

COMMON = 2500
_LARGER = 4
_TRIES = 200
"""Of headlines, for each line."""
TEXTS = ("news-headlines", "wiki-cmrc")
LENGTHS = range(6, 13)


@dataclass(frozen=True)
class Pair:
    """A line with one of two look-alikes.

    Attributes:
        text: The line.
        at: Where the look-alike is.
        twin: What it may be taken for.
        encoded: The picture, as a file has it.
    """

    text: str
    at: int
    twin: str
    encoded: bytes


def main() -> None:
    options = parse()
    pairs = common_pairs(options.data, options.half)
    print(f"{len(pairs)} pairs, {options.half}", file=sys.stderr)
    if options.factors:
        sets = {
            name: draw(options.lines, pairs, options.data, options.fonts, partial(degraded, scan=scan), seed=77)
            for name, scan in scans(options.size).items()
        }
    else:
        sets = draw_both(options.lines, pairs, options.data, options.fonts)
    named = [model.partition("=") for model in options.model or [DEFAULT_MODEL]]
    readers = {name: Ours(path or name, options.threads) for name, _, path in named}
    if options.peers:
        if find_spec("rapidocr"):
            name, _, path = named[0]
            readers[f"{name} and PP-OCRv6 small"] = Ours(path or name, options.threads, second_model=V6)
        readers |= {"PP-OCRv4 mobile": PpOcrV4(options.threads)} if find_spec("rapidocr_onnxruntime") else {}
        readers |= {"PP-OCRv6 small": PpOcrV6(options.threads)} if find_spec("rapidocr") else {}
    found: dict[str, dict[str, list[str]]] = {}
    for name, reader in readers.items():
        decode = reader.open()
        found[name] = {key: reader.read([decode(line.encoded) for line in lines]) for key, lines in sets.items()}
    first = next(iter(found))
    figures = {
        name: {key: counted(sets[key], texts[key], found[first][key]) for key in sets} for name, texts in found.items()
    }
    columns = ("reader", "lines", "right %", "confused %", "p")
    rows = [(name, key, *cells(of, beside=name != first)) for name, each in figures.items() for key, of in each.items()]
    lines = ", ".join(f"{len(lines)} {key}" for key, lines in sets.items())
    Console(width=150, highlight=False).print(render.table(f"{lines} lines, {options.half}", columns, rows))
    if options.json:
        report = {"half": options.half, "pairs": figures}
        options.json.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if options.readings:
        read = [
            [key, line.text, line.twin, *(texts[key][at] for texts in found.values())]
            for key, lines in sets.items()
            for at, line in enumerate(lines)
        ]
        options.readings.write_text("".join("\t".join(row) + "\n" for row in read), encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="the folder with texts and published lists")
    parser.add_argument("--fonts", required=True, help="a folder of fonts that no training draws in")
    parser.add_argument("--model", action="append", metavar="[NAME=]MODEL", help="ours; repeat it to compare")
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("--half", choices=("development", "confirmation"), default="development")
    parser.add_argument("--lines", type=int, default=1000, help="clean ones; twice as many are degraded")
    parser.add_argument("--factors", action="store_true", help="degraded lines alone, without one harm after another")
    parser.add_argument("--size", type=int, help="with --factors: pixels to the em of all these lines")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="the figures")
    parser.add_argument("--readings", type=Path, help="a table of every line, its twin and what each reader read")
    return parser.parse_args()


def common_pairs(data: Path, half: str) -> list[tuple[str, str]]:
    """Read the pairs of published lists whose characters are common."""
    counts = Counter(char for name in TEXTS for char in (data / "corpus" / name / "text.txt").read_text("utf-8"))
    charset = load_charset("gb2312")
    common = {char for char, _ in counts.most_common(COMMON) if "一" <= char <= "鿿" and char in charset}
    twins = [pair for _, found in read_lists(data / "lookalikes", charset) for pair in found.items()]
    named = {(min(one, other), max(one, other)) for one, others in twins for other in others}
    return sorted(pair for pair in named if common.issuperset(pair) and half_of("pairs", "".join(pair)) == half)


def draw_both(count: int, pairs: Sequence[tuple[str, str]], data: Path, fonts: str) -> dict[str, list[Pair]]:
    """Draw so many clean lines, and twice as many degraded ones."""
    return {
        "clean": draw(count, pairs, data, fonts, clean, seed=501),
        "degraded": draw(2 * count, pairs, data, fonts, degraded, seed=502),
    }


def draw(
    count: int,
    pairs: Sequence[tuple[str, str]],
    data: Path,
    fonts: str,
    make: Callable[[str, Face, random.Random], bytes],
    seed: int,
) -> list[Pair]:
    """Draw lines: a headline with either character of a pair, in one face and the same way."""
    faces = find_faces(fonts)
    covered = {face.name: set(map(chr, coverage(face).tolist())) for face in faces}
    headlines = (data / "corpus" / TEXTS[0] / "text.txt").read_text("utf-8").splitlines()
    dice = random.Random(seed)
    lines: list[Pair] = []
    for _ in range(_TRIES * count):
        if len(lines) >= count:
            return lines[:count]
        twins = pairs[dice.randrange(len(pairs))]
        headline = "".join(char for char in dice.choice(headlines) if "一" <= char <= "鿿" and char not in twins)
        text = headline[: dice.choice(LENGTHS)]
        able = [face for face in faces if covered[face.name].issuperset(text + "".join(twins))]
        if len(text) < LENGTHS[0] or not able:
            continue
        face, at, same = dice.choice(able), dice.randrange(len(text)), dice.random()
        for char, twin in (twins, twins[::-1]):
            own = text[:at] + char + text[at + 1 :]
            lines.append(Pair(own, at, twin, make(own, face, random.Random(same))))
    raise SystemExit(f"{fonts}: its faces lack most headlines, or most of {len(pairs)} pairs")


def clean(text: str, face: Face, dice: random.Random) -> bytes:
    """Set a text in black on white."""
    return encoded(_set(text, face, dice.randint(32, 48), 0, 255), "PNG")


@dataclass(frozen=True)
class Scan:
    """What a bad scan does to small type.

    Attributes:
        sizes: Pixels to the em, from and to.
        dim: Whether ink and paper lose their contrast.
        blur: Standard deviation in pixels, from and to.
        noise: Standard deviation in grey levels, from and to.
        quality: Of JPEG, from and to; None for PNG.
        hinted: Whether strokes stand on whole pixels, as fonts' hints put them; else type is drawn large and reduced.
    """

    sizes: tuple[int, int] = (13, 20)
    dim: bool = True
    blur: tuple[float, float] = (0.3, 0.8)
    noise: tuple[float, float] = (2, 12)
    quality: tuple[int, int] | None = (35, 85)
    hinted: bool = True


NONE = (0.0, 0.0)
SCANS = {
    "all": Scan(),
    "no JPEG": Scan(quality=None),
    "no noise": Scan(noise=NONE),
    "no blur": Scan(blur=NONE),
    "not dim": Scan(dim=False),
    "not hinted": Scan(hinted=False),
    "small alone": Scan(dim=False, blur=NONE, noise=NONE, quality=None),
    "blur alone": Scan(dim=False, noise=NONE, quality=None),
    "noise alone": Scan(dim=False, blur=NONE, quality=None),
    "JPEG alone": Scan(dim=False, blur=NONE, noise=NONE),
    "17 to 20": Scan(sizes=(17, 20)),
    "13 and 14": Scan(sizes=(13, 14)),
}


def scans(size: int | None) -> dict[str, Scan]:
    """Return what is done to type without one harm after another, of one size if that is given."""
    if size is None:
        return SCANS
    return {name: replace(scan, sizes=(size, size)) for name, scan in SCANS.items() if scan.sizes == Scan.sizes}


def degraded(text: str, face: Face, dice: random.Random, scan: Scan = SCANS["all"]) -> bytes:
    """Set a text small and make of it what a bad scan does."""
    size, ink, paper = dice.randint(*scan.sizes), dice.randint(0, 90), dice.randint(190, 255)
    tones = (ink, paper) if scan.dim else (0, 255)
    image = _set(text, face, size, *tones) if scan.hinted else _set(text, face, _LARGER * size, *tones).reduce(_LARGER)
    image = image.filter(ImageFilter.GaussianBlur(dice.uniform(*scan.blur)))
    field = np.random.default_rng(dice.randrange(2**32))
    noise = field.normal(0, dice.uniform(*scan.noise), (image.height, image.width))
    worn = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return encoded(worn, "JPEG", quality=dice.randint(*scan.quality)) if scan.quality else encoded(worn, "PNG")


def _set(text: str, face: Face, size: int, ink: int, paper: int) -> Image.Image:
    font = ImageFont.truetype(face.path, size, face.index)
    left, top, right, bottom = (round(side) for side in font.getbbox(text))
    margin = max(1, round(0.12 * size))
    image = Image.new("L", (right - left + 2 * margin, bottom - top + 2 * margin), paper)
    ImageDraw.Draw(image).text((margin - left, margin - top), text, fill=ink, font=font)
    return image


def encoded(image: Image.Image, name: str, **options: int) -> bytes:
    """Write an image as a file has it."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def counted(lines: Sequence[Pair], texts: Sequence[str], others: Sequence[str]) -> dict[str, float]:
    """Count lines that are right and characters that were taken for their look-alike; compare with other readings."""
    right, before = (
        [fold(text) == fold(line.text) for line, text in zip(lines, each, strict=True)] for each in (texts, others)
    )
    confused = sum(taken(line, text) for line, text in zip(lines, texts, strict=True))
    fixed = sum(now and not then for now, then in zip(right, before, strict=True))
    broken = sum(then and not now for now, then in zip(right, before, strict=True))
    return {"lines": len(lines), "right": sum(right), "confused": confused, "p": mcnemar(fixed, broken)}


def cells(figures: dict[str, float], beside: bool) -> tuple[str, str, str]:
    """Say what was counted."""
    right, confused = (f"{100 * figures[name] / figures['lines']:.1f}" for name in ("right", "confused"))
    return right, confused, f"{figures['p']:.2g}" if beside else ""


def taken(line: Pair, text: str) -> bool:
    """Tell whether the line's character was read as its look-alike."""
    read = "".join(text.split())
    return any(
        edit.tag == "replace" and edit.src_pos == line.at and read[edit.dest_pos] == line.twin
        for edit in Levenshtein.editops(line.text, read)
    )


if __name__ == "__main__":
    main()

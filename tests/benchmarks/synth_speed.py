"""Lines a second that one core renders, beside plain ``ImageDraw.text`` on the same texts and fonts.

    python tests/benchmarks/synth_speed.py [--corpus FILE ...] [--lines 8000]

The control draws each label once in one font, black on white, 32 pixels high, with the fonts already open:
no spacing, no scanner, no checks. CPU seconds count, so that other work on the machine does not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ocrcc.charset import load_charset
from ocrcc.datasets.synthesize import encode, memory_of_process
from ocrcc.dice import Dice
from ocrcc.synth.source import SynthSource, load_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", nargs="*", default=[], type=Path)
    parser.add_argument("--preset", default="documents")
    parser.add_argument("--lines", default=8000, type=int)
    options = parser.parse_args()
    source = load_source(options.preset, load_charset("gb2312"), seed=1, corpus=options.corpus)
    print(f"{source.faces} faces; {memory_of_process().own / 1e6:.0f} MB")
    cold = measure(source.line, range(options.lines))
    warm = measure(source.line, range(options.lines, 2 * options.lines))
    stored = measure(lambda number: encode(source.line(number)), range(2 * options.lines, 3 * options.lines))
    labels = [source.line(number).label for number in range(options.lines, 2 * options.lines)]
    control = measure(PlainText(source, labels), range(options.lines))
    mean = sum(map(len, labels)) / len(labels)
    print(f"mean label {mean:.1f} characters, longest {max(map(len, labels))}\n")
    print("| | lines / CPU s | of plain text |\n|---|---|---|")
    for name, speed in (("plain ImageDraw.text", control), ("rendered, first lines", cold), ("rendered", warm),
                        ("rendered and encoded", stored)):  # fmt: skip
        print(f"| {name} | {speed:.0f} | {speed / control:.2f} |")
    print(f"\n{memory_of_process().own / 1e6:.0f} MB at the end, without the pages of font files")


def measure(draw: Callable[[int], object], numbers: range) -> float:
    """Return lines per CPU second."""
    start = time.process_time()
    for number in numbers:
        draw(number)
    return len(numbers) / (time.process_time() - start)


class PlainText:
    """Draws labels and nothing else."""

    def __init__(self, source: SynthSource, labels: list[str]) -> None:
        tools = source._tools()
        chosen = {number: tools.fonts.choose(label, Dice(0, number))[0].main for number, label in enumerate(labels)}
        faces = {face: tools.fonts.faces[face] for face in set(chosen.values())}
        fonts = {face: ImageFont.truetype(where.path, 26, where.index) for face, where in faces.items()}
        self._texts = [(label, fonts[chosen[number]]) for number, label in enumerate(labels)]

    def __call__(self, number: int) -> Image.Image:
        text, font = self._texts[number]
        image = Image.new("L", (max(8, round(font.getlength(text)) + 8), 32), 255)
        ImageDraw.Draw(image).text((4, 0), text, fill=0, font=font)
        return image


if __name__ == "__main__":
    main()

"""How well pages are read, upright and turned: lines found, and CER beside that of the same lines cut out by hand.

    python tests/benchmarks/page_reading.py MODEL DATA [--padding 0 0.04 0.1]

DATA is the folder with ``pages/<name>/page*.jpg`` and their texts beside them, and ``real/page-*`` with some of
their lines cut out by hand. White space does not count.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image
from rapidfuzz.distance import Levenshtein

from ocrcc.config import PredictConfig
from ocrcc.images.cutting import PADDING
from ocrcc.images.opening import open_image
from ocrcc.pages.detect import load_detector
from ocrcc.pages.reader import PageReader
from ocrcc.reading.reader import LineReader

TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
"""Clockwise; Pillow counts the other way round."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--padding", type=float, nargs="+", default=[PADDING])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    lines = LineReader.load(options.model, config=PredictConfig(threads=options.threads))
    detect = load_detector(options.threads)
    texts = sorted((options.data / "pages").rglob("*.txt"))
    images = [open_image(text.with_suffix(".jpg")) for text in texts]
    quads = [detect(image) for image in images]
    for text, found in zip(texts, quads, strict=True):
        known = [line for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
        print(f"{text.parent.name}/{text.stem}: {len(found)} lines found, {len(known)} in its text")
    for padding in options.padding:
        errors = count = 0
        for text, image, found in zip(texts, images, quads, strict=True):
            page = PageReader(lines, detector=lambda _, found=found: found, padding=padding).read_page(image)
            truth = squeezed(text.read_text(encoding="utf-8"))
            errors += Levenshtein.distance(truth, squeezed("".join(line.text for line in page.lines)))
            count += len(truth)
        print(f"padding {padding:.2f}: CER {100 * errors / count:.2f} % of {count} characters")
    for degrees, turn in TURNS.items():
        errors = count = 0
        for text, image in zip(texts, images, strict=True):
            page = PageReader(lines, detector=detect).read_page(image.transpose(turn))
            truth = squeezed(text.read_text(encoding="utf-8"))
            errors += Levenshtein.distance(truth, squeezed("".join(line.text for line in page.lines)))
            count += len(truth)
        print(f"turned by {degrees}°: CER {100 * errors / count:.2f} % of {count} characters")
    errors = count = 0
    for name in sorted({text.parent.name for text in texts}):
        folder = options.data / "real" / name
        rows = [row.split("\t") for row in (folder / "labels.tsv").read_text(encoding="utf-8").splitlines()]
        for (_, label), reading in zip(rows, lines.recognize([folder / file for file, _ in rows]), strict=True):
            errors += Levenshtein.distance(squeezed(label), squeezed(reading.text))
            count += len(squeezed(label))
    print(f"cut out by hand: CER {100 * errors / count:.2f} % of {count} characters")


def squeezed(text: str) -> str:
    return "".join(text.split())


if __name__ == "__main__":
    main()

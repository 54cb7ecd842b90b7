"""Draw the README's picture from what ``ocrcc demo`` left: ``python tests/readme_picture.py ocrcc-demo``.

Of the lines that were kept to measure on, one in which the fine-tuned model mended a single look-alike: the line, that
character, and how likely each of its look-alikes was before and after.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot
from matplotlib.patches import Rectangle
from PIL import Image

from ocrcc.config import DEFAULT_MODEL, PredictConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.reading.reader import LineReader
from ocrcc.types import RecognizedChar

PICTURE = Path(__file__).resolve().parent.parent / "assets" / "pictures" / "before-after.png"
_WRONG, _RIGHT, _GREY = "#c0392b", "#1e8449", "#b8bec4"
_SHOWN = 4


def find(lines: LmdbDataset, before: LineReader, after: LineReader):
    """Choose the line whose mended character is the surest now."""
    images = [lines.line(index).image for index in range(len(lines))]
    best = None
    for index, (old, new) in enumerate(zip(before.recognize(images), after.recognize(images), strict=True)):
        label = lines.label(index)
        differing = [place for place, pair in enumerate(zip(old.text, label, strict=False)) if pair[0] != pair[1]]
        if new.text != label or len(old.text) != len(label) or len(differing) != 1:
            continue
        pair = old.chars[differing[0]], new.chars[differing[0]]
        lookalikes = all(char.margin is not None for char in pair)
        if lookalikes and (best is None or pair[1].confidence > best[-1].confidence):
            best = images[index], label, differing[0], *pair
    if best is None:
        sys.exit("no line was mended in a single look-alike")
    return best


def chances(char: RecognizedChar) -> dict[str, float]:
    """Return how likely a character and its look-alikes are."""
    return {char.char: char.confidence} | {other.char: other.confidence for other in char.alternatives}


def draw(image: Image.Image, label: str, place: int, old: RecognizedChar, new: RecognizedChar) -> None:
    """Draw the line, the character, and the bars."""
    mpl.rcParams["font.family"] = "DejaVu Sans Mono"  # in which l and I differ
    figure = pyplot.figure(figsize=(10, 2.9), dpi=120)
    left, right = new.left, new.right
    line = figure.add_axes((0.02, 0.46, 0.48, 0.5))
    line.imshow(image.convert("L"), cmap="gray", vmin=0, vmax=255)
    line.add_patch(Rectangle((left - 1, 0), right - left + 2, image.height - 1, fill=False, color="#e67e22", lw=2.5))
    line.axis("off")
    for height, said, text, wrong, colour in (
        (0.26, "read before", label[:place] + old.char + label[place + 1 :], place, _WRONG),
        (0.07, "read after", label, place, _RIGHT),
    ):
        figure.text(0.02, height, said, fontsize=11, color="#555555")
        for number, char in enumerate(text):
            shown = {"color": colour, "weight": "bold"} if number == wrong else {"color": "#222222"}
            figure.text(0.16 + 0.026 * number, height, char, fontsize=21, **shown)
    glyph = figure.add_axes((0.52, 0.14, 0.11, 0.66))
    glyph.imshow(image.convert("L").crop((left, 0, right, image.height)), cmap="gray", vmin=0, vmax=255)
    glyph.set_title("which is it?", fontsize=11, color="#e67e22")
    glyph.set_xticks([])
    glyph.set_yticks([])
    for spine in glyph.spines.values():
        spine.set(color="#e67e22", linewidth=2.5)
    known = chances(old) | {char: max(chance, chances(old).get(char, 0)) for char, chance in chances(new).items()}
    names = sorted(known, key=known.__getitem__, reverse=True)[:_SHOWN]
    for at, (title, char, colour) in enumerate((("before", old, _WRONG), ("after", new, _RIGHT))):
        bars = figure.add_axes((0.68 + 0.17 * at, 0.14, 0.13, 0.66))
        values = [100 * chances(char).get(name, 0.0) for name in names]
        drawn = bars.barh(names, values, color=[colour if name == char.char else _GREY for name in names])
        bars.bar_label(drawn, [f"{value:.0f} %" for value in values], padding=3, fontsize=10)
        bars.set_title(title, fontsize=11, color="#555555")
        bars.set_xlim(0, 150)
        bars.invert_yaxis()
        bars.tick_params(axis="y", length=0, labelsize=16)
        bars.set_xticks([])
        for spine in bars.spines.values():
            spine.set_visible(False)
    figure.savefig(PICTURE, facecolor="white")


if __name__ == "__main__":
    demo = Path(sys.argv[1])
    how = PredictConfig(alternatives=3)
    readers = [LineReader.load(model, device="cpu", config=how) for model in (DEFAULT_MODEL, demo / "run")]
    draw(*find(LmdbDataset(demo / "train-val.lmdb"), *readers))

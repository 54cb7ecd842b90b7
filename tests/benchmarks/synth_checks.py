"""Checks a large set of minimal pairs: both twins equally often, and no character without a glyph.

    python tests/benchmarks/synth_checks.py [--lines 100000] [--preset lookalikes] [--corpus FILE ...]

Glyphs are checked by other means than rendering uses: every pair of a face and a character that was drawn is
looked up with fontTools, and its outline must have an extent and differ from that of the missing-glyph box.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

from fontTools.pens.boundsPen import BoundsPen
from fontTools.pens.recordingPen import RecordingPen
from fontTools.ttLib import TTFont

from ocrcc.charset import load_charset
from ocrcc.glyphs.fonts import Face
from ocrcc.synth.source import load_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", default=100_000, type=int)
    parser.add_argument("--preset", default="lookalikes")
    parser.add_argument("--corpus", nargs="*", default=[], type=Path)
    options = parser.parse_args()
    charset = load_charset("gb2312")
    source = load_source(options.preset, charset, seed=1, corpus=options.corpus, minimal_pairs=True)
    tools = source._tools()
    drawn: set[tuple[int, str]] = set()
    plain = tools.glyphs.glyph

    def noted(face: int, char: str):
        found = plain(face, char)
        if found is not None:
            drawn.add((face, char))
        return found

    tools.glyphs.glyph = noted  # type: ignore[method-assign]
    start = time.perf_counter()
    twins: Counter[tuple[str, str]] = Counter()
    for number in range(0, options.lines, 2):
        first, second = source.line(number).label, source.line(number + 1).label
        unlike = [(one, other) for one, other in zip(first, second, strict=True) if one != other]
        if len(unlike) != 1 or charset.missing(first + second):
            sys.exit(f"lines {number} and {number + 1} are no minimal pair: {first!r} {second!r}")
        twins[unlike[0]] += 1
    seconds = time.perf_counter() - start
    print(f"{options.lines} lines in {seconds:.0f} s; {len(twins)} of {len(tools.pairs)} pairs of twins, each "
          f"{min(twins.values())} to {max(twins.values())} times; in every pair of lines each twin once")  # fmt: skip
    by_face: dict[int, list[str]] = defaultdict(list)
    for face, char in drawn:
        by_face[face].append(char)
    bad = [(tools.fonts.faces[face].name, char) for face, chars in by_face.items()
           for char in unshown(tools.fonts.faces[face], chars)]  # fmt: skip
    print(f"{len(drawn)} glyphs of {len(by_face)} faces drawn; {len(bad)} of them missing, empty or boxes {bad[:5]}")
    sys.exit(1 if bad else 0)


def unshown(face: Face, characters: list[str]) -> list[str]:
    """List the characters that a face has no outline of its own for."""
    with TTFont(face.path, fontNumber=face.index, lazy=True) as font:
        names, glyphs = font.getBestCmap(), font.getGlyphSet()
        box = RecordingPen()
        glyphs[".notdef"].draw(box)
        bad = []
        for char in characters:
            name = names.get(ord(char), ".notdef")
            bounds, outline = BoundsPen(glyphs), RecordingPen()
            glyphs[name].draw(bounds)
            glyphs[name].draw(outline)
            if name == ".notdef" or not bounds.bounds or outline.value == box.value:
                bad.append(char)
        return bad


if __name__ == "__main__":
    main()

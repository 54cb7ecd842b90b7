"""How many new characters are read at once when placed by a few samples each, against random rows.

    python tests/benchmarks/new_characters.py --characters 堃喆玥… --lines LMDB --test LMDB --general LMDB
        [--samples 0 1 5 20]

`--lines` has the samples, `--test` other lines with these characters, `--general` lines without them, to see that
nothing else is read otherwise. Lines for all three can be made with `ocrcc synth --charset FILE`.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocrcc.charset import Charset
from ocrcc.config import DEFAULT_MODEL
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import SomeLines
from ocrcc.evaluation.evaluate import read_dataset
from ocrcc.models.checkpoint import load_model
from ocrcc.models.recognizer import Recognizer
from ocrcc.models.registry import create_model
from ocrcc.training.transfer import transfer
from ocrcc.tuning.new_characters import place_new
from ocrcc.types import LabelledLines


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--characters", required=True)
    parser.add_argument("--lines", required=True, type=Path)
    parser.add_argument("--test", required=True, type=Path)
    parser.add_argument("--general", required=True, type=Path)
    parser.add_argument("--samples", nargs="+", default=[0, 1, 5, 20], type=int)
    return parser.parse_args()


def some_with(lines: LmdbDataset, characters: str, samples: int) -> SomeLines:
    """Choose lines until each character has been shown so often."""
    counts, chosen = dict.fromkeys(characters, 0), []
    order = list(range(len(lines)))
    random.Random(0).shuffle(order)
    for index in order:
        shown = [char for char in lines.label(index) if char in counts]
        if any(counts[char] < samples for char in shown):
            chosen.append(index)
            for char in shown:
                counts[char] += 1
    return SomeLines(lines, np.array(sorted(chosen), np.int64))


def read_share(labels: Sequence[str], texts: Sequence[str | None], characters: str, new: bool) -> float:
    """Return the share of new, or else of known, characters that was read where they stand."""
    total = hit = 0
    for label, text in zip(labels, texts, strict=True):
        lost = {edit.src_pos for edit in Levenshtein.editops(label, text or "") if edit.tag in ("replace", "delete")}
        places = [place for place, char in enumerate(label) if (char in characters) == new]
        total += len(places)
        hit += sum(place not in lost for place in places)
    return hit / max(1, total)


def main() -> None:
    options = parse()
    loaded = load_model(options.model, device="cpu")
    charset = loaded.charset.merge(Charset(options.characters))
    lines, general = LmdbDataset(options.lines), LmdbDataset(options.general)
    test = some_with(LmdbDataset(options.test), options.characters, 1_000_000)

    def read(recognizer: Recognizer, dataset: LabelledLines) -> list[str | None]:
        return read_dataset(recognizer, charset, loaded.preprocessing, dataset, batch_size=32, device="cpu")

    labels = [charset.normalise(test.label(index)) for index in range(len(test))]
    print(f"{len(options.characters)} characters, {len(test)} test lines")
    print("| samples each | new characters read | known characters read | general lines read otherwise |")
    print("|---|---|---|---|")
    before: list[str | None] = []
    for samples in options.samples:
        recognizer = create_model(loaded.arch, charset.num_classes, loaded.preprocessing)
        moved = transfer(loaded, recognizer, charset)
        if samples:
            shown = some_with(lines, options.characters, samples)
            place_new(recognizer, moved, charset, loaded.preprocessing, [shown], "cpu")
        recognizer.eval()
        texts, elsewhere = read(recognizer, test), read(recognizer, general)
        before = before or elsewhere
        changed = sum(one != other for one, other in zip(before, elsewhere, strict=True))
        print(
            f"| {samples or 'none: random rows'} | {read_share(labels, texts, options.characters, new=True):.1%} "
            f"| {read_share(labels, texts, options.characters, new=False):.1%} | {changed} of {len(general)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""What two models read together (`ocrcc predict --second-model`), beside what each of them reads alone.

    python -m tests.benchmarks.second_model --data FOLDER --fonts FOLDER [--half HALF] [--model M] [--second-model M]

Real lines of the half that was asked for (`tests.benchmarks.peers.half_of`), and look-alike pairs in headlines, in
fonts of the folder, clean and worn (`tests.benchmarks.pairs`). Lines right are folded, and strict in brackets; lines
mended and broken, folded, and McNemar's p over them, are those of both together against each one alone. Asked is the
share of the lines that the second one read, which are those that the first doubts by more than --second-doubt.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from ocrcc.cli import render
from ocrcc.config import DEFAULT_MODEL, PredictConfig
from ocrcc.evaluation.metrics import fold
from ocrcc.evaluation.significance import mcnemar
from ocrcc.reading.reader import LineReader
from tests.benchmarks.kinds import labelled
from tests.benchmarks.mended import REAL
from tests.benchmarks.pairs import common_pairs, draw_both
from tests.benchmarks.peers import half_of


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="the folder with real lines and texts to render")
    parser.add_argument("--fonts", required=True, type=Path, help="a folder of fonts that the model never saw")
    parser.add_argument("--half", choices=("development", "confirmation"), default="development")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--second-model", default="rapidocr/ppocr-v6-small")
    parser.add_argument("--second-doubt", default=PredictConfig.second_doubt, type=float, help="0 for all lines")
    parser.add_argument("--pairs", default=1000, type=int, help="worn lines; half as many clean ones")
    parser.add_argument("--threads", default=2, type=int)
    return parser.parse_args()


def sets(options: argparse.Namespace) -> dict[str, list[tuple[bytes, str]]]:
    """Return the lines of each set, encoded, with their texts."""
    found = {}
    for name, folders in REAL.items():
        found[name] = [
            (line.image.read_bytes(), line.text)
            for folder in folders
            for line in labelled(options.data / "real" / folder)
            if half_of(folder, line.image.name) == options.half
        ]
    both = draw_both(options.pairs // 2, common_pairs(options.data, options.half), options.data, str(options.fonts))
    return found | {f"pairs, {name}": [(line.encoded, line.text) for line in lines] for name, lines in both.items()}


def right(reader: LineReader, lines: Sequence[tuple[bytes, str]]) -> tuple[list[bool], list[bool], int, float]:
    """Tell which lines are read right, folded and strictly, how many a second model read, and the seconds it took."""
    start = time.perf_counter()
    read = reader.recognize([image for image, _ in lines])
    seconds = time.perf_counter() - start
    texts = [(found.text, reader.charset.normalise(text)) for found, (_, text) in zip(read, lines, strict=True)]
    asked = sum(found.second is not None for found in read)
    folded, strict = [fold(found) == fold(text) for found, text in texts], [found == text for found, text in texts]
    return folded, strict, asked, seconds


def against(both: Sequence[bool], alone: Sequence[bool]) -> str:
    """Say how the lines changed."""
    mended = sum(now > before for now, before in zip(both, alone, strict=True))
    broken = sum(now < before for now, before in zip(both, alone, strict=True))
    return f"+{mended} -{broken}, p {mcnemar(mended, broken):.2g}"


def main() -> None:
    options = parse()
    config = PredictConfig(threads=options.threads)
    together = PredictConfig(
        threads=options.threads, second_model=options.second_model, second_doubt=options.second_doubt
    )
    readers = [
        LineReader.load(options.model, config=config),
        LineReader.load(options.second_model, config=config),
        LineReader.load(options.model, config=together),
    ]
    rows = []
    for name, lines in sets(options).items():
        found = [right(reader, lines) for reader in readers]
        shares = [" (".join(f"{100 * sum(some) / len(lines):.1f}" for some in one[:2]) + ")" for one in found]
        first, second, both = (folded for folded, *_ in found)
        asked = f"{100 * found[2][2] / len(lines):.0f} %"
        speeds = " / ".join(f"{len(lines) / seconds:.0f}" for *_, seconds in found)
        rows.append((name, len(lines), *shares, asked, against(both, first), against(both, second), speeds))
        print(f"{name}: {sum(seconds for *_, seconds in found):.0f} s", flush=True)
    first_name, second_name = (Path(name).name for name in (options.model, options.second_model))
    columns = (
        *("set", "lines", first_name, second_name, "both", "asked"),
        *(f"against {first_name}", f"against {second_name}", "lines/s"),
    )
    Console(width=180, highlight=False).print(
        render.table(f"lines right, folded (strict), {options.half}", columns, rows)
    )


if __name__ == "__main__":
    main()

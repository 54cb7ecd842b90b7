"""The whole loop on lines of one kind: read, review, fine-tune on what was corrected, measure on other lines.

    python -m tests.benchmarks.correcting --data FOLDER --fonts FOLDER --out FOLDER [--kind receipts] [--decisions 100]

Who corrects is scripted and always right (`tests.benchmarks.review`); all else are the commands a user would type,
with their defaults, and they are printed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ocrcc.config import DEFAULT_MODEL, ReviewConfig
from ocrcc.review.log import opened
from ocrcc.review.session import Session
from ocrcc.review.sources import find_lines
from tests.benchmarks.kinds import make
from tests.benchmarks.review import Person


def ocrcc(*arguments: object) -> str:
    """Run a command as a user would, and return what it printed."""
    words = [str(argument) for argument in arguments]
    print("$ ocrcc " + " ".join(words), flush=True)
    return subprocess.run([sys.executable, "-m", "ocrcc", *words], check=True, stdout=subprocess.PIPE, text=True).stdout


def corrected(results: Path, truths: dict[str, str], out: Path, decisions: int) -> str:
    """Answer so many questions of a review session, and say what that came to."""
    person = Person(truths)
    with opened(out) as log:
        session = Session(find_lines([str(results)], ReviewConfig(), complain=print), log)
        left = session.progress()["left"]
        while len(log.records) < decisions and (question := session.question()) is not None:
            person.answer(session, question)
        changed = sum(record["how"] != "accepted" for record in log.records)
        return (
            f"{len(log.records)} of {left} doubts decided, {changed} of them corrected, "
            f"{len(log.labels())} finished lines, {person.seconds / 60:.1f} minutes by keystrokes"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="the folder with real lines and texts to render")
    parser.add_argument("--fonts", required=True, type=Path, help="a folder of fonts that the model never saw")
    parser.add_argument("--kind", default="receipts")
    parser.add_argument("--decisions", default=100, type=int)
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    kinds, elsewhere = make(options.data, options.fonts, options.out / "lines")
    kind = next(kind for kind in kinds if kind.name == options.kind)
    scans, read, corrections, run = (options.out / name for name in ("scans", "read.json", "corrections", "run"))
    print(ocrcc("unpack", kind.own, scans), end="")
    rows = (row.split("\t", 1) for row in (scans / "labels.txt").read_text(encoding="utf-8").splitlines())
    truths = {str(scans / name): text for name, text in rows}
    ocrcc("predict", scans / "images", "--format", "json", "--out", read)
    print(f"(review: {corrected(read, truths, corrections, options.decisions)})")
    print(ocrcc("finetune", "--train", corrections, "--out", run), end="")
    for data in (kind.others, *elsewhere):
        print(ocrcc("eval", run, "--compare", DEFAULT_MODEL, "--data", data, "--confusions", 0), end="")


if __name__ == "__main__":
    main()

"""What a person's minute is worth: reviewing doubtful characters against reading every line, by keystrokes.

    ocrcc predict LINES --format json -o read.json
    python tests/benchmarks/review.py --results read.json --labels labels.tsv [--unsure 0.9]

Both give a simulated person, who is always right, the same readings. Times are those of the keystroke-level model
(Card, Moran and Newell 1980): K 0.28 s a key of an average typist, M 1.35 s to take in and decide, P 1.1 s to point,
H 0.4 s to move a hand. Reading a line to check it takes 0.2 s a character (300 a minute, the silent reading of
Chinese; checking codes is slower), which is generous to the control, as is that it overlooks nothing. A hanzi that has
to be typed costs five keys (four of pinyin, one to choose).

    review: M + K a doubt that is accepted or chosen by its number; M + K for each key + K (Enter) where it is typed
    control: every line is read; each run of wrong characters costs M + P + H, and its keys
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from ocrcc.annotations.entries import Entry
from ocrcc.config import ReviewConfig
from ocrcc.labels.find import find_labels
from ocrcc.review.log import opened
from ocrcc.review.readings import read_readings
from ocrcc.review.session import Question, Session
from ocrcc.review.sources import find_lines
from ocrcc.types import Recognition

K, M, P, H = 0.28, 1.35, 1.1, 0.4
READING = 0.2
MARKS = (1, 2, 5, 10, 20, 40)


@dataclass
class Person:
    """Somebody who knows the truth, and what it has cost so far."""

    truths: dict[str, str]
    seconds: float = 0.0

    def answer(self, session: Session, question: Question) -> None:
        """Decide as is quickest."""
        position, cells = question.doubt.position, question.cells
        place = question.line.key, position, len(session.log.records)
        right = aligned(cells, self.truths[question.line.name])[position]
        if right == cells[position]:
            self.seconds += M + K
            session.replace(*place, right, "accepted")
        elif right in question.doubt.choices:
            self.seconds += M + K
            session.replace(*place, right, "chosen")
        else:
            self.seconds += M + keys(right) + K
            session.replace(*place, right, "typed")


def aligned(cells: tuple[str, ...], truth: str) -> list[str]:
    """Tell what should stand in the place of each cell; characters that were left out go with the one before."""
    read = [cell or "\0" for cell in cells]
    should = [""] * len(cells)
    for tag, start, end, from_, to in Levenshtein.opcodes(read, list(truth)):
        if tag == "insert":
            at = max(start - 1, 0)
            should[at] = should[at] + truth[from_:to] if start else truth[from_:to] + should[at]
        else:
            for offset in range(end - start):
                should[start + offset] += truth[from_ + offset : from_ + offset + 1] if tag != "delete" else ""
    return should


def keys(text: str) -> float:
    """Return how long it takes to type a text."""
    return K * sum(5 if ord(char) >= 0x2E80 else 2 if char.isdigit() else 1 for char in text or "x")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--unsure", type=float, default=ReviewConfig.unsure)
    options = parser.parse_args()
    texts = {
        entry.path.name: entry.text
        for labels in find_labels(options.labels)
        for entry in labels
        if isinstance(entry, Entry)
    }
    readings = [each for each in read_readings(options.results) if isinstance(each, Recognition)]
    truths = {each.path: texts[Path(each.path).name] for each in readings if Path(each.path).name in texts}
    errors = {each.path: Levenshtein.distance(each.text, truths[each.path]) for each in readings if each.path in truths}
    read = control(readings, truths)
    total = sum(errors.values())
    print(f"{len(errors)} lines, {sum(map(len, truths.values()))} characters, {total} errors")
    print(f"reading all: {read / 60:.1f} min, {total / read * 60:.2f} errors removed a minute")
    curve = review(options.results, truths, options.unsure)
    if not curve:
        sys.exit("nothing was read unsurely")
    asked, minutes, removed = len(curve), curve[-1][0] / 60, curve[-1][1]
    print(f"review: {asked} doubts, {minutes:.1f} min, {removed} errors removed ({removed / total:.0%})")
    print(f"{removed / minutes:.2f} a minute, {removed / minutes / (total / read * 60):.1f} times reading all")
    print("\n| minutes | errors removed by review | by reading all |\n|---|---|---|")
    for mark in MARKS:
        done = max((errors for seconds, errors in curve if seconds <= 60 * mark), default=0)
        print(f"| {mark} | {done} | {min(total, total * 60 * mark / read):.0f} |")


def control(readings: list[Recognition], truths: dict[str, str]) -> float:
    """Return the seconds that reading and mending all lines takes."""
    seconds = 0.0
    for each in readings:
        if each.path in truths:
            truth = truths[each.path]
            seconds += M + READING * len(truth)
            for tag, _, _, start, end in Levenshtein.opcodes(each.text, truth):
                seconds += 0 if tag == "equal" else M + P + H + keys(truth[start:end])
    return seconds


def review(results: Path, truths: dict[str, str], unsure: float) -> list[tuple[float, int]]:
    """Return after each answer the seconds so far, and how many errors are gone."""
    curve = []
    person = Person(truths)
    with tempfile.TemporaryDirectory() as folder, opened(Path(folder) / "corrections") as log:
        lines = find_lines([str(results)], ReviewConfig(unsure=unsure), complain=print)
        session = Session([line for line in lines if line.name in truths], log)
        read = {line.name: "".join(line.read) for line in lines if line.name in truths}
        errors = {name: Levenshtein.distance(text, truths[name]) for name, text in read.items()}
        before = sum(errors.values())
        while (question := session.question()) is not None:
            person.answer(session, question)
            name = question.line.name
            errors[name] = Levenshtein.distance(log.records[-1]["text"], truths[name])
            curve.append((person.seconds, before - sum(errors.values())))
    return curve


if __name__ == "__main__":
    main()

"""Runs every command on two checkouts and compares, byte for byte, what they print and write.

For moves that are to change nothing:

    git worktree add /tmp/before REVISION
    python tests/benchmarks/same_outputs.py /tmp/before .

Left out of the comparison are times, rates and the places that outputs lie in, and TensorBoard's event files, which
hold times throughout.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import lmdb

COMMANDS = (
    "build-lmdb {assets}/samples/labels.txt train.lmdb --val-fraction 0.2 --workers 1",
    "inspect train.lmdb",
    "unpack train-val.lmdb unpacked",
    "charset from-data --data train.lmdb --out charset.txt",
    "lookalikes groups.tsv --charset gb2312",
    "synth lines.lmdb --count 40 --seed 3 --workers 1",
    "predict {assets}/samples/images --format json",
    "predict {assets}/samples/images/000001.png --engine torch --second-look 0",
    "eval ocrcc-zh-small --data train.lmdb --json eval.json",
    "finetune --train train.lmdb --val train-val.lmdb --steps 3 --batch-size 4 --workers 0 --threads 1 --out run",
    "pretrain --train train.lmdb --val train-val.lmdb --arch timm/lcnet_050+none --steps 3 --batch-size 4 --workers 0 "
    "--threads 1 --out base",
    "project --model run --data train-val.lmdb --logdir projector --html space.html --png space.png",
    "export ocrcc-zh-small small.onnx --samples 4 --rendered 0",
)
TIMES = re.compile(
    r"\d+(\.\d+)? ?(lines/s|s\b)|\d+:\d\d(:\d\d)?|\"(lines_per_second|seconds)\": [\d.e+-]+|\d+(\.\d+)? */s"
    r"| *\d+ │ *$|\d+ MB".encode(),  # the last column of a table of figures is its rate
    re.MULTILINE,
)
WITH_TIMES = ("events.out", "lock.mdb", "state.pt")
"""Names of files that hold times or the number of a process."""


def results(checkout: Path, place: Path) -> dict[str, str]:
    """Run the commands and return a digest of everything that they printed and wrote, by name."""
    found = {}
    environment = os.environ | {"PYTHONPATH": str(checkout), "SOURCE_DATE_EPOCH": "0", "OMP_NUM_THREADS": "1"}
    for number, command in enumerate(COMMANDS, 1):
        words = command.format(assets=checkout / "assets").split()
        done = subprocess.run([sys.executable, "-m", "ocrcc", *words], cwd=place, env=environment, capture_output=True)
        for stream, text in (("stdout", done.stdout), ("stderr", done.stderr)):
            found[f"{number:2} {words[0]} (exit {done.returncode}) {stream}"] = digest(text, checkout, place)
    for path in sorted(place.rglob("*")):
        if path.is_file() and not path.name.startswith(WITH_TIMES):
            content = records(path.parent) if path.name == "data.mdb" else path.read_bytes()
            found[str(path.relative_to(place))] = digest(content, checkout, place)
    return found


def records(folder: Path) -> bytes:
    """Return the records of a dataset: between them, LMDB writes whatever lay in memory."""
    with lmdb.open(str(folder), readonly=True, lock=False) as store, store.begin() as all_of_it:
        return b"".join(key + value for key, value in all_of_it.cursor())


def digest(content: bytes, checkout: Path, place: Path) -> str:
    """Return the digest of a content without times and places."""
    for folder in (checkout, place):
        content = content.replace(str(folder).encode(), b"")
    return hashlib.sha256(TIMES.sub(b"", content)).hexdigest()[:16]


def main() -> None:
    """Compare the checkouts that the command line names."""
    checkouts = [Path(name).resolve() for name in sys.argv[1:3]]
    each = []
    for checkout in checkouts:
        with tempfile.TemporaryDirectory() as place:
            each.append(results(checkout, Path(place)))
    before, after = each
    different = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    for name in sorted({*before, *after}):
        print("DIFFERENT" if name in different else "same     ", name)
    print(f"{len(COMMANDS)} commands, {len(before)} outputs, {len(different)} different")
    sys.exit(bool(different))


if __name__ == "__main__":
    main()

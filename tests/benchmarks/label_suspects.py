"""How many wrong labels `ocrcc project --suspects` finds, and how many of its suspects are wrong.

    python tests/benchmarks/label_suspects.py --model RUN [--data LMDB | --lines 3000] [--share 0.02]

Without --data, printed lines are rendered first. Of the label characters that have look-alikes, a share is
swapped for one of these; the list of suspects is compared with what was swapped, at several posteriors. The
control is the same check without centers: suspects are what the model reads as a look-alike of the label.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ocrcc.charset import Charset
from ocrcc.config import ProjectConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.lookalikes import Lookalikes, load_lookalikes
from ocrcc.models.checkpoint import load_model
from ocrcc.space.characters import Skipped, Viewer, walk
from ocrcc.space.project import Outputs, project

POSTERIORS = (0.0, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99)


@dataclass(frozen=True)
class Swaps:
    """What was done to the labels: (source, position from 1) -> the right character."""

    right: dict[tuple[str, int], str]
    candidates: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--lines", type=int, default=3000)
    parser.add_argument("--preset", default="documents")
    parser.add_argument("--share", type=float, default=0.02)
    parser.add_argument("--lookalikes", default="gb2312")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    model = load_model(options.model, device="cpu")
    lookalikes = load_lookalikes(options.lookalikes).for_training().restrict(set(model.charset))
    with tempfile.TemporaryDirectory() as folder:
        clean = options.data or render(Path(folder) / "clean.lmdb", model.charset, options)
        wrong = Path(folder) / "wrong.lmdb"
        swaps = swap(LmdbDataset(clean), wrong, model.charset, lookalikes, options.share, options.seed)
        print(
            f"{len(LmdbDataset(wrong))} lines, {swaps.candidates} characters with look-alikes, "
            f"{len(swaps.right)} of them swapped; model {options.model}"
        )
        start = time.perf_counter()
        result = project(
            [options.model],
            [wrong],
            ProjectConfig(
                lookalikes=options.lookalikes, suspect_posterior=0, suspect_crops=False, workers=options.workers
            ),
            outputs=Outputs(suspects=Path(folder) / "suspects.tsv"),
        )
        assert result.suspects is not None
        print(f"checked {result.suspects.checked} characters in {time.perf_counter() - start:.0f} s")
        if result.suspects.left_out:
            sys.exit(f"{result.suspects.left_out} suspects are not in the list, so recall cannot be measured")
        found = [((one.source, one.position), one.suggested, one.posterior) for one in result.suspects.suspects]
        show("nearer to a look-alike's center", found, swaps)
        show("control: read as a look-alike", read_otherwise(options.model, wrong, lookalikes, options.workers), swaps)


def render(path: Path, charset: Charset, options: argparse.Namespace) -> Path:
    """Render printed lines."""
    from ocrcc.synth.source import load_source

    source = load_source(f"synth:{options.preset}", charset, seed=options.seed + 1000)
    with LmdbWriter(path) as writer:
        for number in range(options.lines):
            line = source.line(number)
            writer.add(_png(line.image), line.label, source=line.source, size=line.image.size)
    return path


def swap(dataset: LmdbDataset, path: Path, charset: Charset, lookalikes: Lookalikes, share: float, seed: int) -> Swaps:
    """Copy a dataset with some label characters swapped for a look-alike."""
    rng = np.random.default_rng(seed)
    right: dict[tuple[int, int], str] = {}
    candidates = 0
    with LmdbWriter(path) as writer:
        for number in range(len(dataset)):
            label = list(charset.normalise(dataset.label(number)))
            for place, char in enumerate(label):
                twins = lookalikes.siblings(char)
                candidates += bool(twins)
                if twins and rng.random() < share:
                    label[place] = twins[int(rng.integers(len(twins)))]
                    right[number, place + 1] = char
            size = int(dataset.widths[number]), int(dataset.heights[number])
            writer.add(dataset.image_bytes(number), "".join(label), source="", size=size)
    names = LmdbDataset(path)
    return Swaps({(names.source(number), place): char for (number, place), char in right.items()}, candidates)


def read_otherwise(
    model: str, data: Path, lookalikes: Lookalikes, workers: int
) -> list[tuple[tuple[str, int], str, float]]:
    """List the characters that are read as one of their look-alikes, with its posterior."""
    viewer = Viewer.of(load_model(model, device="cpu"), lookalikes)
    found = []
    for batch in walk(viewer, [LmdbDataset(data)], batch_size=32, workers=workers, skipped=Skipped()):
        kin = viewer.siblings[torch.from_numpy(batch.classes)].numpy()
        for number in np.flatnonzero((kin == batch.predicted[:, None]).any(axis=1)).tolist():
            place = batch.sources[batch.rows[number]], int(batch.positions[number]) + 1
            char = viewer.charset.char(int(batch.predicted[number]))
            found.append((place, char, float(batch.confidence[number])))
    return found


def show(title: str, found: list[tuple[tuple[str, int], str, float]], swaps: Swaps) -> None:
    """Print precision and recall by the least posterior, and how often the suggestion is the right character."""
    print(f"\n| {title}, posterior from | suspects | precision | recall | suggestion right |\n|---|---|---|---|---|")
    for least in POSTERIORS:
        kept = [(place, suggested) for place, suggested, posterior in found if posterior >= least]
        hits = [swaps.right[place] == suggested for place, suggested in kept if place in swaps.right]
        precision = len(hits) / len(kept) if kept else float("nan")
        recall = len(hits) / max(1, len(swaps.right))
        suggested = sum(hits) / len(hits) if hits else float("nan")
        print(f"| {least} | {len(kept)} | {precision:.1%} | {recall:.1%} | {suggested:.1%} |")


def _png(image) -> bytes:
    import io

    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main()

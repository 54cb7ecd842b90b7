"""The kinds of lines on which fine-tuning is measured, made of a folder of real lines and of rendered ones.

Real kinds are parted once, by a fixed seed, into lines to learn from and others; receipts by document, so that no
receipt is on both sides. Rendered kinds have fonts that no training saw, or the look of a printer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ocrcc import packaged
from ocrcc.charset import load_charset
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.datasets.synthesize import synthesise
from ocrcc.images.opening import upright_size
from ocrcc.synth.source import load_source

RECEIPTS = 150
"""Lines to learn from, of the 219 there are."""
TEXTS = ("wiki-cmrc", "news-headlines", "english-books", "addresses")


@dataclass(frozen=True)
class Kind:
    """Lines of one kind.

    Attributes:
        name: For tables.
        own: To learn from.
        others: Of the same kind, to be measured on.
        sizes: How many lines of `own` are worth trying.
    """

    name: str
    own: Path
    others: Path
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class Labelled:
    """A real line.

    Attributes:
        image: Its file.
        text: Its label.
    """

    image: Path
    text: str


def make(data: Path, fonts: Path, out: Path) -> tuple[list[Kind], list[Path]]:
    """Make all kinds, unless that was done before.

    Args:
        data: The folder with ``real`` and ``corpus``.
        fonts: A folder of fonts that the model never saw.
        out: Where datasets go.

    Returns:
        The kinds, and the datasets elsewhere: real documents, and general lines.
    """
    out.mkdir(parents=True, exist_ok=True)
    real = data / "real"
    receipts = by_document(labelled(real / "sroie-receipts"), RECEIPTS, seed=7)
    print_ = shuffled(labelled(real / "tesseract-test"), seed=3)
    chinese = shuffled(
        [line for name in ("xiaofeng-train60", "xiaofeng-val", "caffe-ocr") for line in labelled(real / name)], seed=3
    )
    parted = {
        "receipts": (receipts, (100, RECEIPTS)),
        "magazine": ((print_[:80], print_[80:]), (80,)),
        "xiaofeng and caffe": ((chinese[:80], chinese[80:]), (80,)),
    }
    kinds = [
        Kind(name, write(own, out / f"{name}.lmdb"), write(others, out / f"{name}-others.lmdb"), sizes)
        for name, ((own, others), sizes) in parted.items()
    ]
    fund = write(labelled(real / "fund-documents"), out / "fund.lmdb")
    texts = [data / "corpus" / name / "text.txt" for name in TEXTS]
    unseen = {"fonts": str(fonts), "exclude": ()}
    samples = packaged.ASSETS / "samples"
    dots = {"spec": str(samples / "synth.toml"), "templates": str(samples / "templates.txt"), "charset": "ascii"}
    pairs = {"spec": "lookalikes", "corpus": texts[:2], **unseen}
    rendered = {
        "unseen fonts": (
            drawn(out / "unseen fonts.lmdb", 1000, seed=32, **pairs),
            drawn(out / "unseen fonts-others.lmdb", 2000, seed=33, minimal_pairs=True, **pairs),
        ),
        "dot-matrix": (
            drawn(out / "dot-matrix.lmdb", 1000, seed=51, **dots),
            drawn(out / "dot-matrix-others.lmdb", 500, seed=52, **dots),
        ),
    }
    kinds += [Kind(name, own, others, (100, 300, 1000)) for name, (own, others) in rendered.items()]
    general = drawn(out / "general.lmdb", 1000, seed=31, spec="documents", corpus=texts, **unseen)
    return kinds, [fund, general]


def labelled(folder: Path) -> list[Labelled]:
    """Read the labels of real lines."""
    rows = (row.split("\t", 1) for row in (folder / "labels.tsv").read_text(encoding="utf-8").splitlines() if row)
    return [Labelled(folder / name, text) for name, text in rows]


def shuffled(lines: list[Labelled], seed: int) -> list[Labelled]:
    """Put lines into an order of their own."""
    return [lines[index] for index in np.random.default_rng(seed).permutation(len(lines))]


def by_document(lines: list[Labelled], count: int, seed: int) -> tuple[list[Labelled], list[Labelled]]:
    """Part lines ``DOCUMENT_NUMBER.png`` so that either side has whole documents, the first at least so many lines."""
    documents: dict[str, list[Labelled]] = {}
    for line in lines:
        documents.setdefault(line.image.name.partition("_")[0], []).append(line)
    order = sorted(documents)
    np.random.default_rng(seed).shuffle(order)
    own: list[Labelled] = []
    others: list[Labelled] = []
    for name in order:
        (own if len(own) < count else others).extend(documents[name])
    return own, others


def write(lines: list[Labelled], out: Path) -> Path:
    """Write lines into a dataset."""
    if not out.exists():
        with LmdbWriter(out) as writer:
            for line in lines:
                image = line.image.read_bytes()
                writer.add(image, line.text, source=line.image.name, size=upright_size(image))
    return out


def drawn(out: Path, count: int, *, spec: str, charset: str = "gb2312", seed: int, **settings: object) -> Path:
    """Render lines into a dataset."""
    if not out.exists():
        synthesise(load_source(spec, load_charset(charset), seed=seed, **settings), out, count)
    return out

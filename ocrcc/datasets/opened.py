"""Whatever holds labelled lines, opened as datasets: LMDBs as they are, label files and folders built first."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ocrcc.config import BuildConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.build import BuildResult, build_lmdb
from ocrcc.errors import DataError, OcrccError

Say = Callable[[str], None]
"""Told what somebody should know."""


@contextmanager
def opened(paths: Sequence[str | Path], say: Say = lambda _: None) -> Iterator[list[LmdbDataset]]:
    """Open datasets and labels for a while; what is built of labels is gone afterwards.

    Args:
        paths: LMDBs, label files and folders with labels.
        say: Told of lines that were left out.

    Raises:
        DataError: There is no such file or folder, or it has no lines that can be read.
    """
    with TemporaryDirectory(prefix="ocrcc-") as folder:
        yield [open_lines(path, Path(folder) / str(number), say) for number, path in enumerate(paths)]


def open_lines(path: str | Path, made: Path, say: Say = lambda _: None, *, anew: bool = True) -> LmdbDataset:
    """Open a dataset, or build one of labels, which keeps their name.

    Args:
        path: An LMDB, a label file, or a folder with labels.
        made: Folder for the dataset that is built of labels.
        say: Told of lines that were left out.
        anew: Build it although it is there.

    Raises:
        DataError: There is no such file or folder, or it has no lines that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: no such dataset or label file", "make one with ocrcc build-lmdb or ocrcc synth")
    if path.is_dir() and (path / "data.mdb").exists():
        return LmdbDataset(path)
    out = made / f"{path.resolve().stem or 'lines'}.lmdb"
    if anew or not out.exists():
        made.mkdir(parents=True, exist_ok=True)
        try:
            built = build_lmdb([path], out, BuildConfig(), force=True)
        except OcrccError as error:
            if error.hint:  # may name options, which whoever opens labels otherwise does not have
                error.hint = re.sub("--(?=[a-z])", "ocrcc build-lmdb … --", error.hint, count=1)
            raise
        if built.skipped:
            say(_left_out(path, built))
    return LmdbDataset(out, name=str(path))


class Opener:
    """Opens what the options of a run name; labels become datasets in the run folder, once.

    Args:
        out: The run folder.
        resume: Take the datasets that are there.
        say: Told of lines of label files that cannot be used.
    """

    def __init__(self, out: Path, resume: bool, say: Say = lambda _: None) -> None:
        self._made, self._anew, self._say = out / "data", not resume, say
        self._known: dict[str, LmdbDataset] = {}

    def __call__(self, spec: str) -> LmdbDataset:
        """Open one.

        Raises:
            ConfigError: There is no such file or folder.
            DataError: It has no lines that can be read.
        """
        if spec not in self._known:
            place = self._made / str(len(self._known) + 1)
            self._known[spec] = open_lines(spec, place, self._say, anew=self._anew)
        return self._known[spec]


def _left_out(path: Path, built: BuildResult) -> str:
    reasons = ", ".join(f"{count} x {reason}" for reason, count in built.skipped.items())
    return f"{path}: {sum(built.skipped.values())} lines left out ({reasons}); the first: {built.skipped_lines[0]}"

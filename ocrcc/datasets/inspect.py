"""Say what a path is: a dataset, with all that is odd about it, or a model, with what it knows of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.report import DatasetReport, Report, describe_dataset
from ocrcc.errors import DataError


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What a model's metadata say.

    Attributes:
        path: The file.
        bytes: Its size.
        arch: Name in the registry.
        charset: What it reads.
        preprocessing: What it is given.
        metadata: All of the metadata.
    """

    path: Path
    bytes: int
    arch: str
    charset: Charset
    preprocessing: Preprocessing
    metadata: Mapping[str, Any]


def inspect(
    path: str, *, charset: str = "", verify: bool = False, report: Report = lambda _done, _total: None
) -> DatasetReport | ModelDescription:
    """Describe a dataset or a model.

    Args:
        path: A dataset, a model file, a run folder, a shipped model's name, or ``hf://owner/name``.
        charset: To compare a dataset with, by name or file; empty for the shipped one that covers most.
        verify: Decode every image of a dataset.
        report: Told how many lines are done, of how many.

    Raises:
        DataError: It is neither, or a dataset that cannot be read.
        ModelError: It is a model that cannot be read.
    """
    if _is_dataset(Path(path)):
        return describe_dataset(LmdbDataset(Path(path)), charset=charset, verify=verify, report=report)
    # Only here: it brings torch along, which datasets can do without.
    from ocrcc.models.contract import parse_contract, read_metadata, resolve

    file = resolve(path)
    metadata = read_metadata(file)
    arch, model_charset, preprocessing = parse_contract(metadata, file)
    return ModelDescription(
        path=file,
        bytes=file.stat().st_size,
        arch=arch,
        charset=model_charset,
        preprocessing=preprocessing,
        metadata=metadata,
    )


def _is_dataset(path: Path) -> bool:
    if not path.is_dir():  # a file, or what a missing one was to be
        return path.suffix in (".mdb", ".lmdb")
    if not (path / "data.mdb").is_file() and not any(path.glob("*.safetensors")):
        raise DataError(f"{path}: neither a dataset nor a run", "datasets have a data.mdb, runs a best.safetensors")
    return (path / "data.mdb").is_file()

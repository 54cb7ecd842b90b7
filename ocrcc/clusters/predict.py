"""Read any number of images on a Ray cluster, as stages of Ray Data: paths, readings, one file of results.

Ray gives the blocks of paths to workers, and again if a worker is lost; what it hands over is written here, once and in
the order of the input. Files in object stores are opened by fsspec.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ocrcc
from ocrcc import packaged
from ocrcc.clusters.joining import errors_told, first_line, joined
from ocrcc.clusters.results import open_results
from ocrcc.config import PredictConfig
from ocrcc.errors import DataError
from ocrcc.models.contract import resolve
from ocrcc.places import Kind, output
from ocrcc.reading.inputs import find_images, is_read, tell_others

if TYPE_CHECKING:
    from ocrcc.clusters.worker import Carried

_BLOCK = 256
"""Paths that a worker takes at once, and that are read again if it is lost."""

Say = Callable[[str, str], None]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a cluster read.

    Attributes:
        results: Lines and pages.
        failed: How many inputs could not be read; the file has a record with ``error`` for each.
    """

    results: int
    failed: int


def predict_on_cluster(
    address: str,
    inputs: Iterable[str],
    out: Path,
    kind: Kind,
    *,
    model: str,
    config: PredictConfig,
    say: Say = lambda _path, _message: None,
    on_passed_over: Say = lambda _path, _message: None,
    report: Callable[[int, int | None], None] = lambda _done, _total: None,
    block: int = _BLOCK,
) -> Found:
    """Read images, wherever they lie, on a Ray cluster.

    Args:
        address: Of the cluster (``host:port``, ``ray://host:port``), ``auto`` for that which this machine belongs to,
            or ``local`` for this machine alone.
        inputs: Files, folders and globs that all workers see under the same name; files and folders of an object
            store (``s3://…``); and Parquet manifests of either, with a column ``path``.
        out: The file of results: ``.parquet`` or JSON Lines. It appears when all are there.
        kind: What it may replace.
        model: As for `LineReader.load`; workers get the file itself.
        config: How to read; of a second model workers get the file too. ``threads`` are a worker's; one by default,
            and as many workers as there are CPUs.
        say: Told of inputs that cannot be read, and why.
        on_passed_over: Told of a folder's files that do not end as images do.
        report: Told how many results there are.
        block: Paths that a worker takes at once.

    Raises:
        ConfigError: Ray is not installed, here or there, or not this version of ocrcc; nobody answers at the address.
        DataError: There is nothing to read.
    """
    config = replace(config, threads=config.threads or 1)
    carried = _carried(model)
    second = _carried(config.second_model) if config.second_model else None
    with joined(address) as ray:
        from ocrcc.clusters.worker import Worker

        workers = max(1, int(ray.cluster_resources().get("CPU", 1)) // config.threads)
        read = (
            names.map_batches(
                Worker,
                fn_constructor_args=(ocrcc.__version__, carried, config, second),
                batch_size=block,
                num_cpus=config.threads,
                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
            )
            for names in _paths(ray, list(inputs), say, on_passed_over, block)
        )
        results = failed = 0
        with output(out, kind) as aside, closing(open_results(aside)) as file:
            for batch in chain.from_iterable(_rows(ray, each, block) for each in read):
                for row in batch:
                    if row["error"]:
                        failed += 1
                        say(row["path"], row["error"])
                    else:
                        results += 1
                file.write(batch)
                report(results + failed, None)
            if not results + failed:
                raise DataError("nothing to read", "give files, folders, object stores or Parquet manifests")
    return Found(results=results, failed=failed)


def _rows(ray: Any, read: Any, block: int) -> Iterator[list[dict[str, str]]]:
    """Give what is read as it comes."""
    with errors_told(ray):
        for table in read.iter_batches(batch_size=block, batch_format="pyarrow"):
            yield table.to_pylist()


def _paths(ray: Any, inputs: list[str], say: Say, on_passed_over: Say, block: int) -> Iterator[Any]:
    """Make datasets of the paths, in blocks; manifests stay where they are until they are read.

    One dataset of all would have the blocks of manifests among those of folders, not after them.
    """
    import pyarrow as pa
    from pyarrow import parquet

    for is_manifest, group in _grouped(inputs):
        if is_manifest:
            for name in group:
                try:
                    schema = parquet.read_schema(name) if "://" not in name else None
                except (OSError, pa.ArrowInvalid) as error:
                    raise DataError(f"{name}: no Parquet file that can be read: {first_line(error)}") from None
                if schema is not None and "path" not in schema.names:
                    raise DataError(f"{name}: has no column path, but {', '.join(schema.names)}")
            rows = ray.data.read_parquet(group).select_columns(["path"])
            yield rows.repartition(target_num_rows_per_block=block)
            continue
        names = list(_expanded(group, say, on_passed_over))
        tables = [pa.table({"path": names[first : first + block]}) for first in range(0, len(names), block)]
        if tables:
            yield ray.data.from_arrow(tables)


def _grouped(inputs: list[str]) -> Iterator[tuple[bool, list[str]]]:
    group: list[str] = []
    before = False
    for name in inputs:
        is_manifest = name.lower().endswith(".parquet")
        if group and is_manifest != before:
            yield before, group
            group = []
        group.append(name)
        before = is_manifest
    if group:
        yield before, group


def _expanded(inputs: list[str], say: Say, on_passed_over: Say) -> Iterator[str]:
    """Name the files of folders, here and in object stores."""
    for name in inputs:
        if "://" not in name:
            found = find_images([name], on_missing=say, on_passed_over=on_passed_over)
            for path in map(os.path.abspath, found):  # workers may start elsewhere
                try:
                    path.encode()
                    yield path
                except UnicodeEncodeError:
                    say(path, "its name is no UTF-8, as what a cluster is given has to be; rename it")
            continue
        import fsspec

        try:
            store, inside = fsspec.core.url_to_fs(name)
            files = sorted(store.find(inside))
        except (OSError, ValueError, ImportError) as error:
            say(name, first_line(error) or type(error).__name__)
            continue
        if files == [store._strip_protocol(name)]:
            yield name
            continue
        images = list(filter(is_read, files))
        yield from map(store.unstrip_protocol, images)
        tell_others(name, len(images), sorted({*files} - {*images}), say, on_passed_over)


def _carried(model: str) -> Carried:
    """Name a model, and give its file where a worker may not have it."""
    path = resolve(model)
    return (model, None) if path.parent == packaged.ASSETS / "models" else (path.name, path.read_bytes())

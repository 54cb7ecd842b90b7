"""``--ray``: commands whose work a Ray cluster does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ocrcc.cli import render
from ocrcc.cli.page_formats import READINGS
from ocrcc.config import PredictConfig
from ocrcc.config.setting import SPEED
from ocrcc.errors import ConfigError, SomeInputsFailedError
from ocrcc.processes import Pool

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        rich_help_panel=SPEED,
        help="Work on the Ray cluster at host:port; auto for ours, local for a new one.",
    ),
]


@contextmanager
def ray_pool(address: str | None, workers: int) -> Iterator[Pool | None]:
    """Give the pool of a cluster; None without an address.

    Args:
        address: Of the cluster.
        workers: What ``--workers`` says.
    """
    if address is None:
        yield None
        return
    if workers:
        raise ConfigError("--workers does not go with --ray", "a cluster has one for each of its CPUs")
    from ocrcc.clusters.pool import pool_of

    with pool_of(address) as pool:
        yield pool


def predict_on_ray(
    address: str,
    paths: Sequence[str],
    out: Path | None,
    model: str | None,
    settings: PredictConfig,
    unused: Sequence[str],
) -> None:
    """Read on a Ray cluster.

    Args:
        address: Of the cluster.
        paths: What to read.
        out: The file of results.
        model: As for `ocrcc predict`.
        settings: How to read.
        unused: Options that were given and that a cluster cannot follow.
    """
    if out is None or out.suffix.lower() not in (".json", ".jsonl", ".parquet"):
        raise ConfigError("what a cluster reads goes into a file", "name it: -o readings.parquet, or readings.jsonl")
    if unused:
        raise ConfigError(f"{unused[0]} does not go with --ray")
    if "-" in paths:
        raise ConfigError("a cluster reads no standard input", "write the paths into a Parquet file, column path")
    from ocrcc.clusters.predict import predict_on_cluster
    from ocrcc.clusters.results import TABLE
    from ocrcc.places import check_file
    from ocrcc.reading.reader import default_model

    kind = TABLE if out.suffix.lower() == ".parquet" else READINGS
    check_file(out, kind)
    lost: list[str] = []
    with render.show_progress("predict") as report:
        found = predict_on_cluster(
            address,
            paths,
            out,
            kind,
            model=model or default_model(),
            config=settings,
            say=lambda path, message: lost.append(message if message.startswith(path) else f"{path}: {message}"),
            on_passed_over=lambda path, message: render.notice(f"{path}: {message}"),
            report=report,
        )
    render.warn_each("of the inputs could not be read", lost)
    render.notice(f"{out}: {found.results} results")
    if lost:
        raise SomeInputsFailedError(f"{len(lost)} of the inputs could not be read")

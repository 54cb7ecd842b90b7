"""A pool of processes on a Ray cluster, for work that worker processes of this machine do otherwise.

Items go to the workers as a stage of Ray Data, several at a time, and again if a worker is lost; what comes back is
handed over once and in the order of the items, as `ocrcc.processes.in_order` does.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Any

import ocrcc
from ocrcc.clusters.joining import check_version, errors_told, joined
from ocrcc.files import hush_pillow
from ocrcc.processes import Item, Pool, Result

_BLOCK = 8
"""Items that a worker takes at once, and that are done again if it is lost."""
_WAVE = 1 << 28
"""Bytes of items that are given to the cluster at once: so much of the input is held here."""
_WAVE_BLOCKS = 10_000
"""Blocks of them. Each wave has workers of its own, whose start is nothing beside so much work."""


@contextmanager
def pool_of(address: str) -> Iterator[Pool]:
    """Make a pool of a cluster, with a worker for each of its CPUs.

    What workers open by a name must lie under that name on all of their machines.

    Args:
        address: As for `ocrcc.clusters.joining.joined`.

    Raises:
        ConfigError: Ray is not installed, here or there, or not this version of ocrcc; nobody answers at the address.
    """
    with joined(address) as ray:

        def in_order(
            function: Callable[[Item], Result],
            items: Iterable[Item],
            *,
            set_up: Callable[..., None] | None = None,
            arguments: tuple[Any, ...] = (),
        ) -> Generator[Result, None, None]:
            work = (ocrcc.__version__, os.getcwd(), function, set_up, arguments)
            for tables in _waves(items):
                yield from _done(ray, ray.data.from_arrow(tables), work)

        yield in_order


def _done(ray: Any, items: Any, work: tuple[Any, ...]) -> Iterator[Any]:
    workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
    done = items.map_batches(
        Worker,
        fn_constructor_args=work,
        batch_size=_BLOCK,
        batch_format="pyarrow",
        num_cpus=1,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
    )
    with errors_told(ray):
        for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
            for made in table["item"]:
                yield pickle.loads(made.as_py())  # by our own workers, as all that Ray itself hands over


def _waves(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Put items into tables of a block each, as many as are held at once."""
    iterator = iter(items)
    tables, size = [], 0
    while block := list(islice(iterator, _BLOCK)):
        tables.append(_table(block))
        size += tables[-1].nbytes
        if size > _WAVE or len(tables) == _WAVE_BLOCKS:
            yield tables
            tables, size = [], 0
    if tables:
        yield tables


def _table(values: Iterable[Any]) -> Any:
    import pyarrow as pa

    return pa.table({"item": pa.array([pickle.dumps(value) for value in values], pa.large_binary())})


class Worker:
    """Applies a function to blocks of items.

    Args:
        version: Of ocrcc where the work is given out.
        folder: What relative names start from there, if it is here too.
        function: What to apply.
        set_up: Called once, with ``arguments``.
        arguments: For that.

    Raises:
        ConfigError: This is another version of ocrcc.
    """

    def __init__(
        self,
        version: str,
        folder: str,
        function: Callable[[Any], Any],
        set_up: Callable[..., None] | None,
        arguments: tuple[Any, ...],
    ) -> None:
        check_version(version)
        with suppress(OSError):
            os.chdir(folder)
        hush_pillow()
        if set_up is not None:
            set_up(*arguments)
        self._function = function

    def __call__(self, block: Any) -> Any:
        """Work through one block, a table of pickled items, and give one of pickled results."""
        return _table(self._function(pickle.loads(item.as_py())) for item in block["item"])

"""A Ray cluster: joined, left again, and its errors told as our own."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ocrcc
from ocrcc import errors
from ocrcc.errors import ConfigError

INSTALL = 'pip install "ocrcc[ray]", here and on every worker'
_PATIENCE = 5.0
"""Seconds that an address is given to answer."""


@contextmanager
def joined(address: str) -> Iterator[Any]:
    """Join a cluster, or start one of this machine, and leave it again.

    Args:
        address: ``host:port``, ``ray://host:port``, ``auto`` for that which this machine belongs to, or ``local`` for
            this machine alone.

    Raises:
        ConfigError: Ray is not installed, or nobody answers at the address.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise ConfigError("Ray is not installed", INSTALL) from None
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address not in ("auto", "local"):
        if not host or not port.isdecimal():
            raise ConfigError(f"{address}: no address of a Ray cluster", "give host:port, auto or local")
        try:
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"{address}: nobody answers there: {error}", "ray status says where a cluster is"
            ) from None
    try:
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # a plain one where a node does not start in time
        raise ConfigError(f"{address}: no Ray cluster: {first_line(error)}", "ray start --head starts one") from None
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # its tracebacks are told as errors of ours
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def errors_told(ray: Any) -> Iterator[None]:
    """Tell the workers' errors as our own."""
    try:
        yield
    except ray.exceptions.RayError as error:
        told = str(error)  # with the worker's traceback, the only thing that all kinds of Ray's errors keep
        if lacking := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", told):
            raise ConfigError(f"a worker lacks the package {lacking[1]}", INSTALL) from None
        if ours := re.search(r"ocrcc\.errors\.(\w+): (.+)", told):
            raise getattr(errors, ours[1])(f"a worker: {ours[2]}") from None
        raise


def check_version(version: str) -> None:
    """Make sure, in a worker, that it has the ocrcc of whom it works for.

    Raises:
        ConfigError: It has another version.
    """
    if ocrcc.__version__ != version:
        raise ConfigError(f"has ocrcc {ocrcc.__version__}, not {version}, with which the work is given out")


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0]

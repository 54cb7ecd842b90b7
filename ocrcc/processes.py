"""Worker processes that end with the one they work for, on every system, whatever ends it."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, Protocol, TypeVar

from ocrcc.errors import DataError, StoppedError
from ocrcc.files import hush_pillow

Item = TypeVar("Item")
Result = TypeVar("Result")


class Pool(Protocol):
    """Applies a function to items in other processes, and gives the results in their order; see `in_order`."""

    def __call__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        *,
        set_up: Callable[..., None] | None = None,
        arguments: tuple[Any, ...] = (),
    ) -> Generator[Result, None, None]:
        """Apply it."""


_STOPPING = (signal.SIGINT, signal.SIGTERM)
_told: list[int] | None = None
"""Which of them came while a process was started, through a thread that does not hold them back; else None."""
_ours: weakref.WeakSet[BaseProcess] = weakref.WeakSet()
"""Workers that are deaf to SIGTERM."""
_AHEAD = 3
"""Results for each worker that may wait for an earlier one; what bounds the memory."""


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def leave_stopping_to_parent() -> None:
    """Make this worker deaf to Ctrl-C and SIGTERM, and have it end when its parent does.

    Service managers and terminals signal the whole process group. The parent wants to finish its step and save, and
    would find its workers gone; it ends them itself. If it is killed, nobody would tell them.
    """
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        threading.Thread(target=_leave_with, args=(parent.sentinel, parent.pid), daemon=True).start()


def loader_died() -> DataError:
    """Make the error that says so."""
    hint = "was it killed, or out of memory? try fewer --workers; a training goes on by --resume"
    return DataError("a process that loads lines has died", hint)


def end_at_exit(workers: Iterable[BaseProcess]) -> None:
    """End workers that are left when this process exits, as after an error whose traceback holds their loader.

    Python would tell them by SIGTERM, to which they are deaf, and wait for them for ever.
    """
    _ours.update(workers)


@atexit.register  # after Python's own, and so called before it
def _end_ours() -> None:
    for worker in _ours:
        with contextlib.suppress(ValueError, AssertionError):  # closed, or of a process that this one was forked from
            worker.kill()


def _leave_with(sentinel: int, parent: int) -> None:
    # A forked worker's siblings hold its sentinel open, but its parent's number changes when that dies.
    forked = type(multiprocessing.current_process()).__name__ == "ForkProcess"
    while not wait([sentinel], timeout=0.5) and not (forked and os.getppid() != parent):
        pass
    os._exit(1)


@contextlib.contextmanager
def stoppable(hint: str) -> Iterator[Callable[[], None]]:
    """Turn Ctrl-C and SIGTERM into an error, which takes what is unfinished and the workers with it.

    Args:
        hint: How to go on.

    Yields:
        What to call when only the end is left, which is then waited for.

    Raises:
        StoppedError: One of them came.
    """
    finishing = False
    stopped: StoppedError | None = None

    def finish() -> None:
        nonlocal finishing
        finishing = True
        if stopped is not None:  # told in a place that lets no error out, such as a finaliser
            raise stopped

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if _told is not None:
            _told.append(number)
        elif not finishing:
            stopped = StoppedError(f"stopped by {signal.Signals(number).name}; nothing was written", hint)
            raise stopped

    if threading.current_thread() is not threading.main_thread():
        yield finish  # only the main thread hears signals
        return
    before = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        yield finish
    except Exception:
        if stopped is not None:  # whatever a library has made of it
            raise stopped from None
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_order(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    set_up: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Generator[Result, None, None]:
    """Apply a function in worker processes, and give the results in the order of the items.

    Each worker has a pipe of its own and one item at a time. So no lock is shared that a killed worker could keep,
    which is how pools of the standard library come to hang.

    Args:
        function: Of a module, so that a worker can import it.
        items: As many as there are; few are read ahead.
        workers: Processes.
        set_up: Called once in each worker, with ``arguments``.
        arguments: For that.

    Raises:
        DataError: A worker died.
        Exception: What the function raised.
    """
    numbered = enumerate(items)
    ready: dict[int, Result] = {}
    given, more = 0, True
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(_worker(function, set_up, arguments)) for _ in range(workers)]
        busy: dict[Connection, int] = {}
        while True:
            # Before more is sent: where what all waited for came last, nobody is busy, and there is room again.
            while given in ready:
                yield ready.pop(given)
                given += 1
            while more and idle and len(busy) + len(ready) < _AHEAD * workers:
                number, item = next(numbered, (-1, None))
                if number < 0:
                    more = False
                    break
                pipe = idle.pop()
                with _death_told():
                    pipe.send(item)
                busy[pipe] = number
            if not busy:
                return
            for done in wait(list(busy)):
                assert isinstance(done, Connection)
                with _death_told():
                    good, result = done.recv()
                if not good:
                    raise result
                ready[busy.pop(done)] = result
                idle.append(done)


@contextlib.contextmanager
def _death_told() -> Iterator[None]:
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise DataError("a worker process died", "was it killed, or out of memory? try fewer --workers") from None


@contextlib.contextmanager
def _worker(
    function: Callable[..., Any], set_up: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> Iterator[Connection]:
    # Spawned, so that no lock of this process's threads is inherited.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # As bytes, so that it watches its parent before it imports what they need, which takes a second on a busy machine.
    work = pickle.dumps((function, set_up, arguments))
    process = context.Process(target=_work, args=(theirs, work), daemon=True)
    try:
        with _stopping_held():
            process.start()
        end_at_exit([process])
        theirs.close()
        yield ours
    finally:
        if process.pid is not None:
            process.kill()
            process.join()
        ours.close()


@contextlib.contextmanager
def _stopping_held() -> Iterator[None]:
    """Hold signals back, so that a process that starts here is deaf to them from its first instruction."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # The first process that is spawned brings Python's resource tracker along, whose start lets the signals through.
    resource_tracker.ensure_running()
    global _told
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    _told = []
    try:
        yield
    finally:
        told, _told = _told, None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number in told[:1]:
            signal.raise_signal(number)


def _work(pipe: Connection, work: bytes) -> None:
    leave_stopping_to_parent()
    function, set_up, arguments = pickle.loads(work)
    hush_pillow()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent has gone
        try:
            if set_up is not None:
                set_up(*arguments)
        except Exception as error:
            pipe.recv()
            pipe.send((False, error))
            return
        while True:
            item = pipe.recv()
            try:
                answer = (True, function(item))
            except Exception as error:
                answer = (False, error)
            pipe.send(answer)

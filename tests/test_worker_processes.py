from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from ocrcc import processes
from ocrcc.errors import ConfigError, DataError, StoppedError
from ocrcc.processes import in_order, stoppable

PARENT = """
import os, sys, time
from test_worker_processes import slow
from ocrcc.processes import in_order
if __name__ == "__main__":
    for result in in_order(slow, range(1000), 2):
        print(result, flush=True)
"""


def square(number: int) -> int:
    time.sleep(0.02 * (number % 3))  # so that later ones are done earlier
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise ConfigError("three", "not that")
    return number


def die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slow(number: int) -> int:
    if number > 1:
        time.sleep(600)
    return os.getpid()


def test_results_keep_the_order():
    assert list(in_order(square, range(20), 3)) == [number * number for number in range(20)]
    assert list(in_order(square, [], 2)) == []


def test_an_error_arrives_with_its_hint():
    with pytest.raises(ConfigError) as caught:
        list(in_order(refuse, range(6), 2))
    assert caught.value.hint == "not that"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_worker_that_is_killed_is_an_error():
    with pytest.raises(DataError, match="a worker process died"):
        list(in_order(die, range(6), 2))


def _gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{process}/stat") as file:
        return file.read().rsplit(")")[1].split()[0] == "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_workers_end_with_their_parent(how):
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path])}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=paths) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        getattr(parent, how)()
        parent.wait()
        while not all(map(_gone, workers)):  # or the test's own limit ends it
            time.sleep(0.1)


def test_leaving_early_leaves_nobody():
    with closing(in_order(slow, range(9), 2)) as results:
        worker = next(results)
    if sys.platform == "linux":
        assert _gone(worker)


def slow_at_first(number: int) -> int:
    time.sleep(2 if not number else 0)
    return number


def test_results_that_wait_for_the_first_do_not_end_the_work():
    assert list(in_order(slow_at_first, range(40), 3)) == [*range(40)]


def be_told(number: int) -> None:
    """Be told to stop in a library that makes an error of its own of every other."""
    try:
        os.kill(os.getpid(), number)
        time.sleep(5)
    except StoppedError as error:
        raise SystemError("returned a result with an exception set") from error


def be_told_where_no_error_gets_out(number: int, finish: Callable[[], None]) -> None:
    """Be told to stop as in a finaliser, whose errors Python passes over."""
    with suppress(StoppedError):
        os.kill(os.getpid(), number)
        time.sleep(5)
    finish()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="os.kill ends a process there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_to_stop_says_so_whatever_a_library_makes_of_it(number):
    before = signal.getsignal(number)
    with pytest.raises(StoppedError, match=f"stopped by {number.name}; nothing was written") as caught, stoppable("so"):
        be_told(number)
    assert caught.value.hint == "so"
    with stoppable("so") as finish:
        finish()
        os.kill(os.getpid(), number)
    with pytest.raises(StoppedError, match=f"stopped by {number.name}"), stoppable("so") as finish:
        be_told_where_no_error_gets_out(number, finish)
    with pytest.raises(ValueError, match="a bug"), stoppable("so"):
        raise ValueError("a bug")
    assert signal.getsignal(number) == before


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signals to hold")
def test_a_signal_that_another_thread_hears_waits_until_the_process_has_started():
    """Python runs handlers in the main thread, whichever thread the signal came to."""
    seen = []

    def hear() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # what the main thread holds back
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    def start() -> None:
        with stoppable("again"), processes._stopping_held():
            hearing = threading.Thread(target=hear)
            hearing.start()
            hearing.join()
            seen.append("started")

    with pytest.raises(StoppedError, match="SIGTERM"):
        start()
    assert seen == ["started"]
    assert processes._told is None

from __future__ import annotations

import shutil
import threading
import time

import pytest

from ocrcc.errors import DataError
from ocrcc.runs.tracking import Tracker


@pytest.fixture
def shown(monkeypatch) -> list[str]:
    """What threads raised, and Python would show."""
    found: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda raised: found.append(str(raised.exc_value)))
    return found


def test_a_folder_that_goes_away_is_told_in_a_sentence_alone(tmp_path, shown):
    hook = threading.excepthook

    def record() -> None:
        with Tracker(tmp_path / "run") as tracker:
            tracker.entry(1, {"loss": 1.0}, {})
            shutil.rmtree(tmp_path / "run")
            for step in range(2, 10_000):
                tracker.entry(step, {"loss": 1.0}, {})
                tracker._board.flush()
                time.sleep(0.001)

    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match="figures cannot be written"):
        record()
    assert threading.excepthook is hook
    assert not shown


def test_errors_of_other_threads_are_shown_as_ever(tmp_path, shown):
    with Tracker(tmp_path):
        thread = threading.Thread(target=int, args=("mine",))
        thread.start()
        thread.join()
    assert len(shown) == 1
    assert "mine" in shown[0]

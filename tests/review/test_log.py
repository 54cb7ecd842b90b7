from __future__ import annotations

import json
import resource

import pytest
from drawn_lines import draw_line
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from ocrcc.annotations.entries import check_text
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.opened import opened as opened_datasets
from ocrcc.errors import ConfigError, DataError
from ocrcc.review import log as module
from ocrcc.review.log import opened

KEYS = [f"{number:020x}" for number in range(100)]


def record(line=0, text="1O", open_=0, **more):
    return {
        "line": KEYS[line], "name": "a.png", "how": "accepted", "position": 0, "cells": {}, "decided": [0],
        "open": open_, "text": text, "read": ["1", "O"], "looks": "", "seconds": 1.0, "at": "",
    } | more  # fmt: skip


def labels(folder):
    return (folder / "labels.tsv").read_text(encoding="utf-8")


def test_decisions_are_kept_and_become_labels(tmp_path):
    folder = tmp_path / "corrections"
    with opened(folder) as log:
        log.add(record(0, open_=1))
        assert labels(folder) == ""
        log.add(record(0, text="10"), draw_line("10"))
        log.add(record(1, text="20"), draw_line("20"))
        log.add(record(2, text="30", left_out=True))
        log.add(record(3, text="  "), draw_line(" "))
        assert labels(folder) == f"lines/{KEYS[0]}.png\t10\nlines/{KEYS[1]}.png\t20\n"
    with opened(folder) as log:
        assert [each["text"] for each in log.records] == ["1O", "10", "20", "30", "  "]
        assert [each["text"] for each in log.of(KEYS[0])] == ["1O", "10"]
        kept = Image.open(folder / "lines" / f"{KEYS[1]}.png")
        assert ImageChops.difference(kept, draw_line("20")).getbbox() is None


def test_what_was_undone_is_undone_after_a_restart_too(tmp_path):
    with opened(tmp_path / "c") as log:
        log.add(record(0), draw_line("1O"))
        log.add(record(1), draw_line("1O"))
        assert log.undo()["line"] == KEYS[1]
        assert labels(tmp_path / "c").count("\n") == 1
    with opened(tmp_path / "c") as log:
        assert [each["line"] for each in log.records] == [KEYS[0]]
        assert log.undo()["line"] == KEYS[0]
        assert log.undo() is None
        assert labels(tmp_path / "c") == ""


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_half_written_end_is_cut_off(tmp_path, cut):
    with opened(tmp_path / "c") as log:
        log.add(record(0), draw_line("1O"))
        log.add(record(1, text="I0", open_=1))
    path = tmp_path / "c" / "decisions.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    with opened(tmp_path / "c") as log:
        assert [each["line"] for each in log.records] == [KEYS[0]]
        assert labels(tmp_path / "c") == f"lines/{KEYS[0]}.png\t1O\n"
        log.add(record(2), draw_line("1O"))
    with opened(tmp_path / "c") as log:
        assert [each["line"] for each in log.records] == [KEYS[0], KEYS[2]]


@pytest.mark.parametrize(
    "line",
    [
        b"{}", b"[]", b"nonsense", b"\xff\xfe", b'{"undo": 1}', b"[" * 9999,
        json.dumps(record(0) | {"line": "../../etc/passwd"}).encode(),
        json.dumps(record(0) | {"cells": {"7": "x"}}).encode(),
        json.dumps(record(0) | {"position": -1}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_log_is_named_by_line_and_kept(tmp_path, line):
    with opened(tmp_path / "c"):
        pass
    path = tmp_path / "c" / "decisions.jsonl"
    path.write_bytes(path.read_bytes() + line + b"\n")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"decisions\.jsonl:2: damaged"), opened(tmp_path / "c"):
        pass
    assert path.read_bytes() == before


def test_a_second_reviewer_is_told(tmp_path):
    with (
        opened(tmp_path / "c"),
        pytest.raises(ConfigError, match="another ocrcc is writing there"),
        opened(tmp_path / "c"),
    ):
        pass


def test_nothing_of_others_is_touched(tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "labels.tsv").write_text("mine")
    with pytest.raises(ConfigError, match="no folder of corrections"), opened(tmp_path / "c"):
        pass
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="no folder of corrections"), opened(tmp_path / "file"):
        pass
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["labels.tsv"]


def test_labels_that_were_changed_by_hand_stay(tmp_path):
    with opened(tmp_path / "c") as log:
        log.add(record(0), draw_line("1O"))
    (tmp_path / "c" / "labels.tsv").write_text("mine\n")
    with pytest.raises(ConfigError, match="changed by hand"), opened(tmp_path / "c"):
        pass
    assert labels(tmp_path / "c") == "mine\n"


def test_a_kill_between_log_and_labels_is_mended(tmp_path):
    with opened(tmp_path / "c") as log:
        log.add(record(0), draw_line("1O"))
        before = labels(tmp_path / "c")
        log.add(record(1), draw_line("1O"))
        log.add(record(2), draw_line("1O"))
        after = labels(tmp_path / "c")
    (tmp_path / "c" / "labels.tsv").write_text(before)
    with opened(tmp_path / "c"):
        assert labels(tmp_path / "c") == after


def test_a_full_disk_loses_nothing(tmp_path):
    """No file may grow beyond the log's size and half a record: the next record is written half, and taken back."""
    with opened(tmp_path / "c") as log:
        log.add(record(0, open_=1))
        path = tmp_path / "c" / "decisions.jsonl"
        before = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, limits[1]))
        try:
            with pytest.raises(DataError, match="cannot be written") as caught:
                log.add(record(1, open_=1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "make room" in caught.value.hint
        assert path.read_bytes() == before
        assert [each["line"] for each in log.records] == [KEYS[0]]
        log.add(record(1, open_=1))
    with opened(tmp_path / "c") as log:
        assert [each["line"] for each in log.records] == KEYS[:2]


def test_labels_that_cannot_follow_are_said_and_follow_later(tmp_path, monkeypatch):
    with opened(tmp_path / "c") as log:
        with monkeypatch.context() as broken:
            broken.setattr(module, "_tsv", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            log.add(record(0), draw_line("1O"))
        assert "No space left" in log.trouble
        assert "decisions are kept" in log.trouble
        log.add(record(1), draw_line("1O"))
        assert not log.trouble
        assert labels(tmp_path / "c").count("\n") == 2


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\t"), min_size=1, max_size=12
).filter(lambda text: not check_text(text))  # what no line's label can be is told when it is read back


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=8))
@example(["\t0", "\t0"])
@example(["0\t"])
def test_labels_come_back_as_they_were_decided(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("texts") / "c"
    with opened(folder) as log:
        for number, text in enumerate(texts):
            log.add(record(number, text=text), draw_line(str(number)))
    said = []
    with opened_datasets([folder], said.append) as (dataset,):
        assert isinstance(dataset, LmdbDataset)
        assert [dataset.label(index) for index in range(len(dataset))] == [text.replace("\t", " ") for text in texts]
    assert not said

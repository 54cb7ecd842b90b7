from __future__ import annotations

import pytest
from doubts import make_results
from typer.testing import CliRunner

pytest.importorskip("uvicorn", reason="the extra review is not installed")

from ocrcc.cli import app  # noqa: E402
from ocrcc.review import server  # noqa: E402

LINES = [("2O24", "2024", {1: 0.6}, {1: "O"}), ("5678", "5678", {}, {})]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OCRCC_MODEL", raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["review", *map(str, arguments)])


@pytest.fixture
def person(monkeypatch):
    """Somebody who takes the first look-alike of all that is asked."""

    def serve(session, *, listening, on_ready):
        on_ready("http://127.0.0.1:1/x/")
        while (question := session.question()) is not None:
            place = question.line.key, question.doubt.position, len(session.log.records)
            session.replace(*place, question.doubt.choices[0], "chosen")

    monkeypatch.setattr(server, "serve", serve)


def test_what_was_decided_is_summed_up(run, tmp_path, person):
    results = make_results(tmp_path, LINES)
    done = run(results)
    assert done.exit_code == 0, done.stderr
    assert "1 doubtful characters on 1 lines" in done.stderr
    assert "corrections holds 1 decisions and 1 finished lines" in done.stderr
    assert "ocrcc finetune --train corrections" in done.stderr
    assert (tmp_path / "corrections" / "labels.tsv").read_text().endswith("\t2O24\n")
    assert "every doubt is decided already" in run(results).stderr


def test_sure_readings_leave_nothing_to_do(run, tmp_path, person):
    done = run(make_results(tmp_path, LINES), "--unsure", "0.3")
    assert done.exit_code == 0
    assert "no character was read less surely than 0.3" in done.stderr


def test_results_whose_images_are_gone(run, tmp_path, person):
    results = make_results(tmp_path, LINES)
    (tmp_path / "lines" / "000.png").unlink()
    done = run(results)
    assert done.exit_code == 3
    assert "lines/000.png: no such image" in done.stderr


def test_a_port_that_is_taken(run, tmp_path):
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = run(make_results(tmp_path, LINES), "--port", other.getsockname()[1])
    assert done.exit_code == 2
    assert "leave --port out" in done.stderr
    assert not (tmp_path / "corrections").exists(), "it is told before images are read, and leaves nothing"

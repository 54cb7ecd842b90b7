from __future__ import annotations

import pytest
from doubts import make_results
from test_session import LINES

pytest.importorskip("starlette.testclient", reason="the extra review is not installed")
from starlette.testclient import TestClient  # noqa: E402

from ocrcc.config import ReviewConfig  # noqa: E402
from ocrcc.review.log import opened  # noqa: E402
from ocrcc.review.server import make_app  # noqa: E402
from ocrcc.review.session import Session  # noqa: E402
from ocrcc.review.sources import find_lines  # noqa: E402

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def session(tmp_path):
    results = make_results(tmp_path, LINES)
    with opened(tmp_path / "corrections") as log:
        yield Session(find_lines([str(results)], ReviewConfig(), complain=pytest.fail), log)


@pytest.fixture
def finished():
    return []


@pytest.fixture
def client(session, finished):
    app = make_app(session, token="secret", port=8000, finish=lambda: finished.append(True))
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=True)


def ask(client, pair=""):
    return client.get("/secret/api/question", params={"pair": pair}).json()


def answer(client, how, **more):
    asked = ask(client)
    question = asked["question"]
    values = {"how": how, "line": question["line"], "position": question["position"], "step": asked["progress"]["step"]}
    return client.post("/secret/api/answer", json=values | more)


def test_the_page_and_what_it_needs(client):
    for name, kind in (("", "text/html"), ("page.js", "text/javascript"), ("page.css", "text/css")):
        found = client.get(f"/secret/{name}")
        assert found.status_code == 200
        assert found.headers["content-type"].startswith(kind)
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert "unsafe" not in found.headers["content-security-policy"]
        assert found.headers["referrer-policy"] == "no-referrer"


def test_a_question_and_its_answers(client, session):
    asked = ask(client)
    question = asked["question"]
    assert (question["cells"], question["position"], question["choices"]) == (list("1234"), 0, ["I", "l"])
    assert question["size"] == [100, 32]
    assert question["place"] == [0, 0.25]
    picture = client.get(f"/secret/line/{question['line']}.png")
    assert picture.headers["content-type"] == "image/png"
    after = answer(client, "chosen", text="I").json()
    assert after["progress"]["done"] == 1
    assert after["question"]["cells"] == list("2024")
    assert answer(client, "line", text="2O24").status_code == 200
    assert [record["text"] for record in session.log.records] == ["I234", "2O24"]
    after = client.post("/secret/api/answer", json={"how": "undo"}).json()
    assert after["question"]["cells"] == list("2024")


def test_no_other_origin_gets_in(client, session):
    body = {"how": "undo"}
    for headers in (
        {"host": "evil.example:8000"},
        {"host": "127.0.0.1:8001"},
        {"host": "127.0.0.1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert client.get("/secret/", headers=headers).status_code == 403, headers
        assert client.post("/secret/api/answer", json=body, headers=headers).status_code == 403, headers
    for headers in ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, {"host": "localhost:8000"}):
        assert client.get("/secret/", headers=headers).status_code == 200
    plain = client.post("/secret/api/answer", content=b'{"how": "undo"}', headers={"content-type": "text/plain"})
    assert plain.status_code == 415


@pytest.mark.parametrize(
    "path",
    [
        "/", "/secre", "/secret2/", "/Secret/", "/api/question", "/secret/../secret2/", "/secret/page.py",
        "/secret/../../etc/passwd", "/secret/..%2f..%2fetc%2fpasswd", "/secret/line/..%2f..%2fdecisions.jsonl.png",
        "/secret/line/" + "0" * 20 + ".png", "/secret/%00", "/secret/session.py", "/secret/page/page.js",
    ],
)  # fmt: skip
def test_nothing_but_the_page_can_be_had(client, path):
    assert client.get(path).status_code == 404


def test_an_answer_that_is_none_is_refused(client, session):
    asked = ask(client)
    place = {"line": asked["question"]["line"], "position": 0, "step": 0}
    for body in ({}, {"how": "x"} | place, {"how": "chosen"} | place, {"how": "chosen", "text": "I"}, [], "x"):
        assert client.post("/secret/api/answer", json=body).status_code == 400, body
    huge = client.post("/secret/api/answer", json={"how": "line", "text": "x" * 300_000} | place)
    assert huge.status_code == 400
    raw = client.post("/secret/api/answer", content=b"\xff", headers={"content-type": "application/json"})
    assert raw.status_code == 400
    assert not session.log.records


def test_an_old_question_is_not_answered_twice(client, session):
    asked = ask(client)
    values = {"how": "chosen", "text": "I", "line": asked["question"]["line"], "position": 0, "step": 0}
    assert client.post("/secret/api/answer", json=values).status_code == 200
    again = client.post("/secret/api/answer", json=values)
    assert again.status_code == 409
    assert again.json()["question"]["cells"] == list("2024")
    assert len(session.log.records) == 1


def test_a_full_disk_is_said_and_the_question_stays(client, session, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        found = answer(client, "chosen", text="I")
    assert found.status_code == 507
    assert "No space left" in found.json()["error"]
    assert ask(client)["question"]["cells"] == list("1234")
    assert answer(client, "chosen", text="I").status_code == 200
    assert len(session.log.records) == 1


def test_nothing_to_undo_is_said(client):
    assert client.post("/secret/api/answer", json={"how": "undo"}).status_code == 507


def test_texts_go_to_the_page_as_data(client):
    """The page is always the same bytes; texts travel as JSON alone, and the script puts none of them into markup."""
    answer(client, "line", text=HOSTILE)
    assert HOSTILE not in client.get("/secret/").text
    script = client.get("/secret/page.js").text
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "srcdoc"):
        assert word not in script


def test_finishing_ends_the_serving(client, finished):
    assert client.post("/secret/api/finish", json={}).status_code == 200
    assert finished == [True]

"""The service of the guide, as it is written there."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ocrcc import load_recognizer, packaged
from ocrcc.config import DEFAULT_MODEL

GUIDE = Path(__file__).resolve().parent.parent / "assets" / "guides" / "serving.md"


def test_who_asks_together_is_read_together_and_each_gets_the_own_text():
    pytest.importorskip("fastapi")
    pytest.importorskip("onnxruntime")
    testclient = pytest.importorskip("fastapi.testclient", exc_type=ImportError)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    together = []
    stream = names["reader"].stream
    names["reader"].stream = lambda images: together.append(len(images)) or stream(images)
    paths = sorted((packaged.ASSETS / "samples" / "images").iterdir())[:12]
    wanted = [reading.text for reading in load_recognizer(DEFAULT_MODEL, device="cpu").recognize(paths)]
    with testclient.TestClient(names["app"]) as client, ThreadPoolExecutor(len(paths)) as pool:
        answers = list(pool.map(lambda path: client.post("/read", content=path.read_bytes()), paths))
        assert [answer.json()["text"] for answer in answers] == wanted
        assert len(together) < len(paths)
        broken = client.post("/read", content=b"no image")
        assert broken.status_code == 422
        assert "not an image" in broken.json()["detail"]
        assert client.post("/read", content=paths[0].read_bytes()).json()["text"] == wanted[0]

"""The service of the guide under load: every client asks again as soon as it is answered, over the loopback.

    python -m tests.benchmarks.serving [--seconds 15] [--clients 1 8 64]

Needs fastapi and uvicorn. Each answer is compared with what the recogniser reads from the same image alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from ocrcc import load_recognizer, packaged
from ocrcc.config import DEFAULT_MODEL
from tests.benchmarks.__main__ import machine

ROOT = Path(__file__).resolve().parents[2]


def service() -> str:
    """Take the service's code out of the guide."""
    guide = (ROOT / "assets" / "guides" / "serving.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- the service -->\n```python\n(.*?)```", guide, flags=re.DOTALL)
    assert found
    return found[1]


async def client(port: int, images: list[bytes], wanted: list[str], until: float, turns, found: list[float]) -> int:
    """Ask until the time is over; note how long each answer took, and return how many were wrong."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    wrong = 0
    while time.monotonic() < until:
        number = next(turns) % len(images)
        begun = time.perf_counter()
        writer.write(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(images[number]))
        writer.write(images[number])
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, flags=re.IGNORECASE)[1]))
        found.append(time.perf_counter() - begun)
        wrong += b" 200 " not in head.splitlines()[0] or json.loads(body)["text"] != wanted[number]
    writer.close()
    return wrong


async def load(port: int, images: list[bytes], wanted: list[str], clients: int, seconds: float):
    """Let so many clients ask for so long."""
    turns, found, until = count(), [], time.monotonic() + seconds
    wrong = await asyncio.gather(*(client(port, images, wanted, until, turns, found) for _ in range(clients)))
    return sorted(found), sum(wrong)


def memory(pid: int) -> float:
    """Return what a process holds now, in MiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    options = parser.parse_args()
    paths = sorted((packaged.ASSETS / "samples" / "images").iterdir())[:100]
    reader = load_recognizer(DEFAULT_MODEL, device="cpu")
    wanted = [reader.recognize(path).text for path in paths]
    images = [path.read_bytes() for path in paths]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "serve.py").write_text(service())
        command = [sys.executable, "-m", "uvicorn", "serve:app", "--port", str(port), "--log-level", "error"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([folder, str(ROOT)])}
        server = subprocess.Popen([*command, "--no-access-log"], env=environment)
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    assert server.poll() is None
                    time.sleep(0.1)
            asyncio.run(load(port, images, wanted, 8, 3))  # warms up
            print(machine())
            print("clients  lines/s  p50 ms  p99 ms  answers  wrong  MiB")
            for clients in options.clients:
                begun = time.monotonic()
                took, wrong = asyncio.run(load(port, images, wanted, clients, options.seconds))
                rate = len(took) / (time.monotonic() - begun)
                p50, p99 = (1000 * took[int(share * len(took))] for share in (0.5, 0.99))
                print(f"{clients:7d}{rate:9.0f}{p50:8.0f}{p99:8.0f}{len(took):9d}{wrong:7d}{memory(server.pid):5.0f}")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()

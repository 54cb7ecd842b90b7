"""Training by two processes on one CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file


def test_two_processes_train_one_model(digits_lmdb, tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command += ["-m", "ocrcc", "pretrain", "--train", str(digits_lmdb), "--val", str(digits_lmdb)]
    command += ["--arch", "lcnet_050", "--steps", "3", "--batch-size", "4", "--workers", "0", "--threads", "1"]
    command += ["--log-every", "1", "--device", "cpu", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 steps in") == 1  # one of them speaks
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert all(torch.isfinite(value.float()).all() for value in load_file(out / "last.safetensors").values())

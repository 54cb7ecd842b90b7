"""Training by two processes on one CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from drawn_lines import draw_line
from safetensors.torch import load_file
from stored_lines import store

from ocrcc.config import Preprocessing, PretrainConfig, TrainConfig
from ocrcc.data.batching import TrainingChunks
from ocrcc.datasets.opened import Opener
from ocrcc.errors import ConfigError
from ocrcc.training.pretrain import pretrain
from ocrcc.training.sources import charset_of, open_sources

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
THREE_RUNS = """
import sys
from pathlib import Path
from ocrcc.cli import app
from ocrcc.config import PretrainConfig, TrainConfig
from ocrcc.training.pretrain import pretrain
quick = ["--arch", "lcnet_050", "--steps", "3", "--batch-size", "4", "--workers", "0", "--threads", "1"]
app(["pretrain", "--train", sys.argv[1], "--val", sys.argv[1], *quick, "--log-every", "1", "--out", sys.argv[5]],
    standalone_mode=False)
def stop(entry):
    if entry.step == 24:
        raise SystemExit(0)
task = PretrainConfig(train=(sys.argv[1],), arch="lcnet_050")
how = TrainConfig(seed=int(sys.argv[4]), steps=26, batch_size=3, workers=0, threads=1, log_every=4, save_every=22)
pretrain(task, how, Path(sys.argv[2]))
pretrain(task, how, Path(sys.argv[3]), on_log=stop)
"""


def batches(lines, seed: int, rank: int) -> int:
    """Count the batches of a process's first chunk."""
    opener = Opener(lines.parent, False)
    charset = charset_of([str(lines)], "none", opener)
    sources = open_sources([str(lines)], charset, opener)
    how = {"width_stride": 4, "batch_size": 3, "seed": seed, "strength": 0.5}
    return len(TrainingChunks(sources.mixed, charset, Preprocessing(), **how, rank=rank, world=2)[0])


def together(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([*TORCHRUN, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_two_processes_train_one_model_and_go_on_where_each_was(tmp_path):
    """Without a word of a device: Accelerate must be told that there is no GPU, or each trains for itself.

    Each start takes long, so that the first of them has three runs: one by the command line, one straight to its end,
    one that is stopped; the second goes on with this.
    """
    # Widths of all kinds, so that chunks have different numbers of batches.
    wide = [(draw_line(str(number) * (1 + number * number % 31)), str(number)) for number in range(61)]
    lines = store(tmp_path / "lines.lmdb", wide)
    seed = str(next(seed for seed in range(100) if len({batches(lines, seed, rank) for rank in (0, 1)}) == 2))
    script = tmp_path / "both.py"
    script.write_text(THREE_RUNS)
    called, straight, stopped = (tmp_path / name for name in ("called", "straight", "stopped"))
    done = together(str(script), str(lines), str(straight), str(stopped), seed, str(called))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 steps in") == 1  # one of them speaks
    assert [json.loads(line)["step"] for line in (called / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert all(torch.isfinite(value.float()).all() for value in load_file(called / "last.safetensors").values())
    assert len(torch.load(called / "state.pt", weights_only=True)["processes"]) == 2
    processes = torch.load(stopped / "state.pt", weights_only=True)["processes"]
    assert [process["state"]["step"] for process in processes] == [22, 22]
    places = [process["state"]["place"] for process in processes]
    assert places[0] != places[1]  # what makes this test hard
    resumed = together("-m", "ocrcc", "pretrain", "--resume", str(stopped))
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("26 steps in") == 1
    one, other = (load_file(run / "last.safetensors") for run in (straight, stopped))
    assert all(torch.equal(one[name], other[name]) for name in one)
    task = PretrainConfig(train=(str(lines),), arch="lcnet_050")
    how = TrainConfig(steps=26, seed=int(seed), batch_size=3, workers=0, threads=1)
    with pytest.raises(ConfigError, match="2 processes trained it"):
        pretrain(task, how, stopped, resume=True, device="cpu")

"""``ocrcc pretrain``."""

from __future__ import annotations

from pathlib import Path

from ocrcc.cli.options import ConfigFile, Device, ResumeRun, RunFolder, with_config_options
from ocrcc.cli.training import follow
from ocrcc.config import PretrainConfig, TrainConfig


@with_config_options()
def command(
    task: PretrainConfig,
    training: TrainConfig,
    out: RunFolder = Path("runs/pretrain"),
    resume: ResumeRun = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Train a recogniser by CTC, from nothing or from another model's weights.

    The run folder gets best.safetensors and last.safetensors, config.toml, metrics.jsonl and TensorBoard
    events. Ctrl-C finishes the step, saves, and says how to go on.

    Examples:
        ocrcc pretrain -t train.lmdb --val held-out.lmdb --epochs 20 -o runs/base
        ocrcc pretrain -t synth:documents --arch lcnet_050 --charset gb2312 --minutes 60
        ocrcc pretrain --resume runs/base
    """
    from ocrcc.training.pretrain import pretrain

    follow(pretrain, task, training, resume or out, resume=resume is not None, device=device)

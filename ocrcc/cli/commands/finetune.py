"""``ocrcc finetune``."""

from __future__ import annotations

from pathlib import Path

from ocrcc.cli.options import ConfigFile, Device, ResumeRun, RunFolder, with_config_options
from ocrcc.cli.training import follow
from ocrcc.config import FinetuneConfig, TuneConfig


@with_config_options()
def command(
    task: FinetuneConfig,
    training: TuneConfig,
    out: RunFolder = Path("runs/finetune"),
    resume: ResumeRun = None,
    device: Device = "auto",
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Fine-tune a model with CTC and center loss, so that it tells look-alikes apart.

    Where lines of one's own can be told from general ones by their looks, only these are read otherwise than before.
    Each character of a label is aligned to its frames; its feature is held near the moving center of its
    class and away from those of its look-alikes. Weights of 0 give the control: --center-weight 0
    --twin-weight 0 is CTC alone, on the same lines in the same order.

    Examples:
        ocrcc finetune -t train.lmdb -o runs/mine
        ocrcc finetune --pretrained runs/pretrain -t labels.txt --val held-out.lmdb --minutes 20
        ocrcc finetune --resume runs/mine
    """
    from ocrcc.tuning.finetune import finetune

    follow(finetune, task, training, resume or out, resume=resume is not None, device=device)

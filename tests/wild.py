"""A model that was never trained but reads something else in every image: for tests of everything around it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from drawn_lines import draw_line
from torch import nn

from ocrcc.charset import Charset, load_charset
from ocrcc.config import Preprocessing
from ocrcc.images.transforms import pad, prepare
from ocrcc.models.checkpoint import save_model
from ocrcc.models.registry import create_model


def random_lines(count: int, longest: int = 30, seed: int = 0) -> list[str]:
    """Texts of digits, of all lengths."""
    rng = np.random.default_rng(seed)
    return ["".join(map(str, rng.integers(0, 10, rng.integers(1, longest)))) for _ in range(count)]


def save_wild_model(path: Path, arch: str = "timm/lcnet_050+none", charset: Charset | None = None) -> Path:
    """Save a recogniser with random weights whose classifier spreads real lines over all classes.

    Fresh weights alone read the same character everywhere: their features hardly differ between frames. So
    batch norms see some lines first, and the classifier's rows are scaled by what the features do vary.
    """
    charset = charset or load_charset("ascii")
    preprocessing = Preprocessing()
    torch.manual_seed(0)
    recognizer = create_model(arch, charset.num_classes, preprocessing).train()
    lines = [prepare(draw_line(text), preprocessing) for text in random_lines(24, 16)]
    images = torch.from_numpy(pad(lines, max(line.shape[2] for line in lines) // 32 * 32 + 32))
    with torch.no_grad():
        for module in recognizer.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.momentum = 1.0
        recognizer(images)
        features = recognizer.eval().forward_features(images).flatten(0, 1)
        head = recognizer.head
        head.weight.normal_().div_(features.std(dim=0).clamp(min=1e-3))
        head.bias.copy_(-head.weight @ features.mean(dim=0))
    save_model(
        path,
        recognizer_state=recognizer.state_dict(),
        arch=arch,
        charset=charset,
        preprocessing=preprocessing,
        info={"step": 0, "metrics": {}, "config": {}},
    )
    return path

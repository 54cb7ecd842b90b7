"""Models with random weights, as `ocrcc export` is given them, and what they read."""

from __future__ import annotations

import torch
from drawn_lines import draw_line
from wild import random_lines

from ocrcc.config import ExportConfig, PredictConfig
from ocrcc.models.checkpoint import load_model, save_model
from ocrcc.reading.reader import LineReader

QUICK = ExportConfig(samples=16, rendered=0)
LINES = [draw_line(text) for text in (*random_lines(30), "1", "0123456789" * 12)]


def save_again(path, out, *, centers=False, config=None, change=lambda recognizer: None):
    """Save a model with centers, other weights or other settings."""
    loaded = load_model(path, device="cpu")
    with torch.no_grad():
        change(loaded.recognizer)
    shape = (loaded.charset.num_classes, loaded.recognizer.feature_width)
    torch.manual_seed(3)
    save_model(
        out,
        recognizer_state=loaded.recognizer.state_dict(),
        arch=loaded.arch,
        charset=loaded.charset,
        preprocessing=loaded.preprocessing,
        info={"step": 7, "metrics": {"cer": 0.5}, "config": config or {}},
        centers=torch.randn(shape) if centers else None,
        center_counts=(torch.arange(shape[0]) % 3).float() if centers else None,
    )
    return out


def make_model(wild, folder):
    """Save a model with centers, and with settings that are nobody's business."""
    settings = {"train": ["/secret/place/train.lmdb"], "corpus": ["/secret/text.txt"]}
    return save_again(wild, folder / "model.safetensors", centers=True, config=settings)


def texts(path, **config):
    """Read the lines, once each: second looks would make short ones alike."""
    reader = LineReader.load(path, config=PredictConfig(second_look=0, **config))
    return [reading.text for reading in reader.recognize(LINES)]

"""A character that a charset lacks: every command that meets one names it alike, and says what helps alike."""

from __future__ import annotations

import pytest
from drawn_lines import draw_line
from stored_lines import store
from typer.testing import CliRunner
from wild import save_wild_model

from ocrcc.charset import MISSING_HINT, Charset, lacks
from ocrcc.cli import app
from ocrcc.reading.reader import LineReader

DIGITS = Charset("0123456789", name="digits")
QUICK = ("--steps", "1", "--batch-size", "4", "--workers", "0", "--threads", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_wild_model(tmp_path_factory.mktemp("model") / "digits.safetensors", charset=DIGITS)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """Lines of which ten say a character more than the model has; of the others some are read wrong."""
    folder = tmp_path_factory.mktemp("lines")
    images = [draw_line(str(number) * (1 + number % 5)) for number in range(10, 90)]
    readings = LineReader.load(model, device="cpu").recognize(images)
    texts = [reading.text or "1" for reading in readings]
    labels = [text[:-1] + "37"[number % 2] if number % 3 else text for number, text in enumerate(texts)]
    store(folder / "lines.lmdb", zip(images, labels[:70] + [f"{label}己" for label in labels[70:]], strict=True))
    for number in range(3):
        images[number].save(folder / f"{number}.png")
    (folder / "labels.txt").write_text("".join(f"{number}.png\t己己\n" for number in range(3)), encoding="utf-8")
    return folder


COMMANDS = {
    "build-lmdb": ("build-lmdb", "labels.txt", "out.lmdb", "--charset", "digits", "--workers", "1"),
    "inspect": ("inspect", "lines.lmdb", "--charset", "digits"),
    "pretrain": ("pretrain", "--train", "lines.lmdb", "--charset", "digits", "--arch", "lcnet_050", *QUICK),
    "pretrain, skipped": (
        *("pretrain", "--train", "lines.lmdb", "--charset", "digits", "--arch", "lcnet_050", "--unknown", "skip"),
        *("--out", "runs/skipped", *QUICK),
    ),
    "finetune": (
        *("finetune", "--pretrained", "MODEL", "--train", "lines.lmdb", "--charset", "digits"),
        *("--out", "runs/tuned", *QUICK),
    ),
    "finetune, validated": (
        *("finetune", "--pretrained", "MODEL", "--train", "digits.lmdb", "--val", "lines.lmdb", "--replay-share", "0"),
        *("--no-guard", "--out", "runs/validated", *QUICK),
    ),
    "eval": ("eval", "MODEL", "--data", "lines.lmdb", "--workers", "0"),
    "calibrate": ("calibrate", "MODEL", "--data", "lines.lmdb", "--out", "calibrated.safetensors"),
    "project": ("project", "-m", "MODEL", "--data", "lines.lmdb", "--chars", "3", "--png", "p.png", "--workers", "0"),
    "project, asked": ("project", "-m", "MODEL", "--data", "lines.lmdb", "--chars", "3己", "--png", "q.png"),
}
COUNTS = {"build-lmdb": 6, "inspect": 10, "pretrain": 10, "pretrain, skipped": 10, "finetune": 10, "eval": 10} | {
    "calibrate": 10
}
"""How often it occurs, where a command counts that."""


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_named_and_what_helps_is_said_alike(name, model, folder, digits_lmdb, monkeypatch):
    monkeypatch.chdir(folder)
    if not (folder / "digits.lmdb").exists():
        (folder / "digits.lmdb").symlink_to(digits_lmdb)
    arguments = [str(model) if word == "MODEL" else word for word in COMMANDS[name]]
    result = CliRunner().invoke(app, arguments)
    said = lacks("digits", {"己": COUNTS[name]} if name in COUNTS else "己")
    assert said in result.stderr, result.output
    assert result.stderr.count(MISSING_HINT) == 1

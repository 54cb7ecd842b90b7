"""``ocrcc demo``: the main job, one printed command after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ocrcc import packaged
from ocrcc.cli import render
from ocrcc.config import DEFAULT_MODEL
from ocrcc.config.setting import LENGTH, OUTPUT
from ocrcc.errors import ConfigError


def command(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", rich_help_panel=OUTPUT, help="Folder for everything that is made."),
    ] = Path("ocrcc-demo"),
    steps: Annotated[int, typer.Option(min=1, metavar="INT", rich_help_panel=LENGTH, help="Steps of training.")] = 40,
) -> None:
    """Show the main job on lines that ship with the package: fine-tune without and with centers, compare, read, look.

    Each command is printed before it runs, so that it can be run by hand afterwards.

    Examples:
        ocrcc demo
        ocrcc demo --steps 20 -o quick
    """
    if out.exists():
        raise ConfigError(f"{out} exists", "choose another --out")
    out.mkdir(parents=True)
    samples = packaged.ASSETS / "samples"
    held_out = f"{out / 'train-val.lmdb'}"
    tune = ["finetune", "--pretrained", DEFAULT_MODEL, "--train", f"{out / 'train.lmdb'}", "--val", held_out]
    tune += ["--steps", f"{steps}", "--eval-every", f"{steps}"]
    commands = [
        ["build-lmdb", f"{samples / 'labels.txt'}", f"{out / 'train.lmdb'}", "--val-fraction", "0.2"],
        [*tune, "--center-weight", "0", "--twin-weight", "0", "--out", f"{out / 'control'}"],
        [*tune, "--out", f"{out / 'run'}"],
        [
            *("eval", f"{out / 'run'}", "--compare", DEFAULT_MODEL, "--compare", f"{out / 'control'}"),
            *("--data", held_out, "--mended", f"{out / 'mended.png'}"),
        ],
        ["predict", *_first_images(samples, 3), "--model", f"{out / 'run'}"],
        [
            *("project", "--model", DEFAULT_MODEL, "--model", f"{out / 'run'}", "--data", held_out),
            *("--logdir", f"{out / 'projector'}", "--png", f"{out / 'lookalikes.png'}"),
            *("--html", f"{out / 'lookalikes.html'}"),
        ],
    ]
    started = time.monotonic()
    for arguments in commands:
        _run(arguments)
    render.notice(f"{time.monotonic() - started:.0f} s; all of it is in {out}")


def _first_images(samples: Path, count: int) -> list[str]:
    return [str(path) for path in sorted((samples / "images").iterdir())[:count]]


def _run(arguments: Sequence[str]) -> None:
    from ocrcc.cli import app

    render.notice("")
    render.notice("$ ocrcc " + " ".join(arguments))
    run: Callable[..., object] = typer.main.get_command(app).main
    run(list(arguments), prog_name="ocrcc", standalone_mode=False)

"""``ocrcc inspect``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ocrcc.cli import render
from ocrcc.cli.completion import completion
from ocrcc.config.setting import INPUT, OUTPUT

if TYPE_CHECKING:
    from ocrcc.datasets.inspect import ModelDescription


def command(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A dataset, a model file, a run, or hf://owner/name.")],
    charset: Annotated[
        str,
        typer.Option(
            metavar="CHARSET",
            rich_help_panel=OUTPUT,
            autocompletion=completion("CHARSET"),
            help="Name or file of a charset to compare a dataset with; else the shipped one that has most.",
        ),
    ] = "",
    verify: Annotated[
        bool, typer.Option("--verify", rich_help_panel=INPUT, help="Decode every image of a dataset.")
    ] = False,
) -> None:
    """Say what a dataset holds and what is odd about it, or what a model knows of itself.

    Datasets may be anybody's that have the keys num-samples, image-000000001 and label-000000001.

    Examples:
        ocrcc inspect train.lmdb --verify
        ocrcc inspect runs/finetune
    """
    from ocrcc.cli.datasets import show_dataset
    from ocrcc.datasets.inspect import ModelDescription, inspect

    with render.show_progress("inspect") as report:
        found = inspect(path, charset=charset, verify=verify, report=report)
    if isinstance(found, ModelDescription):
        _show_model(found)
    else:
        show_dataset(found)


def _show_model(model: ModelDescription) -> None:
    used, charset = model.preprocessing, model.charset
    rows = [
        ("architecture", model.arch),
        ("size", f"{model.bytes / 1e6:.1f} MB"),
        (
            "charset",
            f"{charset.name}: {len(charset):,} characters, normalisation {charset.normalisation}"
            + (", reordered from right to left" if charset.bidi else ""),
        ),
        ("first characters", charset.symbols[:60] + ("…" if len(charset) > 60 else "")),
        ("input", f"{used.height} px high, {'grey' if used.channels == 1 else 'RGB'}, up to {used.max_width} px wide"),
        ("polarity", used.polarity),
    ]
    shown = ("arch", "charset", "preprocessing")
    rows += [(name, _short(value)) for name, value in model.metadata.items() if name not in shown]
    render.out.print(render.table("", ("model", render.harmless(str(model.path))), rows, left=2))


def _short(value: object, limit: int = 1000) -> str:
    if isinstance(value, dict):  # settings that are not set say nothing
        text = ", ".join(f"{key}={_plain(one)}" for key, one in value.items() if one not in ("", [], {}, None))
    else:
        text = _plain(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

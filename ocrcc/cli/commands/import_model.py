"""``ocrcc import``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, with_config_options
from ocrcc.config import ImportConfig
from ocrcc.config.setting import CHECK, OUTPUT

if TYPE_CHECKING:
    from ocrcc.export.importing import ImportResult


@with_config_options()
def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="RECOGNISER",
            help="An ONNX file, a folder that Transformers saved, hf://owner/name, or rapidocr/ppocr-v6-small.",
        ),
    ],
    settings: ImportConfig,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="The model to write: .safetensors."),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="LINES",
            rich_help_panel=CHECK,
            help="Dataset, label file or folder to check it on; repeat it for several.",
        ),
    ] = None,
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Make a model of a recogniser of another make, such as PP-OCR's, and prove that it reads the same.

    Before the model appears, it and the original read the same lines: those of --data, or else lines of the
    package and rendered ones. If they differ by more than rounding, it does not appear. Every other command takes
    such a recogniser without this, too, as long as the defaults here fit it.

    Examples:
        ocrcc import rapidocr/ppocr-v6-small -o ppocr.safetensors
        ocrcc import rec.onnx --charset keys.txt -o rec.safetensors -d labels.txt
    """
    from ocrcc.export.importing import import_foreign

    with render.show_progress("import") as report:
        result = import_foreign(model, out, settings, data=data or (), say=render.warn, report=report)
    _show(result)


def _show(result: ImportResult) -> None:
    loaded, parity = result.loaded, result.parity
    preprocessing = loaded.preprocessing
    colour = "grey" if preprocessing.channels == 1 else preprocessing.colour_order
    rows = [
        ("file", f"{result.path}, {result.size / 1e6:.1f} MB"),
        ("characters", f"{len(loaded.charset):,}, and the blank"),
        ("input", f"{preprocessing.height} px high, {colour}, {loaded.recognizer.width_stride} px a frame"),
        ("features", f"{loaded.recognizer.feature_width} wide"),
        ("checked on", result.where_from),
        ("same text", f"{parity.same} of {parity.lines} readings"),
        ("logits differ by", f"{parity.difference:.2g} at most, where they reach {parity.largest:.3g}"),
    ]
    render.out.print(render.table("", ("import", ""), rows, left=2))
    made_of = render.harmless(str(result.model))
    render.out.print(f"{result.path} reads all of {parity.lines} lines as {result.original} reads {made_of}.")

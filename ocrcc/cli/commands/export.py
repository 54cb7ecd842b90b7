"""``ocrcc export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ocrcc.cli import render
from ocrcc.cli.options import ConfigFile, ModelArgument, with_config_options
from ocrcc.config import ExportConfig
from ocrcc.config.setting import CHECK

if TYPE_CHECKING:
    from ocrcc.evaluation.report import Metrics
    from ocrcc.export.export import ExportResult


@with_config_options()
def command(
    model: ModelArgument,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write: .onnx, or .safetensors.")],
    settings: ExportConfig,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            "-d",
            metavar="LMDB",
            rich_help_panel=CHECK,
            help="Dataset to measure both models on; repeat it for several.",
        ),
    ] = None,
    config: ConfigFile = None,  # noqa: ARG001 - its callback does the work
) -> None:
    """Write a model for others: as an ONNX file, which predict and eval read without torch, or as a model file.

    Neither says where the model was made; --half takes half the space. Lines and widths of an ONNX file are
    free. Before the file appears, the model and the file read the same lines; if they differ by more than
    rounding, or with --half or --int8 on more lines than --agreement allows, it does not appear.

    Examples:
        ocrcc export runs/finetune mine.onnx
        ocrcc export runs/finetune mine.onnx --int8 --half -d test.lmdb
    """
    from ocrcc.export.export import export

    with render.show_progress("export") as report:
        result = export(model, out, settings, data=data or (), report=report)
    _show(result)


def _show(result: ExportResult) -> None:
    parity = result.parity
    shipped = parity.lines - result.rendered
    rows = [
        ("file", f"{result.path}, {result.size / 1e6:.1f} MB, {result.precision}"),
        ("checked on", f"{parity.lines} lines: {shipped} of the package, {result.rendered} rendered"),
        ("same text", f"{parity.same} lines, {parity.same / parity.lines:.2%}"),
        ("logits differ by", f"{parity.difference:.2g} at most, where they reach {parity.largest:.3g}"),
    ]
    render.out.print(render.table("", ("export", ""), rows, left=2))
    if result.evaluation is not None and result.evaluation.baseline is not None:
        columns = ("", "lines", "line acc", "CER", "folded acc", "folded CER", "lines/s")
        both = (("model", result.evaluation.baseline.total), ("file", result.evaluation.total))
        render.out.print(render.table("", columns, ((name, *_figures(total)) for name, total in both)))


def _figures(total: Metrics) -> tuple[object, ...]:
    strict, folded = total.strict, total.folded
    shares = (strict.line_accuracy, strict.cer, folded.line_accuracy, folded.cer)
    return (total.lines, *(f"{share:.2%}" for share in shares), f"{total.lines_per_second:.0f}")

"""The ``ocrcc`` command: one small file a command, which parses, calls a workflow and shows its result.

Nothing here or in the command files imports torch, timm or numpy before a command runs.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import ocrcc
from ocrcc.cli import render
from ocrcc.errors import OcrccError


class _ErrorGroup(TyperGroup):
    """Shows an `OcrccError` as one line and its hint, and exits with its code; bugs keep their traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        try:
            return super().invoke(ctx)
        except OcrccError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from None


def print_error(error: OcrccError) -> None:
    """Print an error and its hint on stderr."""
    typer.echo(f"error: {render.harmless(error.message)}", err=True)
    if error.hint:
        typer.echo(f"hint: {render.harmless(error.hint)}", err=True)


app = typer.Typer(
    cls=_ErrorGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train text-line recognisers that tell look-alike characters apart.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ocrcc {ocrcc.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train text-line recognisers that tell look-alike characters apart."""


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    app()


# commands, in the order of the work; they import render and options from this package, so they come last
from ocrcc.cli import (
    build_lmdb,
    charset,
    demo,
    evaluate,
    export,
    finetune,
    inspect,
    lookalikes,
    models,
    predict,
    pretrain,
    project,
    synth,
    unpack,
)

app.command("demo")(demo.command)
app.command("build-lmdb")(build_lmdb.command)
app.command("inspect")(inspect.command)
app.command("unpack")(unpack.command)
app.command("charset")(charset.command)
app.command("lookalikes")(lookalikes.command)
app.command("synth")(synth.command)
app.command("models")(models.command)
app.command("pretrain")(pretrain.command)
app.command("finetune")(finetune.command)
app.command("eval")(evaluate.command)
app.command("predict")(predict.command)
app.command("export")(export.command)
app.command("project")(project.command)

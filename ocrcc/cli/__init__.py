"""The ``ocrcc`` command: one small file a command in `ocrcc.cli.commands`, and here what they share.

Nothing here or in those files imports torch, timm or numpy before a command runs, and no command waits for
the others' files: each is imported when it is called, and ``--help`` lists them without.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

import ocrcc
from ocrcc.cli import render
from ocrcc.cli.streams import is_of_output, open_missing
from ocrcc.errors import ConfigError, DataError, OcrccError, OcrccWarning, StoppedError
from ocrcc.files import hush_pillow

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_COMMANDS = {
    "demo": ("demo", "Show the main job on lines that ship with the package."),
    "samples": ("samples", "Write the sample lines that ship with the package."),
    "build-lmdb": ("build_lmdb", "Make a dataset of labelled line images."),
    "inspect": ("inspect", "Say what a dataset holds and what is odd about it."),
    "unpack": ("unpack", "Write a dataset's images and labels into a folder."),
    "charset": ("charset", "Count a charset's characters, report the doubtful ones."),
    "lookalikes": ("lookalikes", "Find out which characters look alike."),
    "synth": ("synth", "Render labelled lines that look like scanned documents."),
    "models": ("models", "List the recognisers that can be trained, and the trained ones."),
    "import": ("import_model", "Make a model of a recogniser of another make."),
    "pretrain": ("pretrain", "Train a recogniser by CTC."),
    "finetune": ("finetune", "Fine-tune a model with CTC and center loss."),
    "eval": ("evaluate", "Measure what a model reads right, say what is wrong by kind."),
    "calibrate": ("calibrate", "Teach a model how far to trust itself."),
    "predict": ("predict", "Read images of text lines, and pages."),
    "review": ("review", "Mend what was read, on a page in your browser."),
    "export": ("export", "Write a model for others."),
    "project": ("project", "Show where models put characters."),
}
"""The commands in the order of the work: the module in ``commands`` that has each, and how its docstring begins."""

_WHOLE = "pip install ocrcc, with all that it asks for; this installation may be one for reading alone"


class _Group(TyperGroup):
    """Lists the commands by the lines above, and imports one when it is called.

    An `OcrccError` is shown as one line and its hint, and exits with its code; bugs keep their traceback.
    """

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        self.commands.update({name: TyperCommand(name, short_help=line) for name, (_, line) in _COMMANDS.items()})

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:  # type: ignore[override]
        """Import the command that is called."""
        name, listed, rest = super().resolve_command(ctx, args)  # type: ignore[arg-type]
        if name is None or listed is None:  # completion of what does not exist
            return name, listed, rest
        module = import_module(f"ocrcc.cli.commands.{_COMMANDS[name][0]}")
        one = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=_CONTEXT)
        one.command(name, cls=import_module("ocrcc.cli.command").Command)(module.command)
        return name, typer.main.get_command(one), rest

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command."""
        try:
            try:
                return super().invoke(ctx)
            except Exception as error:
                if _interrupted and not isinstance(error, OcrccError):
                    raise KeyboardInterrupt from None  # in the middle of an import, of which a library made that
                raise
        except OcrccError as error:
            print_error(error)
            raise typer.Exit(error.exit_code) from None
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package in ("", "ocrcc"):
                raise
            print_error(
                ConfigError(f"{ctx.invoked_subcommand} needs the package {package}, which is not installed", _WHOLE)
            )
            raise typer.Exit(ConfigError.exit_code) from None
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            from ocrcc.processes import loader_died

            print_error(loader_died())
            raise typer.Exit(DataError.exit_code) from None
        except OSError as error:
            if error.filename is None:
                raise  # of standard output, or of no place: a bug, or a closed pipe, of which typer takes care
            print_error(DataError(f"{os.fsdecode(error.filename)}: {error.strerror or error}"))
            raise typer.Exit(DataError.exit_code) from None


def _output_lost(error: OSError) -> NoReturn:
    print_error(DataError(f"standard output: {error.strerror or error}"))
    os._exit(DataError.exit_code)  # what is left in Python's buffers cannot be brought out either


def print_error(error: OcrccError) -> None:
    """Print an error and its hint on stderr."""
    kind = "" if isinstance(error, StoppedError) else "error: "  # who stops it knows
    typer.echo(kind + render.harmless(error.message), err=True)
    if error.hint:
        typer.echo(f"hint: {render.harmless(error.hint)}", err=True)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings=_CONTEXT,
    help="Train text-line recognisers that tell look-alike characters apart.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ocrcc {ocrcc.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train text-line recognisers that tell look-alike characters apart."""
    try:
        os.getcwd()
    except OSError:  # libraries make paths whole, each in its own way to fail
        raise ConfigError("the folder that this was started in is no longer there", "cd to another") from None


_interrupted = False


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    signal.default_int_handler(number, frame)


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    # Threads of torch that wait for one another by spinning hold the very core that the last of them needs: beside one
    # other program on two cores, lines were read at 30 a second, and at 105 with threads that sleep. Torch reads this
    # at its import.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    open_missing()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    hush_pillow()
    show = warnings.showwarning

    def show_warning(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, OcrccWarning):
            render.warn(str(message))
        else:
            show(message, category, *rest)

    warnings.showwarning = show_warning  # type: ignore[assignment]
    try:
        app()
    except OcrccError as error:  # before any command runs, as of --help
        print_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if not is_of_output(error):
            raise
        _output_lost(error)
    finally:
        _finish_output()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is left is Python's own, which would tell of it at length


def _finish_output() -> None:
    """Bring all results out; a full disk behind ``>`` would else be told by Python's own traceback at exit."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except OSError as error:
        _output_lost(error)

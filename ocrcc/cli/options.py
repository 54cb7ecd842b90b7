"""Options that several commands share, and ``--config``."""

from __future__ import annotations

import difflib
import inspect
import re
import tomllib
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ocrcc import packaged
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import read_small


def _load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a TOML file, or a shipped one by its name, set the defaults of the command's options; flags win."""
    if path is None or context.resilient_parsing:
        return path
    if str(path) in packaged.names("presets", ".toml") and not path.exists():
        path = packaged.ASSETS / "presets" / f"{path}.toml"
    try:
        values = tomllib.loads(read_small(path).decode(errors="surrogateescape"))
    except DataError as error:
        raise ConfigError(error.message, "give a TOML file, such as a run's config.toml") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    known = {param.name for param in context.command.params if param.name} - {"config", "help", "resume"}
    defaults = {key.replace("-", "_"): value for key, value in values.items()}
    for key in defaults:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{path}: {context.info_name} has no option {key!r}", hint)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _load_run(context: typer.Context, run: Path | None) -> Path | None:
    """Let an interrupted run's own settings be the defaults."""
    if run is not None:
        _load_config(context, run / "config.toml")
    return run


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        callback=_load_config,
        is_eager=True,
        help="TOML file of options, or a shipped one's name; flags win.",
    ),
]
ResumeRun = Annotated[
    Path | None,
    typer.Option(
        "--resume", metavar="RUN", callback=_load_run, is_eager=True, help="Go on with this run, with its settings."
    ),
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A .safetensors file, a run folder, or hf://owner/name.")
]
DataOption = Annotated[list[Path], typer.Option("--data", metavar="LMDB", help="Dataset; repeat it for several.")]
JsonFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON too.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, or any torch device.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Lines read at once.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0 means one per core.")]


def with_config_options(*hidden: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's config dataclass parameters by one option for each of their fields.

    Names, types and defaults are the fields'; help texts are the dataclass's ``Attributes``. So a setting is
    written once, in `ocrcc.config`.

    Args:
        hidden: Fields that get no option.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = typing.get_type_hints(command, include_extras=True)
        signature = inspect.signature(command)
        configs = {name: hints[name] for name in signature.parameters if is_dataclass(hints[name])}
        own = [parameter.replace(annotation=hints[name]) for name, parameter in signature.parameters.items()
               if name not in configs]  # fmt: skip
        options = {name: _options(config, hidden) for name, config in configs.items()}

        @wraps(command)
        def wrapper(**values: Any) -> None:
            for name, config in configs.items():
                given = {option.name: values.pop(option.name) for option in options[name]}
                values[name] = config(**{key: tuple(v) if isinstance(v, list) else v for key, v in given.items()})
            command(**values)

        parameters = [*own, *(option for group in options.values() for option in group)]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapper

    return decorate


def _options(config: type, hidden: tuple[str, ...]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(config)
    help_texts = _attribute_docs(config)
    parameters = []
    for field in fields(config):
        if field.name in hidden:
            continue
        kind, default = hints[field.name], field.default
        if typing.get_origin(kind) is tuple:
            kind, default = list[typing.get_args(kind)[0]], list(default)  # type: ignore[arg-type, misc]
        name = "--" + field.name.replace("_", "-")
        flags = (name, f"--no-{name[2:]}") if kind is bool else (name,)
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=... if default is MISSING else default,
                annotation=Annotated[
                    kind, typer.Option(*flags, metavar=_METAVARS.get(kind), help=help_texts[field.name])
                ],
            )
        )
    return parameters


_METAVARS: dict[object, str] = {
    str: "TEXT",
    int: "INT",
    float: "NUMBER",
    list[str]: "TEXT",
    list[int]: "INT",
    list[float]: "NUMBER",
}


def _attribute_docs(config: type) -> dict[str, str]:
    """Read the Google-style ``Attributes`` of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(config.__mro__):
        text = inspect.cleandoc(each.__doc__ or "").partition("Attributes:")[2]
        entries = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text, flags=re.MULTILINE)
        found |= {name: " ".join(words.split()).replace("``", "") for name, words in entries}
    return found

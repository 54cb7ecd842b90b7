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
from ocrcc.cli.completion import completion
from ocrcc.config.setting import INPUT, OTHER, OUTPUT, SPEED, shown
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import read_small


def _load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a TOML file, or a shipped one by its name, set the defaults of the command's options; flags win."""
    if path is None or context.resilient_parsing:
        return path
    path, part = _shipped(path)
    try:
        values = tomllib.loads(read_small(path).decode("utf-8-sig", errors="surrogateescape"))
    except DataError as error:
        raise ConfigError(error.message, "give a TOML file, such as a run's config.toml") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    if part is not None:
        parts = {key: values.pop(key) for key in list(values) if isinstance(values[key], dict)}
        if parts and part not in parts:
            raise ConfigError(f"{path}: has parts", f"they are {', '.join(f'{path.stem}-{key}' for key in parts)}")
        values |= parts.get(part, {})
    known = {param.name for param in context.command.params if param.name} - {"config", "help", "resume"}
    defaults = {key.replace("-", "_"): value for key, value in values.items()}
    for key in defaults:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{path}: {context.info_name} has no option {key!r}", hint)
    context.default_map = {**(context.default_map or {}), **defaults}
    return path


def _shipped(path: Path) -> tuple[Path, str | None]:
    """Find what a name means that is no file: a shipped one, and its table for the part of a recipe; None for files."""
    names = packaged.names("presets", ".toml")
    whole, _, part = str(path).rpartition("-")
    if path.exists() or not {str(path), whole}.intersection(names):
        return path, None
    name, part = (str(path), "") if str(path) in names else (whole, part)
    return packaged.ASSETS / "presets" / f"{name}.toml", part


def _load_run(context: typer.Context, run: Path | None) -> Path | None:
    """Let an interrupted run's own settings be the defaults."""
    if run is not None:
        _load_config(context, run / "config.toml")
    return run


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        rich_help_panel=OTHER,
        callback=_load_config,
        is_eager=True,
        help="TOML file of options, or a shipped one's name; flags win.",
    ),
]
ResumeRun = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        callback=_load_run,
        is_eager=True,
        rich_help_panel=OUTPUT,
        help="Go on with this run, with its settings.",
    ),
]
RunFolder = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="RUN", rich_help_panel=OUTPUT, help="Run folder; must not hold a run yet."),
]
MODEL_KINDS = "A .safetensors file, a run folder, or hf://owner/name"
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help=f"{MODEL_KINDS}.", autocompletion=completion("MODEL"))
]
DataOption = Annotated[
    list[Path],
    typer.Option("--data", "-d", metavar="LMDB", rich_help_panel=INPUT, help="Dataset; repeat it for several."),
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", rich_help_panel=OUTPUT, help="Write the result as JSON too."),
]
Device = Annotated[
    str, typer.Option(metavar="DEVICE", rich_help_panel=SPEED, help="auto, cpu, cuda, or any torch device.")
]


def with_config_options(
    *hidden: str, changes: type | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's config dataclass parameters by one option for each of their fields.

    Names, types and defaults are the fields'; help texts are the dataclass's ``Attributes``. So a setting is
    written once, in `ocrcc.config`.

    Args:
        hidden: Fields that get no option.
        changes: A config that the command makes of something else, such as a preset: its options have no defaults, and
            those that are given become the dictionary ``changes``.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = typing.get_type_hints(command, include_extras=True)
        signature = inspect.signature(command)
        configs = {name: hints[name] for name in signature.parameters if is_dataclass(hints[name])}
        own = [parameter.replace(annotation=hints[name]) for name, parameter in signature.parameters.items()
               if name not in configs and not (changes and name == "changes")]  # fmt: skip
        options = {name: _options(config, hidden) for name, config in configs.items()}
        if changes:
            options["changes"] = _options(changes, hidden, defaults=False)

        @wraps(command)
        def wrapper(**values: Any) -> None:
            for name, parts in options.items():
                taken = {option.name: values.pop(option.name) for option in parts}
                given = {key: tuple(v) if isinstance(v, list) else v for key, v in taken.items()}
                if name in configs:
                    values[name] = configs[name](**given)
                else:
                    values[name] = {key: value for key, value in given.items() if value not in (None, ())}
            command(**values)

        parameters = [*own, *(option for group in options.values() for option in group)]
        parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapper

    return decorate


def _options(config: type, hidden: tuple[str, ...], *, defaults: bool = True) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(config)
    help_texts = _attribute_docs(config)
    parameters = []
    for field in fields(config):
        if field.name in hidden:
            continue
        kind, default = hints[field.name], field.default
        if typing.get_origin(kind) is tuple:
            kind, default = list[typing.get_args(kind)[0]], list(default)  # type: ignore[arg-type, misc]
        declared = shown(config, field.name)
        metavar = declared["metavar"] or _METAVARS.get(kind)
        name = "--" + field.name.replace("_", "-")
        flags = [f"{name}/--no-{name[2:]}" if kind is bool else name, *filter(None, [declared["short"]])]
        parameters.append(
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if not defaults else ... if default is MISSING else default,
                annotation=Annotated[
                    kind if defaults else kind | None,
                    typer.Option(
                        *flags,
                        metavar=metavar,
                        help=help_texts[field.name],
                        rich_help_panel=declared["group"],
                        autocompletion=completion(declared["metavar"]),
                    ),
                ],
            )
        )
    return parameters


_METAVARS: dict[object, str] = {
    int: "INT",
    float: "NUMBER",
    list[int]: "INT",
    list[float]: "NUMBER",
}


def _attribute_docs(config: type) -> dict[str, str]:
    """Read the Google-style ``Attributes`` of a class and of those it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(config.__mro__):
        text = inspect.cleandoc(each.__doc__ or "").partition("Attributes:")[2]
        entries = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", text, flags=re.MULTILINE)
        found |= {name: " ".join(words.split()).replace("`", "") for name, words in entries}
    return found

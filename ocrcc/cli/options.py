"""Options that several commands share, and ``--config``."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from ocrcc.errors import ConfigError


def _load_config(context: typer.Context, path: Path | None) -> Path | None:
    """Let a TOML file set the defaults of the command's options; flags win."""
    if path is None or context.resilient_parsing:
        return path
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "give a TOML file, such as a run's config.toml") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    known = {param.name for param in context.command.params if param.name} - {"config", "help"}
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}"
            raise ConfigError(f"{path}: {context.info_name} has no option {key!r}", hint)
        flat[name] = value
    context.default_map = {**(context.default_map or {}), **flat}
    return path


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", callback=_load_config, is_eager=True, help="TOML file of options; flags win."
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

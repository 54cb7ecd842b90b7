"""One command: how it takes its options, and how its help is laid out."""

from __future__ import annotations

import inspect
from typing import Any

import typer
from typer.core import TyperCommand

from ocrcc.config.setting import GROUPS, OTHER, too_large
from ocrcc.errors import ConfigError

EXAMPLES = "Examples:"
"""The last part of a command's docstring: lines as they are typed, each with what it does before it, as a remark."""


class Command(TyperCommand):
    """Shows its options in groups and its examples as they are typed.

    It knows options by their initials, too, as people write them: ``--lr`` for ``--learning-rate``; but says so.
    """

    def __init__(self, *args: Any, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.help, _, self.examples = inspect.cleandoc(self.help or "").partition(f"\n{EXAMPLES}\n")

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments."""
        known = {name for option in self.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        for argument in args[: args.index("--")] if "--" in args else args:
            name = argument.partition("=")[0]
            if name.startswith("--") and name not in known and not ctx.resilient_parsing:
                meant = [one for one in sorted(known) if _initials(one) == name[2:]]
                if meant:
                    raise ConfigError(f"no such option: {name}", f"did you mean {' or '.join(meant)}?")
        rest = super().parse_args(ctx, args)  # type: ignore[arg-type]
        for param in self.params:
            _check_value(ctx, param)
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as it is called
        """Return what follows the command's name in its usage."""
        names = [one.metavar if one.required else f"[{one.metavar}]" for one in self._arguments()]
        return ["[OPTIONS]", *names]

    def _arguments(self) -> list[Any]:
        return [one for one in self.params if one.param_type_name == "argument"]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what goes in, then the options group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            shown = option.get_help_record(ctx)
            if shown is not None:
                is_option = option.param_type_name == "option"
                groups.setdefault(group_of(option) if is_option else "Arguments", []).append(
                    shown if is_option else (f"{option.metavar}", shown[1])
                )
        for name in ("Arguments", *GROUPS):
            if name in groups:
                with formatter.section(name):
                    formatter.write_dl(groups[name])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as it is called
        """Write the examples."""
        if self.examples:
            with formatter.section(EXAMPLES.rstrip(":")):
                for line in inspect.cleandoc(self.examples).splitlines():
                    formatter.write(" " * formatter.current_indent + line + "\n" if line else "\n")


def _check_value(ctx: typer.Context, param: Any) -> None:
    """Check what holds whatever the command: not every option is a setting, which are checked wherever they come from.

    Raises:
        ConfigError: It does not hold.
    """
    value, source = ctx.params.get(param.name), ctx.get_parameter_source(param.name)
    called = param.opts[0] if param.param_type_name == "option" else param.metavar
    if problems := too_large(param.name, value):
        raise ConfigError(f"{called}: {problems[0]}")
    given = value if isinstance(value, (list, tuple)) else (value,)
    if param.metavar == "MODEL" and "" in given and source is not None and source.name == "COMMANDLINE":
        raise ConfigError(f"{called} is empty", "is a variable of the shell not set?")


def group_of(option: Any) -> str:
    """Return the group that an option is shown in."""
    return getattr(option, "rich_help_panel", None) or OTHER


def _initials(option: str) -> str:
    """Return the initials of an option's words.

    >>> _initials("--learning-rate")
    'lr'
    """
    words = option.removeprefix("--").split("-")
    return "".join(word[:1] for word in words) if len(words) > 1 else ""

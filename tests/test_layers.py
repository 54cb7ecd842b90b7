"""The arrows of the design: cli -> subjects -> core. Which subject knows which is listed here, and nothing else is."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import ocrcc
from ocrcc.cli import _COMMANDS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ocrcc"
CORE = {
    "bidi",
    "errors",
    "types",
    "charset",
    "config",
    "lookalikes",
    "packaged",
    "files",
    "encodings",
    "outlines",
    "harmless",
    "places",
    "processes",
    "dice",
    "resizing",
    "quantiles",
}
"""Known to all; among themselves without a cycle."""
ARROWS: dict[str, set[str]] = {
    "annotations": set(),
    "labels": {"annotations"},
    "images": set(),
    "data": {"images"},
    "graphs": set(),
    "models": {"graphs"},
    "losses": set(),
    "decoding": set(),
    "glyphs": {"models"},  # a trained model's centers tell look-alikes too
    "texts": set(),
    "synth": {"glyphs", "texts"},
    "datasets": {"annotations", "labels", "images", "data", "models", "synth", "reading", "pages"},
    "reading": {"images", "graphs", "models", "decoding"},
    "pages": {"images", "reading"},
    "clusters": {"models", "reading", "pages"},
    "evaluation": {"data", "models", "losses", "decoding", "datasets", "reading"},
    "calibration": {"data", "datasets", "decoding", "evaluation", "models", "reading"},
    "reports": {"data", "datasets", "evaluation", "reading", "projection"},
    "export": {"images", "graphs", "models", "decoding", "datasets", "synth", "reading", "evaluation", "calibration"},
    "projection": set(),
    "space": {"data", "models", "losses", "decoding", "datasets", "reading", "projection"},
    "review": {"annotations", "images", "data", "reading", "pages", "space"},
    "runs": {"models"},
    "training": {"runs", "data", "models", "losses", "decoding", "synth", "datasets", "evaluation"},
    "tuning": {"data", "models", "losses", "decoding", "synth", "datasets", "evaluation", "space", "runs", "training"},
}
"""What each subject may import beside the core."""
MOST_LINES = 1800
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def allowed(name: str) -> set[str]:
    if name in CORE:
        return CORE
    return {*CORE, *ARROWS, "cli"} if name in ("cli", "__init__", "__main__") else CORE | ARROWS[name]


def imported_modules(path: Path) -> set[str]:
    """Every module of the package that a file imports, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if module_file(name) else node.module for name in names}
    return {name for name in found if name.startswith("ocrcc.")}


def module_file(name: str) -> Path | None:
    place = ROOT.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def test_every_part_has_its_place():
    assert {part(path) for path in FILES} == {*CORE, *ARROWS, "cli", "__init__", "__main__"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_follow_the_arrows(path: Path):
    own = part(path)
    for name in imported_modules(path):
        assert name.split(".")[1] in allowed(own) | {own}, f"{path} imports {name}"


def used_arrows() -> dict[str, set[str]]:
    """Which subject imports which."""
    used: dict[str, set[str]] = {name: set() for name in ARROWS}
    for path in FILES:
        if part(path) in ARROWS:
            used[part(path)] |= {name.split(".")[1] for name in imported_modules(path)} - CORE - {part(path)}
    return used


def test_no_arrow_is_listed_in_vain():
    assert used_arrows() == ARROWS


def test_the_picture_shows_what_is_imported():
    from architecture import PICTURE, draw

    assert PICTURE.read_text(encoding="utf-8") == draw(), "draw it anew: python tests/architecture.py"


def test_nothing_imports_in_circles():
    graph = {path: {module_file(name) for name in imported_modules(path)} - {None} for path in FILES}
    try:
        TopologicalSorter(graph).prepare()
        TopologicalSorter(ARROWS).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(map(str, error.args[1]))) from None


@pytest.mark.parametrize("name", sorted({str(path.parent.relative_to(PACKAGE)) for path in FILES} - {"."}))
def test_a_room_is_small_enough_to_know(name: str):
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in (PACKAGE / name).glob("*.py"))
    assert lines < MOST_LINES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_things_are_described(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), f"{path} has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}: {node.name} has no docstring"


@pytest.mark.parametrize("arguments", [["--help"], ["pretrain", "--help"], ["--version"], ["eval", "--help"]])
def test_help_is_light(arguments: list[str]):
    code = (
        "import sys; from ocrcc.cli import app\n"
        f"try: app({arguments!r})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'timm', 'numpy', 'lmdb', 'PIL', 'torchvision', 'accelerate'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--help" in done.stdout or ocrcc.__version__ in done.stdout


def test_a_command_waits_neither_for_the_others_nor_for_rich():
    code = (
        "import sys; from ocrcc.cli import app\n"
        "try: app(['export', '--help'])\n"
        "except SystemExit: pass\n"
        "theirs = {'ocrcc.cli.commands.predict', 'ocrcc.cli.commands.demo', 'rich.console'}\n"
        "others = theirs & set(sys.modules)\n"
        "sys.exit(f'loaded {others}' if others else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_imports_no_command():
    code = (
        "import sys; from ocrcc.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith(('ocrcc.cli.', 'rich'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "['ocrcc.cli.render', 'ocrcc.cli.streams']", done.stdout + done.stderr


@pytest.mark.parametrize(("module", "line"), _COMMANDS.values(), ids=_COMMANDS)
def test_help_lists_what_a_commands_docstring_says(module: str, line: str):
    said = " ".join(inspect.getdoc(import_module(f"ocrcc.cli.commands.{module}").command).split())
    assert line.endswith(".")
    assert re.match(re.escape(line[:-1]) + r"\b", said)
    assert len(line) <= 80 - 2 - 2 - 10 - 2, "longer than a terminal's line"


def test_threads_sleep_while_they_wait():
    code = "import os, sys; from ocrcc.cli import main; sys.argv[1:] = ['--version']\n"
    code += "try: main()\nexcept SystemExit: pass\nprint(os.environ['OMP_WAIT_POLICY'])"
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.stdout.split()[-1] == expected


def test_every_command_is_listed_and_a_misspelt_one_is_named():
    listed = subprocess.run([sys.executable, "-m", "ocrcc", "--help"], capture_output=True, text=True).stdout
    for name in ("demo", "build-lmdb", "inspect", "finetune", "eval", "predict", "project"):
        assert f"\n  {name} " in listed
    done = subprocess.run([sys.executable, "-m", "ocrcc", "finetun"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "finetune" in done.stderr


def test_importing_the_package_is_light():
    code = "import sys, ocrcc; ocrcc.load_recognizer; sys.exit(bool({'torch', 'numpy', 'typer'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""The arrows of the design: cli -> workflows -> middle packages -> core, and nothing else."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ocrcc

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ocrcc"
CORE = {"errors", "types", "charset", "config", "lookalikes", "packaged", "files"}
MIDDLE = {"data", "synth", "models", "losses", "decoding", "evaluation", "projection"}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def layer(name: str) -> int:
    return (
        0 if name in CORE else 1 if name in MIDDLE else {"workflows": 2, "__init__": 3, "__main__": 3, "cli": 3}[name]
    )


def imported_parts(path: Path) -> set[str]:
    """Every part of the package that a file imports, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "ocrcc" else [f"ocrcc.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("ocrcc.")}
    return found


def test_there_are_files_in_every_layer():
    assert {layer(part(path)) for path in FILES} == {0, 1, 2, 3}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path):
    own = part(path)
    for name in imported_parts(path) - {own}:
        if name.startswith("__"):
            continue
        lower = layer(name) < layer(own) or own == "__main__"
        assert lower or layer(name) == layer(own) == 0, f"{path} imports {name}"


def test_core_has_no_import_cycle():
    graph: dict[str, set[str]] = {}
    for path in FILES:
        if part(path) in CORE:
            graph.setdefault(part(path), set()).update(imported_parts(path))
    assert graph.keys() == CORE
    while graph:
        free = [name for name, needs in graph.items() if not needs & (graph.keys() - {name})]
        assert free, f"cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


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
        "others = {name for name in sys.modules if name in ('ocrcc.cli.predict', 'ocrcc.cli.demo', 'rich.console')}\n"
        "sys.exit(f'loaded {others}' if others else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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

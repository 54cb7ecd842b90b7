"""Change one thing in the code at a time and see whether the room's own unit tests notice.

    python tests/benchmarks/mutants.py --sample 200 --out survivors.tsv

mutmut forks after autograd has run, which torch refuses in the child, and cosmic-ray imports torch anew for each of
thousands of mutants. Here the libraries are imported once, and each mutant is a fork that imports ours with one module
changed in memory. Strings, messages, annotations and what is only for type checking are left alone; tests of several
processes and of compilers are left out. With --wider, what a room's own tests let live is shown to those of the rooms
that are built on it too, as mutmut would.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = "numpy torch timm torchvision.transforms.v2 accelerate PIL.Image pytest rapidfuzz safetensors.torch lmdb"
ROOMS = {
    "losses": ("losses/*.py", "tests/losses", "tests/training/test_objective.py"),
    "decoding": ("decoding/*.py", "tests/decoding", "tests/reading tests/calibration"),
    "evaluation": ("evaluation/*.py", "tests/evaluation", "tests/cli/test_eval_cli.py"),
    "batching": ("data/batching.py", "tests/data/test_batching.py", "tests/training/test_loop.py"),
    "transforms": ("images/transforms.py", "tests/images/test_transforms.py", "tests/reading"),
    "run": (
        "training/run.py",
        "tests/training/test_run.py tests/training/test_loop.py",
        "tests/tuning/test_finetune.py",
    ),
}
"""What of each room is changed, its own tests, and those of rooms that are built on it, which what is left is shown."""
LEFT_OUT = "not two_processes and not compiler and not compiled and not signal"
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.USub: ast.UAdd,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "floor": "ceil", "ceil": "floor", "any": "all", "all": "any", "sum": "max"}
NAMES |= {"argmin": "argmax", "argmax": "argmin", "amax": "amin", "clamp": "clone"}


def places(tree: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes that decide something, in a fixed order."""
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "bases") or isinstance(tree, (ast.Raise, ast.Assert)):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            if isinstance(node, ast.keyword) and node.arg in ("strict", "copy"):
                continue  # is there for who changes the code, or for memory
            if isinstance(node, ast.AST):
                yield node
                yield from places(node)


def changes(node: ast.AST) -> list[str]:
    """Name what can be changed about a node."""
    match node:
        case ast.Compare(ops=[op]) | ast.BoolOp(op=op) | ast.BinOp(op=op) | ast.AugAssign(op=op):
            left = getattr(node, "left", None)
            text = isinstance(left, (ast.Constant, ast.JoinedStr)) and not isinstance(getattr(left, "value", 0), int)
            return ["swap"] if type(op) in SWAPS and not text else []
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            return ["drop"]
        case ast.Constant(value=bool() | int() | float()):
            return ["other value"]
        case ast.If() | ast.IfExp() | ast.While():
            return ["negate"]
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            keywords = [
                f"without {word.arg}" for word in node.keywords if word.arg not in (None, "strict", "device", "copy")
            ]
            return (["other function"] if name in NAMES else []) + keywords
        case ast.Expr(value=ast.Call()):
            return ["delete"]
        case ast.Return(value=ast.AST() as value) if ast.unparse(value) != "None":
            return ["return None"]
    return []


def change(node: ast.AST, what: str) -> ast.AST:
    """Return a changed copy of a node."""
    new = copy.deepcopy(node)
    match what, new:
        case "swap", ast.Compare():
            new.ops = [SWAPS[type(new.ops[0])]()]
        case "swap", ast.BoolOp() | ast.BinOp() | ast.AugAssign():
            new.op = SWAPS[type(new.op)]()
        case "drop", ast.UnaryOp():
            return new.operand
        case "other value", ast.Constant(value=value):
            new.value = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else 2 * value + 1
        case "negate", ast.If() | ast.IfExp() | ast.While():
            new.test = ast.UnaryOp(op=ast.Not(), operand=new.test)
        case "other function", ast.Call(func=ast.Name() as func):
            func.id = NAMES[func.id]
        case "other function", ast.Call(func=ast.Attribute() as func):
            func.attr = NAMES[func.attr]
        case _, ast.Call():
            new.keywords = [word for word in new.keywords if word.arg != what.removeprefix("without ")]
        case "delete", _:
            return ast.Pass()
        case "return None", ast.Return():
            new.value = None
    return new


class Swap(ast.NodeTransformer):
    """Put one node in another's place."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


def mutants(file: Path) -> list[tuple[int, str]]:
    """List what can be changed in a file: the place's number, and how."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [(number, what) for number, node in enumerate(places(tree)) for what in changes(node)]


def mutated(file: Path, number: int, what: str) -> tuple[ast.AST, str]:
    """Make a mutant and say what it is."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    old = list(places(tree))[number]
    new = change(old, what)
    first = lambda node: ast.unparse(ast.copy_location(node, old)).splitlines()[0][:70]  # noqa: E731
    said = f"{file.relative_to(ROOT)}:{getattr(old, 'lineno', 0)}\t{what}\t{first(old)}\t{first(new)}"
    return ast.fix_missing_locations(Swap(old, new).visit(tree)), said


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module other code."""

    def __init__(self, name: str, code: object) -> None:
        self.name, self.code = name, code

    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_loader(name, self) if name == self.name else None

    def get_source(self, name):
        return None

    def get_code(self, name):
        return self.code


def survives(file: Path, tree: ast.AST, tests: list[str], seconds: int) -> tuple[bool, float]:
    """Run tests on a mutant in a fork.

    Args:
        file: The module.
        tree: Its code.
        tests: Files of tests.
        seconds: Of the processor, after which it hangs; on a busy machine the clock says nothing.

    Returns:
        Whether all of them passed, and the processor's seconds that they took.
    """
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        import pytest

        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        sys.meta_path.insert(0, Finder(name, compile(tree, str(file), "exec")))
        how = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not data", "-k", LEFT_OUT]
        os._exit(int(pytest.main([*how, *tests])))
    _, status, used = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code != 5, f"no tests in {tests}"
    return code == 0, used.ru_utime + used.ru_stime


def main() -> None:
    """Draw mutants, run them, print how many were killed and which were not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", nargs="*", default=list(ROOMS), choices=list(ROOMS))
    parser.add_argument("--sample", type=int, default=0, help="so many mutants, drawn at random; 0 for all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop then")
    parser.add_argument("--wider", action="store_true", help="show survivors to the tests of rooms built on theirs too")
    parser.add_argument("--out", type=Path, default=Path("survivors.tsv"))
    options = parser.parse_args()
    os.chdir(ROOT)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for library in LIBRARIES.split():
        importlib.import_module(library)
    found = []
    for room in options.rooms:
        for file in sorted((ROOT / "ocrcc").glob(ROOMS[room][0])):
            found += [(room, file, *mutant) for mutant in mutants(file)]
    every = Counter(room for room, *_ in found)
    random.Random(options.seed).shuffle(found)
    found = found[: options.sample or None]
    longest: dict[str, int] = {}
    killed: Counter[str] = Counter()
    killed_by_its_own: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    started = time.monotonic()

    def alive(file: Path, tree: ast.AST, tests: str) -> bool:
        if tests not in longest:
            passes, seconds = survives(file, ast.parse(file.read_text(encoding="utf-8")), tests.split(), 3600)
            assert passes, f"{tests} fail as the program is"
            longest[tests] = 20 + round(3 * seconds)
        return survives(file, tree, tests.split(), longest[tests])[0]

    with options.out.open("a", encoding="utf-8") as out:
        for room, file, number, what in found:
            if time.monotonic() - started > 60 * options.minutes:
                break
            tree, said = mutated(file, number, what)
            _, tests, built_on_it = ROOMS[room]
            # The file's own tests first: most mutants need no others.
            own = f"tests/{file.parent.name}/test_{file.stem}.py"
            left = all(alive(file, tree, turn) for turn in ([own] if Path(own).exists() else []) + [tests])
            killed_by_its_own[room] += not left
            left = left and not (options.wider and not alive(file, tree, built_on_it))
            tried[room] += 1
            killed[room] += not left
            if left:
                print(said, file=out, flush=True)
            print(f"{killed.total()}/{tried.total()} {'ALIVE ' if left else 'killed'} {said}", flush=True)
    print("\nroom\tpossible\ttried\tkilled by its own tests\tand by those of rooms built on it")
    rows = [(room, every[room], tried[room], killed_by_its_own[room], killed[room]) for room in tried]
    rows.append(("all", *(counts.total() for counts in (every, tried, killed_by_its_own, killed))))
    for room, possible, count, first, then in rows:
        print(f"{room}\t{possible}\t{count}\t{first / max(1, count):.0%}\t{then / max(1, count):.0%}")


if __name__ == "__main__":
    main()

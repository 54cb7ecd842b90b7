"""All measured comparisons from one place: python -m tests.benchmarks [NAME ...] [--full] [--list] [--json FILE]

Every row has what was measured, what it is measured against, and the ratio, as medians over runs that alternate. CPU
seconds count where one process does all the work, so that others on the machine weigh less; the rest wants a quiet one.
Without names, all stages run in their short form.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ocrcc.cli import render
from tests.benchmarks.stages import STAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(STAGES)}; all by default")
    parser.add_argument("--full", action="store_true", help="as many lines as the figures in RESULTS.md stand on")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="say what there is")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    if options.list:
        show_list()
        return
    if unknown := [name for name in options.names if name not in STAGES]:
        parser.error(f"no stage {', '.join(unknown)}: they are {', '.join(STAGES)}")
    report = {"machine": machine(), "threads": options.threads, "full": options.full, "rows": []}
    print(f"{report['machine']}, {options.threads} threads", file=sys.stderr)
    for name in options.names or STAGES:
        started = time.perf_counter()
        rows = STAGES[name](options.full, options.threads)
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        report["rows"] += [{"stage": name, **asdict(row)} for row in rows]
    shown = [
        (row["stage"], row["what"], row["beside"], f"{row['measured']:.4g} {row['unit']}", f"{row['limit']:.4g}",
         f"{row['ratio']:.2f}", row["aim"])
        for row in report["rows"]
    ]  # fmt: skip
    columns = ("stage", "measured", "beside", "", "beside", "ratio", "aim")
    Console(width=160, highlight=False).print(render.table(report["machine"], columns, shown, left=3))
    if options.json:
        options.json.write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def show_list() -> None:
    """Print the stages, and the comparisons that need data or hours and are started on their own."""
    for name, stage in STAGES.items():
        print(f"{name:12s} {(stage.__doc__ or '').strip().splitlines()[0]}")
    print("\non their own:")
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        if path.stem != "stages":
            first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").splitlines()[0]
            print(f"tests/benchmarks/{path.name:22s} {first}")


def machine() -> str:
    """Say what this runs on, and how busy that is."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}{load}, Python {platform.python_version()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()

"""The guide's tables of what comes in: each row is held by a test that there is, and each format has a row."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest
from labelled_page import WRITERS

from ocrcc.labels.lines import Format

TESTS = Path(__file__).resolve().parent.parent
GUIDE = (TESTS.parent / "assets" / "guides" / "labels.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
    for line in GUIDE.splitlines()
    if line.startswith("| ") and not line.startswith("| what ")
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_a_row_is_held_by_a_test(row):
    file, name, case = re.fullmatch(r"`(\S+\.py)::(\w+)(?:\[(.+)\])?`", row[-1]).groups()
    tests = ast.parse((TESTS / file).read_text(encoding="utf-8")).body
    assert name in {node.name for node in tests if isinstance(node, ast.FunctionDef)}
    assert case is None or case in WRITERS


def test_every_format_has_a_row():
    named = {format for row in ROWS for format in re.findall(r"^`(\w+)`$", row[3] if len(row) == 5 else "")}
    assert named == set(get_args(Format))

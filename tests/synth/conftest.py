from __future__ import annotations

import os

import pytest
from tinyfonts import CHARACTERS, build_font


@pytest.fixture(scope="module")
def fonts(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("fonts")
    os.environ.setdefault("XDG_CACHE_HOME", str(folder / "cache"))
    build_font(folder / "One.ttf")
    build_font(folder / "Two.ttf", bold=25)
    build_font(folder / "Latin.ttf", characters="".join(char for char in CHARACTERS if char.isascii()), bold=10)
    return str(folder)

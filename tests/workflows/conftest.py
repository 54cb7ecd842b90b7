"""A model and its export, which the tests of exporting and of reading without torch share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they lie."""
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """A model with random weights and centers."""
    from exports import make_model

    return make_model(folder)


@pytest.fixture(scope="module")
def exported(model: Path, folder: Path) -> Path:
    """That model as an ONNX file."""
    from exports import QUICK

    from ocrcc.workflows.export import export

    return export(model, folder / "model.onnx", QUICK).path

"""Fixtures that many tests need: lines of digits and datasets of them, exported models, real lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from drawn_lines import draw_line
from PIL import Image

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does; before anything imports torch
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# With all cores for each worker of pytest's, half of the processor's time would go into their waiting for one another.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, CORES // int(workers))))
ROOT = Path(__file__).resolve().parent.parent


def pytest_xdist_auto_num_workers() -> int:
    """With ``-n auto``: every core up to eight, since each worker imports torch and trains the shared models anew."""
    return min(8, CORES)


@pytest.fixture(scope="session")
def digit_lines() -> list[tuple[Image.Image, str]]:
    """Forty lines of two to seven digits."""
    rng = np.random.default_rng(7)
    texts = ["".join(map(str, rng.integers(0, 10, size=rng.integers(2, 8)))) for _ in range(40)]
    return [(draw_line(text), text) for text in texts]


@pytest.fixture(scope="session")
def digits_lmdb(tmp_path_factory: pytest.TempPathFactory, digit_lines: list[tuple[Image.Image, str]]) -> Path:
    """Those lines as a dataset; who changes it takes a copy."""
    from stored_lines import store

    return store(tmp_path_factory.mktemp("digits") / "digits.lmdb", digit_lines)


@pytest.fixture
def torch_threads() -> Iterator[None]:
    """Give torch back the threads that it had."""
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def wild_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The best model of a folder, which reads something else in every image."""
    from wild import save_wild_model

    return save_wild_model(tmp_path_factory.mktemp("wild") / "best.safetensors")


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory, digits_lmdb: Path) -> Path:
    """The folder of a run of four steps on the digits."""
    from ocrcc.config import PretrainConfig, TrainConfig
    from ocrcc.training.pretrain import pretrain

    out = tmp_path_factory.mktemp("short") / "run"
    how = TrainConfig(steps=4, batch_size=4, workers=0, threads=1, eval_every=0, save_every=2, augment=0, seed=5)
    pretrain(PretrainConfig(train=(str(digits_lmdb),), arch="lcnet_050"), how, out, device="cpu")
    return out


@pytest.fixture
def few_general_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dozens of lines for hundreds: looking at these takes most of the time of a short fine-tune."""
    from ocrcc.data.some_lines import SomeLines
    from ocrcc.tuning import general_lines, kinds

    shipped = general_lines._shipped

    def few(*given):
        found = [SomeLines(each, np.arange(20)) for each in shipped(*given)]
        for each in found:
            each.name = "general lines"
        return found

    monkeypatch.setattr(general_lines, "_shipped", few)
    monkeypatch.setattr(general_lines, "_RETAINED", 20)
    monkeypatch.setattr(kinds, "_LOOKED_AT", 40)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a model and its exports lie, which the tests of exporting and of reading without torch share."""
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="session")
def model(folder: Path, wild_model: Path) -> Path:
    """That model with centers."""
    from exports import make_model

    return make_model(wild_model, folder)


@pytest.fixture(scope="session")
def exported(model: Path, folder: Path) -> Path:
    """That model as an ONNX file."""
    from exports import QUICK

    from ocrcc.export.export import export

    return export(model, folder / "model.onnx", QUICK).path


@pytest.fixture(scope="session")
def light_model(tmp_path_factory: pytest.TempPathFactory, wild_model: Path) -> Path:
    """The wild one for processes of their own that are not about a model: as ONNX, none of them imports torch."""
    if not (find_spec("onnx") and find_spec("onnxruntime")):
        return wild_model
    from exports import QUICK

    from ocrcc.export.export import export

    return export(wild_model, tmp_path_factory.mktemp("light") / "light.onnx", QUICK).path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real labelled lines, if it is there."""
    folder = Path(os.environ.get("OCRCC_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "real").is_dir():
        pytest.skip("no real line images here (set OCRCC_DATA)")
    return folder

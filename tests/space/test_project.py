from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from drawn_lines import draw_line, png
from PIL import Image
from safetensors.torch import load_file
from spaces import check_tensors
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.config import ProjectConfig
from ocrcc.data.lmdb_writer import LmdbWriter
from ocrcc.errors import ConfigError, DataError
from ocrcc.models.checkpoint import load_model, save_model
from ocrcc.space.project import Outputs, model_names, project

CHARSET = Charset("0123456789abcOIl，")
QUICK = ProjectConfig(workers=0, max_points=60)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_wild_model(tmp_path_factory.mktemp("wild") / "wild.safetensors", charset=CHARSET)


@pytest.fixture(scope="module")
def centered(model):
    """The same model with centers for all but one class."""
    loaded = load_model(model, device="cpu")
    torch.manual_seed(0)
    counts = torch.ones(CHARSET.num_classes)
    counts[CHARSET.id("3")] = 0
    path = model.with_name("centered.safetensors")
    save_model(
        path,
        recognizer_state=loaded.recognizer.state_dict(),
        arch=loaded.arch,
        charset=CHARSET,
        preprocessing=loaded.preprocessing,
        info={"step": 1, "metrics": {}, "config": {}},
        centers=torch.randn(CHARSET.num_classes, loaded.recognizer.feature_width),
        center_counts=counts,
    )
    return path


def test_worst_groups_of_the_data_by_default(model, digits_lmdb, tmp_path):
    result = project([model], [digits_lmdb], QUICK, outputs=Outputs(logdir=tmp_path / "log"), device="cpu")
    assert result.models == ("wild",)
    assert result.panels
    assert all(set(panel) <= set("0123456789") for panel in result.panels)
    ((name, (tensor, rows, _)),) = check_tensors(tmp_path / "log").items()
    assert name == "wild:00000"
    assert len(tensor) <= 60
    assert result.points == sum(row[1] == "character" for row in rows)
    assert {row[1] for row in rows} == {"character", "mean"}
    assert all(row[6] == "" for row in rows)  # margins


def test_two_models_see_the_same_crops_in_the_same_order(model, centered, digits_lmdb, tmp_path):
    result = project(
        [model, centered],
        [digits_lmdb],
        dataclasses.replace(QUICK, chars=("35", "017")),
        outputs=Outputs(logdir=tmp_path / "log", png=tmp_path / "p.png", html=tmp_path / "p.html"),
        device="cpu",
    )
    assert result.models == ("wild", "centered")
    assert list(result.panels) == ["35", "017"]
    assert sum(result.panels["35"].values()) + sum(result.panels["017"].values()) == result.points
    found = check_tensors(tmp_path / "log")
    one, two = found["wild:00000"], found["centered:00000"]
    same = [(row[0], row[2], row[7], row[8]) for row in one[1]]
    assert same == [(row[0], row[2], row[7], row[8]) for row in two[1]]
    assert np.array_equal(np.asarray(one[2]), np.asarray(two[2]))
    assert not np.allclose(one[0], two[0])
    kinds = {row[0]: row[1] for row in two[1] if row[1] != "character"}
    assert kinds == {"3": "mean", "5": "center", "0": "center", "1": "center", "7": "center"}
    centers = load_file(centered)["centers"].numpy()
    rows = [number for number, row in enumerate(two[1]) if row[:2] == ["5", "center"]]
    assert np.allclose(two[0][rows[0]], centers[CHARSET.id("5")], atol=1e-4)
    assert {bool(row[6]) for row in two[1] if row[0] in "017" and row[1] == "character"} == {True}
    assert {bool(row[6]) for row in two[1] if row[0] == "3"} == {False}
    assert set(result.nearest) == {"wild", "centered"}
    assert (tmp_path / "p.png").stat().st_size > 10_000
    assert "centered" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_files(model, digits_lmdb, tmp_path):
    for name in ("one", "two"):
        outputs = Outputs(logdir=tmp_path / name)
        project([model], [digits_lmdb], dataclasses.replace(QUICK, chars=("07",)), outputs=outputs, device="cpu")
    for file in ("tensors.tsv", "metadata.tsv", "sprite.png"):
        one, two = ((tmp_path / name / "00000" / "wild" / file).read_bytes() for name in ("one", "two"))
        assert one == two


def test_no_more_points_than_asked_for(model, digits_lmdb, tmp_path):
    settings = dataclasses.replace(QUICK, chars=("0123456789",), max_points=25)
    project([model], [digits_lmdb], settings, outputs=Outputs(logdir=tmp_path / "log"), device="cpu")
    ((tensor, rows, _),) = check_tensors(tmp_path / "log").values()
    assert len(tensor) <= 25
    assert {row[0] for row in rows} == set("0123456789")


def test_groups_by_number(model, digits_lmdb, tmp_path):
    groups = tmp_path / "groups.tsv"
    groups.write_text("1\tab\t0.9\tlist\n2\t38\t0.8\tlist\n", encoding="utf-8")
    settings = dataclasses.replace(QUICK, lookalikes=str(groups), group=(2,))
    result = project([model], [digits_lmdb], settings, outputs=Outputs(logdir=tmp_path / "log"), device="cpu")
    assert list(result.panels) == ["38"]
    with pytest.raises(ConfigError, match=r"groups 1\.\.2, no 3"):
        project(
            [model],
            [digits_lmdb],
            dataclasses.replace(settings, group=(3,)),
            outputs=Outputs(logdir=tmp_path / "log"),
            device="cpu",
        )


def test_characters_that_are_nowhere(model, digits_lmdb, tmp_path):
    outputs = Outputs(logdir=tmp_path / "log")
    settings = dataclasses.replace(QUICK, chars=("3己a",))
    result = project([model], [digits_lmdb], settings, outputs=outputs, device="cpu")
    assert ["己" in text for text in result.absent] == [True, False]
    assert "'a'" in result.absent[1]
    assert list(result.panels) == ["3"]
    with pytest.raises(DataError, match="己"):
        project([model], [digits_lmdb], dataclasses.replace(QUICK, chars=("己a",)), outputs=outputs, device="cpu")


def test_data_without_lookalikes_shows_what_is_frequent(model, digits_lmdb, tmp_path):
    groups = tmp_path / "none.tsv"
    groups.write_text("1\t未末\t0.9\tlist\n", encoding="utf-8")
    settings = dataclasses.replace(QUICK, lookalikes=str(groups))
    result = project([model], [digits_lmdb], settings, outputs=Outputs(logdir=tmp_path / "log"), device="cpu")
    ((panel, counts),) = result.panels.items()
    assert len(panel) == 8
    assert min(counts.values()) > 0
    assert "no two characters that look alike" in result.absent[0]


def test_lines_that_cannot_be_used_are_counted(model, tmp_path):
    path = tmp_path / "odd.lmdb"
    with LmdbWriter(path) as writer:
        for label, image in (
            ("35", png(draw_line("35"))),
            ("3" * 40, png(draw_line("3"))),
            ("3己", png(draw_line("33"))),
            ("5", b"no image"),
        ):
            writer.add(image, label, source=f"odd:{label[:2]}", size=(60, 32))
    result = project(
        [model],
        [path],
        dataclasses.replace(QUICK, chars=("35",)),
        outputs=Outputs(logdir=tmp_path / "log", suspects=tmp_path / "s.tsv"),
        device="cpu",
    )
    for skipped in (result.skipped, result.suspects_skipped):
        assert (skipped.unreadable, skipped.unwritable, skipped.unaligned) == (1, 1, 1)
        assert [names[0][:6] for names in skipped.named.values()]
    assert result.points == 2


def test_the_lines_that_ship_with_the_package(model, tmp_path):
    result = project([model], [], QUICK, outputs=Outputs(png=tmp_path / "p.png"), device="cpu")
    assert result.points > 10
    with Image.open(tmp_path / "p.png") as picture:
        picture.load()


def test_torch_gets_the_threads_that_were_asked_for(model, digits_lmdb, tmp_path, torch_threads):
    outputs = Outputs(suspects=tmp_path / "s.tsv")
    project([model], [digits_lmdb], dataclasses.replace(QUICK, threads=3), outputs=outputs, device="cpu")
    assert torch.get_num_threads() == 3


def test_suspects_alone(centered, digits_lmdb, tmp_path):
    outputs = Outputs(suspects=tmp_path / "s.tsv")
    settings = dataclasses.replace(QUICK, suspect_posterior=0.0, suspect_crops=False)
    result = project([centered], [digits_lmdb], settings, outputs=outputs, device="cpu")
    assert not result.panels
    assert result.suspects.checked > 50
    assert len((tmp_path / "s.tsv").read_text(encoding="utf-8").splitlines()) == 1 + len(result.suspects.suspects)
    assert result.written == (tmp_path / "s.tsv",)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "nothing to write"),
        ({"png": "no/where.png"}, "there is no folder"),
        ({"png": "p.gif"}, "pictures are PNG"),
        ({"logdir": "file"}, "is a file"),
    ],
)
def test_what_cannot_be_written_is_said_before_any_work(outputs, message, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=message):
        project(["no-such-model"], [], outputs=Outputs(**{key: tmp_path / name for key, name in outputs.items()}))


def test_a_dataset_without_lines(model, tmp_path):
    with LmdbWriter(tmp_path / "empty.lmdb"):
        pass
    with pytest.raises(DataError, match="no lines to show"):
        project([model], [tmp_path / "empty.lmdb"], outputs=Outputs(logdir=tmp_path / "log"), device="cpu")


def test_names():
    assert model_names(["r/before/best.safetensors", "r/before", "x/../after.safetensors", "..", "hf://o/n a<b>"])[
        :3
    ] == ("before", "before-2", "after")
    assert all(name and "/" not in name and name[0] != "." for name in model_names(["..", ".", "hf://o/.n<b>", "/"]))

from __future__ import annotations

from typer.testing import CliRunner

from ocrcc import packaged
from ocrcc.cli import app


def test_the_samples_are_written_as_they_ship(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["samples"])
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "samples: 500 lines with labels.txt\n"
    shipped = packaged.ASSETS / "samples"
    names = [sorted(path.relative_to(place) for path in place.rglob("*")) for place in (shipped, tmp_path / "samples")]
    assert names[0] == names[1]
    for name in ("labels.txt", "images/000001.png", "images/000500.png"):
        assert (tmp_path / "samples" / name).read_bytes() == (shipped / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]


def test_a_folder_that_is_there_stays(tmp_path):
    (tmp_path / "mine").mkdir()
    result = CliRunner().invoke(app, ["samples", str(tmp_path / "mine")])
    assert result.exit_code == 2
    assert "mine exists" in result.stderr
    assert list((tmp_path / "mine").iterdir()) == []

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tinyfonts import build_font

from ocrcc.charset import Charset
from ocrcc.config import LookalikesConfig
from ocrcc.errors import ConfigError, DataError
from ocrcc.glyphs.lookalikes import find_lookalikes, from_model, merge_pairs
from ocrcc.lookalikes import Group, Lookalikes, write

CHARSET = Charset("0Oocl1I己已巳未末,，—-")


def test_pairs_become_cliques_and_every_pair_is_in_one():
    pairs = {("己", "已"): 0.9, ("己", "巳"): 0.8, ("已", "巳"): 0.7, ("未", "末"): 0.9, ("己", "未"): 0.6}
    groups = merge_pairs({"glyphs": pairs}, Charset("己已巳未末"))
    assert [(group.characters, group.score) for group in groups.groups] == [
        ("未末", 0.9),
        ("己已巳", 0.7),
        ("己未", 0.6),
    ]
    assert {frozenset(pair[:2]) for pair in groups.pairs()} == {frozenset(pair) for pair in pairs}


def test_kinds_that_normalisation_settles_are_kept_apart():
    glyphs = {("0", "O"): 0.7, ("O", "o"): 0.8, ("C", "c"): 0.9, (",", "，"): 0.5, ("-", "—"): 0.9, ("I", "l"): 0.9}
    found = merge_pairs({"glyphs": glyphs}, Charset("0OoCcIl,，-—"))
    kinds = {group.characters: group.source for group in found.groups}
    assert kinds == {"0O": "glyphs", "Oo": "case", "Cc": "case", ",，": "width", "-—": "punctuation", "Il": "glyphs"}


def test_what_a_list_wants_trained_is_trained_and_measured_scores_win():
    listed = Lookalikes((Group("Oo", 0.6, "list"), Group("0O", 0.6, "list")))
    found = {"glyphs": {("0", "O"): 0.71}, "list": {("O", "o"): 0.6, ("0", "O"): 0.6}}
    merged = merge_pairs(found, CHARSET, listed)
    assert {(group.characters, group.score, group.source) for group in merged.groups if group.source != "width"} == {
        ("0O", 0.71, "glyphs+list"),
        ("Oo", 0.6, "list"),
    }


def test_confusions_of_evaluations_add_up(tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps(
            {
                "confusions": [
                    {"truth": "己", "predicted": "已", "count": 2},
                    {"truth": "x", "predicted": "y", "count": 9},
                ]
            }
        )
    )
    (tmp_path / "b.json").write_text(json.dumps({"confusions": [{"truth": "已", "predicted": "己", "count": 1}]}))
    (tmp_path / "c.txt").write_text("\n".join("0Oocl1I己已巳未末,，—-"))
    config = LookalikesConfig(
        charset=str(tmp_path / "c.txt"), glyphs=False, lists=(),
        confusions=(str(tmp_path / "a.json"), str(tmp_path / "b.json")),
    )  # fmt: skip
    result = find_lookalikes(config)
    assert result.groups.score("己", "已") == 0.75
    assert "x" not in result.groups


@pytest.mark.parametrize("content", ["{}", "[1]", "nonsense", '{"confusions": [{"truth": 1}]}'])
def test_a_json_without_confusions_is_named(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DataError, match=r"a\.json"):
        find_lookalikes(LookalikesConfig(glyphs=False, lists=(), confusions=(str(tmp_path / "a.json"),)))


def _model(centers, counts):
    return SimpleNamespace(
        charset=Charset("己已未x"), centers=centers, center_counts=counts, path=Path("m.safetensors")
    )


def test_near_centers_are_pairs():
    centers = torch.tensor([[0.0, 0, 0], [1, 0.1, 0], [1, -0.1, 0], [-1, 0, 1], [5, 5, 5]])
    config = LookalikesConfig(neighbours=1, model_threshold=0.8)
    counts = torch.tensor([0.0, 3, 3, 3, 0])
    pairs = from_model(_model(centers, counts), config, CHARSET)
    assert set(pairs) == {("己", "已")}


def test_a_model_without_centers_is_an_error():
    with pytest.raises(DataError, match="no centers"):
        from_model(_model(None, None), LookalikesConfig(), CHARSET)
    with pytest.raises(DataError, match="centers of 1 characters"):
        from_model(_model(torch.eye(5), torch.tensor([0.0, 1, 0, 0, 0])), LookalikesConfig(), CHARSET)


def test_glyphs_and_lists_are_merged_with_provenance(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "fonts").mkdir()
    build_font(tmp_path / "fonts" / "Tiny.ttf")
    (tmp_path / "c.txt").write_text("\n".join("己已巳未末0O"))
    write(tmp_path / "mine.tsv", Lookalikes((Group("己巳", 0.4, "list"),)), [])
    seen = []
    config = LookalikesConfig(
        charset=str(tmp_path / "c.txt"),
        fonts=str(tmp_path / "fonts"),
        threshold=0.2,
        lists=(str(tmp_path / "mine.tsv"),),
    )
    result = find_lookalikes(config, lambda done, total: seen.append((done, total)))
    assert seen == [(7, 7)]
    assert result.fonts == ("Tiny Regular",)
    assert "巳" in result.groups.siblings("己")
    assert any("mine.tsv" in line for line in result.provenance)
    assert not any(str(tmp_path) in line for line in result.provenance)
    assert result.sources["list"] == 1


def test_nothing_to_ask_is_an_error():
    with pytest.raises(ConfigError, match="no source of look-alikes"):
        find_lookalikes(LookalikesConfig(glyphs=False, lists=()))

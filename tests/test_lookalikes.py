from __future__ import annotations

import pytest

from ocrcc import lookalikes
from ocrcc.charset import load_charset
from ocrcc.errors import CharsetError
from ocrcc.lookalikes import KEPT_APART, Group, Lookalikes, load_lookalikes

GROUPS = Lookalikes((Group("己已巳", 0.9, "glyphs"), Group("己乙", 0.5, "list"), Group("，,", 1.0, "width")))


def test_siblings_are_symmetric_and_not_transitive():
    assert GROUPS.siblings("己") == ("已", "巳", "乙")
    assert GROUPS.siblings("乙") == ("己",)
    assert GROUPS.siblings("已") == ("巳", "己") or GROUPS.siblings("已") == ("己", "巳")
    assert GROUPS.siblings("x") == ()
    assert "乙" in GROUPS
    assert "x" not in GROUPS


def test_scores_are_of_the_best_group():
    both = Lookalikes((Group("ab", 0.3, "list"), Group("abc", 0.6, "glyphs")))
    assert both.score("a", "b") == both.score("b", "a") == 0.6
    assert both.score("a", "z") is None
    assert both.siblings("a")[0] in "bc"


def test_pairs_come_once_and_the_most_alike_first():
    assert GROUPS.pairs() == [
        (",", "，", 1.0), ("己", "已", 0.9), ("己", "巳", 0.9), ("已", "巳", 0.9), ("乙", "己", 0.5),
    ]  # fmt: skip


def test_training_leaves_normalisation_out():
    assert "，" in GROUPS
    assert "，" not in GROUPS.for_training()
    assert GROUPS.for_training().characters() == "己已巳乙"


def test_restriction_drops_what_is_left_alone():
    assert [group.characters for group in GROUPS.restrict("己巳,").groups] == ["己巳"]


def test_merging_joins_the_same_group():
    merged = GROUPS.merge(Lookalikes((Group("巳已己", 0.95, "model"), Group("未末", 0.8, "model"))))
    assert [(group.characters, group.score, group.source) for group in merged.groups] == [
        ("己已巳", 0.95, "glyphs+model"), ("己乙", 0.5, "list"), ("，,", 1.0, "width"), ("未末", 0.8, "model"),
    ]  # fmt: skip


def test_a_file_is_written_and_read(tmp_path):
    path = tmp_path / "groups.tsv"
    hashes = GROUPS.merge(Lookalikes((Group("#＃", 1.0, "width"),)))
    lookalikes.write(path, hashes, ["how it was made"])
    assert path.read_text(encoding="utf-8").splitlines()[:3] == [
        "# how it was made", "group\tcharacters\tscore\tsource", "1\t己已巳\t0.900\tglyphs",
    ]  # fmt: skip
    assert load_lookalikes(path) == hashes
    assert [entry.name for entry in tmp_path.iterdir()] == ["groups.tsv"]


def test_a_file_of_another_editor_is_read(tmp_path):
    path = tmp_path / "groups.tsv"
    path.write_bytes("\ufeff# note\r\n1\t未末\t0.5\tlist\r\n".encode())
    assert load_lookalikes(path) == Lookalikes((Group("未末", 0.5, "list"),))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\t未末\t0.5", "3 columns"),
        ("1\t未\t0.5\tlist", "two characters or more"),
        ("1\t未未\t0.5\tlist", "two characters or more"),
        ("1\t未末\thigh\tlist", "score 'high'"),
        ("1\t未末\t7\tlist", "score '7'"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, message):
    path = tmp_path / "groups.tsv"
    path.write_text(f"# c\n{line}\n", encoding="utf-8")
    with pytest.raises(CharsetError, match=rf"groups\.tsv:2: .*{message}"):
        load_lookalikes(path)


def test_wrong_encodings_and_names_are_errors(tmp_path):
    (tmp_path / "g.tsv").write_bytes("1\t基墓\t0.5\tlist\n".encode("gb18030"))
    with pytest.raises(CharsetError, match="not UTF-8"):
        load_lookalikes(tmp_path / "g.tsv")
    with pytest.raises(CharsetError) as caught:
        load_lookalikes("gb231")
    assert "did you mean gb2312?" in caught.value.hint


def test_the_shipped_groups_have_the_classics_and_fit_the_charset():
    charset = load_charset("gb2312")
    shipped = load_lookalikes("gb2312")
    assert shipped.restrict(charset) == shipped
    training = shipped.for_training()
    for group in ("己已巳", "未末", "日曰", "0O", "0o", "1l", "lI", "1I", "1|", "5S", "8B", "2Z", "土士", "户产"):
        for char in group[1:]:
            assert char in training.siblings(group[0]), group
    assert {group.source for group in shipped.groups} >= set(KEPT_APART)
    assert "，" in shipped.siblings(",")
    assert "，" not in training.siblings(",")
    assert "c" in shipped.siblings("C")
    assert "c" not in training.siblings("C")

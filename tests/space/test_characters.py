from __future__ import annotations

import numpy as np
import pytest
import torch
from greys import CHARSET, PLAIN, GreyLines, GreyReader, grey_viewer

from ocrcc.charset import Charset
from ocrcc.errors import ModelError
from ocrcc.lookalikes import Lookalikes
from ocrcc.space.characters import Skipped, align_tolerantly, cut, siblings_of, walk


def gather(*datasets, viewer=None, **options):
    """All characters as dictionaries, in the order of their place."""
    viewer = viewer or grey_viewer()
    skipped = options.pop("skipped", Skipped())
    found = []
    for batch in walk(viewer, datasets, batch_size=options.pop("batch_size", 3), skipped=skipped, **options):
        for number in range(len(batch)):
            row = batch.rows[number]
            found.append(
                {
                    "place": (batch.dataset, int(batch.lines[number]), int(batch.positions[number])),
                    "char": CHARSET.char(int(batch.classes[number])),
                    "read": CHARSET.char(int(batch.predicted[number])),
                    "sibling": CHARSET.char(int(batch.sibling[number])),
                    "margin": float(batch.margin[number]),
                    "posterior": float(batch.sibling_posterior[number]),
                    "confidence": float(batch.confidence[number]),
                    "feature": batch.features[number].tolist(),
                    "source": batch.sources[row],
                    "label": batch.labels[row],
                    "crop": cut(batch, number, PLAIN),
                }
            )
    return sorted(found, key=lambda one: one["place"])


def test_each_character_is_found_with_what_the_model_makes_of_it():
    found = gather(GreyLines(("abe", "abe")), GreyLines(("gda", "gda"), name="more"))
    assert [(one["place"], one["char"]) for one in found] == [
        ((0, 0, 0), "a"),
        ((0, 0, 1), "b"),
        ((1, 0, 1), "d"),  # e and g have no look-alikes
        ((1, 0, 2), "a"),
    ]
    for one in found:
        assert one["read"] == one["char"]
        assert one["confidence"] > 0.95
        assert one["margin"] == pytest.approx(1.0, abs=0.05)
        assert one["feature"] == pytest.approx([CHARSET.id(one["char"]), 1.0], abs=0.02)
    assert [one["sibling"] for one in found] == ["b", "a", "c", "b"]
    assert found[3]["source"] == "more#1"
    assert found[3]["label"] == "gda"


def test_a_character_is_cut_out_where_it_stands():
    for one in gather(GreyLines(("cdc", "cdc"))):
        assert one["crop"].max() == pytest.approx(CHARSET.id(one["char"]) * 28, abs=2)
        assert 4 <= one["crop"].shape[1] < 12  # its own stripe of 4, and blank ones beside it


def test_a_wrong_label_is_found_where_its_lookalike_stands():
    """The best path of the label alone would do too, but for the blank frames around it."""
    (wrong,) = (one for one in gather(GreyLines(("e a e", "ebe"))) if one["char"] == "b")
    assert wrong["read"] == wrong["sibling"] == "a"
    assert wrong["posterior"] > 0.95
    assert wrong["margin"] == pytest.approx(-1.0, abs=0.05)


def test_tolerant_alignment_is_plain_alignment_where_labels_are_right_and_needs_blanks_between_repeats():
    scores = GreyReader()(torch.zeros(1, 1, 32, 4 * 6)).logits.log_softmax(2)
    siblings = siblings_of(Lookalikes(()), CHARSET)
    fits = [
        bool(
            align_tolerantly(
                scores[:, :frames],
                torch.tensor([frames]),
                torch.tensor([[1, 1, 1]]),
                torch.tensor([3]),
                siblings,
            ).aligned[0]
        )
        for frames in (4, 5)
    ]
    assert fits == [False, True]


def test_only_wanted_lines_are_read():
    viewer = grey_viewer()
    data = GreyLines(*[("ab", "ab")] * 20)
    found = gather(data, viewer=viewer, wanted=[{3: {1}, 17: {0, 1}}])
    assert [one["place"] for one in found] == [(0, 3, 1), (0, 17, 0), (0, 17, 1)]
    assert viewer.recognizer.images_seen == 2


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batches_change_nothing(batch_size, monkeypatch):
    rng = np.random.default_rng(0)
    data = GreyLines(
        *[(text, text) for text in ("".join(rng.choice(list("abcd"), rng.integers(1, 9))) for _ in range(30))]
    )
    whole = gather(data, batch_size=30)
    monkeypatch.setattr("ocrcc.reading.engines._MAX_SCORES", 500)  # cuts batches further
    again = gather(data, batch_size=batch_size)
    for one, other in zip(whole, again, strict=True):
        assert one["place"] == other["place"]
        assert one["margin"] == pytest.approx(other["margin"], abs=1e-5)
        assert np.array_equal(one["crop"], other["crop"])


def test_lines_that_take_no_part_are_counted_and_named():
    skipped = Skipped()
    found = gather(GreyLines(("ab", "ab"), (None, "a"), ("a", "abababab"), ("a", "a己"), ("", "")), skipped=skipped)
    assert {one["source"] for one in found} == {"lines#1"}
    assert (skipped.unreadable, skipped.unaligned, skipped.unwritable) == (1, 1, 1)
    assert skipped.named["unreadable"] == ["lines#2: truncated image"]
    assert skipped.named["unaligned"] == ["lines#3: 'abababab'"]
    assert "lines#4" in skipped.named["unwritable"][0]
    assert "己" in skipped.named["unwritable"][0]


def test_only_the_first_are_named():
    skipped = Skipped()
    gather(GreyLines(*[(None, "a")] * 50), skipped=skipped)
    assert skipped.unreadable == 50
    assert len(skipped.named["unreadable"]) == 20


def test_without_centers_margins_are_blank():
    found = gather(GreyLines(("ab", "ab")), viewer=grey_viewer(centers=False))
    assert len(found) == 2
    assert all(np.isnan(one["margin"]) and one["sibling"] == "" for one in found)


def test_without_lookalikes_there_is_nothing_to_compare():
    alone = siblings_of(Lookalikes(()), CHARSET)
    assert alone.shape == (9, 1)
    assert gather(GreyLines(("ab", "ab")), viewer=grey_viewer(siblings=alone)) == []
    (one,) = gather(GreyLines(("ab", "ab")), viewer=grey_viewer(siblings=alone), wanted=[{0: {1}}])
    assert one["char"] == "b"
    assert np.isnan(one["margin"])


def test_a_broken_model_is_an_error():
    with pytest.raises(ModelError, match="not finite"):
        gather(GreyLines(("ab", "ab")), viewer=grey_viewer(recognizer=GreyReader(offset=float("nan"))))


def test_normalisation_comes_before_positions():
    charset = Charset("abcdefgh", normalisation="nfkc")
    (first, second) = gather(GreyLines(("ab", "ａｂ")), viewer=grey_viewer(charset=charset))
    assert (first["char"], second["char"], second["label"]) == ("a", "b", "ab")

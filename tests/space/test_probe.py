from __future__ import annotations

from collections import Counter

import numpy as np
from greys import CHARSET, GreyLines, GreyReader, grey_viewer

from ocrcc.space.characters import Skipped
from ocrcc.space.panels import Panels, group_margins
from ocrcc.space.probe import balanced_share, choose, class_centers, in_common, look


def seen(data, places, viewer=None):
    return look(viewer or grey_viewer(), data, places, batch_size=4, workers=0, skipped=Skipped())


def uneven():
    """300 a, 20 b, 5 c in lines of several."""
    rng = np.random.default_rng(0)
    text = "".join(rng.permutation(list("a" * 300 + "b" * 20 + "c" * 5 + "h" * 100)))
    return GreyLines(*[(text[at : at + 5], text[at : at + 5]) for at in range(0, len(text), 5)])


def test_alike_many_of_each_class():
    data = uneven()
    places = choose([data], CHARSET, "abc", 40, 0, Skipped())
    chars = Counter(data.label(line)[position] for _, line, position in places)
    assert chars == {"a": 17, "b": 17, "c": 5}
    assert len(set(places)) == 39
    assert choose([data], CHARSET, "abc", 40, 0, Skipped()) == places
    assert choose([data], CHARSET, "abc", 40, 1, Skipped()) != places
    assert len(choose([data], CHARSET, "abc", 10_000, 0, Skipped())) == 325


def test_the_choice_is_random_over_all_of_the_data():
    data = GreyLines(*[("a", "a")] * 1000)
    lines = [line for _, line, _ in choose([data], CHARSET, "a", 100, 0, Skipped())]
    assert 350 < np.mean(lines) < 650
    assert len(set(lines)) == 100


def test_shares():
    assert balanced_share([], 10) == 0
    assert balanced_share([3, 4], 10) == 4
    assert balanced_share([3, 400], 10) == 7
    assert balanced_share([9] * 100, 10) == 1


def test_a_sample_is_sorted_and_complete():
    data = [uneven(), GreyLines(("ba", "ba"), name="two")]
    places = choose(data, CHARSET, "ab", 30, 0, Skipped())
    sample = seen(data, places)
    assert sample.chars == sorted(sample.chars)
    assert sorted(sample.places) == places
    assert len(sample.crops) == len(sample.features) == len(places)
    assert [round(x) for x in sample.features[:, 0]] == [CHARSET.id(char) for char in sample.chars]


def test_models_see_the_same_characters_in_the_same_order():
    data = [GreyLines(("ab", "ab"), ("ba", "ba"), ("aa", "aa"))]
    places = choose(data, CHARSET, "ab", 100, 0, Skipped())
    first = seen(data, places)
    other = seen(data, places[1:], grey_viewer(recognizer=GreyReader(offset=3.0)))
    (one, two), gone = in_common([first, other])
    assert gone == 1
    assert one.places == two.places == [place for place in first.places if place != places[0]]
    assert np.allclose(two.features[:, 0] - one.features[:, 0], 3.0)


def test_centers_that_a_model_lacks_are_means_of_what_is_seen():
    data = [GreyLines(("ab", "ab"), ("ba", "ba"))]
    viewer = grey_viewer()
    viewer.centers.center_counts[CHARSET.id("b")] = 0
    centers, learned = class_centers(viewer, seen(data, choose(data, CHARSET, "ab", 9, 0, Skipped())), "ab")
    assert learned.tolist() == [True, False]
    assert np.allclose(centers, [[1, 1], [2, 1]], atol=0.02)


def test_groups_are_judged_by_how_near_their_characters_lie_to_one_another():
    """c and d are farther apart than a and b, but drawn between one another; so is their label."""
    data = [GreyLines(*[("ab", "ab")] * 5, *[("cc", "cd")] * 5)]
    viewer = grey_viewer()
    sample = seen(data, choose(data, CHARSET, "abcd", 99, 0, Skipped()), viewer)
    margins = group_margins(viewer, sample, ["ab", "cd", "ah"])
    assert margins["cd"] < margins["ab"]
    assert margins["ah"] == np.inf


def test_characters_that_are_not_there_are_named():
    panels = Panels.present(["ab己", "ch"], [GreyLines(("abc", "abc"))], CHARSET)
    assert panels.panels == ("ab", "c")
    assert panels.characters() == "abc"
    assert [("己" in text, "'h'" in text) for text in panels.absent] == [(True, False), (False, True)]

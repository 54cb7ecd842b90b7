import pytest
import torch

from ocrcc.errors import ModelError
from ocrcc.losses.center import Centers
from ocrcc.losses.separation import correlation, rank_classes, separation, watch

SIBLINGS = torch.tensor([[0, 0], [2, 3], [1, 0], [1, 0], [0, 0], [4, 0]])


def measured(features, classes):
    centers = Centers(6, 2)
    centers.centers[1:5] = torch.tensor([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0], [7.0, 7.0]])
    centers.center_counts[1:5] = 1
    return separation(torch.tensor(features), centers.near(torch.tensor(classes), SIBLINGS))


def test_distances_are_those_drawn_on_paper():
    found = measured([[0.0, 0.0], [3.0, 4.0], [7.0, 8.0], [1.0, 1.0]], [1, 1, 4, 5])
    assert found.own.tolist() == [0, 5, 1, 0]
    assert found.sibling.tolist() == [5, 0, 0, 0]
    assert found.between.tolist() == [5, 5, 0, 0]
    assert found.margin.tolist() == [5, -5, 0, 0]
    assert found.nearest.tolist()[:2] == [0, 0]
    assert found.known.tolist() == [True, True, True, False]
    assert found.paired.tolist() == [True, True, False, False]
    scalars = {name: value.item() for name, value in found.scalars().items()}
    assert scalars == pytest.approx(
        {"distance_own": 2, "distance_sibling": 2.5, "distance_between": 5, "distance_ratio": 1.0, "margin": 0}
    )


def test_the_nearest_sibling_counts():
    found = measured([[9.0, 0.0]], [1])
    assert found.nearest.tolist() == [1]
    assert found.sibling.tolist() == [1]
    assert found.between.tolist() == [10]


def test_one_sibling_with_a_center_is_enough_to_be_paired():
    found = measured([[0.0, 0.0]], [2])  # its look-alikes: 1 and nobody
    assert found.paired.tolist() == [True]
    assert found.sibling.tolist() == [0]


def test_without_siblings_or_characters_all_figures_are_finite():
    centers = Centers(6, 2)
    for classes in ([], [1, 2]):
        features = torch.ones(len(classes), 2)
        for table in (SIBLINGS, SIBLINGS[:, :0]):
            near = centers.near(torch.tensor(classes, dtype=torch.int64), table)
            scalars = separation(features, near).scalars()
            assert all(value == 0 for value in scalars.values())


def test_nan_features_show():
    scalars = measured([[float("nan"), 0.0]], [1]).scalars()
    assert scalars["distance_own"].isnan()
    with pytest.raises(ModelError, match="no longer finite"):
        watch({name: float(value) for name, value in scalars.items()}, {"distance_own": 1.0, "distance_sibling": 1.0})


def test_classes_are_ranked_by_their_mean_margin_and_rare_ones_left_out():
    classes = torch.tensor([4, 1, 4, 2, 1, 3, 3, 3])
    margins = torch.tensor([3.0, -1.0, 1.0, -9.0, 0.0, 0.5, 0.5, 0.5])
    confidences = torch.tensor([0.9, 0.2, 0.7, 0.1, 0.4, 0.6, 0.6, 0.6])
    found = rank_classes(classes, margins, confidences)
    assert [(one.class_id, one.count) for one in found] == [(1, 2), (3, 3), (4, 2)]
    assert [one.margin for one in found] == pytest.approx([-0.5, 0.5, 2.0])
    assert [one.confidence for one in found] == pytest.approx([0.3, 0.6, 0.8])
    assert len(rank_classes(classes, margins, confidences, least=1)) == 4
    assert rank_classes(classes[:0], margins[:0], confidences[:0]) == []


def test_a_collapse_is_told_from_good_contraction():
    before = {"distance_own": 10.0, "distance_sibling": 20.0}
    watch({"distance_own": 0.01, "distance_sibling": 20.0}, before)
    watch({"distance_own": 5.0, "distance_sibling": 10.0}, before)
    with pytest.raises(ModelError, match="collapse") as caught:
        watch({"distance_own": 0.01, "distance_sibling": 0.02}, before)
    assert "--center-weight" in caught.value.hint


def test_correlation():
    first, second = torch.randn(50), torch.randn(50)
    expected = torch.corrcoef(torch.stack((first, second)))[0, 1].item()
    assert correlation(first, second).item() == pytest.approx(expected, abs=1e-6)
    assert correlation(first, -2 * first).item() == pytest.approx(-1, abs=1e-6)
    for few in (torch.zeros(0), torch.ones(1), torch.ones(5)):
        assert correlation(few, few) == 0

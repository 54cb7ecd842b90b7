from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from ocrcc.errors import ConfigError
from ocrcc.projection.plane import in_one_space, pca, to_plane, to_planes


@pytest.mark.parametrize("shape", [(50, 6), (6, 50), (7, 7)])
def test_pca_is_that_of_the_singular_values(shape):
    points = np.random.default_rng(0).normal(size=shape).astype(np.float32) + 5
    left, values, _ = np.linalg.svd(points - points.mean(axis=0, dtype=np.float64), full_matrices=False)
    assert np.allclose(np.abs(pca(points)), np.abs(left * values)[:, :2], atol=1e-6)


def test_signs_do_not_depend_on_the_order():
    points = np.random.default_rng(1).normal(size=(40, 5))
    order = np.random.default_rng(2).permutation(40)
    assert np.allclose(pca(points)[order], pca(points[order]))


@pytest.mark.parametrize("shape", [(1, 5), (2, 1), (3, 2), (4, 9)])
def test_few_points_or_dimensions(shape):
    plane = to_plane(np.random.default_rng(0).normal(size=shape), "tsne" if _installed("sklearn") else "pca")
    assert plane.shape == (shape[0], 2)
    assert np.isfinite(plane).all()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_looking_along_the_centers_keeps_their_distances(count):
    """Points that spread widely along an axis on which the centers do not differ."""
    rng = np.random.default_rng(0)
    centers = np.zeros((count, 6))
    centers[:, :2] = rng.normal(size=(count, 2)) * (1 if count > 2 else [1, 0])
    points = np.concatenate((centers[rng.integers(0, count, 50)], centers))
    points[:50, 5] += rng.normal(size=50) * 100
    plane = to_plane(points, "centers", centers=count)
    apart = np.linalg.norm(centers[:, None] - centers, axis=2)
    assert np.allclose(np.linalg.norm(plane[-count:, None] - plane[-count:], axis=2), apart, atol=1e-6)
    if count == 2:  # the other axis is the widest of the rest
        assert np.ptp(plane[:, 1]) > 100
    assert not np.allclose(plane, pca(points))


def test_a_lone_center_is_looked_at_as_by_pca():
    points = np.random.default_rng(0).normal(size=(9, 4))
    assert np.array_equal(to_plane(points, "centers", centers=1), pca(points))
    assert np.isfinite(to_plane(np.ones((5, 3)), "centers", centers=2)).all()


def test_equal_points_lie_on_one_another():
    assert np.allclose(pca(np.ones((5, 3))), 0)


@pytest.mark.parametrize(("method", "module"), [("umap", "umap"), ("tsne", "sklearn")])
def test_what_is_not_installed_is_named(method, module, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        to_plane(np.zeros((9, 3)), method)
    assert "pip install" in caught.value.hint


@pytest.mark.parametrize(("method", "module"), [("umap", "umap"), ("tsne", "sklearn")])
def test_neighbours_stay_neighbours(method, module):
    pytest.importorskip(module)
    groups = np.arange(30) % 3
    features = np.random.default_rng(0).normal(size=(30, 6)) + 20 * np.eye(6)[groups]
    plane = to_plane(features, method)
    assert plane.shape == (30, 2)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2) + 1e9 * np.eye(30)
    assert (groups[distances.argmin(axis=1)] == groups).all()


def _installed(module):
    return importlib.util.find_spec(module) is not None


def _two_spaces(moved):
    """A space of 30 features and 3 centers, and the same with one class moved."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(3, 8)) * 4
    before = np.concatenate((np.repeat(centers, 10, axis=0) + rng.normal(size=(30, 8)) * 0.1, centers))
    after = before.copy()
    after[[*range(10), 30]] += moved
    return before, after


@pytest.mark.parametrize("method", ["pca", "centers"])
def test_before_and_after_lie_in_one_plane(method):
    before, after = _two_spaces(moved=1.0)
    left, right = to_planes([before, after], method, centers=3)
    assert left.shape == right.shape == (33, 2)
    # What stayed stays, and what moved does so by the same distance in the same direction.
    assert np.allclose(left[10:30], right[10:30])
    assert np.allclose(left[31:], right[31:])
    moves = right[[*range(10), 30]] - left[[*range(10), 30]]
    assert np.allclose(moves, moves[0])
    assert np.abs(moves).max() > 0.02
    both = np.concatenate((left, right))
    assert np.allclose([both.min(axis=0), both.max(axis=0)], [[0, 0], [1, 1]])


@pytest.mark.parametrize("width", [8, 5])
def test_spaces_of_models_that_are_no_kin_have_a_plane_each(width):
    before, _ = _two_spaces(0.0)
    other = 50 + np.random.default_rng(1).normal(size=(33, width))
    assert not in_one_space([before, other])
    for plane, points in zip(to_planes([before, other], centers=3), (before, other), strict=True):
        alone = pca(points)
        assert np.allclose(plane, (alone - alone.min(axis=0)) / np.ptp(alone, axis=0))

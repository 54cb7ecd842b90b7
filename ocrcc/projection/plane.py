"""From features to two dimensions."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ocrcc.errors import ConfigError

Method = Literal["pca", "centers", "umap", "tsne"]
_PACKAGES = {"umap": ("umap", "umap-learn"), "tsne": ("sklearn", "scikit-learn")}


def check_method(method: Method) -> None:
    """Fail early if what a method needs is not installed.

    Raises:
        ConfigError: With what to install.
    """
    if method in _PACKAGES:
        module, package = _PACKAGES[method]
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"{method} needs {package}, which is not installed", f"pip install {package}, or pca")


def to_planes(spaces: Sequence[np.ndarray], method: Method = "pca", seed: int = 0, *, centers: int) -> list[np.ndarray]:
    """Bring the same characters in several spaces to two dimensions, into the unit square.

    A model and what was tuned from it are looked at from one side and drawn to one scale, so that what moved is seen
    to move; spaces that have nothing to do with one another each have a plane of their own.

    Args:
        spaces: (M, D) of each model, the same characters in the same order; D may differ.
        method: See `to_plane`.
        seed: Of it.
        centers: How many of the points, the last ones, are centers.

    Returns:
        (M, 2) float64 of each.
    """
    if not in_one_space(spaces):
        return [_in_square([to_plane(space, method, seed, centers=centers)])[0] for space in spaces]
    count, first = len(spaces), len(spaces[0]) - centers
    together = np.concatenate([*(space[:first] for space in spaces), *(space[first:] for space in spaces)])
    plane = to_plane(together, method, seed, centers=centers * count)
    points, ends = np.split(plane, [first * count])
    planes = zip(np.split(points, count), np.split(ends, count), strict=True)
    return _in_square([np.concatenate(parts) for parts in planes])


def in_one_space(spaces: Sequence[np.ndarray]) -> bool:
    """Tell whether features (M, D) of the same characters differ less from model to model than among themselves."""
    one, *others = spaces
    spread = np.linalg.norm(one - one.mean(axis=0), axis=1).mean()
    return all(
        other.shape == one.shape and float(np.linalg.norm(other - one, axis=1).mean()) < spread for other in others
    )


def _in_square(planes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Scale planes alike, so that all of their points together fill the unit square."""
    every = np.concatenate(planes)
    low, reach = every.min(axis=0), np.maximum(np.ptp(every, axis=0), 1e-9)
    return [(plane - low) / reach for plane in planes]


def to_plane(features: np.ndarray, method: Method = "pca", seed: int = 0, *, centers: int = 0) -> np.ndarray:
    """Bring features to two dimensions.

    Args:
        features: (M, D).
        method: ``pca`` shows what differs most among all points, ``centers`` what differs among the centers
            first: the look from which classes are farthest apart. Both keep distances as far as two dimensions
            can; the others keep neighbourhoods.
        seed: Of the others.
        centers: How many of the points, the last ones, are centers.

    Returns:
        (M, 2) float64.

    Raises:
        ConfigError: What the method needs is not installed.
    """
    check_method(method)
    if method == "centers" and centers > 1:
        return along_centers(features, centers)
    # UMAP and t-SNE need some points to have neighbours among
    if method in ("pca", "centers") or len(features) < 5:
        return pca(features)
    if method == "umap":
        import umap

        reducer = umap.UMAP(random_state=seed, n_neighbors=min(15, len(features) - 1))
    else:
        from sklearn.manifold import TSNE

        reducer = TSNE(random_state=seed, init="pca", perplexity=min(30.0, (len(features) - 1) / 3))
    return np.asarray(reducer.fit_transform(features), dtype=np.float64)


def along_centers(features: np.ndarray, count: int) -> np.ndarray:
    """Return (M, 2): along where the last ``count`` points differ most, then along what is left over.

    The second axis too lies within what they span, if they are three or more.
    """
    centred = features.astype(np.float64) - features[-count:].mean(axis=0, dtype=np.float64)
    _, spreads, directions = np.linalg.svd(centred[-count:], full_matrices=False)
    axes = directions[:2][spreads[:2] > 1e-9 * max(1.0, float(spreads[0]))]
    plane = centred @ axes.T
    if (missing := 2 - len(axes)) > 0:
        plane = np.concatenate((plane, pca(centred - plane @ axes, missing)), axis=1)
    return _fix_signs(plane)


def pca(features: np.ndarray, dimensions: int = 2) -> np.ndarray:
    """Return the principal components (M, dimensions) of features (M, D), the widest first.

    Their signs are fixed: the largest coordinate of each component is positive.
    """
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    if len(centred) < centred.shape[1]:
        spreads, points = np.linalg.eigh(centred @ centred.T)
        plane = (points * np.sqrt(spreads.clip(min=0)))[:, ::-1][:, :dimensions]
    else:  # of many points only the (D, D) covariance is decomposed: it does not grow with them
        _, directions = np.linalg.eigh(centred.T @ centred)
        plane = centred @ directions[:, ::-1][:, :dimensions]
    if plane.shape[1] < dimensions:
        plane = np.pad(plane, ((0, 0), (0, dimensions - plane.shape[1])))
    return _fix_signs(plane)


def _fix_signs(plane: np.ndarray) -> np.ndarray:
    largest = np.abs(plane).argmax(axis=0)
    return plane * np.where(plane[largest, np.arange(plane.shape[1])] < 0, -1.0, 1.0)

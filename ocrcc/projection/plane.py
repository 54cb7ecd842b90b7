"""From features to two dimensions."""

from __future__ import annotations

import importlib.util
from typing import Literal

import numpy as np

from ocrcc.errors import ConfigError

Method = Literal["pca", "umap", "tsne"]
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


def to_plane(features: np.ndarray, method: Method = "pca", seed: int = 0) -> np.ndarray:
    """Bring features to two dimensions.

    Args:
        features: (M, D).
        method: PCA keeps distances as far as two dimensions can; the others keep neighbourhoods.
        seed: Of the others.

    Returns:
        (M, 2) float64.

    Raises:
        ConfigError: What the method needs is not installed.
    """
    check_method(method)
    # UMAP and t-SNE need some points to have neighbours among
    if method == "pca" or len(features) < 5:
        return pca(features)
    if method == "umap":
        import umap

        reducer = umap.UMAP(random_state=seed, n_neighbors=min(15, len(features) - 1))
    else:
        from sklearn.manifold import TSNE

        reducer = TSNE(random_state=seed, init="pca", perplexity=min(30.0, (len(features) - 1) / 3))
    return np.asarray(reducer.fit_transform(features), dtype=np.float64)


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
    largest = np.abs(plane).argmax(axis=0)
    return plane * np.where(plane[largest, np.arange(dimensions)] < 0, -1.0, 1.0)

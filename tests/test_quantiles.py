"""Quantiles are numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from ocrcc.quantiles import quantiles


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_quantiles_are_numpys(count):
    values = np.random.default_rng(count).normal(size=(count, 1))
    shares = (0.02, 0.3, 0.5, 0.98)
    assert quantiles(values, *shares) == pytest.approx(np.quantile(values, shares).tolist())
    grey = (values * 80 + 128).clip(0, 255).astype(np.uint8)
    assert quantiles(grey, *shares) == pytest.approx(np.quantile(grey, shares).tolist())

from __future__ import annotations

import numpy as np
import pytest
from drawn_lines import draw_line
from PIL import Image

from ocrcc.data.augment import _DEFECTS, augment


def test_strength_zero_changes_nothing():
    image = draw_line("0123")
    assert augment(image, np.random.default_rng(0), 0) is image


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("worsen", [worsen for _, worsen in _DEFECTS], ids=lambda worsen: worsen.__name__)
def test_every_defect_leaves_a_readable_line(worsen, mode):
    image = draw_line("0123456789").convert(mode)
    for seed in range(20):
        worse = worsen(image, np.random.default_rng(seed), 1.0)
        assert worse.mode == mode
        assert 0.7 < worse.width / image.width < 1.5
        assert 0.8 < worse.height / image.height < 1.5
        assert np.asarray(worse).std() > 15  # there is still ink


def test_same_generator_same_picture():
    image = draw_line("2468")
    first, second, other = (np.asarray(augment(image, np.random.default_rng(s), 1.0)) for s in (3, 3, 4))
    assert np.array_equal(first, second)
    assert first.shape != other.shape or not np.array_equal(first, other)


@pytest.mark.parametrize("size", [(1, 1), (4, 40), (300, 9), (9, 9)])
def test_tiny_images_survive(size):
    for seed in range(30):
        assert min(augment(Image.new("L", size, 200), np.random.default_rng(seed), 1.0).size) >= 1

from __future__ import annotations

import numpy as np

from ocrcc.config import SynthConfig
from ocrcc.dice import Dice
from ocrcc.glyphs.cache import ASCENT, EM, HEIGHT
from ocrcc.synth.degrade import EFFECTS, Degrader

CUT = SynthConfig(effects=dict.fromkeys(EFFECTS, 0.0) | {"cut": 1.0})


def darkest(ink: np.ndarray, columns: slice, count: int = 300) -> list[int]:
    """Cut lines in many ways; the darkest level in a range of columns, of 0..1 from the left."""
    degrader = Degrader(CUT, [])
    levels = []
    for index in range(count):
        image = np.asarray(degrader.appear(ink, 2, Dice(7, index)).convert("L"))
        width = image.shape[1]
        levels.append(int(image[:, int(columns.start * width) : int(columns.stop * width)].min()))
    return levels


def test_a_cut_along_the_baseline_takes_the_points_of_some_numbers():
    ink = np.zeros((HEIGHT, 3 * EM), np.uint8)
    ink[ASCENT - int(0.7 * EM) : ASCENT, : 2 * EM] = 255
    ink[ASCENT - int(0.08 * EM) : ASCENT, -EM // 4 :] = 255
    levels = darkest(ink, slice(0.8, 1))
    gone = sum(level > 200 for level in levels)
    assert 10 < gone < len(levels) / 2


def test_a_mark_on_the_baseline_is_never_cut_away():
    ink = np.zeros((HEIGHT, EM // 4), np.uint8)
    ink[ASCENT - int(0.08 * EM) : ASCENT + int(0.05 * EM)] = 255
    assert max(darkest(ink, slice(0, 1))) < 200

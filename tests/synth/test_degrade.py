from __future__ import annotations

import numpy as np
import pytest

from ocrcc.config import SynthConfig
from ocrcc.dice import Dice
from ocrcc.glyphs.cache import ASCENT, EM, HEIGHT, pixel_of
from ocrcc.synth.degrade import EFFECTS, Degrader, _as_shown
from ocrcc.synth.framing import frame
from ocrcc.synth.presets import load_config

CUT = SynthConfig(effects=dict.fromkeys(EFFECTS, 0.0) | {"cut": 1.0})


@pytest.mark.parametrize("pixel", [2, 3])
def test_a_line_cut_out_of_a_screen_gives_its_pixels_back(pixel):
    small = np.random.default_rng(4).integers(0, 255, (12, 30), np.uint8)
    for above in range(pixel):
        for left in range(pixel):
            canvas = np.pad(small.repeat(pixel, axis=0).repeat(pixel, axis=1), ((above, 1), (left, 2)))
            shown = np.asarray(_as_shown(canvas, pixel))
            assert np.array_equal(shown[bool(above) :, bool(left) :][:12, :30], small)


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


@pytest.mark.parametrize("preset", ["short", "documents"])
def test_margins_of_every_width_up_to_an_em_occur_on_every_side(preset):
    ink = np.full((HEIGHT, 2 * EM), 0, np.uint8)
    ink[ASCENT - int(0.7 * EM) : ASCENT] = 255
    config = load_config(preset)
    chances = EFFECTS | dict(config.effects)
    counts = np.zeros((4, 10), int)
    for index in range(6000):
        dice = Dice(3, index)
        on = dict.fromkeys(EFFECTS, False) | {name: dice.chance(chances[name]) for name in ("tight", "loose")}
        canvas = frame(ink, on, dice)
        rows, columns = np.flatnonzero(canvas.any(axis=1)), np.flatnonzero(canvas.any(axis=0))
        margins = (rows[0], canvas.shape[0] - 1 - rows[-1], columns[0], canvas.shape[1] - 1 - columns[-1])
        for side, margin in enumerate(margins):
            counts[side, min(int(10 * margin / EM), 9)] += 1
    assert counts.min() > 0


def test_hinted_type_is_drawn_at_every_size_and_the_rest_at_one():
    degrader = Degrader(SynthConfig(effects={"hinted": 0.5}), [])
    sizes = [degrader.size(Dice(5, index)) for index in range(2000)]
    assert set(sizes) == {*range(11, 22), EM}
    assert sizes.count(EM) == pytest.approx(1000, abs=100)
    assert min(sizes.count(size) for size in range(11, 22)) > 50
    assert {pixel_of(size) * size for size in sizes} <= set(range(30, 43))  # so that no line is much over an em high

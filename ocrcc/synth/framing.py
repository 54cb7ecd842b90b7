"""Cuts a line's ink out of its page: margins, and what stands around and over the text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ocrcc.dice import Dice
from ocrcc.glyphs.cache import ASCENT, EM


def frame(ink: np.ndarray, on: Mapping[str, bool], dice: Dice) -> np.ndarray:
    """Cut a line out of its page: margins, rules, and the remains of its neighbours.

    Args:
        ink: (HEIGHT, width) uint8, as `ocrcc.synth.typeset.typeset` sets it.
        on: Which effects the line has.
        dice: Draws everything.

    Returns:
        (h, w) uint8 ink.
    """
    rows = np.flatnonzero(ink.any(axis=1))
    first, last = int(rows[0]), int(rows[-1]) + 1
    if dice.chance(0.6) or last - first < 0.55 * EM:
        first, last = min(first, ASCENT - int(0.86 * EM)), max(last, ASCENT + int(0.1 * EM))
    most = 0.08 if on["tight"] else 0.3
    top, bottom, left, right = (round(EM * dice.uniform(0.0, most)) for _ in range(4))
    sides = [top, bottom, left, right]
    for side, most in enumerate((0.5, 0.5, 0.8, 0.8)):
        if dice.chance(0.08 if side < 2 else 0.15):
            sides[side] += round(EM * dice.uniform(0, most))
    if on["loose"]:  # whoever cut the line out left it half empty
        sides = [side + round(EM * dice.uniform(0, 0.7)) for side in sides]
    top, bottom, left, right = sides
    if on["cut"]:
        deep = round(EM * dice.uniform(0.02, 0.13))
        match dice.below(6):
            case 0:
                top = -deep
            case 1:
                bottom = -deep
            case 2 | 3:  # along the baseline, where points and the tails of commas go
                bottom = min(ASCENT - round(EM * dice.uniform(-0.06, 0.1)) - last, 0)
            case 4 if ink.shape[1] > EM:
                ink = ink[:, deep:]
            case _ if ink.shape[1] > EM:
                ink = ink[:, :-deep]
        left_over = ink[first + max(0, -top) : last - max(0, -bottom)]
        if left_over.sum(dtype=int) < 0.7 * ink.sum(dtype=int):  # a line of points, dashes or quotes
            top, bottom = max(top, 0), max(bottom, 0)
    height = last - first + top + bottom
    width = ink.shape[1] + left + right
    canvas = np.zeros((height, width), np.uint8)
    source = ink[first + max(0, -top) : last - max(0, -bottom)]
    canvas[max(top, 0) : max(top, 0) + source.shape[0], left : left + ink.shape[1]] = source
    if on["neighbours"]:
        _neighbours(canvas, ink[first:last], dice)
    if on["border"]:
        for _ in range(dice.between(1, 3)):
            _border(canvas, dice)
    if on["underline"]:
        y = min(max(top, 0) + source.shape[0] + dice.between(-2, 3), height - 2)
        _rule(canvas[y : y + dice.between(1, 2), left // 2 : width - right // 2], dice)
    if on["crossing"]:
        if dice.chance(0.5):
            y = dice.below(height - 2)
            _rule(canvas[y : y + dice.between(1, 2)], dice)
        else:
            x = dice.below(max(width - 2, 1))
            _rule(canvas[:, x : x + dice.between(1, 2)], dice)
    return canvas


def _neighbours(canvas: np.ndarray, ink: np.ndarray, dice: Dice) -> None:
    """Let the feet of the line above or the heads of the line below show at the edge."""
    for above in (True, False):
        if dice.chance(0.35):
            continue
        deep = min(round(EM * dice.uniform(0.03, 0.14)), ink.shape[0], canvas.shape[0])
        other = np.roll(ink, dice.below(ink.shape[1]), axis=1)[:, ::-1]
        reach = min(other.shape[1], canvas.shape[1])
        if above:
            np.maximum(canvas[:deep, :reach], other[-deep:, :reach], out=canvas[:deep, :reach])
        else:
            np.maximum(canvas[-deep:, :reach], other[:deep, :reach], out=canvas[-deep:, :reach])


def _border(canvas: np.ndarray, dice: Dice) -> None:
    """Draw a rule of a table at one of the edges, thick or thin, whole or dotted."""
    thick = dice.between(1, 4)
    inset = dice.below(4)
    match dice.below(4):
        case 0:
            _rule(canvas[:, inset : inset + thick], dice)
        case 1:
            end = canvas.shape[1] - inset
            _rule(canvas[:, max(end - thick, 0) : end], dice)
        case 2:
            _rule(canvas[inset : inset + min(thick, 3)], dice)
        case _:
            end = canvas.shape[0] - inset
            _rule(canvas[end - min(thick, 3) : end], dice)


def _rule(part: np.ndarray, dice: Dice) -> None:
    value = dice.between(110, 255)
    if dice.chance(0.25):
        on, period = dice.between(1, 4), dice.between(3, 8)
        along = int(part.shape[1] > part.shape[0])
        pattern = (np.arange(part.shape[along]) % period < on) * np.uint8(value)
        np.maximum(part, pattern if along else pattern[:, None], out=part)
    else:
        np.maximum(part, np.uint8(value), out=part)

"""How alike characters look: compared as glyphs of several fonts, at the resolution a recogniser sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from ocrcc.glyphs.cache import GlyphCache
from ocrcc.glyphs.faces import FontSet

SIDE = 32
"""Pixels of the square that glyphs are brought to."""
_FILL = 28
_MOST_ENLARGED = 1.5
"""Marks stay smaller than letters: on a line, size tells them apart."""
_BLUR = 1.0
_BINS = 8
_CELLS = 8
_CANDIDATES = 40
_BLOCK = 512
_CHUNK = 1000


@dataclass(frozen=True)
class Neighbours:
    """The characters most alike each character.

    Attributes:
        characters: All that were compared.
        indices: (M, k) into `characters`, the most alike first.
        scores: (M, k) float32, 1 for the same look; 0 for no more alike than any two.
        fonts: Names of the faces that were compared.
    """

    characters: str
    indices: np.ndarray
    scores: np.ndarray
    fonts: tuple[str, ...]

    def pairs(self, threshold: float) -> dict[tuple[str, str], float]:
        """List two characters of which one is a neighbour of the other, with their score, if over a threshold."""
        found: dict[tuple[str, str], float] = {}
        for row, char in enumerate(self.characters):
            for column, score in zip(self.indices[row], self.scores[row], strict=True):
                if score >= threshold:
                    other = self.characters[column]
                    found[(min(char, other), max(char, other))] = float(score)
        return found


def representative_faces(fonts: FontSet, most: int = 8) -> list[int]:
    """Choose one main face of each family, the most regular one."""
    best: dict[str, int] = {}
    proportional = [number for number in fonts.main if "mono" not in fonts.faces[number].name.lower()]
    for number in proportional or fonts.main:
        face = fonts.faces[number]
        known = best.get(face.family)
        if known is None or _plainness(face.name) > _plainness(fonts.faces[known].name):
            best[face.family] = number
    return sorted(best.values())[:most]


def _plainness(name: str) -> int:
    words = name.lower().split()
    return 2 * ("regular" in words) + ("book" in words) + ("medium" in words)


def compare_glyphs(
    characters: str,
    fonts: FontSet,
    faces: Sequence[int],
    count: int = 10,
    report: Callable[[int, int | None], None] | None = None,
) -> Neighbours:
    """Find each character's nearest neighbours by the look of its glyphs.

    Two descriptors of a glyph count equally: its blurred pixels, and histograms of its edges' directions,
    each less the mean over all characters. The score of two characters is the mean cosine over the fonts
    that have both.

    Args:
        characters: Whom to compare, each once.
        fonts: Fonts and their coverage.
        faces: Numbers of the faces to compare in.
        count: Neighbours of each.
        report: Told how many glyphs of how many are drawn.
    """
    glyphs = GlyphCache(fonts.faces)
    described, present = [], []
    for done, face in enumerate(faces):
        images, there = _draw_all(characters, face, fonts, glyphs)
        described.append(_describe(images, there))
        present.append(there)
        if report is not None:
            report((done + 1) * len(characters), len(faces) * len(characters))
    indices, scores = _search(np.stack(described), np.stack(present), count)
    return Neighbours(characters, indices, scores, tuple(fonts.faces[face].name for face in faces))


def _draw_all(characters: str, face: int, fonts: FontSet, glyphs: GlyphCache) -> tuple[np.ndarray, np.ndarray]:
    images = np.zeros((len(characters), SIDE, SIDE), np.uint8)
    there = np.zeros(len(characters), bool)
    for row, char in enumerate(characters):
        glyph = glyphs.glyph(face, char) if char in fonts.covered[face] else None
        if glyph is not None:
            images[row] = _normalised(glyph.mask)
            there[row] = True
    return images, there


def _normalised(mask: np.ndarray) -> np.ndarray:
    """Centre a glyph in the square, its larger side at one size, its aspect kept."""
    height, width = mask.shape
    scale = min(_FILL / max(height, width), _MOST_ENLARGED)
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    square = Image.new("L", (SIDE, SIDE))
    scaled = Image.fromarray(mask).resize((wide, high), Image.Resampling.BILINEAR)
    square.paste(scaled, ((SIDE - wide) // 2, (SIDE - high) // 2))
    return np.asarray(square.filter(ImageFilter.GaussianBlur(_BLUR)))


def _describe(images: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Describe glyphs by unit vectors (M, 256 + 512) float32; absent ones by zeros."""
    pixels, edges = [], []
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK].astype(np.float32) / 255
        half = part.reshape(len(part), SIDE // 2, 2, SIDE // 2, 2).mean((2, 4)).reshape(len(part), -1)
        pixels.append(half - half.mean(1, keepdims=True))
        edges.append(_edge_histograms(part))
    joined = [_unit(np.concatenate(kind), there) for kind in (pixels, edges)]
    return np.concatenate(joined, axis=1) * np.float32(np.sqrt(0.5))


def _unit(vectors: np.ndarray, there: np.ndarray) -> np.ndarray:
    if there.sum() > 2:
        vectors = vectors - vectors[there].mean(0)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(there[:, None], vectors / np.maximum(length, 1e-6), 0).astype(np.float32)


def _edge_histograms(images: np.ndarray) -> np.ndarray:
    """Sum up the edges' strengths by direction and cell: (M, bins * cells * cells) float32."""
    down, across = np.gradient(images, axis=(1, 2))
    strength = np.hypot(across, down)
    direction = (np.arctan2(down, across) * (_BINS / (2 * np.pi))) % _BINS
    step = SIDE // _CELLS
    cells = np.empty((len(images), _BINS, _CELLS, _CELLS), np.float32)
    for index in range(_BINS):
        distance = np.abs((direction - index + _BINS / 2) % _BINS - _BINS / 2)
        share = strength * np.maximum(1 - distance, 0)
        cells[:, index] = share.reshape(len(images), _CELLS, step, _CELLS, step).mean((2, 4))
    padded = np.pad(cells, ((0, 0), (0, 0), (1, 1), (1, 1)))
    around = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    return np.sqrt(0.5 * cells + 0.125 * around).reshape(len(images), -1)


def _search(described: np.ndarray, present: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Find neighbours: candidates by the mean descriptor, in blocks, then the exact scores of these alone.

    Args:
        described: (F, M, D) unit vectors.
        present: (F, M) bool.
        count: Neighbours wanted.
    """
    total = described.shape[1]
    count = min(count, total - 1)
    mean = _unit(described.mean(0), np.any(present, axis=0))
    wanted = min(max(_CANDIDATES, 2 * count), total - 1)
    indices = np.empty((total, count), np.int64)
    scores = np.empty((total, count), np.float32)
    for start in range(0, total, _BLOCK):
        stop = min(start + _BLOCK, total)
        rough = mean[start:stop] @ mean.T
        rough[np.arange(stop - start), np.arange(start, stop)] = -np.inf
        candidates = np.argpartition(-rough, wanted - 1, axis=1)[:, :wanted]
        exact = np.zeros(candidates.shape, np.float32)
        common = np.zeros(candidates.shape, np.float32)
        for vectors, there in zip(described, present, strict=True):
            exact += np.matmul(vectors[candidates], vectors[start:stop, :, None])[:, :, 0]
            common += there[candidates] & there[start:stop, None]
        exact = np.where(common > 0, exact / np.maximum(common, 1), -1)
        order = np.argsort(-exact, axis=1, kind="stable")[:, :count]
        indices[start:stop] = np.take_along_axis(candidates, order, 1)
        scores[start:stop] = np.take_along_axis(exact, order, 1)
    return indices, scores

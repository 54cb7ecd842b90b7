"""From frames back to pixels: the boxes of what was read on a line, and how far each character is to be doubted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocrcc.decoding.boxes import INK, glyph_boxes, ink_columns
from ocrcc.decoding.calibration import BLANK, Calibration
from ocrcc.decoding.evidence import assemble, from_ink
from ocrcc.reading.looks import Look
from ocrcc.reading.parts import Part
from ocrcc.types import Doubt, Recognition, RecognizedChar


@dataclass(frozen=True, kw_only=True)
class PreparedLine:
    """A line, or a part of one that is too long, ready to be read.

    Attributes:
        index: Of its image among those given.
        path: Of the image.
        pixels: (K, H, W), what is read.
        width: Of the part of the upright input image.
        extent: The pixels of that image which all of `pixels` would span, padding to a least width included.
        height: Of the image.
        ink: (width,), as `ocrcc.decoding.boxes.ink_columns` gives it.
        part: Where on the image it is.
        number: Of the part.
        count: Of the image's parts.
    """

    index: int
    path: str
    pixels: np.ndarray
    width: int
    extent: float
    height: int
    ink: np.ndarray
    part: Part
    number: int
    count: int


def inked(pixels: np.ndarray) -> tuple[int, int]:
    """Return the first column (H, W) with ink, and one past the last; all of them where there is none."""
    columns = np.flatnonzero(ink_columns(pixels) > INK)
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, pixels.shape[1])


def place(line: PreparedLine, look: Look, scale: float, calibration: Calibration | None) -> Recognition:
    """Bring a reading's frames, each ``scale`` pixels of the input image wide, to its glyphs' boxes; doubt them."""
    reading = look.reading
    spans = np.array([(span.start, span.end) for span in reading.spans], np.float64).reshape(-1, 2) * scale
    ink = line.ink
    if look.upside_down:  # then what it was padded with comes first
        spans, ink = spans - (line.extent - line.width), ink[::-1]
    text = [span.char for span in reading.spans]
    boxes = glyph_boxes(spans, text, ink, line.height)
    evidence = np.zeros((len(text), 0))
    doubts: list[Doubt | None] = [None] * len(text)
    if calibration is not None and text:
        evidence = _evidence(look, from_ink(boxes, text, ink, line.height))
        doubts = [
            Doubt(wrong=1 - right, lookalike=alike, dropped=dropped)
            for right, alike, dropped in calibration.chances(evidence).tolist()
        ]
    if look.upside_down:
        boxes = line.width - boxes[:, ::-1]
    chars = []
    for span, others, margin, (left, right), doubt, told in zip(
        reading.spans, reading.alternatives, reading.margins, boxes.tolist(), doubts, evidence.tolist(), strict=True
    ):
        chars.append(
            RecognizedChar(
                char=span.char,
                confidence=span.confidence,
                left=left,
                right=right,
                margin=margin,
                alternatives=others,
                doubt=doubt,
                evidence=tuple(told) if calibration is BLANK else (),
            )
        )
    return Recognition(
        path=line.path,
        text=reading.text,
        confidence=reading.confidence,
        chars=tuple(chars),
        upside_down=look.upside_down,
        unmatched=reading.unmatched,
    )


def _evidence(look: Look, ink: np.ndarray) -> np.ndarray:
    """Return (L, F) the evidence on a look's characters."""
    reading = look.reading
    return assemble(
        np.array([span.confidence for span in reading.spans]),
        np.array(reading.evidence),
        ink,
        np.array([np.nan if margin is None else margin for margin in reading.margins]),
        np.array(look.agreement or [1.0] * len(reading.spans)),
        look.looks,
    )

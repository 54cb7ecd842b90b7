"""What the layers pass to one another, and the letters that name tensor axes everywhere.

N lines in a batch · T frames of a line · D feature width · C classes, the blank (0) among them · L characters
of a label · H, W pixels · K colour channels (1 or 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy import ndarray
    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Line:
    """One labelled line image.

    Attributes:
        image: Upright pixels, mode ``L`` or ``RGB``.
        label: The text it shows, as its maker wrote it.
        source: Where it came from, for messages: ``labels.txt:17`` or ``train.lmdb#17``.
    """

    image: Image
    label: str
    source: str


class LineSource(Protocol):
    """Something that gives labelled lines by number: a dataset, or a renderer that never ends."""

    name: str

    @property
    def size(self) -> int | None:
        """How many lines there are; None if every index up to 2**63 gives a new one."""

    def line(self, index: int) -> Line:
        """Return line ``index``, counted from 0; the same index always gives the same line."""


class SizedLineSource(LineSource, Protocol):
    """A dataset: it ends, and knows the size of its images without decoding them."""

    @property
    def widths(self) -> ndarray:
        """The images' widths in pixels, one a line."""

    @property
    def heights(self) -> ndarray:
        """The images' heights in pixels, one a line."""


class LabelledLines(SizedLineSource, Protocol):
    """A dataset whose labels can be read without its images."""

    def label(self, index: int) -> str:
        """Return the text of line ``index``."""

    def source(self, index: int) -> str:
        """Return where line ``index`` came from."""

    @property
    def characters(self) -> Mapping[str, int]:
        """The characters of all labels and how often they occur."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Lines of one padded width, ready for a recogniser.

    Attributes:
        images: (N, K, H, W) float32, normalised and padded on the right.
        widths: (N,) int64, the columns of each image that are the line's own; the rest is padding.
        frames: (N,) int64, the frames that lie on each line's own pixels; the rest is padding.
        targets: (N, L) int64 class ids, padded with the blank 0.
        target_lengths: (N,) int64.
        labels: The N texts behind the targets, normalised by the charset.
        sources: Where the N lines came from, for messages.
        replayed: (N,) bool, the lines that are there to keep what a model knew; None for none of them. It stays on the
            host, so that parting a batch asks the device for nothing.
    """

    images: Tensor
    widths: Tensor
    frames: Tensor
    targets: Tensor
    target_lengths: Tensor
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    replayed: Tensor | None = None

    def to(self, device: str) -> Batch:
        """Return the batch with its tensors on ``device``."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def where(self, chosen: Tensor) -> Batch:
        """Return some of the lines, padded as they are.

        Args:
            chosen: (N,) bool, on the host.
        """
        numbers = chosen.nonzero()[:, 0]
        some = self._with(lambda tensor: tensor[numbers.to(tensor.device, non_blocking=True)])
        labels, sources = (tuple(texts[number] for number in numbers.tolist()) for texts in (self.labels, self.sources))
        replayed = None if self.replayed is None else self.replayed[numbers]
        return replace(some, labels=labels, sources=sources, replayed=replayed)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            images=change(self.images),
            widths=change(self.widths),
            frames=change(self.frames),
            targets=change(self.targets),
            target_lengths=change(self.target_lengths),
        )


@dataclass(frozen=True, kw_only=True)
class RecognizerOutput:
    """What a recogniser computes for a batch.

    Attributes:
        features: (N, T, D), the input of the last fully connected layer.
        logits: (N, T, C), before the softmax.
        frames: (N, T, inputs) of the backbone; None where the recogniser does not say.
    """

    features: Tensor
    logits: Tensor
    frames: Tensor | None = None

    def where(self, chosen: Tensor) -> RecognizerOutput:
        """Return what was computed for some of the lines.

        Args:
            chosen: (N,) bool, on the host.
        """
        numbers = chosen.nonzero()[:, 0].to(self.logits.device, non_blocking=True)
        return RecognizerOutput(
            features=self.features[numbers],
            logits=self.logits[numbers],
            frames=None if self.frames is None else self.frames[numbers],
        )


@dataclass(frozen=True, kw_only=True)
class CharSpan:
    """One character that was read, and the frames it was read from.

    Attributes:
        char: The character.
        confidence: Mean posterior of its class over its frames, 0..1.
        start: First frame.
        end: One past the last frame.
    """

    char: str
    confidence: float
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another character that the same frames could be.

    Attributes:
        char: The character.
        confidence: Its mean posterior over the same frames, 0..1; that of a second model where that reads it.
    """

    char: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """What a calibrated model thinks of a character that it has read.

    Attributes:
        wrong: Chance that it is another one, none at all, or has lost the one after it, 0..1.
        lookalike: Chance that it is one of its look-alikes.
        dropped: Chance that the character after it is missing (for a line's first, the one before it as well).
    """

    wrong: float
    lookalike: float
    dropped: float


@dataclass(frozen=True, kw_only=True)
class RecognizedChar:
    """One character of a reading, placed on the input image.

    Attributes:
        char: The character.
        confidence: Mean posterior over its frames, 0..1.
        left: First pixel column of the input image.
        right: One past the last pixel column.
        margin: Distance to the nearest look-alike's center minus the distance to its own; None where the
            model has no centers or the character no look-alikes.
        alternatives: Other characters for the same frames, the likeliest first.
        doubt: Of a calibrated model, where it was asked for.
        evidence: What that is told from (`ocrcc.decoding.evidence.FEATURES`); kept for calibrating alone.
    """

    char: str
    confidence: float
    left: int
    right: int
    margin: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    doubt: Doubt | None = None
    evidence: tuple[float, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """What was read on one image.

    Attributes:
        path: The image, as it was named by the caller.
        text: The text.
        confidence: The lowest confidence of its characters, 0..1; 1 minus the highest doubt of a line read
            as empty.
        chars: Its characters, in order; on a line that is upside down that is from right to left.
        upside_down: Whether the line could only be read upside down.
        unmatched: Whether it matches no pattern or check digit that was asked for, so that its text was left as it is.
        second: What a second model reads; None where none was asked.
    """

    path: str
    text: str
    confidence: float
    chars: tuple[RecognizedChar, ...] = field(default=())
    upside_down: bool = False
    unmatched: bool = False
    second: str | None = None


Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]
"""Four corners (x, y) in pixels: from where the line's upper edge starts, clockwise as its text is read."""


Points = tuple[tuple[float, float], ...]
"""Corners of a polygon or of a chain of lines, (x, y) each."""


@dataclass(frozen=True, slots=True)
class Outline:
    """Where on a page a line of text stands.

    Attributes:
        polygon: Its corners; empty where only the baseline is known.
        baseline: What the letters stand on, in the direction of reading; empty where it is not known.
        size: Width and height of what the coordinates count in, where that may not be the image's pixels.
        ordered: Whether ``polygon`` has four corners, from where the line's upper edge starts, clockwise as it is read.
    """

    polygon: Points
    baseline: Points = ()
    size: tuple[float, float] | None = None
    ordered: bool = False


@dataclass(frozen=True, kw_only=True)
class PageChar(RecognizedChar):
    """One character of a page; ``left`` and ``right`` are pixel columns of the page.

    Attributes:
        box: Where it stands on the page.
    """

    box: Box


@dataclass(frozen=True, kw_only=True)
class PageLine:
    """One line of a page.

    Attributes:
        text: The text.
        confidence: As in `Recognition`.
        chars: Its characters, in order.
        box: Where the line stands on the page.
        unmatched: As in `Recognition`.
        second: As in `Recognition`.
    """

    text: str
    confidence: float
    chars: tuple[PageChar, ...]
    box: Box
    unmatched: bool = False
    second: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """What was read on one page.

    Attributes:
        path: The image, as it was named by the caller; ``scan.pdf#2`` for the second page of a document.
        width: Pixels of the upright page.
        height: Pixels of the upright page.
        lines: Its lines, in reading order.
    """

    path: str
    width: int
    height: int
    lines: tuple[PageLine, ...]

"""Where a run's figures go: ``metrics.jsonl`` and TensorBoard, side by side in the run folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from ocrcc.charset import describe
from ocrcc.errors import DataError
from ocrcc.runs.folder import METRICS


@dataclass(frozen=True, kw_only=True)
class NamedMargin:
    """How far a character was kept from its look-alikes.

    Attributes:
        char: The character.
        margin: Mean distance to the nearest look-alike's center minus that to the own one.
        confidence: Mean posterior of the character over its frames, 0..1.
    """

    char: str
    margin: float
    confidence: float


class Tracker:
    """Writes scalars, texts and images of a run; a context manager.

    Args:
        folder: The run folder; None writes nothing, for all processes but the main one.
        start: The step that the run goes on from.

    Raises:
        DataError: The folder cannot be written to.
    """

    def __init__(self, folder: Path | None, start: int = 0) -> None:
        self._board: SummaryWriter | None = None
        if folder is None:
            return
        path = folder / METRICS
        self._folder = folder
        try:
            self._file = path.open("ab", buffering=0)
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
        except OSError as error:
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None

    def __enter__(self) -> Tracker:
        self._hook = threading.excepthook
        if self._board is not None:
            threading.excepthook = self._of_a_thread
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if self._board is not None:
                with suppress(OSError) if kind else nullcontext(), self._written():
                    self._file.close()
                    self._board.close()
        finally:
            threading.excepthook = self._hook

    def _of_a_thread(self, raised: threading.ExceptHookArgs) -> None:
        # TensorBoard's thread, which writes, raises it a second time at the next figure, and then it is told.
        if not type(raised.thread).__module__.startswith("tensorboard."):
            self._hook(raised)

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self._folder}: figures cannot be written: {error.strerror or error}",
                f"what was saved last is whole; go on with --resume {self._folder}",
            ) from None

    def entry(self, step: int, values: Mapping[str, float], extremes: Mapping[str, Sequence[NamedMargin]]) -> None:
        """Record a step.

        Args:
            step: Optimizer steps done.
            values: Figures by name.
            extremes: Characters by how they were chosen, for instance as ``worst_margins``.
        """
        if self._board is None:
            return
        named = {name: [asdict(one) for one in chosen] for name, chosen in extremes.items()}
        with self._written():
            end = self._file.tell()
            try:
                self._file.write(json.dumps({"step": step, **values, **named}).encode() + b"\n")
            except OSError:
                self._file.truncate(end)  # a torn line would be the next one's beginning
                raise
            for name, value in values.items():
                self._board.add_scalar(name, value, step)
        rows = [
            f"{name}: {describe(one.char)} margin {one.margin:.3f}, confidence {one.confidence:.3f}"
            for name, chosen in extremes.items()
            for one in chosen
        ]
        if rows:
            self.text(step, "margins", "\n".join(rows))

    def text(self, step: int, name: str, text: str) -> None:
        """Record a text, shown as it is."""
        if self._board is not None:
            with self._written():
                self._board.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), step)

    def image(self, step: int, name: str, pixels: Tensor) -> None:
        """Record a picture (K, H, W), 0..1."""
        if self._board is not None:
            with self._written():
                self._board.add_image(name, pixels, step)

"""Where a run's figures go: ``metrics.jsonl`` and TensorBoard, side by side in the run folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard.writer import SummaryWriter

from ocrcc.errors import DataError


class Tracker:
    """Writes scalars, texts and images of a run.

    Args:
        folder: The run folder.
        start: The step that the run goes on from; later figures of an interrupted run are taken back.

    Raises:
        DataError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        self._path = folder / "metrics.jsonl"
        try:
            kept = [line for line in self._lines() if json.loads(line)["step"] <= start] if start else []
            self._path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            self._file = self._path.open("a", encoding="utf-8")
            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1 if start else None)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written to: {error.strerror}") from None

    def _lines(self) -> list[str]:
        return self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Record figures of a step."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        """Record a text, shown as it is."""
        self._board.add_text(name, "\n".join(f"    {line}" for line in text.splitlines()), step)

    def image(self, step: int, name: str, pixels: Tensor) -> None:
        """Record a picture (K, H, W), 0..1."""
        self._board.add_image(name, pixels, step)

    def close(self) -> None:
        """Write everything out."""
        self._file.close()
        self._board.close()

"""A folder of corrections: every decision of a person, one after the other, and the labels that follow from them.

``decisions.jsonl`` is only ever added to, and on the disk before the next decision is asked for. ``labels.tsv`` and
``lines/`` follow from it; `ocrcc build-lmdb` and `ocrcc finetune --train` take the folder.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ocrcc.annotations.entries import check_text
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import DISK_IS_FULL, check_regular, sync_folder, whole
from ocrcc.places import SOFTWARE, claimed, sweep_folder

_HEADER = {"ocrcc": "decisions", "version": 1}
_KEY = re.compile(r"[0-9a-f]{20}")
_NAME, _LABELS, _LINES = "decisions.jsonl", "labels.tsv", "lines"

Record = Mapping[str, Any]
"""A decision.

``line``: the line's key; ``read``: its characters as they were read; ``position``: of the one that was asked about, and
``looks`` its `fingerprint`; ``cells``: what stands for some of them now, by position; ``decided``: the positions that
were decided; ``open``: how many are still to be; ``text``: the line as it is now; ``left_out``: whether it is to be no
label; ``seconds``: that it took.
"""


class DecisionLog:
    """The decisions that stand, oldest first; those that were undone are in the file alone.

    Made by `opened`.
    """

    def __init__(self, folder: Path, descriptor: int, records: list[Record], found: int) -> None:
        self.folder = folder
        self.records = records
        self.trouble = ""
        """Why ``labels.tsv`` lags behind the decisions; empty if it does not."""
        self._descriptor = descriptor
        self._size = found
        self._by_line: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            self._by_line[record["line"]].append(record)

    def of(self, line: str) -> list[Record]:
        """Return a line's decisions that stand, oldest first."""
        return self._by_line.get(line, [])

    def add(self, record: Record, image: Image.Image | None = None) -> None:
        """Keep a decision, on the disk, before it counts.

        Args:
            record: What was decided.
            image: The line, if it is decided as a whole now and its label needs it.

        Raises:
            DataError: It cannot be kept; all is as before.
        """
        if image is not None:
            self._keep_image(record["line"], image)
        self._append(record)
        self.records.append(record)
        self._by_line[record["line"]].append(record)
        self._write_labels()

    def undo(self) -> Record | None:
        """Take the last decision back, and return it; None if there is none.

        Raises:
            DataError: That cannot be kept; all is as before.
        """
        if not self.records:
            return None
        self._append({"undo": self.records[-1]["line"]})
        record = self.records.pop()
        self._by_line[record["line"]].pop()
        self._write_labels()
        return record

    def labels(self) -> dict[str, str]:
        """Return the texts of the lines that are decided as a whole and hold text, by key."""
        return _labels(self.records)

    def _keep_image(self, line: str, image: Image.Image) -> None:
        path = self.folder / _LINES / f"{line}.png"
        if path.exists():
            return
        mark = PngInfo()
        mark.add_text("Software", SOFTWARE)
        encoded = io.BytesIO()
        image.save(encoded, "PNG", pnginfo=mark)
        with suppress(OSError):  # what is wrong is said of the file
            path.parent.mkdir(exist_ok=True)
        with whole(path) as aside:
            aside.write_bytes(encoded.getvalue())

    def _append(self, record: Record) -> None:
        """Write a record as one line that is there as a whole or not at all."""
        raw = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        try:
            written = 0
            while written < len(raw):
                written += os.write(self._descriptor, raw[written:])
            os.fsync(self._descriptor)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise DataError(
                f"{self.folder / _NAME}: cannot be written: {error.strerror or error}",
                "make room on the disk, and decide once more" if error.errno in DISK_IS_FULL else None,
            ) from None
        self._size += len(raw)

    def _write_labels(self) -> None:
        try:
            _write_labels(self.folder, self.labels())
            self.trouble = ""
        except DataError as error:
            self.trouble = f"{error.message}; the decisions are kept, and the labels follow with the next one"


@contextmanager
def opened(folder: Path) -> Iterator[DecisionLog]:
    """Open a folder of corrections, new or begun, as the only one who adds to it.

    What a killed process left half written at the end is cut off: it was never acknowledged.

    Raises:
        ConfigError: Another one reviews there; or the folder holds something else.
        DataError: It cannot be written, or its log is damaged.
    """
    with claimed(folder):
        path = folder / _NAME
        try:
            _check_ours(folder)
            folder.mkdir(exist_ok=True)
            sync_folder(folder.absolute().parent)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
            descriptor = os.open(path, flags, 0o666)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from None
        try:
            sweep_folder(folder)
            sweep_folder(folder / _LINES)
            raw = path.read_bytes()
            size = raw.rfind(b"\n") + 1
            if size < len(raw):
                os.ftruncate(descriptor, size)
            records, decided = _read(path, raw[:size])
            log = DecisionLog(folder, descriptor, records, size)
            if not size:
                log._append(_HEADER)
                sync_folder(folder)
            else:
                _check_labels(folder / _LABELS, decided)
            log._write_labels()
            yield log
        finally:
            os.close(descriptor)


def _check_ours(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / _NAME).exists()):
        raise ConfigError(f"{folder} exists and is no folder of corrections", "choose another name: --out DIR")
    if (folder / _NAME).exists():
        check_regular(folder / _NAME)


def _read(path: Path, raw: bytes) -> tuple[list[Record], set[bytes]]:
    """Return the records that stand, and the labels that any record made, undone ones too."""
    records: list[Record] = []
    decided: set[bytes] = set()
    for number, line in enumerate(raw.split(b"\n")[:-1], start=1):
        try:
            record = json.loads(line.decode("utf-8", "surrogatepass"))
            if number == 1:
                if record != _HEADER:
                    raise DataError(f"{path}: no log of decisions, or of a newer version of ocrcc")
            elif "undo" in record:
                records.pop()
            else:
                _check(record)
                records.append(record)
                decided.update(_tsv({record["line"]: record["text"]}).splitlines(keepends=True))
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            raise DataError(
                f"{path}:{number}: damaged", "restore it from a copy, or review into another folder"
            ) from None
    return records, decided


def _check(record: Any) -> None:
    """Raise a ValueError, TypeError or KeyError if this is no record."""
    texts = [record["line"], record["text"], record["looks"], *record["read"], *record["cells"].values()]
    places = [record["position"], *record["decided"], *map(int, record["cells"])]
    if not all(isinstance(text, str) for text in texts) or not _KEY.fullmatch(record["line"]):
        raise ValueError
    if not all(0 <= place < max(1, len(record["read"])) for place in places) or record["open"] < 0:
        raise ValueError
    if not 0 <= record["seconds"] < 1e6:
        raise ValueError


def _labels(records: list[Record]) -> dict[str, str]:
    last = {record["line"]: record for record in records}
    return {
        line: record["text"]
        for line, record in last.items()
        if not record["open"] and not record.get("left_out") and not check_text(record["text"])
    }


def _tsv(labels: Mapping[str, str]) -> bytes:
    # A tab in a text would be read as the end of a column; no model writes one, so it is the space that it looks like.
    rows = ((f"{_LINES}/{line}.png", text.replace("\t", " ")) for line, text in labels.items())
    return "".join(f"{path}\t{text}\n" for path, text in rows).encode()


def _write_labels(folder: Path, labels: Mapping[str, str]) -> None:
    with whole(folder / _LABELS) as aside:
        aside.write_bytes(_tsv(labels))


def _check_labels(path: Path, decided: set[bytes]) -> None:
    """Replace only labels each of which follows from a decision; after a full disk some may lag behind."""
    if path.exists() and not set(path.read_bytes().splitlines(keepends=True)) <= decided:
        raise ConfigError(
            f"{path} was changed by hand, and would be replaced", "move it away, or review into another folder"
        )

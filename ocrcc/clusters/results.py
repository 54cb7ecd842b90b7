"""Files of what a cluster has read: JSON Lines, or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from ocrcc.harmless import json_text
from ocrcc.places import Kind

_MADE_BY = {"made_by": "ocrcc readings"}


def _is_table_of_readings(path: Path) -> bool:
    from pyarrow import ArrowInvalid, parquet

    try:
        return bool(
            parquet.read_schema(path).metadata == {key.encode(): text.encode() for key, text in _MADE_BY.items()}
        )
    except (OSError, ArrowInvalid):
        return False


TABLE = Kind("table of readings", _is_table_of_readings)
"""What a Parquet file of readings may replace."""

Rows = list[dict[str, str]]


class Results(Protocol):
    """Writes rows as `ocrcc.clusters.worker` gives them."""

    def write(self, rows: Rows) -> None:
        """Append rows."""

    def close(self) -> None:
        """Finish the file."""


def open_results(path: Path) -> Results:
    """Open a file by what its name ends in."""
    return _Parquet(path) if path.suffix.lower() == ".parquet" else _JsonLines(path)


class _JsonLines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, rows: Rows) -> None:
        for row in rows:
            lost = {"path": row["path"], "error": row["error"]}
            self._file.write(row["json"] or json_text(lost) + "\n")

    def close(self) -> None:
        self._file.close()


class _Parquet:
    """One table of path, text, the whole reading as JSON, and the error; texts alone are cheap to query."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        from ocrcc.clusters.worker import COLUMNS

        self._table: Any = pa.Table
        self._schema = pa.schema([(column, pa.string()) for column in COLUMNS], _MADE_BY)
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Rows) -> None:
        self._writer.write_table(self._table.from_pylist(rows, self._schema))

    def close(self) -> None:
        self._writer.close()

"""The index that knows the size of every line of a dataset, so that no image need be decoded to sort lines by width.

A dataset of ours has it under two keys of its own. For a foreign one, a file beside it holds the same.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

INDEX = b"ocrcc-index"
META = b"ocrcc-meta"
COUNT = b"num-samples"
INDEX_FORMAT = 1
BESIDE_FORMAT = 3  # of the index of a dataset that came without one
DAMAGED = (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error, zlib.error)
"""What reading an index raises that is not as it was written."""


@dataclass(frozen=True)
class Index:
    """Sizes of all lines, 4 bytes each, and the characters of all labels.

    Attributes:
        widths: The images' widths in pixels, one a line.
        heights: Their heights.
        label_lengths: Characters of the labels, one a line.
        characters: The characters of all labels and how often they occur.
        line_ends: Labels that were stored with line breaks at their ends.
        sha256: Of all images and labels, as `digest_line` takes them.
    """

    widths: np.ndarray
    heights: np.ndarray
    label_lengths: np.ndarray
    characters: Counter[str]
    line_ends: int = 0
    sha256: str = ""

    def pack(self, version: int) -> tuple[bytes, bytes]:
        """Return the sizes and all else, as they are stored."""
        sizes = np.stack([self.widths, self.heights, self.label_lengths]).astype("<u4")
        meta = {"format": version, "lines": sizes.shape[1], "characters": dict(self.characters), "sha256": self.sha256}
        if self.line_ends:
            meta["line_ends"] = self.line_ends
        return zlib.compress(sizes.tobytes(), 1), json.dumps(meta, ensure_ascii=False).encode()

    @staticmethod
    def unpack(sizes: bytes, meta: bytes, lines: int, version: int) -> Index | None:
        """Read what `pack` gave.

        Returns:
            None for an index of another number of lines: somebody added to the dataset since. Where it is damaged, one
            of `DAMAGED` is raised.
        """
        described = json.loads(meta)
        if described["format"] != version or described["lines"] != lines:
            return None
        unpacked = zlib.decompressobj().decompress(sizes, 12 * lines + 1)  # not a byte more than it may have
        table = np.frombuffer(unpacked, dtype="<u4").reshape(3, lines)
        counts = described["characters"].items()
        if not (table[:2] > 0).all() or not all(len(char) == 1 and type(count) is int for char, count in counts):
            raise ValueError("sizes of 0, or no characters")
        ends, digest = described.get("line_ends", 0), str(described.get("sha256", ""))
        return Index(table[0], table[1], table[2], Counter(described["characters"]), ends, digest)


def digest_line(digest: Any, image: bytes, label: bytes) -> None:
    """Add an image and its label to a SHA-256, behind their two lengths (``<QQ``)."""
    digest.update(struct.pack("<QQ", len(image), len(label)))
    digest.update(image)
    digest.update(label)

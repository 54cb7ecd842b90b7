"""What images are called, and what the fields are called that hold their paths and texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ocrcc.files import IMAGE_SUFFIXES

PATH_COLUMNS = (
    *("file_name", "filename", "path", "file", "image_path", "img_path", "image_file", "image", "img"),
    *("image_name", "img_name", "filepath", "file_path", "图片", "文件名", "文件", "路径"),
)
TEXT_COLUMNS = (
    *("text", "label", "transcription", "transcript", "ground_truth", "gt", "words", "word", "labels"),
    *("sentence", "content", "value", "caption", "utf8_string", "文本", "标签", "内容"),
)
SUFFIX = f"(?:{'|'.join(map(re.escape, IMAGE_SUFFIXES))})"
"""A pattern of the endings of images."""
IMAGE_NAME = re.compile(rf".+{SUFFIX}", re.IGNORECASE)


def pick(columns: Iterable[str], wanted: Sequence[str]) -> str | None:
    """Return the column of the best-known name."""
    by_name = {column.strip().casefold(): column for column in columns}
    return next((by_name[name] for name in wanted if name in by_name), None)


def shorten(line: str) -> str:
    """Quote a line for a message."""
    return repr(line if len(line) <= 60 else line[:59] + "…")

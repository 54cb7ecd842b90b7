"""A recogniser that reads shades of grey, and lines to read: what it makes of a character is known by hand."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.errors import DataError
from ocrcc.lookalikes import Group, Lookalikes
from ocrcc.losses.center import Centers
from ocrcc.space.characters import Viewer, siblings_of
from ocrcc.types import Line, RecognizerOutput

STRIDE = 4
STEP = 28
CHARSET = Charset("abcdefgh")
PLAIN = Preprocessing(polarity="keep")
LOOKALIKES = Lookalikes((Group("ab", 0.9, "list"), Group("cd", 0.8, "list")))


def grey_line(text: str) -> Image.Image:
    """Each character a column of its grey, and one of black after it; a space is two of black."""
    columns = [grey for char in text for grey in ((CHARSET.id(char) if char != " " else 0) * STEP, 0)] or [0]
    return Image.fromarray(np.tile(np.repeat(np.array(columns, dtype=np.uint8), STRIDE), (32, 1)))


class GreyReader(torch.nn.Module):
    """A frame's feature is (its class by its grey, 1); its logits fall off with the distance to each class."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.width_stride = STRIDE
        self.num_classes = CHARSET.num_classes
        self.feature_width = 2
        self.offset = offset
        self.images_seen = 0

    def forward(self, images):
        self.images_seen += len(images)
        count, _, _, width = images.shape
        grey = (images * PLAIN.std + PLAIN.mean) * 255
        shade = grey.reshape(count, 32, width // STRIDE, STRIDE).mean(dim=(1, 3)) / STEP
        features = torch.stack((shade + self.offset, torch.ones_like(shade)), dim=2)
        return RecognizerOutput(
            features=features, logits=-5.0 * (shade[..., None] - torch.arange(self.num_classes)).abs()
        )


def grey_viewer(centers: bool = True, **changes) -> Viewer:
    """Look through a grey reader; the center of each class lies where its features are."""
    placed = None
    if centers:
        placed = Centers(CHARSET.num_classes, 2)
        ids = torch.arange(1, CHARSET.num_classes)
        placed.accumulate(torch.stack((ids.float(), torch.ones(len(ids))), dim=1), ids)
    settings = {
        "recognizer": GreyReader(),
        "charset": CHARSET,
        "preprocessing": PLAIN,
        "device": "cpu",
        "siblings": siblings_of(LOOKALIKES, CHARSET),
        "centers": placed,
    }
    return Viewer(**{**settings, **changes})


class GreyLines:
    """A dataset in memory of (what is drawn, what the label says); a drawing of None cannot be opened."""

    def __init__(self, *lines: tuple[str | None, str], name: str = "lines") -> None:
        self.name = name
        self.lines = lines
        self.widths = np.array([grey_line(drawn or "").width for drawn, _ in lines])
        self.heights = np.full(len(lines), 32)

    @property
    def size(self) -> int:
        return len(self.lines)

    def line(self, index: int) -> Line:
        drawn, label = self.lines[index]
        if drawn is None:
            raise DataError(f"{self.source(index)}: truncated image")
        return Line(image=grey_line(drawn), label=label, source=self.source(index))

    # what choosing from labels needs beside that

    def __len__(self) -> int:
        return len(self.lines)

    def label(self, index: int) -> str:
        return self.lines[index][1]

    def source(self, index: int) -> str:
        return f"{self.name}#{index + 1}"

    @property
    def characters(self) -> dict[str, int]:
        text = "".join(label for _, label in self.lines)
        return {char: text.count(char) for char in dict.fromkeys(text)}

"""Pages drawn with Pillow's own font, and an engine that reads stripes of grey instead of text."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ocrcc.charset import Charset
from ocrcc.config import PredictConfig, Preprocessing
from ocrcc.reading.engines import Engine
from ocrcc.reading.reader import LineReader

CHARSET = Charset("abcdefgh")
STEP = 28  # grey levels between characters; the blank is black
STRIDE = 4
PLAIN = Preprocessing(polarity="keep")
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "nobody", "looks")


def draw_page(lines: int = 12, size: int = 20, *, width: int = 700, words: int = 9, ink: int = 20) -> Image.Image:
    """Draw running text, dark on light or light on dark by its ink."""
    image = Image.new("L", (width, 40 + lines * size * 2), 255 - ink)
    font = ImageFont.load_default(size=size)
    for number in range(lines):
        text = " ".join(WORDS[(number * 5 + word) % len(WORDS)] for word in range(words))
        ImageDraw.Draw(image).text((20, 20 + number * size * 2), text, fill=ink, font=font)
    return image


def stripes(text: str, frames: int = 2, *, blanks: int = 1, height: int = 32) -> Image.Image:
    """Draw a line that `stripe_reader` reads as a text: each character some frames of its grey, then black ones."""
    columns: list[int] = []
    for char in text:
        columns += [CHARSET.id(char) * STEP] * frames + [0] * blanks
    pixels = np.repeat(np.array(columns or [0], dtype=np.uint8), STRIDE)
    image = Image.fromarray(np.tile(pixels, (32, 1)))
    return image if height == 32 else image.resize((image.width * height // 32, height), Image.Resampling.NEAREST)


def stand(line: Image.Image) -> Image.Image:
    """Leave a line's feet free."""
    line.paste(0, (0, 26, line.width, 32))
    return line


def stripe_page(texts: list[str], *, left: int = 40) -> tuple[Image.Image, list[np.ndarray]]:
    """Draw a page of such lines on black, 64 pixels apart, 20 a character, with their corners."""
    image = Image.new("L", (600, 64 * len(texts) + 32), 0)
    quads = []
    for number, text in enumerate(texts):
        line = stand(stripes(text, frames=4))
        top = 32 + 64 * number
        image.paste(line, (left, top))
        right, bottom = left + line.width, top + line.height
        quads.append(np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float32))
    return image, quads


def read_stripes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell the class of each frame by its grey at half height; a frame of several greys lies between characters."""
    count, _, _, width = images.shape
    columns = (
        ((images[:, :, 8:24] * PLAIN.std + PLAIN.mean) * 255).mean(axis=(1, 2)).reshape(count, width // STRIDE, STRIDE)
    )
    return _nearest(np.where(np.ptp(columns, axis=2) > STEP, 0, columns.mean(axis=2)))


def read_blurred_stripes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell the class of each frame by its mean grey, as it must be after an image was scaled."""
    count, _, _, width = images.shape
    grey = ((images * PLAIN.std + PLAIN.mean) * 255).mean(axis=(1, 2))
    return _nearest(grey.reshape(count, width // STRIDE, STRIDE).mean(axis=2))


def _nearest(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return features and logits of frames by their greys."""
    distances = np.abs(grey[..., None] / STEP - np.arange(CHARSET.num_classes))
    return grey[..., None].astype(np.float32), (-5 * distances).astype(np.float32)


def read_standing_stripes(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read stripes surely where they leave the lines' feet free, and hardly where they leave the heads."""
    features, logits = read_stripes(images)
    pixels = images * PLAIN.std + PLAIN.mean
    stands = pixels[:, :, :5].mean(axis=(1, 2, 3)) >= pixels[:, :, -5:].mean(axis=(1, 2, 3))
    return features, np.where(stands[:, None, None], logits, 0.001 * logits)


def stripe_reader(engine: Engine = read_stripes, **config: object) -> LineReader:
    """Make a reader of stripes."""
    return LineReader(engine, CHARSET, PLAIN, width_stride=STRIDE, config=PredictConfig(**config))

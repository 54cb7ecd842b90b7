"""Read images: any number of them, in order, in batches of one width, whatever makes them up.

Nothing here needs torch before a model of ours is loaded, so that other engines can read without it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, tee
from pathlib import Path

import numpy as np
from PIL import Image

from ocrcc import packaged
from ocrcc.bidi import as_typed
from ocrcc.charset import Charset
from ocrcc.config import DEFAULT_MODEL, PredictConfig, Preprocessing
from ocrcc.decoding.boxes import ink_columns
from ocrcc.decoding.calibration import Calibration, parse_calibration
from ocrcc.decoding.constraints import Rule
from ocrcc.decoding.greedy import Reading, decode
from ocrcc.decoding.rivals import Rivals
from ocrcc.errors import ConfigError, DataError
from ocrcc.images.opening import open_image
from ocrcc.images.transforms import prepare
from ocrcc.models.contract import resolve
from ocrcc.processes import cores
from ocrcc.reading.engines import Engine, lines_at_once, torch_engine
from ocrcc.reading.halfwidth import half_width
from ocrcc.reading.image_inputs import ONE_IMAGE, ImageInput, as_source, name_of
from ocrcc.reading.looks import find_rivals, read_lines
from ocrcc.reading.onnx_engine import load_onnx, pick_onnx
from ocrcc.reading.parts import Part, cut_at_gaps, join
from ocrcc.reading.placing import PreparedLine, place
from ocrcc.types import Recognition

_MAX_WAITING = 2**26
"""Pixels that wait for others of their width, 256 MB; beyond it batches are read as they are."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """An image that could not be opened.

    Attributes:
        path: The image, as it was named by the caller.
        message: Why.
    """

    path: str
    message: str


_NOT_ASKED = Unreadable(path="", message="the first model is sure of it")
"""Stands among the images of a second model for one that it need not read."""


class _Done:
    """What was read and is still to be given, by the number of its image; parts wait for one another."""

    def __init__(self, charset: Charset, half_width: bool, rule: Rule | None) -> None:
        self._spaces, self._bidi, self._half_width = " " in charset, charset.bidi, half_width
        self._rule = rule
        self._whole: dict[int, Recognition | Unreadable] = {}
        self._parts: defaultdict[int, dict[int, tuple[Part, Recognition]]] = defaultdict(dict)

    def add(self, index: int, result: Unreadable) -> None:
        self._whole[index] = result

    def update(self, read: Sequence[tuple[PreparedLine, Recognition]]) -> None:
        for line, reading in read:
            parts = self._parts[line.index]
            parts[line.number] = line.part, reading
            if len(parts) == line.count:
                ordered = [parts[number] for number in range(line.count)]
                whole = join(ordered, line.height, spaces=self._spaces)
                if line.count > 1 and self._rule is not None:
                    whole = replace(whole, unmatched=not self._rule.holds(whole.text))
                whole = _as_typed(whole) if self._bidi else whole
                self._whole[line.index] = half_width(whole) if self._half_width else whole
                del self._parts[line.index]

    def __contains__(self, index: int) -> bool:
        return index in self._whole

    def pop(self, index: int) -> Recognition | Unreadable:
        return self._whole.pop(index)


class LineReader:
    """Reads line images with one model.

    Args:
        engine: The recogniser.
        charset: What its classes mean.
        preprocessing: What its input looks like.
        width_stride: Pixels of its input a frame.
        rivals: Who looks like whom, for margins and alternatives.
        calibration: Tells with these how doubtful each character is; None for a model without one.
        config: How many at once.
        parallel: Batches that are read at the same time; the engine is called from as many threads.
    """

    def __init__(
        self,
        engine: Engine,
        charset: Charset,
        preprocessing: Preprocessing,
        *,
        width_stride: int,
        rivals: Rivals | None = None,
        calibration: Calibration | None = None,
        config: PredictConfig | None = None,
        parallel: int = 1,
    ) -> None:
        self.charset = charset
        self.preprocessing = preprocessing
        self.config = config or PredictConfig()
        self._engine = engine
        self._width_stride = width_stride
        self._rivals = rivals
        self.calibration = calibration if rivals is not None else None
        self._rule = Rule.of(charset, allow=self.config.allow, pattern=self.config.pattern, check=self.config.check)
        self.parallel = parallel
        self.second: LineReader | None = None
        """Reads what this one doubts; see `ocrcc.reading.second`."""
        self.on_open: Callable[[str, Image.Image], None] = lambda _name, _image: None
        """Told of every image that was opened."""

    @classmethod
    def load(cls, model: str | Path, *, device: str = "auto", config: PredictConfig | None = None) -> LineReader:
        """Load a model.

        Args:
            model: A ``.safetensors`` or exported ``.onnx`` file, a run folder (its best model), a shipped
                model's name, or ``hf://owner/name``.
            device: ``auto``, ``cpu``, ``cuda`` or any other torch device.
            config: How to read.

        Raises:
            ConfigError: The engine cannot read this model, or is not installed.
            ModelError: The model is missing, damaged, or made by a newer version.
        """
        config = config or PredictConfig()
        reader = cls._load(resolve(model), device, config)
        if config.second_model:
            bare = replace(config, second_model="", engine="auto", lookalikes="", alternatives=0, center_share=0.0)
            reader.second = cls._load(resolve(config.second_model), device, bare)
        return reader

    @classmethod
    def _load(cls, path: Path, device: str, config: PredictConfig) -> LineReader:
        exported = pick_onnx(path, config.engine, device)
        if exported is not None:
            # Threads that share one batch wait for one another at every layer; with a batch each, they do not.
            found = load_onnx(exported, threads=1)
            return cls(
                found.engine,
                found.charset,
                found.preprocessing,
                width_stride=found.width_stride,
                rivals=find_rivals(config.lookalikes, found.charset, found.centers, found.center_counts),
                calibration=parse_calibration(found.info.get("calibration"), path),
                config=config,
                parallel=config.threads or cores(),
            )
        import torch

        from ocrcc.models.checkpoint import load_model

        loaded = load_model(path, device=device)
        if config.threads:
            torch.set_num_threads(config.threads)
        centers = None if loaded.centers is None else loaded.centers.cpu().numpy()
        counts = None if loaded.center_counts is None else loaded.center_counts.cpu().numpy()
        return cls(
            torch_engine(loaded.recognizer, loaded.device),
            loaded.charset,
            loaded.preprocessing,
            width_stride=loaded.recognizer.width_stride,
            rivals=find_rivals(config.lookalikes, loaded.charset, centers, counts),
            calibration=parse_calibration(loaded.info.get("calibration"), path),
            config=config,
        )

    def recognize(self, images: Iterable[ImageInput], *, alternatives: int | None = None) -> list[Recognition]:
        """Read images.

        Args:
            images: Paths, encoded bytes, PIL images, or uint8 arrays.
            alternatives: How many other characters to name for each character; the config's by default.

        Returns:
            One reading an image, in their order. Pixels count on the upright image, as EXIF turns it.

        Raises:
            DataError: An image cannot be opened. `stream` goes on with the others instead.
        """
        readings = []
        for found in self.stream(images, alternatives=alternatives):
            if isinstance(found, Unreadable):
                raise DataError(found.message, "LineReader.stream passes over what cannot be opened")
            readings.append(found)
        return readings

    def stream(
        self, images: Iterable[ImageInput], *, alternatives: int | None = None
    ) -> Generator[Recognition | Unreadable, None, None]:
        """Read images as they come and give the results in the same order, with bounded memory.

        Images wait until a batch of their width is full, or until the first one still to be given has waited
        for ``config.window`` others. A reading does not depend on the batch it was made in.

        Args:
            images: As for `recognize`; may be endless.
            alternatives: As for `recognize`.
        """
        if isinstance(images, ONE_IMAGE):
            raise TypeError("images must be a list of images, not one image; use [image]")
        count = self.config.alternatives if alternatives is None else alternatives
        if self.second is None:
            yield from self._stream(images, count)
            return
        from ocrcc.lookalikes import load_lookalikes
        from ocrcc.reading.second import is_doubtful, together

        lookalikes = load_lookalikes(self.config.lookalikes or PredictConfig.lookalikes).for_training()
        mine, same = tee(images)
        with closing(self._stream(mine, count)) as read:
            lines, again = tee(read)
            asked = (
                image if isinstance(line, Recognition) and is_doubtful(line, self.config.second_doubt) else _NOT_ASKED
                for line, image in zip(again, same, strict=True)
            )
            with closing(self.second._stream(asked, 0)) as others:
                yield from together(lines, others, self.second.charset, lookalikes, self._rule)

    def _stream(
        self, images: Iterable[ImageInput | Unreadable], count: int
    ) -> Generator[Recognition | Unreadable, None, None]:
        queue = _Queue(self)
        done = _Done(self.charset, self.config.half_width, self._rule)
        given = 0
        longest = self.config.window + self.parallel * self.config.batch_size
        with ThreadPoolExecutor(self.parallel, thread_name_prefix="ocrcc-read") as pool:
            reading: deque[Future[list[tuple[PreparedLine, Recognition]]]] = deque()
            for index, opened in enumerate(self._opened(images)):
                if isinstance(opened, Unreadable):
                    done.add(index, opened)
                else:
                    batches = chain.from_iterable(map(queue.add, opened))
                    reading.extend(pool.submit(self._read, batch, count) for batch in batches)
                waiting = index + 1 - given
                while waiting >= self.config.window and (batch := queue.take_with(given)):
                    reading.append(pool.submit(self._read, batch, count))
                while reading and (len(reading) > self.parallel or waiting >= longest or reading[0].done()):
                    done.update(reading.popleft().result())
                while given in done:
                    yield done.pop(given)
                    given += 1
            reading.extend(pool.submit(self._read, batch, count) for batch in queue.take_all())
            while reading:
                done.update(reading.popleft().result())
                while given in done:
                    yield done.pop(given)
                    given += 1

    def _opened(self, images: Iterable[ImageInput | Unreadable]) -> Iterator[list[PreparedLine] | Unreadable]:
        """Open images in threads, a few ahead of those that are read."""
        ahead: deque[Future[list[PreparedLine] | Unreadable]] = deque()
        with ThreadPoolExecutor(self.config.workers, thread_name_prefix="ocrcc-open") as pool:
            try:
                for index, image in enumerate(images):
                    ahead.append(pool.submit(self._open, index, image))
                    if len(ahead) > 2 * self.config.batch_size:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _open(self, index: int, image: ImageInput | Unreadable) -> list[PreparedLine] | Unreadable:
        if isinstance(image, Unreadable):
            return image
        path = name_of(image, index)
        try:
            opened = open_image(as_source(image), name=path)
            self.on_open(path, opened)
            parts = cut_at_gaps(opened, self.preprocessing)
            return [self._prepared(index, path, opened, part, number, len(parts)) for number, part in enumerate(parts)]
        except DataError as error:
            return Unreadable(path=path, message=error.message)

    def _prepared(
        self, index: int, path: str, opened: Image.Image, part: Part, number: int, count: int
    ) -> PreparedLine:
        cropped = _crop(opened, part)
        pixels = prepare(cropped, self.preprocessing)
        return PreparedLine(
            index=index,
            path=path,
            pixels=pixels,
            width=part.right - part.left,
            extent=cropped.width * pixels.shape[2] / self.preprocessing.scaled_width(*cropped.size),
            height=opened.height,
            ink=ink_columns(np.asarray(cropped.convert("L"))),
            part=part,
            number=number,
            count=count,
        )

    def _read(self, batch: list[PreparedLine], alternatives: int) -> list[tuple[PreparedLine, Recognition]]:
        if self._rule is None:
            return self._read_with(None, batch, alternatives)
        whole = [line for line in batch if line.count == 1]
        parts = [line for line in batch if line.count > 1]
        read = self._read_with(self._rule, whole, alternatives) if whole else []
        return read + (self._read_with(self._rule.for_parts, parts, alternatives) if parts else [])

    def _read_with(
        self, rule: Rule | None, batch: list[PreparedLine], alternatives: int
    ) -> list[tuple[PreparedLine, Recognition]]:
        looked = read_lines(
            [line.pixels for line in batch],
            partial(self._decode, rule, alternatives),
            self.preprocessing,
            self.charset,
            width_stride=self._width_stride,
            unsure=self.config.second_look,
            at_once=self.batch_limit,
        )
        return [
            (line, place(line, look, self._width_stride * line.extent / look.width, self.calibration))
            for line, look in zip(batch, looked, strict=True)
        ]

    def _decode(
        self, rule: Rule | None, alternatives: int, images: np.ndarray, widths: np.ndarray
    ) -> tuple[list[Reading], np.ndarray]:
        features, logits = self._engine(images)
        readings = decode(
            logits,
            -(-widths // self._width_stride),
            self.charset,
            alternatives=alternatives,
            rivals=self._rivals,
            features=features,
            center_share=self.config.center_share,
            evidence=self.calibration is not None,
            rule=rule,
        )
        return readings, logits

    def batch_limit(self, padded_width: int) -> int:
        """Return how many lines of a padded width are read at once."""
        num_frames = padded_width // self._width_stride
        return lines_at_once(self.config.batch_size, num_frames, self.charset.num_classes * self.parallel)


class _Queue:
    """Opened images by padded width."""

    def __init__(self, reader: LineReader) -> None:
        self._reader = reader
        self._by_width: defaultdict[int, list[PreparedLine]] = defaultdict(list)
        self._pixels = 0

    def add(self, line: PreparedLine) -> Iterator[list[PreparedLine]]:
        """Take in an image; give the batches that are due."""
        width = self._reader.preprocessing.padded_width(line.pixels.shape[2])
        self._by_width[width].append(line)
        self._pixels += line.pixels.size
        if len(self._by_width[width]) >= self._reader.batch_limit(width):
            yield self._take(width)
        while self._pixels > _MAX_WAITING:
            yield self._take(max(self._by_width, key=lambda width: width * len(self._by_width[width])))

    def take_with(self, index: int) -> list[PreparedLine]:
        """Give the batch that holds an image; nothing if none does, since it is being read."""
        found = [width for width, lines in self._by_width.items() if lines[0].index == index]
        return self._take(found[0]) if found else []

    def take_all(self) -> Iterator[list[PreparedLine]]:
        """Give all that is left, a part of every batch for each that reads, and the most work first."""
        for width in sorted(self._by_width, key=lambda width: width * len(self._by_width[width]), reverse=True):
            lines = self._take(width)
            share = -(-len(lines) // self._reader.parallel)
            yield from (lines[first : first + share] for first in range(0, len(lines), share))

    def _take(self, width: int) -> list[PreparedLine]:
        lines = self._by_width.pop(width)
        self._pixels -= sum(line.pixels.size for line in lines)
        return lines


def _as_typed(line: Recognition) -> Recognition:
    """Bring a reading from the order on the line to that in which it is typed."""
    chars = tuple(replace(line.chars[number], char=char) for number, char in as_typed(line.text))
    return replace(line, text="".join(char.char for char in chars), chars=chars)


def _crop(image: Image.Image, part: Part) -> Image.Image:
    return image if part.right - part.left == image.width else image.crop((part.left, 0, part.right, image.height))


def default_model() -> str:
    """Return the shipped model's name.

    Raises:
        ConfigError: This installation has none.
    """
    if DEFAULT_MODEL not in packaged.names("models", ".safetensors"):
        raise ConfigError(
            "no model given, and none is shipped with this installation",
            "name one: --model RUN, or set OCRCC_MODEL; ocrcc pretrain makes one",
        )
    return DEFAULT_MODEL

"""Tell the user's kind of lines from general ones, by what the pretrained backbone makes of them.

Where that can be done, fine-tuning need not touch general lines at all: it trains an expert for lines of the kind
(`ocrcc.models.experts`), and its gate, found here before the first step, leaves all others to the old weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ocrcc.charset import Charset
from ocrcc.config import Preprocessing
from ocrcc.data.batching import MixedSource, evaluation_batches
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.data.some_lines import FirstLines, SomeLines
from ocrcc.errors import DataError, ModelError
from ocrcc.files import whole
from ocrcc.models.experts import ExpertEncoder, Gate, kind_of, one_encoder
from ocrcc.models.recognizer import Recognizer
from ocrcc.runs.folder import EXPERT
from ocrcc.types import RecognizerOutput, SizedLineSource

_LOOKED_AT = 800
"""Lines of either side that the gate is fitted to, at most."""
_PENALTY = 3e-2
"""Of squared weights, beside the mean cross-entropy, both of standardised descriptions."""
_OWN_TAKEN = 0.95
"""Of held-back lines of the kind: so many should be taken, if general lines allow it."""
_GENERAL_TAKEN = 0.1
"""Of general lines, at most."""
_TOLD = 0.7
"""Of held-back lines of the kind: where a gate takes fewer, most of what an expert learned would not be read."""
_REMEMBERED = 400 << 20
"""Bytes of frames, at most."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """How well a gate tells lines of a kind.

    Attributes:
        gate: The gate.
        own: (N,) bool, of held-back lines of the kind: whether it takes them.
        general: (M,) bool, of general lines.
    """

    gate: Gate
    own: Tensor
    general: Tensor

    @property
    def useful(self) -> bool:
        """Whether it takes most lines of the kind and few others."""
        return float(self.own.float().mean()) >= _TOLD and float(self.general.float().mean()) <= _GENERAL_TAKEN

    def sentence(self) -> str:
        """Say it in words."""
        counts = (
            f"{int(self.own.sum())} of {len(self.own)} held-back lines and {int(self.general.sum())} of "
            f"{len(self.general)} general ones are taken for the kind of the training lines"
        )
        if self.useful:
            return f"{counts}: an expert is tuned for these, and all others are read by the old weights"
        return f"{counts}: too much alike for an expert of their own, so old and new weights are mixed"


class FrameMemory:
    """What a frozen backbone makes of lines that are measured again and again, computed once.

    Args:
        backbone: Frozen.
    """

    def __init__(self, backbone: nn.Module) -> None:
        self.backbone = backbone
        self._frames: dict[bytes, Tensor] = {}
        self._size = 0

    def __call__(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into frames (N, T, D); a line is known again in a batch of the same width."""
        keys = [blake2b(image.numpy().tobytes(), digest_size=16).digest() for image in images.cpu()]
        new = [number for number, key in enumerate(keys) if key not in self._frames]
        found: dict[bytes, Tensor] = {}
        if new:
            with torch.no_grad():
                computed = self.backbone(images[new])
            found = {keys[number]: frames for number, frames in zip(new, computed, strict=True)}
            size = computed.numel() * computed.element_size()
            if self._size + size <= _REMEMBERED:
                self._frames |= {key: frames.clone() for key, frames in found.items()}
                self._size += size
        # Kept by whichever process described the lines first; each has a device of its own.
        return torch.stack([(found[key] if key in found else self._frames[key]).to(images.device) for key in keys])


class Remembering(nn.Module):
    """A recogniser behind a memory of its backbone's frames, to be measured.

    Args:
        recognizer: Its backbone is that of the memory.
        memory: Of frames.
    """

    def __init__(self, recognizer: Recognizer, memory: FrameMemory) -> None:
        super().__init__()
        self.recognizer = recognizer
        self.width_stride, self.num_classes = recognizer.width_stride, recognizer.num_classes
        self._memory = memory

    def forward(self, images: Tensor) -> RecognizerOutput:
        """Turn images (N, K, H, W) into features and logits."""
        return self.recognizer.forward_frames(self._memory(images), images.shape[3])


@dataclass(frozen=True)
class Looker:
    """Looks at lines with the backbone of a recogniser.

    Attributes:
        recognizer: Of whom the backbone is.
        charset: Of the recogniser.
        preprocessing: Of the recogniser.
        batch_size: Lines at once, at most.
        seed: Of the choice among many lines.
        device: Where the recogniser is.
    """

    recognizer: Recognizer
    charset: Charset
    preprocessing: Preprocessing
    batch_size: int
    seed: int
    device: str

    @cached_property
    def memory(self) -> FrameMemory:
        """Of the frames of lines that are measured later."""
        return FrameMemory(self.recognizer.backbone)

    def some_of(self, mixed: Sequence[MixedSource]) -> list[SizedLineSource]:
        """Choose some training lines."""
        return [_some_lines(source, max(1, _LOOKED_AT // len(mixed)), self.seed) for source in mixed]

    def describe(self, datasets: Sequence[SizedLineSource], *, once: bool = False) -> Tensor:
        """Describe all lines of datasets: (N, 2 D).

        Args:
            datasets: Of lines.
            once: They are not to be measured later.

        Raises:
            DataError: Not one of them can be read.
        """
        backbone = self.recognizer.backbone if once else self.memory
        described = [kind_of(frames) for frames in self._all_frames(datasets, backbone)]
        if not described:
            names = ", ".join(dict.fromkeys(dataset.name for dataset in datasets))
            raise DataError(f"{names}: not one line can be read", "run ocrcc inspect on the data")
        return torch.cat(described)

    def mostly_read_by(self, datasets: Sequence[SizedLineSource]) -> int:
        """Return which expert of the recogniser reads most of the lines, -1 if most are no expert's."""
        encoder = self.recognizer.encoder
        if not isinstance(encoder, ExpertEncoder):
            return -1
        chosen = torch.cat([encoder.chosen(frames) for frames in self._all_frames(datasets, self.memory)])
        return int(chosen.mode().values)

    def _all_frames(
        self, datasets: Sequence[SizedLineSource], backbone: Callable[[Tensor], Tensor]
    ) -> Iterator[Tensor]:
        for dataset in datasets:
            for _, batch in evaluation_batches(
                dataset,
                self.charset,
                self.preprocessing,
                batch_size=self.batch_size,
                width_stride=self.recognizer.width_stride,
            ):
                with torch.no_grad():
                    yield backbone(batch.images.to(self.device))


def _some_lines(mixed: MixedSource, count: int, seed: int) -> SizedLineSource:
    size, dataset = mixed.size, mixed.source
    if size is None:
        return FirstLines(dataset, count)
    assert isinstance(dataset, LmdbDataset | SomeLines)
    numbers = np.arange(size) if mixed.kept is None else mixed.kept
    if size > count:
        numbers = np.sort(np.random.default_rng(seed).choice(numbers, count, replace=False))
    return SomeLines(dataset, numbers)


def tell_apart(
    looker: Looker,
    *,
    own: Sequence[MixedSource],
    general: Sequence[MixedSource],
    apart: Sequence[SizedLineSource],
    held_back: Sequence[SizedLineSource],
    retained: Sequence[SizedLineSource],
) -> Told:
    """Fit a gate to training lines and general ones, set its threshold by other lines, and judge it by others still.

    Args:
        looker: Looks at them.
        own: Training lines.
        general: Lines of other kinds that are learned beside them.
        apart: Lines of other kinds that nothing learns.
        held_back: Lines of the kind: by half of them the threshold is set, the other half is counted.
        retained: General lines, likewise.

    Raises:
        DataError: One of these has not a single line that can be read.
    """
    looker.recognizer.eval()
    own_lines, other_lines = looker.some_of(own), [*looker.some_of(general), *apart]
    gate = fit_gate(looker.describe(own_lines, once=True), looker.describe(other_lines, once=True))
    own_scores, general_scores = (gate.score(looker.describe(lines)) for lines in (held_back, retained))
    threshold = threshold_between(own_scores[::2], general_scores[::2])
    gate.bias -= threshold
    own_taken, general_taken = (
        (scores[len(scores) > 1 :: 2] > threshold).cpu() for scores in (own_scores, general_scores)
    )
    return Told(gate=gate.cpu(), own=own_taken, general=general_taken)


def threshold_between(own: Tensor, general: Tensor) -> Tensor:
    """Say above which score a line is of the kind: 0, as fitted, unless other lines ask for more or less.

    Args:
        own: (N,) scores of lines of the kind: so many of them are to be taken that the threshold may have to be lower.
        general: (M,) scores of others, few of which are to be taken. Where both cannot be, these are heeded below 0,
            those above.
    """
    wanted = torch.quantile(own, 1 - _OWN_TAKEN)
    allowed = torch.quantile(general, 1 - _GENERAL_TAKEN / 2)  # half: of lines not seen here it may take more
    return torch.maximum(wanted, allowed).minimum(torch.minimum(wanted, allowed).clamp(min=0.0))


def fit_gate(own: Tensor, general: Tensor) -> Gate:
    """Fit a gate by logistic regression; either side counts as much as the other.

    Args:
        own: (N, 2 D) descriptions of lines of the kind.
        general: (M, 2 D), of others.
    """
    # On the CPU: it is little work, and not every device has doubles.
    lines = torch.cat([own, general]).cpu().double()
    truth = torch.cat([torch.ones(len(own)), torch.zeros(len(general))]).double()
    counts = torch.where(truth > 0, 0.5 / len(own), 0.5 / len(general)).double()
    mean, deviation = lines.mean(0), lines.std(0) + 1e-4
    standard = (lines - mean) / deviation
    weight = torch.zeros(standard.shape[1], 1, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scores = (standard @ weight)[:, 0] + bias
        value = (F.binary_cross_entropy_with_logits(scores, truth, reduction="none") * counts).sum()
        value = value + _PENALTY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[arg-type, no-untyped-call]
    gate = Gate(lines.shape[1] // 2)
    with torch.no_grad():
        scaled = weight / deviation[:, None]
        gate.weight.copy_(scaled)
        gate.bias.copy_(bias - mean @ scaled)
    return gate.to(own.device)


@dataclass(frozen=True, kw_only=True)
class Expert:
    """How tuned weights become an expert.

    Attributes:
        start: What tuning starts from: the pretrained model, reading all lines with one encoder.
        grown_from: Which of its encoders that is: the number of an expert, or -1 for the first of all.
        gate: Says which lines are the new expert's.
        arch: The registry name of the pretrained model.
    """

    start: nn.Module
    grown_from: int
    gate: Gate
    arch: str


def plan_expert(
    looker: Looker,
    arch: str,
    *,
    own: Sequence[MixedSource],
    general: Sequence[MixedSource],
    apart: Sequence[SizedLineSource],
    held_back: Sequence[SizedLineSource],
    retained: Sequence[SizedLineSource],
    say: Callable[[str], None],
) -> Expert | None:
    """Plan an expert for own lines; None where these cannot be told from general ones.

    Args:
        looker: Looks at lines; its recogniser is one that can have an expert.
        arch: The registry name of its recogniser.
        own: See `tell_apart`, as for the others.
        general: Of its lines, and of those retained and held back, none may be missing.
        apart: May be empty.
        held_back: Decide too which of the recogniser's encoders the new one is grown from.
        retained: General lines.
        say: Told how well they are told apart.
    """
    if not (general and retained and held_back):
        return None
    told = tell_apart(looker, own=own, general=general, apart=apart, held_back=held_back, retained=retained)
    say(told.sentence())
    if not told.useful:
        return None
    grown_from = looker.mostly_read_by(held_back)
    return Expert(start=one_encoder(looker.recognizer, grown_from), grown_from=grown_from, gate=told.gate, arch=arch)


def keep_expert(out: Path, expert: Expert | None) -> None:
    """Write what an expert is tuned by into the run folder, so that a resumed run tunes the same one, or none."""
    if expert is None:  # a run that was killed here before its first step may have left one
        (out / EXPERT).unlink(missing_ok=True)
        return
    tensors = {"grown_from": torch.tensor(expert.grown_from), **expert.gate.state_dict()}
    with whole(out / EXPERT) as aside:
        save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, str(aside))


def kept_expert(out: Path, pretrained: Recognizer, arch: str) -> Expert | None:
    """Read it again; None if the run tunes none.

    Args:
        out: The run folder.
        pretrained: The model that the run started from.
        arch: Its registry name.

    Raises:
        ModelError: The file is damaged, or of another model.
    """
    path = out / EXPERT
    if not path.exists():
        return None
    gate = Gate(int(pretrained.backbone.feature_width))  # type: ignore[arg-type]
    try:
        tensors = load_file(path)
        grown_from = int(tensors.pop("grown_from"))
        gate.load_state_dict(tensors)
        start = one_encoder(pretrained, grown_from)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, IndexError) as error:
        raise ModelError(f"{path}: damaged, or of another model: {str(error).splitlines()[0]}") from None
    return Expert(start=start, grown_from=grown_from, gate=gate, arch=arch)

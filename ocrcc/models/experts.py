"""A recogniser that reads lines of one kind with weights of their own, and all others exactly as it did before.

Behind one backbone stand several encoders: the first reads whatever comes; each of the others, an expert, reads the
lines that its gate takes for its kind (a hard mixture of experts, Jacobs et al. 1991, gated by line). A line that no
gate takes goes through the very weights that read it before there were experts, and what they learned cannot harm it.
"""

from __future__ import annotations

import copy
import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ocrcc.models.recognizer import Recognizer

MOST_EXPERTS = 9
"""Each takes its time with every line."""
_SUFFIX = re.compile(rf"(.+)\+experts([1-{MOST_EXPERTS}])")
"""Of the names of recognisers with experts, such as ``hgnetv2_b0+experts1``."""


def kind_of(frames: Tensor) -> Tensor:
    """Describe what a line looks like: mean and deviation over its frames.

    Frames count by how much the next one differs, so those of an empty margin, and of the padding that other lines of
    a batch bring about, do not count.

    Args:
        frames: (N, T, D), of a backbone.

    Returns:
        (N, 2 D).
    """
    changes = F.pad((frames[:, 1:] - frames[:, :-1]).square().sum(-1).sqrt(), (0, 1))  # (N, T)
    weights = (changes / changes.sum(1, keepdim=True).clamp(min=1e-6))[:, :, None]
    mean = (weights * frames).sum(1)
    squares = (weights * frames.square()).sum(1)
    return torch.cat([mean, (squares - mean.square()).clamp(min=0).sqrt()], dim=1)


class Gate(nn.Module):
    """Tells lines of one kind by a linear score of what they look like.

    Args:
        inputs: D, of the frames.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        # Buffers: it is fitted before the first step (`ocrcc.tuning.kinds`), and no step moves it.
        self.register_buffer("weight", torch.zeros(2 * inputs, 1))
        self.register_buffer("bias", torch.full((1,), -1.0))

    def score(self, kind: Tensor) -> Tensor:
        """Return (N,) scores of descriptions (N, 2 D), above 0 for lines of the kind."""
        return (kind @ self.weight)[:, 0] + self.bias

    def forward(self, kind: Tensor) -> Tensor:
        """Return (N,) bool, whether lines described by (N, 2 D) are of the kind."""
        return self.score(kind) > 0


class ExpertEncoder(nn.Module):
    """An encoder, and experts for kinds of lines; where gates disagree, the last expert reads.

    Args:
        encoder: Reads what no gate takes.
        experts: How many encoders like it there are beside it.
        inputs: D, of the frames.
    """

    def __init__(self, encoder: nn.Module, experts: int, inputs: int) -> None:
        super().__init__()
        self.feature_width: int = encoder.feature_width  # type: ignore[assignment]
        self.encoder = encoder
        self.experts = nn.ModuleList(copy.deepcopy(encoder) for _ in range(experts))
        self.gates = nn.ModuleList(Gate(inputs) for _ in range(experts))

    def chosen(self, frames: Tensor) -> Tensor:
        """Return (N,) int64 for frames (N, T, D): which expert reads each line, -1 for none."""
        kind = kind_of(frames)
        choice = torch.full((len(frames),), -1, device=frames.device)
        for number, gate in enumerate(self.gates):
            choice = torch.where(gate(kind), number, choice)
        return choice

    def forward(self, frames: Tensor) -> Tensor:
        """Turn frames (N, T, inputs) into features (N, T, D)."""
        kind = kind_of(frames)
        features = self.encoder(frames)
        for expert, gate in zip(self.experts, self.gates, strict=True):
            features = torch.where(gate(kind)[:, None, None], expert(frames), features)
        return features


def can_have_an_expert(recognizer: Recognizer) -> bool:
    """Tell whether there is an encoder to make one of, as recognisers of other makes are backbone alone, and room."""
    if isinstance(recognizer.encoder, ExpertEncoder) and len(recognizer.encoder.experts) >= MOST_EXPERTS:
        return False
    return next(recognizer.encoder.parameters(), None) is not None


def parsed(arch: str) -> tuple[str, int]:
    """Part a name into that of the recogniser without experts, and how many there are."""
    match = _SUFFIX.fullmatch(arch)
    return (match[1], int(match[2])) if match else (arch, 0)


def with_expert_name(arch: str) -> str:
    """Name a recogniser with one more expert."""
    name, experts = parsed(arch)
    return f"{name}+experts{experts + 1}"


def with_expert(recognizer: nn.Module, tuned: nn.Module, gate: Gate) -> nn.Module:
    """Give a recogniser the encoder of another as an expert.

    Args:
        recognizer: Reads all other lines; stays as it is.
        tuned: One encoder, behind the same backbone; its classifier is that of both.
        gate: Says which lines the expert reads.
    """
    assert isinstance(recognizer, Recognizer)
    assert isinstance(tuned, Recognizer)
    made = copy.deepcopy(recognizer)
    old = made.encoder
    grown = old if isinstance(old, ExpertEncoder) else ExpertEncoder(old, 0, gate.weight.shape[0] // 2)
    grown.experts.append(copy.deepcopy(tuned.encoder))
    grown.gates.append(copy.deepcopy(gate))
    made.encoder = grown
    made.head.load_state_dict(tuned.head.state_dict())
    return made.to(made.head.weight.device).train(recognizer.training)


def one_encoder(recognizer: Recognizer, expert: int = -1) -> Recognizer:
    """Return a copy that reads every line with one encoder: that of an expert, or the first one of all."""
    made = copy.deepcopy(recognizer)
    if isinstance(made.encoder, ExpertEncoder):
        made.encoder = made.encoder.encoder if expert < 0 else made.encoder.experts[expert]
    return made

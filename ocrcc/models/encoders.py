"""What looks along a line: from a backbone's frames to the features that the last layer classifies."""

from __future__ import annotations

import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn


class Projection(nn.Module):
    """No look along the line at all: each frame by itself, brought to the feature width.

    Args:
        inputs: The backbone's width.
        width: D.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.feature_width = width
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width))

    def forward(self, frames: Tensor) -> Tensor:
        """Turn frames (N, T, inputs) into features (N, T, D)."""
        return self.layers(frames)


class BiLstm(nn.Module):
    """The two bidirectional LSTM layers of CRNN (Shi et al. 2015); D is twice their width.

    Args:
        inputs: The backbone's width.
        width: Of each direction.
    """

    def __init__(self, inputs: int, width: int = 256) -> None:
        super().__init__()
        self.feature_width = 2 * width
        self.lstm = nn.LSTM(inputs, width, num_layers=2, bidirectional=True, batch_first=True)

    def forward(self, frames: Tensor) -> Tensor:
        """Turn frames (N, T, inputs) into features (N, T, D)."""
        return self.lstm(frames)[0]


class Transformer(nn.Module):
    """Pre-norm attention blocks; a depthwise convolution tells them the order (Chu et al. 2021, CPE).

    Such positions have no longest line, and mean the same wherever a character stands.

    Args:
        inputs: The backbone's width.
        width: D.
        depth: Blocks.
        heads: Of attention; must divide the width.
    """

    def __init__(self, inputs: int, width: int, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.feature_width = width
        self.project = nn.Linear(inputs, width)
        self.position = nn.Conv1d(width, width, kernel_size=7, padding=3, groups=width)
        self.blocks = nn.Sequential(*(Block(width, heads, mlp_ratio=2.0, qkv_bias=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Tensor) -> Tensor:
        """Turn frames (N, T, inputs) into features (N, T, D)."""
        frames = self.project(frames)
        frames = frames + self._positions(frames)
        return self.norm(self.blocks(frames))

    def _positions(self, frames: Tensor) -> Tensor:
        # As a row of an image: torch.compile makes a program of its own for every length that a 1-D one meets.
        rows = frames.transpose(1, 2)[:, :, None]  # (N, D, 1, T)
        weight = self.position.weight[:, :, None]
        padding = (0, *self.position.padding)
        moved = F.conv2d(rows, weight, self.position.bias, padding=padding, groups=self.position.groups)
        return moved[:, :, 0].transpose(1, 2)


class Through(nn.Module):
    """No encoder: a backbone of another make gives the features already.

    Args:
        width: D.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.feature_width = width

    def forward(self, frames: Tensor) -> Tensor:
        """Give the frames (N, T, D) as they are."""
        return frames

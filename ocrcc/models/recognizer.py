"""A CTC recogniser: backbone, encoder, one linear classifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ocrcc.types import RecognizerOutput


class Recognizer(nn.Module):
    """Reads line images of one height into per-frame class scores.

    Args:
        backbone: From images (N, K, H, W) to frames (N, T, its feature_width), one for its width_stride pixels.
        encoder: From those frames to features (N, T, D).
        num_classes: C, the blank among them.

    Attributes:
        width_stride: Pixels a frame.
        feature_width: D.
        num_classes: C.
    """

    def __init__(self, backbone: nn.Module, encoder: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.encoder = encoder
        self.width_stride: int = backbone.width_stride  # type: ignore[assignment]
        self.feature_width: int = encoder.feature_width  # type: ignore[assignment]
        self.num_classes = num_classes
        self.head = nn.Linear(self.feature_width, num_classes)
        if not getattr(backbone, "head_has_bias", True):  # its file has no room for what it would learn
            nn.init.zeros_(self.head.bias).requires_grad_(False)
        # What convolutions do quickest on a CPU, in either direction; what they compute is laid out as their weights.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward_features(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into the classifier's input (N, T, D), T = W / width_stride."""
        return self._features(self.backbone(images), images.shape[3])

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features (…, D) into logits (…, C)."""
        return self.head(features)

    def forward(self, images: Tensor) -> RecognizerOutput:
        """Turn images (N, K, H, W) into frames, features and logits."""
        return self.forward_frames(self.backbone(images), images.shape[3])

    def forward_frames(self, frames: Tensor, width: int) -> RecognizerOutput:
        """Turn the backbone's frames (N, T, inputs) of images so many pixels wide into features and logits."""
        features = self._features(frames, width)
        return RecognizerOutput(features=features, logits=self.forward_head(features), frames=frames)

    def _features(self, frames: Tensor, width: int) -> Tensor:
        return with_frames(self.encoder(frames), -(-width // self.width_stride))


def with_frames(features: Tensor, frames: int) -> Tensor:
    """Give features (N, T, D) of so many frames."""
    missing = frames - features.shape[1]
    if missing > 0:  # some makes drop what is no whole frame; the last one once more changes no text
        features = torch.cat([features, features[:, -1:].expand(-1, missing, -1)], 1)
    return features[:, :frames] if missing < 0 else features

"""A CTC recogniser: backbone, encoder, one linear classifier."""

from __future__ import annotations

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

    def forward_features(self, images: Tensor) -> Tensor:
        """Turn images (N, K, H, W) into the classifier's input (N, T, D), T = W / width_stride."""
        return self.encoder(self.backbone(images))

    def forward_head(self, features: Tensor) -> Tensor:
        """Turn features (…, D) into logits (…, C)."""
        return self.head(features)

    def forward(self, images: Tensor) -> RecognizerOutput:
        """Turn images (N, K, H, W) into frames, features and logits."""
        return self.forward_frames(self.backbone(images))

    def forward_frames(self, frames: Tensor) -> RecognizerOutput:
        """Turn frames (N, T, inputs) of the backbone into features and logits."""
        features = self.encoder(frames)
        return RecognizerOutput(features=features, logits=self.forward_head(features), frames=frames)

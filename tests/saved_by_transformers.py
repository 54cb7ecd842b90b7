"""Small recognisers with random weights, as Transformers itself saves them."""

from __future__ import annotations

from pathlib import Path

import torch

CHARS = "0123456789"
_V4 = {
    "model_type": "pp_lcnet_v4",
    "stem_channels": [3, 8, 8],
    "block_configs": [
        [[3, 8, 8, 1, True]],
        [[3, 8, 8, 1, False]],
        [[3, 8, 16, [2, 1], False], [3, 16, 16, 1, True]],
        [[3, 16, 24, [2, 1], False]],
    ],
    "out_features": ["stage4"],
}
_V3 = {
    "model_type": "pp_lcnet_v3",
    "stem_channels": 8,
    "block_configs": [
        [[3, 8, 8, 1, False]],
        [[3, 8, 16, [2, 1], False]],
        [[3, 16, 16, [1, 2], False]],
        [[3, 16, 16, [2, 1], True]],
        [[3, 16, 24, [2, 1], False]],
    ],
    "out_features": ["stage5"],
}
_HGNET = {
    "model_type": "hgnet_v2",
    "stem_channels": [3, 8, 8],
    "stage_in_channels": [8, 16, 16, 16],
    "stage_mid_channels": [8, 8, 8, 8],
    "stage_out_channels": [16, 16, 16, 24],
    "stage_num_blocks": [1, 1, 1, 1],
    "stage_numb_of_layers": [1, 1, 1, 1],
    "stage_downsample": [True, True, True, True],
    "stem_strides": [2, 1, 1, 1, 1],
    "stage_downsample_strides": [[2, 1], [1, 2], [2, 1], [2, 1]],
    "out_features": ["stage4"],
}
_BACKBONES = {
    "pp_ocrv6_small_rec": _V4,
    "pp_ocrv6_tiny_rec": {**_V4, "stem_type": "small"},
    "pp_ocrv5_mobile_rec": _V3,
    "pp_ocrv5_server_rec": _HGNET,
}
KINDS = sorted(_BACKBONES)


def save(folder: Path, kind: str = "pp_ocrv6_small_rec", chars: str = CHARS, **config: object) -> Path:
    """Save a recogniser whose head is wild, and unwilling to read nothing, so that every line has a text."""
    import transformers

    torch.manual_seed(11)
    settings = transformers.AutoConfig.for_model(
        kind, **{"hidden_size": 24, "head_out_channels": len(chars) + 2, "backbone_config": _BACKBONES[kind], **config}
    )
    model = transformers.AutoModelForTextRecognition.from_config(settings)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("head.head.") or name.startswith("head.fc"):
                weight.normal_(0, 2)
        last = model.head.head if hasattr(model.head, "encoder") else model.head.fc2
        last.bias[0] = -100
    model.save_pretrained(folder)
    small = "PPOCRV6SmallRecImageProcessor" if "v6" in kind else "PPOCRV5ServerRecImageProcessor"
    getattr(transformers, small)(character_list=["blank", *chars, " "]).save_pretrained(folder)
    return folder

"""``ocrcc models``."""

from __future__ import annotations

from ocrcc import packaged
from ocrcc.cli import render


def command() -> None:
    """List the recognisers that can be trained, and the trained ones that ship with the package.

    Examples:
        ocrcc models
    """
    from ocrcc.models.contract import read_metadata
    from ocrcc.models.registry import MODELS, create_model

    rows = []
    with render.show_progress("measuring", "models") as report:
        for number, spec in enumerate(MODELS.values(), start=1):
            model = create_model(spec.name, num_classes=2)
            body = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("head."))
            rows.append((spec.name, spec.description, f"{body / 1e6:.2f}", model.width_stride, model.feature_width))
            report(number, len(MODELS))
    columns = ["name", "description", "M weights*", "px/frame", "feature width"]
    render.out.print(render.table("", columns, rows, left=2))
    render.out.print("* without the classifier, which has (feature width + 1) x classes more")
    render.out.print("timm/NAME[+none|+bilstm|+transformer] takes any timm backbone that can be cut to 4 px/frame")
    shipped = []
    for name in packaged.names("models", ".safetensors"):
        path = packaged.ASSETS / "models" / f"{name}.safetensors"
        metadata = read_metadata(path)
        characters = len(metadata["charset"]["symbols"])
        shipped.append((name, metadata["arch"], characters, f"{path.stat().st_size / 1e6:.1f}"))
    if shipped:
        render.out.print(render.table("shipped", ("model", "arch", "characters", "MB"), shipped, left=2))

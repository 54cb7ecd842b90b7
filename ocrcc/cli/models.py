"""``ocrcc models``."""

from __future__ import annotations

from ocrcc.cli import render


def command() -> None:
    """List the recognisers that can be trained."""
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

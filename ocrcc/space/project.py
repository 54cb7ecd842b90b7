"""``ocrcc project``: characters in feature space, for TensorBoard, as a picture, a page, or a list of labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from ocrcc import packaged
from ocrcc.charset import describe
from ocrcc.config import ProjectConfig
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.datasets.opened import Say, opened
from ocrcc.errors import ConfigError, DataError
from ocrcc.lookalikes import Group, Lookalikes, load_lookalikes
from ocrcc.models.checkpoint import load_model
from ocrcc.places import PICTURE, check_file, check_replaceable
from ocrcc.projection.page import PAGE, write_page
from ocrcc.projection.picture import write_picture
from ocrcc.projection.plane import check_method
from ocrcc.projection.points import Shown, Space, nearest_shares
from ocrcc.projection.projector import read_config, write_tensors
from ocrcc.space.characters import Skipped, Viewer
from ocrcc.space.panels import Panels, asked_panels, worst_panels
from ocrcc.space.probe import choose, in_common, look, to_shown, to_space
from ocrcc.space.suspects import CROPS, LIST, SuspectsResult, crop_folder, find_suspects, write_suspects

Report = Callable[[int, int | None], None]
_ALIKE = 16
"""Larger groups that are asked for are shown, but their members do not become one another's look-alikes."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is to be written; None for what is not.

    Attributes:
        logdir: For TensorBoard.
        png: Picture.
        html: Page.
        suspects: List of labels that the model disputes.
    """

    logdir: Path | None = None
    png: Path | None = None
    html: Path | None = None
    suspects: Path | None = None

    def points(self) -> bool:
        """Tell whether anything shows points."""
        return any((self.logdir, self.png, self.html))


@dataclass(frozen=True, kw_only=True)
class ProjectResult:
    """What was shown and written.

    Attributes:
        models: Names of the models, as the tensors are called.
        panels: The groups that are compared, and how many points each of their characters has.
        points: Characters shown.
        nearest: Share of each panel's points that are nearest to their own center, by model.
        absent: Characters that were asked for but not found, and why.
        lacking: Whether the model's charset lacks some of them.
        skipped: Lines that the first model could not use.
        not_in_all: Characters left out because another model could not align them.
        written: Files and folders.
        suspects: What the check of labels found, if it was asked for.
        suspects_skipped: Lines that it could not check.
    """

    models: tuple[str, ...]
    panels: Mapping[str, Mapping[str, int]]
    points: int
    nearest: Mapping[str, Mapping[str, float]]
    absent: tuple[str, ...]
    lacking: bool
    skipped: Skipped
    not_in_all: int
    written: tuple[Path, ...]
    suspects: SuspectsResult | None
    suspects_skipped: Skipped


def project(
    models: Sequence[str | Path],
    data: Sequence[Path],
    config: ProjectConfig | None = None,
    *,
    outputs: Outputs,
    device: str = "auto",
    report: Report = lambda _done, _total: None,
) -> ProjectResult:
    """Show where models put characters.

    Args:
        models: Files, run folders or names; several see the same characters, cut out by the first.
        data: Datasets; none for the lines that ship with the package.
        config: Which characters, and how.
        outputs: What to write.
        device: Where the models run.
        report: Told how many lines are done, of how many.

    Raises:
        ConfigError: There is nothing to write, or it cannot be written where it should.
        DataError: A dataset cannot be read, or has none of the characters.
        ModelError: A model cannot be loaded, or gives no numbers.
    """
    config = config or ProjectConfig()
    _check_outputs(outputs, config)
    if config.threads:
        torch.set_num_threads(config.threads)
    lookalikes = load_lookalikes(config.lookalikes)
    asked = asked_panels(config, lookalikes)
    known = lookalikes.for_training()
    # what is compared on demand counts as alike
    compared = [panel for panel in asked if 1 < len(panel) <= _ALIKE]
    known = known.merge(Lookalikes(tuple(Group(panel, 1.0, "asked") for panel in compared)))
    viewers = [Viewer.of(load_model(model, device=device), known) for model in models]
    names = model_names(models)
    with open_data(data) as datasets:
        if not sum(map(len, datasets)):
            raise DataError(f"{', '.join(map(str, data))}: no lines to show", "make a dataset with ocrcc build-lmdb")
        skipped, suspects_skipped = Skipped(), Skipped()
        suspects, panels, not_in_all = None, Panels(), 0
        shown: Shown | None = None
        spaces: list[Space] = []
        if outputs.points():
            panels = (
                Panels.present(asked, datasets, viewers[0].charset)
                if asked
                else worst_panels(viewers[0], datasets, known, config, report)
            )
            shown, spaces, not_in_all = _show(viewers, names, datasets, panels, config, skipped, report)
        if outputs.suspects is not None:
            suspects = find_suspects(
                viewers[0],
                datasets,
                posterior=config.suspect_posterior,
                batch_size=config.batch_size,
                workers=config.workers,
                skipped=suspects_skipped,
                report=report,
            )
    counts = Counter(shown.chars if shown else ())
    written = _write(outputs, shown, spaces, suspects, config)
    return ProjectResult(
        models=names,
        panels={panel: {char: counts[char] for char in panel} for panel in panels.panels} if shown else {},
        points=len(shown) if shown else 0,
        nearest={space.name: nearest_shares(shown, space) for space in spaces} if shown else {},
        absent=panels.absent,
        lacking=panels.lacking,
        skipped=skipped,
        not_in_all=not_in_all,
        written=written,
        suspects=suspects,
        suspects_skipped=suspects_skipped,
    )


def _check_outputs(outputs: Outputs, config: ProjectConfig) -> None:
    if not outputs.points() and outputs.suspects is None:
        raise ConfigError("nothing to write", "give --logdir DIR, --png FILE, --html FILE or --disputed FILE")
    for path, kind in ((outputs.png, PICTURE), (outputs.html, PAGE), (outputs.suspects, LIST)):
        if path is not None:
            check_file(path, kind)
    if outputs.png or outputs.html:
        check_method(config.method)
    if outputs.png and outputs.png.suffix.lower() != ".png":
        raise ConfigError(f"{outputs.png}: pictures are PNG", "name it *.png")
    if outputs.suspects and config.suspect_crops:
        check_replaceable(crop_folder(outputs.suspects), CROPS)
    if outputs.logdir:
        if outputs.logdir.exists() and not outputs.logdir.is_dir():
            raise ConfigError(f"{outputs.logdir} is a file", "give a folder")
        read_config(outputs.logdir)


def model_names(models: Sequence[str | Path]) -> tuple[str, ...]:
    """Name models shortly, safely as file names, and each differently.

    >>> model_names(["runs/a/best.safetensors", "runs/b", "x/a", "../é.safetensors"])
    ('a', 'b', 'a-2', '_')
    """
    names: list[str] = []
    for model in models:
        path = Path(str(model).removeprefix("hf://"))
        if path.suffix == ".safetensors":
            path = path.parent if path.stem in ("best", "last") and path.parent.name else path.with_suffix("")
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", path.resolve().name if path.name in ("", "..") else path.name)
        name = name.lstrip(".") or "model"
        same = sum(other == name or other.startswith(f"{name}-") for other in names)
        names.append(f"{name}-{same + 1}" if same else name)
    return tuple(names)


@contextmanager
def open_data(paths: Sequence[Path], say: Say = lambda _: None) -> Iterator[list[LmdbDataset]]:
    """Open datasets or labels; for none, the lines that ship with the package, for as long as they are used."""
    with opened(paths or [packaged.ASSETS / "samples" / "labels.txt"], say) as datasets:
        yield datasets


def _show(
    viewers: Sequence[Viewer],
    names: Sequence[str],
    datasets: Sequence[LmdbDataset],
    panels: Panels,
    config: ProjectConfig,
    skipped: Skipped,
    report: Report,
) -> tuple[Shown, list[Space], int]:
    """Choose characters, and look at the same ones with each model."""
    chars = panels.characters()
    places = choose(datasets, viewers[0].charset, chars, max(2, config.max_points - len(chars)), config.seed, skipped)
    samples = [
        look(
            viewer,
            datasets,
            places,
            batch_size=config.batch_size,
            workers=config.workers,
            skipped=skipped if number == 0 else Skipped(),
            report=report,
        )
        for number, viewer in enumerate(viewers)
    ]
    samples, not_in_all = in_common(samples)
    if not samples[0]:
        raise DataError(f"not one of {describe(chars)} could be aligned", "ocrcc inspect says what the data holds")
    shown = to_shown(samples[0], panels.panels)
    spaces = [
        to_space(name, viewer, sample, shown) for name, viewer, sample in zip(names, viewers, samples, strict=True)
    ]
    return shown, spaces, not_in_all


def _write(
    outputs: Outputs,
    shown: Shown | None,
    spaces: Sequence[Space],
    suspects: SuspectsResult | None,
    config: ProjectConfig,
) -> tuple[Path, ...]:
    written = []
    if shown is not None and outputs.logdir is not None:
        write_tensors(outputs.logdir, shown, spaces)
        written.append(outputs.logdir)
    if shown is not None and outputs.png is not None:
        write_picture(outputs.png, shown, spaces, method=config.method, seed=config.seed)
        written.append(outputs.png)
    if shown is not None and outputs.html is not None:
        write_page(outputs.html, shown, spaces, method=config.method, seed=config.seed)
        written.append(outputs.html)
    if suspects is not None and outputs.suspects is not None:
        write_suspects(outputs.suspects, suspects, crops=config.suspect_crops)
        written.append(outputs.suspects)
    return tuple(written)

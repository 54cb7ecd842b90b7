"""``ocrcc lookalikes``: who looks like whom, by glyphs, by a model, by an evaluation and by lists."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

import ocrcc
from ocrcc import charset as charset_module
from ocrcc import lookalikes
from ocrcc.charset import Charset, load_charset
from ocrcc.config import LookalikesConfig, SynthConfig
from ocrcc.errors import ConfigError, DataError
from ocrcc.files import read_small
from ocrcc.glyphs.faces import FontSet
from ocrcc.glyphs.similarity import compare_glyphs, representative_faces
from ocrcc.lookalikes import Group, Lookalikes
from ocrcc.models.checkpoint import LoadedModel, load_model

Pairs = dict[tuple[str, str], float]
_NONE = Lookalikes(())
_MOST_REPORT = 1 << 28
"""Bytes of an evaluation's JSON."""


@dataclass(frozen=True, kw_only=True)
class LookalikesResult:
    """What was found.

    Attributes:
        groups: The groups, the most alike first.
        sources: How many pairs each source named, before merging.
        fonts: Faces whose glyphs were compared.
        provenance: Lines that say how the groups were made.
    """

    groups: Lookalikes
    sources: Mapping[str, int]
    fonts: tuple[str, ...]
    provenance: tuple[str, ...]


def find_lookalikes(
    config: LookalikesConfig, report: Callable[[int, int | None], None] | None = None
) -> LookalikesResult:
    """Find groups of look-alike characters.

    Args:
        config: The charset and the sources to ask.
        report: Told how many glyphs of how many are drawn.

    Raises:
        OcrccError: A source cannot be used, or nothing was asked for.
    """
    charset = load_charset(config.charset)
    found: dict[str, Pairs] = {}
    fonts: tuple[str, ...] = ()
    if config.glyphs:
        found["glyphs"], fonts = _from_glyphs(config, charset, report)
    if config.model:
        found["model"] = from_model(load_model(config.model, device="cpu"), config, charset)
    if config.confusions:
        found["confusions"] = _from_evaluations(config.confusions, charset)
    known = Lookalikes(())
    for spec in config.lists:
        known = known.merge(lookalikes.load_lookalikes(spec))
    if known.groups:
        found["list"] = {(first, second): score for first, second, score in known.restrict(charset).pairs()}
    if not found:
        raise ConfigError(
            "no source of look-alikes is left", "leave --glyphs on, or give a model, confusions or a list"
        )
    groups = merge_pairs(found, charset, known.for_training())
    asked = [f"fonts: {', '.join(fonts)}"] if fonts else []
    asked += [f"model: {Path(config.model).name}"] if config.model else []
    asked += [f"{what}: {', '.join(Path(name).name for name in names)}"
              for what, names in (("confusions", config.confusions), ("lists", config.lists)) if names]  # fmt: skip
    provenance = (
        f"Made by ocrcc {ocrcc.__version__}: ocrcc lookalikes --charset {charset.name} "
        f"--threshold {config.threshold} --neighbours {config.neighbours}",
        *asked,
        f"Sources {', '.join(lookalikes.KEPT_APART)} are a matter of normalisation and take no part in training.",
    )
    return LookalikesResult(
        groups=groups, sources={name: len(pairs) for name, pairs in found.items()}, fonts=fonts, provenance=provenance
    )


def _from_glyphs(
    config: LookalikesConfig, charset: Charset, report: Callable[[int, int | None], None] | None
) -> tuple[Pairs, tuple[str, ...]]:
    # the charset's own characters are compared, so no text is drawn and nothing else of SynthConfig matters
    fonts = FontSet(SynthConfig(fonts=config.fonts, exclude=config.exclude), charset)
    characters = "".join(char for char in charset if not char.isspace())
    near = compare_glyphs(characters, fonts, representative_faces(fonts), config.neighbours, report)
    return near.pairs(config.threshold), near.fonts


def from_model(model: LoadedModel, config: LookalikesConfig, charset: Charset) -> Pairs:
    """Find the characters whose centers are near each other.

    The score is the cosine between centers, less the mean of all centers.

    Raises:
        DataError: The model has no centers.
    """
    if model.centers is None or model.center_counts is None:
        raise DataError(f"{model.path}: the model has no centers", "finetune it first, or use --glyphs alone")
    centers, counts = model.centers.numpy(), model.center_counts.numpy()
    rows = [row for row in range(1, len(centers)) if counts[row] > 0 and model.charset.char(row) in charset]
    if len(rows) < 2:
        raise DataError(f"{model.path}: centers of {len(rows)} characters of charset {charset.name!r} are known")
    vectors = centers[rows] - centers[rows].mean(0)
    vectors = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)
    names = [model.charset.char(row) for row in rows]
    pairs: Pairs = {}
    wanted = min(config.neighbours, len(rows) - 1)
    for start in range(0, len(rows), 512):
        alike = vectors[start : start + 512] @ vectors.T
        here = np.arange(len(alike))
        alike[here, start + here] = -1
        best = np.argpartition(-alike, wanted - 1, axis=1)[:, :wanted]
        for row in here:
            for column in best[row]:
                if alike[row, column] >= config.model_threshold:
                    _note(pairs, names[start + row], names[column], float(alike[row, column]))
    return pairs


def _note(pairs: Pairs, first: str, second: str, score: float) -> None:
    key = (min(first, second), max(first, second))
    pairs[key] = max(pairs.get(key, 0.0), min(1.0, score))


def _from_evaluations(paths: Iterable[str], charset: Charset) -> Pairs:
    """Read the confusions of ``ocrcc eval --json``; n of a pair score n / (n + 1).

    Raises:
        DataError: A file is not such a JSON.
    """
    counts: dict[tuple[str, str], int] = {}
    for name in paths:
        try:
            confusions = json.loads(read_small(Path(name), _MOST_REPORT).decode())["confusions"]
            rows = [(str(one["truth"]), str(one["predicted"]), int(one["count"])) for one in confusions]
            if any(count < 1 for _, _, count in rows):
                raise ValueError("counted less than once")
        except DataError as error:
            raise DataError(error.message, "give the JSON of ocrcc eval --json") from None
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            raise DataError(f"{name}: no confusions in it", "give the JSON of ocrcc eval --json") from None
        for truth, predicted, count in rows:
            if truth != predicted and truth in charset and predicted in charset:
                key = (min(truth, predicted), max(truth, predicted))
                counts[key] = counts.get(key, 0) + count
    return {key: count / (count + 1) for key, count in counts.items()}


def merge_pairs(found: Mapping[str, Pairs], charset: Charset, listed: Lookalikes = _NONE) -> Lookalikes:
    """Merge the pairs of several sources into groups in which every two are a pair.

    Twins in width, case and punctuation are groups of their own; so are width twins that no source named.

    Args:
        found: Pairs and scores by source.
        charset: Whose width twins are added.
        listed: What a list holds to be of use for training stays so, even if it is a pair like O and o; but
            two marks stay apart.
    """
    scores: Pairs = {}
    sources: dict[tuple[str, str], str] = {}
    for source, pairs in found.items():
        for pair, score in pairs.items():
            sources[pair] = f"{sources[pair]}+{source}" if pair in sources else source
            scores[pair] = max(score, scores.get(pair, 0.0))
    # a list's score is somebody's guess; a measured one is worth more
    scores |= found.get("glyphs", {})
    for pair in scores:
        kind = _kind(*pair)
        if kind and (listed.score(*pair) is None or kind == "width" or not any(char.isalnum() for char in pair)):
            sources[pair] = kind
    for pair in _width_twins(charset):
        scores[pair], sources[pair] = 1.0, "width"
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for pair, source in sources.items():
        by_kind.setdefault(source if source in lookalikes.KEPT_APART else "", []).append(pair)
    groups = []
    for kind, kin in by_kind.items():
        for members in _cliques(sorted(kin, key=lambda pair: (-scores[pair], pair)), charset):
            inside = [(min(pair), max(pair)) for pair in combinations(members, 2)]
            named = dict.fromkeys(part for pair in inside for part in sources[pair].split("+"))
            groups.append(
                Group(members, round(min(scores[pair] for pair in inside), 3), kind or "+".join(sorted(named)))
            )
    return Lookalikes(tuple(sorted(groups, key=lambda group: (-group.score, group.characters))))


def _kind(first: str, second: str) -> str:
    """Return which of `lookalikes.KEPT_APART` two characters are twins in, or nothing."""
    if unicodedata.normalize("NFKC", first) == unicodedata.normalize("NFKC", second):
        return "width"
    if first.lower() == second.lower():
        return "case"
    # a mark and a letter differ in where they stand and how large they are; lists name those that do not
    return "" if first.isalnum() and second.isalnum() else "punctuation"


def _width_twins(charset: Charset) -> list[tuple[str, str]]:
    """List the characters of which a charset has the full- and the half-width form."""
    pairs = []
    for char in charset:
        half = charset_module.normalise(char, "halfwidth")
        if half != char and half in charset and not char.isspace():
            pairs.append((min(char, half), max(char, half)))
    return pairs


def _cliques(pairs: Iterable[tuple[str, str]], charset: Charset) -> list[str]:
    """Put pairs, the most alike first, into groups in which every two are a pair; each pair is in one."""
    pairs = list(pairs)
    joined: dict[str, set[str]] = {}
    for first, second in pairs:
        joined.setdefault(first, set()).add(second)
        joined.setdefault(second, set()).add(first)
    groups: list[set[str]] = []
    of: dict[str, list[int]] = {}
    for first, second in pairs:
        if any(second in groups[number] for number in of.get(first, ())):
            continue
        for inside, outside in ((first, second), (second, first)):
            home = next((number for number in of.get(inside, ()) if groups[number] <= joined[outside]), None)
            if home is not None:
                groups[home].add(outside)
                of.setdefault(outside, []).append(home)
                break
        else:
            for char in (first, second):
                of.setdefault(char, []).append(len(groups))
            groups.append({first, second})
    return ["".join(sorted(group, key=charset.id)) for group in groups]

"""The guard of a fine-tune: the best mixture of old and tuned weights is kept, and the old ones if none is better.

Between the weights of a model before and after fine-tuning lies a line along which much of what is learned comes
long before much is forgotten (WiSE-FT, Wortsman et al. 2022). So every validation measures several mixtures, on lines
of the user's own and on general lines that the model read before, and the pretrained model is a candidate itself.

Where lines of the user's kind can be told from others (`ocrcc.tuning.kinds`), the mixture is an expert for these, and
all other lines are read by the old weights.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from ocrcc.evaluation.report import Comparison, Metrics, compare, mean_loss, standard_errors
from ocrcc.models.experts import with_expert, with_expert_name
from ocrcc.training.run import Judgement
from ocrcc.tuning.kinds import Expert

SHARES = (1.0, 0.75, 0.5, 0.25)
"""Of the tuned weights in the mixtures that are measured."""
_GAINED, _LOST = 1.0, 1.5
"""Standard errors: what counts as better on own lines, and as worse on general ones."""
_NOTHING = 0.005
"""Of the loss on general lines: a rise that is no more is none, however sure it is. A row of the classifier that a new
character was given makes every label a hair less likely, and nobody will ever see it."""

Measure = Callable[[nn.Module], Metrics]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a recogniser reads.

    Attributes:
        own: On lines of the user's own.
        retained: On general lines; None without any.
    """

    own: Metrics
    retained: Metrics | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One set before and after.

    Attributes:
        name: What lines they are.
        before: Read by the pretrained model.
        after: Read by the model that is kept.
        change: Line by line.
    """

    name: str
    before: Metrics
    after: Metrics
    change: Comparison


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a fine-tuning came to.

    Attributes:
        share: Of the tuned weights in the model that is kept; 0 for the pretrained model.
        reason: Why there was no training at all; empty if there was.
        rows: The sets, before and after.
    """

    share: float
    reason: str = ""
    rows: tuple[Row, ...] = ()

    def sentence(self) -> str:
        """Say it in one plain sentence."""
        if self.reason:
            return f"The pretrained model was kept: {self.reason}."
        if not self.share:
            return "Nothing gained: the pretrained model was kept. More lines of this kind may help, or other labels."
        own, *others = self.rows
        wrong = round((1 - own.before.line_accuracy) * own.before.lines)
        said = f"{own.change.fixed} of {wrong} misread lines mended, {own.change.broken} of the others broken"
        if not own.change.fixed:
            said = f"none of {wrong} misread lines mended yet, none broken, but what is right is likelier to be read"
        general = "".join(f"; {row.name} {_in_words(row)}" for row in others)
        kept = "" if self.share == 1 else f" ({self.share:.0%} of the way from the old weights to the tuned ones)"
        return f"{said}{general}{kept}."


def _in_words(row: Row) -> str:
    fixed, broken = row.change.fixed, row.change.broken
    if row.change.p_value > 0.05:
        return f"as before ({fixed} mended, {broken} broken)"
    return f"{'better' if fixed > broken else 'worse'} ({fixed} mended, {broken} broken)"


@dataclass
class Guard:
    """Judges a recogniser in fine-tuning; a `ocrcc.training.run.Validate`.

    Attributes:
        pretrained: The model as it was.
        read_own: Reads the user's own lines.
        read_general: Reads general lines; None without any.
        new: Class ids of characters that the pretrained model lacked; their rows are the tuned ones in any mixture.
        expert: How the tuned weights become an expert of the pretrained model; None if they are to read all lines.
    """

    pretrained: nn.Module
    read_own: Measure
    read_general: Measure | None
    new: Sequence[int] = ()
    expert: Expert | None = None
    _before: list[Found] = field(default_factory=list)

    @property
    def before(self) -> Found:
        """What the pretrained model reads; measured when it is first asked for."""
        if not self._before:
            self._before.append(self.measure(self.pretrained))
        return self._before[0]

    def measure(self, recognizer: nn.Module) -> Found:
        """Read all lines with a recogniser."""
        general = None if self.read_general is None else self.read_general(recognizer)
        return Found(own=self.read_own(recognizer), retained=general)

    def __call__(self, tuned: nn.Module) -> Judgement:
        """Return the mixture that reads own lines best of those that lose nothing in general.

        Its score is its loss on own lines as a share of that before; infinite where no mixture will do. Before the
        first step it is the pretrained model, unless the rows of new characters gain something.
        """
        start = self.pretrained if self.expert is None else self.expert.start
        for model in (self.pretrained, start):
            model.to(next(tuned.parameters()).device)
        if same_weights(tuned, start):
            return self._judged(self.before, 0.0, 1.0, self.pretrained)
        before = max(mean_loss(self.before.own), 1e-6)
        untouched = bool(self.new) and same_weights(tuned, mixture(start, tuned, 0.0, self.new))
        shares = SHARES[:1] if untouched else SHARES
        read = [(share, self.read_own(self._candidate(start, tuned, share))) for share in shares]
        read.sort(key=lambda one: mean_loss(one[1]))
        for share, own in read:  # the best first: what the others cost in general need not be measured
            if not is_better(self.before.own, own):
                continue
            candidate = self._candidate(start, tuned, share)
            found = Found(own=own, retained=None if self.read_general is None else self.read_general(candidate))
            if is_kept(self.before.retained, found.retained):
                return self._judged(found, share, mean_loss(own) / before, candidate)
        if untouched:
            return self._judged(self.before, 0.0, 1.0, self.pretrained)
        share, own = read[0]
        return self._judged(Found(own=own, retained=None), share, math.inf, self._candidate(start, tuned, share))

    def _candidate(self, start: nn.Module, tuned: nn.Module, share: float) -> nn.Module:
        mixed = mixture(start, tuned, share, self.new)
        return mixed if self.expert is None else with_expert(self.pretrained, mixed, self.expert.gate)

    def _judged(self, found: Found, share: float, score: float, weights: nn.Module) -> Judgement:
        arch = ""
        if self.expert is not None:
            arch = with_expert_name(self.expert.arch) if share else self.expert.arch
        return Judgement(figures=_figures(found, share), score=score, weights=weights, arch=arch)


def mixture(pretrained: nn.Module, tuned: nn.Module, share: float, new: Sequence[int] = ()) -> nn.Module:
    """Return a recogniser between two, weight by weight (Wortsman et al. 2022, eq. 1).

    Args:
        pretrained: At a share of 0.
        tuned: At a share of 1.
        share: Of the tuned weights, 0..1.
        new: Classes whose rows of the classifier have nothing to be mixed with.
    """
    mixed = copy.deepcopy(tuned)
    before = pretrained.state_dict()
    with torch.no_grad():
        for name, value in mixed.state_dict().items():
            if value.is_floating_point():
                between = torch.lerp(before[name].to(value), value, share)
                if new and name.startswith("head."):
                    between[list(new)] = value[list(new)]
                value.copy_(between)
    return mixed


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether two recognisers are the same."""
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def is_better(before: Metrics, now: Metrics) -> bool:
    """Tell whether own lines are read better: their labels are likelier, and no more is misread than before.

    A model that gives up, and reads nothing where it read nonsense, makes labels likelier too.
    """
    if not before.strict.edits:  # there is nothing to gain
        return False
    change = compare(now, before)
    mended = change.fixed >= change.broken and now.strict.edits <= before.strict.edits
    return mended and standard_errors(before, now) < -_GAINED


def is_kept(before: Metrics | None, now: Metrics | None) -> bool:
    """Tell whether general lines are read as well as before, within chance: by loss, and by line.

    By line it is McNemar's test at one standard error, with the continuity correction that few lines ask for (Edwards
    1948): two lines broken and none mended are chance, three are not.
    """
    if before is None or now is None:
        return True
    change = compare(now, before)
    lost = change.broken - change.fixed
    worse = standard_errors(before, now) > _LOST and mean_loss(now) > (1 + _NOTHING) * mean_loss(before)
    return not worse and lost - 1 <= math.sqrt(change.broken + change.fixed)


def _figures(found: Found, share: float) -> dict[str, float]:
    figures = {"cer": found.own.cer, "line_accuracy": found.own.line_accuracy, "tuned_share": share}
    if found.retained is not None:
        figures |= {"retained_cer": found.retained.cer, "retained_line_accuracy": found.retained.line_accuracy}
    return figures


def verdict(before: Found, after: Found, share: float, names: Sequence[str]) -> Verdict:
    """Compare a model with the pretrained one.

    Args:
        before: Read by the pretrained model.
        after: Read by the one that is kept.
        share: Of tuned weights in it.
        names: What own and general lines are called.
    """
    pairs = [(before.own, after.own)]
    if before.retained is not None and after.retained is not None:
        pairs.append((before.retained, after.retained))
    rows = [
        Row(name=name, before=old, after=new, change=compare(new, old))
        for name, (old, new) in zip(names, pairs, strict=False)
    ]
    return Verdict(share=share, rows=tuple(rows))

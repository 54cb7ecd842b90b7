"""Readings that keep to a rule: the likeliest text of a line among those that an automaton accepts.

Prefix search over CTC's frames (Graves et al. 2006, section 3.2; Hannun et al. 2014, algorithm 1) in the product with
the automaton. Hypotheses are kept by the state that the automaton has reached, the likeliest few of each, as tokens
are in token passing (Young et al. 1989): so that where a check digit has to fit, no remainder is crowded out by
likelier prefixes that end in none. What arrives is scored anew by its exact probability over all paths
(`ocrcc.decoding.likelihood`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocrcc.charset import BLANK, Charset, describe
from ocrcc.decoding.acceptors import CHECKS, Acceptor, Both, State, matches
from ocrcc.decoding.likelihood import log_likelihoods
from ocrcc.decoding.patterns import Pattern
from ocrcc.errors import ConfigError

_FLOORS = (1e-3, 1e-6, 1e-10)
"""Characters below this posterior are no candidates on a frame; the next floor is tried where what is found is itself
less likely than the floor, as something that was left out might be likelier."""
_CANDIDATES = 40
"""On a frame, at most."""
_A_STATE = 4
"""Hypotheses that are kept for each state of the automaton."""
_AN_EDIT = math.log(1e5)
"""A text is not believed that is less likely than what was read by more than this for each of their differences. On
real lines, to leave out a character that is there costs 12 to 18 (the middle half), a look-alike in its place 8 to 13
where the model is sure, and less where it errs."""
_CHANGED = 0.5
"""No more than this share of the characters that were read may differ."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What the lines may read as.

    Attributes:
        charset: Of the model.
        allowed: (C,) bool, the classes that may be read, the blank among them; None for all.
        acceptor: What whole lines have to match; None for anything.
    """

    charset: Charset
    allowed: np.ndarray | None = None
    acceptor: Acceptor | None = None

    @classmethod
    def of(cls, charset: Charset, *, allow: str = "", pattern: str = "", check: str = "none") -> Rule | None:
        """Make the rule of a configuration; None if it has none.

        Args:
            charset: Of the model.
            allow: The characters that may be read; empty for all.
            pattern: A regular expression; empty for none.
            check: One of `CHECKS`, or ``none``.

        Raises:
            ConfigError: The pattern is none, or the model cannot read what is allowed.
        """
        allowed = None
        if allow:
            wanted = charset.normalise(allow)
            if missing := [char for char in dict.fromkeys(wanted) if char not in charset]:
                raise ConfigError(f"the model cannot read {describe(missing)}, which --allow names")
            allowed = np.zeros(charset.num_classes, bool)
            allowed[[BLANK, *(charset.id(char) for char in wanted)]] = True
        parts: list[Acceptor] = [Pattern(pattern)] if pattern else []
        parts += [CHECKS[check]()] if check != "none" else []
        if allowed is None and not parts:
            return None
        acceptor = Both(*parts) if len(parts) == 2 else parts[0] if parts else None
        return cls(charset=charset, allowed=allowed, acceptor=acceptor)

    @cached_property
    def for_parts(self) -> Rule | None:
        """What holds for a part of a line: a pattern is of the whole."""
        return None if self.allowed is None else Rule(charset=self.charset, allowed=self.allowed)

    def masked(self, logits: np.ndarray) -> np.ndarray:
        """Return scores (..., C) in which nothing but what is allowed can be the best."""
        return logits if self.allowed is None else np.where(self.allowed, logits, -np.inf)

    def holds(self, text: str) -> bool:
        """Tell whether a text keeps to the rule, what is allowed aside."""
        return self.acceptor is None or matches(self.acceptor, text)

    def path(self, log_posteriors: np.ndarray, read: Sequence[int]) -> np.ndarray | None:
        """Find the likeliest text that keeps to the rule, and how it lies on the frames.

        Args:
            log_posteriors: (T, C) of the line's own frames.
            read: Class ids of what was read without the rule.

        Returns:
            (T,) a class for each frame; None if no such text is plausible on this line.
        """
        found = self._search(log_posteriors, read)
        return None if found is None else best_path(log_posteriors, found)

    def _search(self, log_posteriors: np.ndarray, read: Sequence[int]) -> list[int] | None:
        as_read = float(log_likelihoods([log_posteriors], [read])[0])
        most = max(1, math.ceil(_CHANGED * len(read)))
        for floor in _FLOORS:
            texts = self._prefixes(log_posteriors, floor, most * _AN_EDIT)
            if texts:
                scores = log_likelihoods([log_posteriors] * len(texts), texts)
                best = int(scores.argmax())
                edits = Levenshtein.distance(read, texts[best])
                drop = as_read - float(scores[best])
                if drop <= -math.log(floor) or floor == _FLOORS[-1]:
                    return list(texts[best]) if edits <= most and drop <= edits * _AN_EDIT else None
        return None

    def _prefixes(self, log_posteriors: np.ndarray, floor: float, margin: float) -> list[tuple[int, ...]]:
        """Return texts that the automaton accepts, the likeliest of each of its last states.

        Args:
            log_posteriors: (T, C).
            floor: Posterior below which a character is no candidate.
            margin: A hypothesis that is behind the best path by more has no way back.
        """
        assert self.acceptor is not None
        acceptor = self.acceptor
        steps: dict[tuple[State, int], State | None] = {}
        ahead = np.cumsum(log_posteriors.max(axis=1))
        beam: dict[tuple[int, ...], tuple[State, float, float]] = {(): (acceptor.start, 0.0, -math.inf)}
        for frame, candidates in enumerate(self._candidates(log_posteriors, floor)):
            scores = log_posteriors[frame]
            blank = float(scores[BLANK])
            ended: defaultdict[tuple[int, ...], list[float]] = defaultdict(lambda: [-math.inf, -math.inf])
            states: dict[tuple[int, ...], State] = {}
            for prefix, (state, on_blank, on_char) in beam.items():
                both = _add(on_blank, on_char)
                states[prefix] = state
                own = ended[prefix]
                own[0] = _add(own[0], both + blank)
                if prefix:
                    own[1] = _add(own[1], on_char + float(scores[prefix[-1]]))
                for class_id, score in candidates:
                    if (state, class_id) not in steps:
                        steps[state, class_id] = acceptor.step(state, self.charset.char(class_id))
                    if (after := steps[state, class_id]) is None:
                        continue
                    longer = (*prefix, class_id)
                    states[longer] = after
                    before = on_blank if prefix and prefix[-1] == class_id else both
                    ended[longer][1] = _add(ended[longer][1], before + score)
            beam = _kept(ended, states, float(ahead[frame]) - margin)
            if not beam:
                return []
        return [prefix for prefix, (state, _, _) in beam.items() if acceptor.accepts(state)]

    def _candidates(self, log_posteriors: np.ndarray, floor: float) -> list[list[tuple[int, float]]]:
        found = []
        for scores in log_posteriors:
            above = scores > math.log(floor)
            if self.allowed is not None:
                above &= self.allowed
            above[BLANK] = False
            (classes,) = np.nonzero(above)
            if len(classes) > _CANDIDATES:
                classes = classes[np.argpartition(-scores[classes], _CANDIDATES)[:_CANDIDATES]]
            found.append(list(zip(classes.tolist(), scores[classes].tolist(), strict=True)))
        return found


def _kept(
    ended: dict[tuple[int, ...], list[float]], states: dict[tuple[int, ...], State], least: float
) -> dict[tuple[int, ...], tuple[State, float, float]]:
    """Keep the likeliest hypotheses of each state, unless they are less likely than ``least``."""
    by_state: defaultdict[State, list[tuple[float, tuple[int, ...]]]] = defaultdict(list)
    for prefix, (on_blank, on_char) in ended.items():
        if (score := _add(on_blank, on_char)) >= least:
            by_state[states[prefix]].append((score, prefix))
    return {
        prefix: (state, *ended[prefix])  # type: ignore[misc]
        for state, found in by_state.items()
        for _, prefix in sorted(found, reverse=True)[:_A_STATE]
    }


def _add(one: float, other: float) -> float:
    """Add probabilities that are given by their logarithms."""
    if one < other:
        one, other = other, one
    return one if other == -math.inf else one + math.log1p(math.exp(other - one))


def best_path(log_posteriors: np.ndarray, target: Sequence[int]) -> np.ndarray:
    """Return the likeliest path that collapses to a text: (T,) classes (Viterbi over the text with blanks).

    Args:
        log_posteriors: (T, C), of enough frames.
        target: Class ids.
    """
    chain = np.full(2 * len(target) + 1, BLANK)
    chain[1::2] = target
    skips = np.zeros(len(chain), bool)
    skips[3::2] = chain[3::2] != chain[1:-2:2]
    score = np.full(len(chain), -np.inf)
    score[:2] = log_posteriors[0, chain[:2]]
    came = np.zeros((len(log_posteriors), len(chain)), np.int64)
    for frame in range(1, len(log_posteriors)):
        moves = np.stack((score, _shifted(score, 1), np.where(skips, _shifted(score, 2), -np.inf)))
        came[frame] = moves.argmax(axis=0)
        score = moves.max(axis=0) + log_posteriors[frame, chain]
    place = len(chain) - 1 if len(chain) == 1 or score[-1] >= score[-2] else len(chain) - 2
    path = np.empty(len(log_posteriors), np.int64)
    for frame in range(len(log_posteriors) - 1, -1, -1):
        path[frame] = chain[place]
        place -= came[frame, place]
    return path


def _shifted(score: np.ndarray, by: int) -> np.ndarray:
    return np.concatenate((np.full(by, -np.inf), score))[: len(score)]

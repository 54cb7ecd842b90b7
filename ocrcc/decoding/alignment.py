"""CTC forced alignment: which frames of a line belong to which character of its label.

A label of L characters is a chain of S = 2 L + 1 states: blank, character, blank, …, blank. A path moves on by
nothing, by one state, or by two where that skips a blank between different characters (Graves et al. 2006,
section 4.1). Everything here is batched over the lines and their states and loops over the frames alone,
without asking the device for a value, and under no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LINES_AT_ONCE = 4  # of all C log-probabilities only L + 1 are kept; so few lines' fit into the cache


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Where the characters of N labels lie. Padding and lines that are not aligned hold zeros.

    Attributes:
        start: (N, L) int64, first frame of a character.
        end: (N, L) int64, one past its last frame.
        peak: (N, L) int64, the frame between them on which its posterior is highest.
        posterior: (N, L), mean posterior of the character over its frames, 0..1.
        score: (N,), log-probability of the best path; -inf where there is none.
        aligned: (N,) bool; false for an empty label and where the frames are fewer than the characters and
            the blanks that must stand between repeated ones.
        mask: (N, L) bool, the characters of aligned lines.
    """

    start: Tensor
    end: Tensor
    peak: Tensor
    posterior: Tensor
    score: Tensor
    aligned: Tensor
    mask: Tensor


@dataclass(frozen=True, kw_only=True)
class AlignedFeatures:
    """The M characters of a batch's aligned lines, one row each.

    Attributes:
        features: (M, D), differentiable.
        classes: (M,) int64 class ids.
        lines: (M,) int64, the line of the batch that a character belongs to.
        positions: (M,) int64, its place in the label.
    """

    features: Tensor
    classes: Tensor
    lines: Tensor
    positions: Tensor


@torch.no_grad()
def align(logits: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor) -> Alignment:
    """Find the best path of each label through its line's frames (Viterbi).

    Args:
        logits: (N, T, C) of any float type; the work is done in float32, or float64 if that is what comes.
        frames: (N,) frames that lie on each line's own pixels.
        targets: (N, L) class ids, padded with anything.
        target_lengths: (N,).
    """
    with torch.autocast(logits.device.type, enabled=False):
        blank, chars = _emissions(logits, targets)
        within = torch.arange(targets.shape[1], device=targets.device) < target_lengths[:, None]
        if not chars.numel():
            return _nothing(chars, within)

        lattice = _Lattice.build(blank, chars, frames, targets, target_lengths)
        path, score = lattice.best_path()
        aligned = (target_lengths > 0) & (score > -torch.inf)
        mask = within & aligned[:, None]
        states = torch.arange(1, 2 * targets.shape[1], 2, device=path.device).repeat(len(path), 1)
        start, end = torch.searchsorted(path, states), torch.searchsorted(path, states + 1)
        time = torch.arange(logits.shape[1], device=path.device)[:, None]
        span = (time >= start[:, None]) & (time < end[:, None])  # (N, T, L)
        posterior = (chars.exp() * span).sum(1) / span.sum(1).clamp(min=1)
        return Alignment(
            start=start * mask,
            end=end * mask,
            peak=chars.masked_fill(~span, -torch.inf).argmax(1) * mask,
            posterior=posterior.masked_fill(~mask, 0.0),
            score=score.masked_fill(~aligned, -torch.inf),
            aligned=aligned,
            mask=mask,
        )


def gather_features(features: Tensor, alignment: Alignment, targets: Tensor) -> AlignedFeatures:
    """Take the feature of each aligned character at its peak; differentiable with respect to the features.

    The mean over a character's frames served fine-tuning no better.

    Args:
        features: (N, T, D).
        alignment: Of the same lines.
        targets: (N, L) class ids.
    """
    lines, positions = alignment.mask.nonzero(as_tuple=True)
    rows = features[lines, alignment.peak[lines, positions]]
    return AlignedFeatures(features=rows, classes=targets[lines, positions], lines=lines, positions=positions)


def _nothing(chars: Tensor, within: Tensor) -> Alignment:
    """Return the alignment of a batch without lines, frames or characters."""
    place = torch.zeros_like(within, dtype=torch.int64)
    score = chars.new_full(within.shape[:1], -torch.inf)
    return Alignment(
        start=place,
        end=place,
        peak=place,
        posterior=place.to(chars.dtype),
        score=score,
        aligned=score > 0,
        mask=place > 0,
    )


def _emissions(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the log-probabilities of the blank (N, T, 1) and of the labels' characters (N, T, L)."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    columns = F.pad(targets.clamp(0, logits.shape[2] - 1), (1, 0))[:, None].expand(-1, logits.shape[1], -1)
    emissions = logits.new_empty(columns.shape, dtype=dtype)
    for few, wanted, place in zip(
        logits.split(_LINES_AT_ONCE), columns.split(_LINES_AT_ONCE), emissions.split(_LINES_AT_ONCE), strict=True
    ):
        torch.gather(few.to(dtype).log_softmax(2), 2, wanted, out=place)
    return emissions[:, :, :1], emissions[:, :, 1:]


@dataclass(frozen=True)
class _Lattice:
    """The states of N labels against T frames, laid out so that one recursion serves all lines.

    Past its own frames a line may only be in its last blank, at no cost. So every line ends at frame T, and
    going backwards in time every line starts there, whatever its length: no frame needs a mask of its own.

    Attributes:
        emissions: (N, T, S) log-probabilities of the states.
        skip: (N, S), 0 where a path may go from a state to the next but one, -inf elsewhere.
        last: (N, S), 0 at each label's last blank, -inf elsewhere.
    """

    emissions: Tensor
    skip: Tensor
    last: Tensor

    @classmethod
    def build(cls, blank: Tensor, chars: Tensor, frames: Tensor, targets: Tensor, target_lengths: Tensor) -> _Lattice:
        num_lines, num_frames, length = chars.shape
        emissions = blank.expand(-1, -1, 2 * length + 1).contiguous()
        emissions[:, :, 1::2] = chars
        states = torch.arange(2 * length + 1, device=chars.device)
        last = chars.new_zeros(num_lines, 2 * length + 1)
        last.masked_fill_(states != 2 * target_lengths[:, None], -torch.inf)
        own = torch.arange(num_frames, device=chars.device) < frames[:, None]
        emissions = torch.where(own[:, :, None], emissions, last[:, None])
        skip = torch.full_like(last, -torch.inf)
        skip[:, 1:-2:2] = skip[:, 1:-2:2].masked_fill(targets[:, 1:] != targets[:, :-1], 0.0)
        return cls(emissions, skip, last)

    def best_path(self) -> tuple[Tensor, Tensor]:
        """Return the states (N, T) of the best paths and their scores (N,)."""
        ahead = self._scan()
        stay, go, skip = ahead[1:, :, :-2], ahead[1:, :, 1:-1], ahead[1:, :, 2:] + self.skip
        # how many states to move after each frame; in one byte, for this is the largest array of all
        moves = (go > stay).to(torch.int8).masked_fill_(skip > torch.maximum(stay, go), 2)
        score, state = ahead[0, :, :2].max(1, keepdim=True)
        path = [state]
        for move in moves[:-1].unbind():
            state = state + move.gather(1, state)
            path.append(state)
        return torch.cat(path, dim=1), score[:, 0]

    def _scan(self) -> Tensor:
        """Return (T + 1, N, S + 2): the best log-probability from each frame on, by its state."""
        num_lines, num_frames, num_states = self.emissions.shape
        ahead = self.emissions.new_full((num_frames + 1, num_lines, num_states + 2), -torch.inf)
        ahead[-1, :, :-2] = self.last
        score, skipped = torch.empty_like(self.last), torch.empty_like(self.last)
        for frame in range(num_frames - 1, -1, -1):
            after = ahead[frame + 1]
            torch.maximum(after[:, :-2], after[:, 1:-1], out=score)
            torch.add(after[:, 2:], self.skip, out=skipped)
            torch.maximum(score, skipped, out=score)
            torch.add(score, self.emissions[:, frame], out=ahead[frame, :, :-2])
        return ahead

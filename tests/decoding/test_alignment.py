import itertools
import math
import random

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ocrcc.decoding.alignment import align, gather_features

NEVER = -math.inf


def textbook_viterbi(log_probs, label):
    """Best path of one label, as the textbooks have it: forward tables of lists, then back along the pointers."""
    chain = [0]
    for char in label:
        chain += [char, 0]
    best = [[NEVER] * len(chain) for _ in log_probs]
    came = [[0] * len(chain) for _ in log_probs]
    for state in (0, 1):
        best[0][state] = log_probs[0][chain[state]]
    for t in range(1, len(log_probs)):
        for state, char in enumerate(chain):
            origins = [state]
            if state >= 1:
                origins.append(state - 1)
            if state >= 2 and char != 0 and char != chain[state - 2]:
                origins.append(state - 2)
            came[t][state] = max(origins, key=lambda origin: best[t - 1][origin])
            best[t][state] = best[t - 1][came[t][state]] + log_probs[t][char]
    state = max((len(chain) - 1, len(chain) - 2), key=lambda end: best[-1][end])
    score, path = best[-1][state], [state]
    for t in range(len(log_probs) - 1, 0, -1):
        path.append(came[t][path[-1]])
    path.reverse()
    spans = [(path.index(s), len(path) - path[::-1].index(s)) for s in range(1, len(chain), 2)]
    return score, spans


def collapse(symbols):
    """Read a string of frame classes: repeats merged, blanks dropped; and the frames of each character."""
    text, spans, previous = [], [], 0
    for t, symbol in enumerate(symbols):
        if symbol and symbol != previous:
            text.append(symbol)
            spans.append([t, t + 1])
        elif symbol:
            spans[-1][1] = t + 1
        previous = symbol
    return text, spans


def one(logits, label, **options):
    """Align one line of a float tensor (T, C) with a list of classes."""
    frames, lengths = torch.tensor([len(logits)]), torch.tensor([len(label)])
    return align(logits[None], frames, torch.tensor([label], dtype=torch.int64), lengths, **options)


def random_batch(seed, num_lines=6, num_frames=14, length=5, num_classes=4):
    """Make logits (N, T, C), frames, targets and lengths; few classes, so that repeats are common."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(num_lines, num_frames, num_classes, generator=generator, dtype=torch.float64)
    frames = torch.randint(1, num_frames + 1, (num_lines,), generator=generator)
    lengths = torch.randint(0, length + 1, (num_lines,), generator=generator)
    targets = torch.randint(1, num_classes, (num_lines, length), generator=generator)
    return logits, frames, targets * (torch.arange(length) < lengths[:, None]), lengths


def test_matches_the_textbook_on_random_lines():
    compared = repeated = refused = 0
    for seed in range(120):
        logits, frames, targets, lengths = random_batch(seed)
        found = align(logits, frames, targets, lengths)
        log_probs = logits.log_softmax(2).tolist()
        for n in range(len(logits)):
            label = targets[n, : lengths[n]].tolist()
            needed = len(label) + sum(a == b for a, b in itertools.pairwise(label))
            if not label or frames[n] < needed:
                assert not found.aligned[n]
                assert found.score[n] == NEVER
                refused += 1
                continue
            score, spans = textbook_viterbi(log_probs[n][: frames[n]], label)
            assert found.aligned[n]
            assert found.score[n].item() == pytest.approx(score, abs=1e-9)
            ours = torch.stack((found.start[n], found.end[n]), 1)[: len(label)].tolist()
            assert ours == [list(span) for span in spans]
            repeated += needed > len(label)
            compared += 1
    assert compared > 300
    assert repeated > 100
    assert refused > 50


@pytest.mark.parametrize("label", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 1, 2], [2, 2, 2]])
def test_matches_every_path_written_out(label):
    for num_frames in range(len(label), 6):
        logits = torch.randn(num_frames, 3, generator=torch.Generator().manual_seed(num_frames)).double()
        log_probs = logits.log_softmax(1)
        paths = [path for path in itertools.product(range(3), repeat=num_frames) if collapse(path)[0] == label]
        found = one(logits, label)
        assert bool(found.aligned) == bool(paths)
        if not paths:
            continue
        scores = torch.tensor([sum(log_probs[t, c].item() for t, c in enumerate(path)) for path in paths])
        assert found.score.item() == pytest.approx(scores.max().item(), abs=1e-6)
        best = collapse(paths[scores.argmax()])[1]
        assert torch.stack((found.start[0], found.end[0]), 1).tolist() == best


def test_agrees_with_torchaudio():
    try:
        from torchaudio import functional
    except (ImportError, OSError, RuntimeError) as error:  # absent, or built for another torch
        pytest.skip(f"no torchaudio: {error}")
    for seed in range(50):
        logits, frames, targets, lengths = random_batch(seed)
        found = align(logits, frames, targets, lengths)
        for n in range(len(logits)):
            if not found.aligned[n]:
                continue
            label, log_probs = targets[n, : lengths[n]], logits[n, : frames[n]].log_softmax(1)
            path, scores = functional.forced_align(log_probs[None].float(), label[None])
            assert found.score[n].item() == pytest.approx(scores.sum().item(), abs=1e-4)
            ours = torch.stack((found.start[n], found.end[n]), 1)[: len(label)].tolist()
            assert ours == collapse(path[0].tolist())[1]


def test_peak_and_posterior_are_those_of_the_span():
    logits, frames, targets, lengths = random_batch(3)
    found = align(logits, frames, targets, lengths)
    posteriors = logits.softmax(2)
    for n, position in found.mask.nonzero().tolist():
        start, end = int(found.start[n, position]), int(found.end[n, position])
        own = posteriors[n, start:end, targets[n, position]]
        assert start <= found.peak[n, position] < end <= frames[n]
        assert found.peak[n, position] == start + own.argmax()
        assert found.posterior[n, position].item() == pytest.approx(own.mean().item())
    outside = ~found.mask
    assert outside.any()
    for values in (found.start, found.end, found.peak, found.posterior):
        assert not values[outside].any()


def test_a_line_does_not_depend_on_its_neighbours_or_padding():
    logits, frames, targets, lengths = random_batch(8)
    batch = align(logits, frames, targets, lengths)
    for n in range(len(logits)):
        t, length = int(frames[n]), int(lengths[n])
        alone = one(logits[n, :t], targets[n, :length].tolist())
        assert alone.score.item() == pytest.approx(batch.score[n].item(), abs=1e-9)
        assert torch.equal(alone.peak[0], batch.peak[n, :length])
    logits[:, :, 1:] += 50 * (torch.arange(logits.shape[1])[None, :, None] >= frames[:, None, None])
    targets = torch.where(torch.arange(targets.shape[1]) < lengths[:, None], targets, -1)
    again = align(logits, frames, targets, lengths)
    assert torch.equal(again.peak, batch.peak)
    torch.testing.assert_close(again.score, batch.score)


def test_dropped_and_inserted_characters_still_align():
    # the model reads "1 3 4" where the label is "1 2 3": 2 was dropped, 4 inserted
    logits = torch.zeros(12, 5)
    for frame, read in {1: 1, 5: 3, 9: 4}.items():
        logits[frame, read] = 8.0
    for frame in (0, 2, 3, 4, 6, 7, 8, 10, 11):
        logits[frame, 0] = 5.0
    found = one(logits, [1, 2, 3])
    assert found.aligned.all()
    assert found.peak[0, 0] == 1
    assert found.peak[0, 2] == 5
    assert 1 < found.peak[0, 1] < 5
    assert found.posterior[0, 1] < 0.1 < 0.9 < found.posterior[0, 0]


def test_repeats_keep_a_blank_between_them_even_on_ties():
    for num_frames in (3, 4, 9):
        found = one(torch.zeros(num_frames, 3), [1, 1])
        assert found.aligned.all()
        assert found.end[0, 0] < found.start[0, 1]
    assert not one(torch.zeros(2, 3), [1, 1]).aligned.any()


@pytest.mark.parametrize(("num_lines", "num_frames", "length"), [(0, 5, 2), (2, 0, 2), (2, 5, 0), (1, 1, 1), (0, 0, 0)])
def test_nothing_to_align_is_no_error(num_lines, num_frames, length):
    logits = torch.randn(num_lines, num_frames, 4)
    targets = torch.ones(num_lines, length, dtype=torch.int64)
    lengths = torch.full((num_lines,), length)
    found = align(logits, torch.full((num_lines,), num_frames), targets, lengths)
    expected = length > 0 and num_frames >= length
    assert found.aligned.tolist() == [expected] * num_lines
    assert found.peak.shape == (num_lines, length)
    taken = gather_features(torch.randn(num_lines, num_frames, 3), found, targets)
    assert taken.features.shape == (num_lines * length if expected else 0, 3)


def test_half_precision_and_autocast_work_in_float32():
    logits, frames, targets, lengths = random_batch(5)
    logits = logits.bfloat16()
    expected = align(logits.float(), frames, targets, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = align(logits, frames, targets, lengths)
        features = gather_features(logits, found, targets).features
    assert found.score.dtype == torch.float32
    assert features.dtype == torch.bfloat16
    torch.testing.assert_close(found.score, expected.score)
    again = align(logits.float().log_softmax(2), frames, targets, lengths)
    torch.testing.assert_close(again.posterior, expected.posterior)


def test_no_value_is_asked_of_the_device():
    # fake tensors have shapes and no values: anything that looks at one raises
    with FakeTensorMode():
        logits = torch.randn(3, 12, 7)
        lengths = torch.full((3,), 4)
        found = align(logits, torch.full((3,), 12), torch.ones(3, 4, dtype=torch.int64), lengths)
        assert found.peak.shape == (3, 4)


def test_gathered_features_match_a_loop():
    logits, frames, targets, lengths = random_batch(2)
    found = align(logits, frames, targets, lengths)
    features = torch.randn(*logits.shape[:2], 3, dtype=torch.float64, requires_grad=True)
    taken = gather_features(features, found, targets)
    assert taken.lines.tolist() == sorted(taken.lines.tolist())
    assert len(taken.features) == sum(lengths[found.aligned])
    for m, (n, position) in enumerate(zip(taken.lines.tolist(), taken.positions.tolist(), strict=True)):
        assert torch.equal(taken.features[m], features[n, found.peak[n, position]])
        assert taken.classes[m] == targets[n, position]
    taken.features.sum().backward()
    # no gradient leaves a character's line
    torch.testing.assert_close(features.grad.sum((1, 2)), 3.0 * (lengths * found.aligned).double())


def test_order_of_lines_does_not_matter():
    logits, frames, targets, lengths = random_batch(11)
    order = list(range(len(logits)))
    random.Random(0).shuffle(order)
    whole = align(logits, frames, targets, lengths)
    shuffled = align(logits[order], frames[order], targets[order], lengths[order])
    assert torch.equal(whole.start[order], shuffled.start)
    assert torch.equal(whole.score[order], shuffled.score)

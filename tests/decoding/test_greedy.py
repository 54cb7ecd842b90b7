from __future__ import annotations

import itertools

import numpy as np
import pytest

from ocrcc.charset import Charset
from ocrcc.decoding.greedy import collapse, decode, reread, texts
from ocrcc.decoding.rivals import Rivals
from ocrcc.errors import ModelError

ABC = Charset("abcdefghij")


def naive(classes):
    """Textbook collapse of one line's frame classes: (class, start, end) of each run that is not blank."""
    spans, position = [], 0
    for class_id, group in itertools.groupby(classes):
        length = len(list(group))
        if class_id:
            spans.append((class_id, position, position + length))
        position += length
    return spans


def softmax(scores):
    powers = np.exp(scores.astype(np.float64) - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def found(runs):
    return [
        list(zip(runs.classes[own].tolist(), runs.starts[own].tolist(), runs.ends[own].tolist(), strict=True))
        for own in runs.line_slices()
    ]


@pytest.mark.parametrize(
    ("classes", "spans"),
    [
        ([0, 0, 0], []),
        ([1], [(1, 0, 1)]),
        ([1, 1, 1], [(1, 0, 3)]),
        ([1, 0, 1], [(1, 0, 1), (1, 2, 3)]),
        ([1, 2, 1], [(1, 0, 1), (2, 1, 2), (1, 2, 3)]),
        ([0, 3, 3, 0, 0, 3], [(3, 1, 3), (3, 5, 6)]),
        ([2, 0, 0], [(2, 0, 1)]),
        ([], []),
    ],
)
def test_collapse_of_one_line(classes, spans):
    assert found(collapse(np.array([classes], dtype=np.int64), np.array([len(classes)]))) == [spans]


def test_a_run_does_not_reach_from_one_line_into_the_next():
    runs = collapse(np.array([[0, 1], [1, 0], [1, 1]]), np.array([2, 2, 2]))
    assert found(runs) == [[(1, 1, 2)], [(1, 0, 1)], [(1, 0, 2)]]


def test_frames_of_the_padding_are_not_read():
    classes = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2]])
    assert found(collapse(classes, np.array([0, 1, 3]))) == [[], [(1, 0, 1)], [(1, 0, 2), (2, 2, 3)]]
    assert texts(classes, np.array([0, 1, 4]), ABC) == ["", "a", "ab"]


@pytest.mark.parametrize("num_frames", [0, 1, 7])
def test_no_lines_at_all(num_frames):
    assert decode(np.zeros((0, num_frames, ABC.num_classes), np.float32), np.zeros(0, int), ABC) == []


def test_lines_without_frames_are_read_as_surely_empty():
    (reading,) = decode(np.zeros((1, 0, ABC.num_classes), np.float32), np.array([0]), ABC)
    assert (reading.text, reading.spans, reading.confidence) == ("", (), 1.0)


@pytest.mark.parametrize("seed", range(40))
def test_random_batches_are_read_as_the_textbook_does(seed):
    rng = np.random.default_rng(seed)
    num_lines, num_frames, num_classes = rng.integers(1, 6), rng.integers(1, 60), rng.integers(2, 12)
    charset = Charset("abcdefghijk"[: num_classes - 1])
    logits = rng.normal(0, 3, (num_lines, num_frames, num_classes)).astype(np.float32)
    # Few distinct frames in long repetitions, so that runs of all lengths occur.
    logits = np.take_along_axis(logits, np.sort(rng.integers(0, num_frames, (num_lines, num_frames)))[..., None], 1)
    frames = rng.integers(0, num_frames + 1, num_lines)
    untouched = logits.copy()

    readings = decode(logits, frames, charset, alternatives=3)

    assert np.array_equal(logits, untouched)
    assert [reading.text for reading in readings] == texts(logits.argmax(-1), frames, charset)
    for line, reading in enumerate(readings):
        posteriors = softmax(logits[line, : frames[line]])
        expected = naive(posteriors.argmax(-1).tolist())
        assert [(charset.id(span.char), span.start, span.end) for span in reading.spans] == expected
        for span, others in zip(reading.spans, reading.alternatives, strict=True):
            means = posteriors[span.start : span.end].mean(0)
            assert span.confidence == pytest.approx(means[charset.id(span.char)], abs=1e-6)
            rest = {char: means[charset.id(char)] for char in charset if char != span.char}
            likeliest = sorted(rest, key=lambda char: -rest[char])[:3]
            assert [other.char for other in others] == likeliest
            assert [other.confidence for other in others] == pytest.approx([rest[c] for c in likeliest], abs=1e-6)
        if expected:
            assert reading.confidence == min(span.confidence for span in reading.spans)
        else:
            assert reading.confidence == pytest.approx(posteriors[:, 0].min() if len(posteriors) else 1, abs=1e-6)


def test_log_posteriors_read_like_logits():
    logits = np.random.default_rng(1).normal(0, 2, (3, 20, 5)).astype(np.float32)
    frames = np.array([20, 11, 3])
    from_logits = decode(logits, frames, Charset("abcd"), alternatives=2)
    from_posteriors = decode(np.log(softmax(logits)).astype(np.float32), frames, Charset("abcd"), alternatives=2)
    for one, other in zip(from_logits, from_posteriors, strict=True):
        assert one.text == other.text
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_confidence_is_the_mean_over_the_run():
    posteriors = np.array([[[0.1, 0.9, 0.0], [0.4, 0.6, 0.0], [0.98, 0.01, 0.01]]])
    with np.errstate(divide="ignore"):
        (reading,) = decode(np.log(posteriors), np.array([3]), Charset("ab"))
    assert reading.confidence == pytest.approx(0.75)


@pytest.mark.parametrize(("wanted", "given"), [(0, 0), (1, 1), (2, 2), (99, 2)])
def test_alternatives_are_other_characters_only(wanted, given):
    logits = np.zeros((1, 4, 4), np.float32)
    logits[0, :, 1:] = 1, 2, 0.5
    (reading,) = decode(logits, np.array([4]), Charset("abc"), alternatives=wanted)
    assert reading.text == "b"
    assert [other.char for other in reading.alternatives[0]] == ["a", "c"][:given]


def test_a_charset_of_one_character_has_no_alternatives():
    (reading,) = decode(np.array([[[0.0, 1.0]]]), np.array([1]), Charset("x"), alternatives=5)
    assert (reading.text, reading.alternatives) == ("x", ((),))


def test_half_precision_and_masked_classes():
    logits = np.full((1, 2, 3), -np.inf, dtype=np.float16)
    logits[0, :, 1] = 60_000
    (reading,) = decode(logits, np.array([2]), Charset("ab"))
    assert (reading.text, reading.confidence) == ("a", 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_an_error_of_the_model(bad):
    logits = np.zeros((2, 3, 4), np.float32)
    logits[1, 2, 3] = bad
    with pytest.raises(ModelError, match="not finite"):
        decode(logits, np.array([3, 3]), Charset("abc"))
    assert [reading.text for reading in decode(logits, np.array([3, 2]), Charset("abc"))] == ["", ""]


def test_many_runs_are_measured_in_groups_without_a_seam():
    num_frames = 500
    classes = np.arange(num_frames) % 9 + 1
    logits = np.eye(10, dtype=np.float32)[classes][None] * 4
    (reading,) = decode(logits, np.array([num_frames]), Charset("abcdefghi"), alternatives=1)
    assert reading.text == "".join("abcdefghi"[class_id - 1] for class_id in classes)
    assert len(reading.alternatives) == num_frames
    assert [span.start for span in reading.spans] == list(range(num_frames))


def test_margins_and_lookalikes_of_what_was_read():
    charset = Charset("己已巳x")
    rng = np.random.default_rng(3)
    logits = np.full((2, 5, 5), -8.0, np.float32)
    for line, frame, class_id, score in (
        (0, 0, 1, 2.0), (0, 1, 1, 4.0), (0, 2, 0, 4.0), (0, 3, 4, 4.0), (0, 4, 0, 4.0),
        (1, 0, 0, 4.0), (1, 1, 3, 4.0), (1, 2, 0, 4.0), (1, 3, 0, 4.0), (1, 4, 0, 4.0),
    ):  # fmt: skip
        logits[line, frame, class_id] = score
    logits[0, 0, 0] = 1.5
    logits[0, 1, 2] = 1.0  # 己 could be 已, and less so 巳
    features = rng.normal(size=(2, 5, 3)).astype(np.float32)
    centers = rng.normal(size=(5, 3)).astype(np.float32)
    rivals = Rivals(
        siblings=np.array([[0, 0], [2, 3], [1, 3], [1, 2], [0, 0]]),
        centers=centers,
        known=np.array([False, True, False, True, True]),
    )
    first, second = decode(logits, np.array([5, 5]), charset, rivals=rivals, features=features)

    def distance(line, frame, class_id):
        return np.linalg.norm(features[line, frame] - centers[class_id])

    assert first.text == "己x"
    # The peak of 己 is its second frame; 已 has no center yet, so that the nearest rival is 巳.
    assert first.margins[0] == pytest.approx(distance(0, 1, 3) - distance(0, 1, 1), rel=1e-5)
    assert first.margins[1] is None  # x looks like nothing
    assert second.margins == (pytest.approx(distance(1, 1, 1) - distance(1, 1, 3), rel=1e-5),)
    assert [other.char for other in first.alternatives[0]] == ["已", "巳"]
    assert first.alternatives[0][0].confidence > first.alternatives[0][1].confidence
    assert first.alternatives[1] == ()
    (both, _) = decode(logits, np.array([5, 5]), charset, rivals=rivals, alternatives=3)
    assert sorted(other.char for other in both.alternatives[0]) == sorted("已巳x")  # no one twice
    assert both.margins == (None, None)  # no features, no margins


def test_evidence_is_of_every_character_where_it_is_wanted():
    rivals = Rivals(siblings=np.array([[0], [2], [1]]))
    logits = np.log(np.array([[[0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.1, 0.2, 0.7]]]))
    (reading,) = decode(logits, np.array([3]), Charset("ab"), rivals=rivals, evidence=True)
    assert reading.text == "ab"
    assert [found[0] for found in reading.evidence] == pytest.approx([np.log(8), np.log(3.5)], rel=1e-5)
    assert decode(logits, np.array([3]), Charset("ab"), rivals=rivals)[0].evidence == ()
    assert decode(logits, np.array([3]), Charset("ab"), evidence=True)[0].evidence == ()


def test_the_likeliest_look_alikes_are_named():
    charset = Charset("abcdefghijkl")
    siblings = np.zeros((13, 11), np.int64)
    siblings[1] = np.arange(2, 13)
    logits = np.full((1, 1, 13), -5.0)
    logits[0, 0, 1:] = [9, *range(-3, 8)]
    (reading,) = decode(logits, np.array([1]), charset, rivals=Rivals(siblings=siblings))
    named = [other.char for other in reading.alternatives[0]]
    assert named == list("lkjihgfedcb")[: len(named)]
    assert 1 < len(named) < 11


def test_centers_decide_at_the_likeliest_frame_of_any_run():
    """Runs of all lengths, at the start, within and at the end of lines."""
    charset = Charset("ab")
    rivals = Rivals(
        siblings=np.array([[0], [2], [1]]), centers=np.array([[9.0], [0], [1]], np.float32), known=np.ones(3, bool)
    )
    classes = np.array([[1, 1, 1, 0, 1, 0, 1], [1, 0, 0, 1, 1, 1, 1]])
    logits = np.full((2, 7, 3), -9.0)
    np.put_along_axis(logits, classes[..., None], 5.0, -1)
    logits[classes == 1, 2] = 4.9
    features = np.zeros((2, 7, 1), np.float32)
    for line, peak in ((0, 2), (0, 6), (1, 5)):  # these alone are nearer to b
        features[line, peak] = 1
        logits[line, peak, 1] = 5.05
        logits[line, peak, 2] = 5.0
    read = decode(logits, np.array([7, 7]), charset, rivals=rivals, features=features, center_share=1.0)
    assert [reading.text for reading in read] == ["bab", "ab"]


def test_a_margin_is_to_the_nearest_look_alike_that_has_a_center():
    rivals = Rivals(
        siblings=np.array([[0, 0], [2, 0], [1, 3], [2, 0]]),
        centers=np.array([[0.0], [1], [5], [7]], np.float32),
        known=np.array([True, True, True, False]),
    )
    found = rivals.margins(np.array([[2.0], [4.0], [6.5], [3]]), np.array([1, 2, 3, 0]))
    assert found[:2].tolist() == [3 - 1, 3 - 1]
    assert np.isnan(found[2:]).all()


def test_no_centers_no_margins():
    rivals = Rivals(siblings=np.array([[0], [2], [1]]))
    (reading,) = decode(
        np.array([[[0.0, 3.0, 1.0]]]), np.array([1]), Charset("ab"), rivals=rivals, features=np.zeros((1, 1, 2))
    )
    assert reading.margins == (None,)
    assert [other.char for other in reading.alternatives[0]] == ["b"]
    nobody = Rivals(siblings=np.zeros((3, 0), np.int64), centers=np.zeros((3, 2)), known=np.ones(3, bool))
    (reading,) = decode(
        np.array([[[0.0, 3.0, 1.0]]]), np.array([1]), Charset("ab"), rivals=nobody, features=np.zeros((1, 1, 2))
    )
    assert reading.margins == (None,)
    assert reading.alternatives == ((),)


def test_centers_have_their_share_in_deciding_between_lookalikes():
    charset = Charset("己已巳x")
    rivals = Rivals(
        siblings=np.array([[0, 0], [2, 3], [1, 3], [1, 2], [0, 0]]),
        centers=np.array([[0, 0], [4, 0], [0, 4], [8, 8], [9, 9]], np.float32),
        known=np.array([False, True, True, False, True]),
    )
    logits = np.full((1, 6, 5), -9.0, np.float32)
    for frame, class_id, score in (
        (0, 1, 2.0), (1, 1, 3.0), (1, 2, 2.0), (2, 0, 5.0), (3, 4, 3.0), (4, 3, 3.0), (5, 0, 4.0)
    ):  # fmt: skip
        logits[0, frame, class_id] = score
    features = np.zeros((1, 6, 2), np.float32)
    features[0, 0] = [4, 0]  # not the peak: it says 己, but is not asked
    features[0, 1] = [0, 4]  # nearer to 已 by half its squared distance over D: 8
    features[0, 3] = [0, 4]  # x has no look-alikes
    features[0, 4] = [0, 4]  # 巳 has no center, and stays

    def read(share):
        (reading,) = decode(logits, np.array([6]), charset, rivals=rivals, features=features, center_share=share)
        return reading

    assert read(0).text == "己x巳"
    assert read(0.12).text == "己x巳"  # 3 - 0.12 * 8 > 2
    assert read(0.13).text == "已x巳"
    assert len(read(0.13).spans) == 3
    posteriors = softmax(logits[0, :2])
    assert read(0).spans[0].confidence == pytest.approx(posteriors[:, 1].mean(), rel=1e-5)
    assert read(0.13).spans[0].confidence == pytest.approx(posteriors[:, 2].mean(), rel=1e-5)
    runs = collapse(logits.argmax(-1), np.array([6]))
    assert reread(runs, logits, features, rivals, 0.13).texts(charset) == ["已x巳"]
    empty = collapse(np.zeros((1, 6), int), np.array([6]))
    assert reread(empty, logits, features, rivals, 1.0).texts(charset) == [""]

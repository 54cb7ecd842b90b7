from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_lines import draw_line
from PIL import Image
from rapidfuzz.distance import Levenshtein
from wild import random_lines as wild_lines
from wild import save_wild_model

from ocrcc.charset import Charset
from ocrcc.config import EvaluateConfig, PredictConfig, Preprocessing
from ocrcc.data.lmdb_store import LmdbDataset
from ocrcc.decoding import greedy
from ocrcc.errors import DataError, ModelError
from ocrcc.evaluation import evaluate as workflow
from ocrcc.evaluation.evaluate import evaluate, evaluate_datasets, read_dataset
from ocrcc.lookalikes import Group, Lookalikes
from ocrcc.models.checkpoint import load_model
from ocrcc.reading.reader import LineReader
from ocrcc.types import Line

STRIDE = 4
CHARSET = Charset("abcdefgh")
STEP = 28
PLAIN = Preprocessing(polarity="keep")


def stripes(text, gap=1):
    """An image that `StripeReader` reads as a text."""
    columns = [grey for char in text for grey in (CHARSET.id(char) * STEP, *[0] * gap)] or [0]
    return Image.fromarray(np.tile(np.repeat(np.array(columns, dtype=np.uint8), STRIDE), (32, 1)))


class StripeReader(torch.nn.Module):
    """The class of a frame is its mean grey; a layer with a mode to look at, and a factor to break."""

    def __init__(self):
        super().__init__()
        self.width_stride = STRIDE
        self.num_classes = CHARSET.num_classes
        self.frozen = torch.nn.BatchNorm1d(1)
        self.factor = torch.nn.Parameter(torch.tensor(-5.0))
        self.modes = []
        self.shapes = []

    def forward(self, images):
        self.modes.append((self.training, self.frozen.training, torch.is_grad_enabled()))
        self.shapes.append(tuple(images.shape))
        count, _, _, width = images.shape
        grey = (images * PLAIN.std + PLAIN.mean) * 255
        grey = grey.reshape(count, 32, width // STRIDE, STRIDE).mean(dim=(1, 3))
        logits = self.factor * (grey[..., None] / STEP - torch.arange(self.num_classes)).abs()
        return SimpleNamespace(logits=logits, features=grey[..., None])


class Lines:
    """A dataset in memory of (what is drawn, what the label says); an image of None cannot be opened."""

    def __init__(self, *lines, name="lines", gap=1):
        self.name = name
        self.lines = lines
        self.gap = gap
        self.widths = np.array([stripes(drawn or "", gap).width for drawn, _ in lines])
        self.heights = np.full(len(lines), 32)

    @property
    def size(self):
        return len(self.lines)

    def __len__(self):
        return len(self.lines)

    def line(self, index):
        drawn, label = self.lines[index]
        if drawn is None:
            raise DataError(f"{self.name}#{index + 1}: truncated image")
        return Line(image=stripes(drawn, self.gap), label=label, source=f"{self.name}#{index + 1}")


def measure(*datasets, recognizer=None, charset=CHARSET, batch_size=4, **options):
    return evaluate_datasets(
        recognizer or StripeReader(), charset, PLAIN, datasets, batch_size=batch_size, device="cpu", **options
    )


def random_lines(count, wrong=0.3, seed=0, name="lines"):
    rng = np.random.default_rng(seed)
    texts = ["".join(rng.choice(list(CHARSET), rng.integers(1, 30))) for _ in range(count)]
    return Lines(*[(text, text[:-1] + "a" if rng.random() < wrong else text) for text in texts], name=name)


def test_figures_by_hand():
    (metrics,), total = measure(Lines(("abc", "abc"), ("abd", "abc"), ("ab", "abc"), ("abc", "ab")))
    assert (metrics.lines, metrics.strict.characters, metrics.strict.edits) == (4, 11, 3)
    assert metrics.line_accuracy == 1 / 4
    assert metrics.cer == pytest.approx(3 / 11)
    assert metrics.one_minus_ned == pytest.approx(1 - 3 * (1 / 3) / 4)
    assert [(pair.truth, pair.predicted) for pair in metrics.substitutions] == [("c", "d")]
    assert [pair.predicted for pair in metrics.insertions] == ["c"]
    assert [pair.truth for pair in metrics.deletions] == ["c"]
    assert metrics.lines_per_second > 0
    assert (total.strict, total.substitutions) == (metrics.strict, metrics.substitutions)


def test_every_reading_is_told_and_stands_by_its_line():
    told = []
    first, second = Lines(("abc", "abc"), ("ab", "abc")), Lines(("abd", "abd"), (None, "a"), ("e", "f"), name="more")
    each, total = measure(first, second, on_reading=lambda *line: told.append(line))
    assert sorted(told) == [("abc", "ab"), ("abc", "abc"), ("abd", "abd"), ("f", "e")]
    assert [one.right.tolist() for one in each] == [[1, 0], [1, -1, 0]]
    assert total.right.tolist() == [1, 0, 1, -1, 0]
    assert total.seconds == pytest.approx(sum(one.seconds for one in each))
    assert 0 < total.seconds < 100


@pytest.mark.parametrize("losses", [False, True])
def test_losses_are_there_where_they_are_wanted(losses):
    (metrics,), total = measure(Lines(("abc", "abc"), ("abd", "abe")), losses=losses)
    assert (len(metrics.losses), len(total.losses)) == ((2, 2) if losses else (0, 0))
    assert not losses or metrics.losses[0] < 0.1 < metrics.losses[1]


def test_a_dataset_is_read_line_by_line():
    lines = Lines(("abc", "x"), (None, "a"), ("ab", "y"))
    assert read_dataset(StripeReader(), CHARSET, PLAIN, lines, batch_size=2, device="cpu") == ["abc", None, "ab"]


@pytest.mark.parametrize("second_look", [0.0, 0.7])
def test_lines_longer_than_the_model_takes_are_measured_as_they_are_read(second_look):
    narrow = replace(PLAIN, max_width=128)
    drawn, other = "beg" * 12, "beg" * 11 + "bed"  # no a, which is too pale to tell from a gap
    lines = Lines((drawn, drawn), ("abc", "abc"), (None, "a"), (drawn, other), gap=2)
    lines.widths[2] = 999  # as long, and cannot be opened
    (metrics,), _ = evaluate_datasets(
        StripeReader(), CHARSET, narrow, [lines], batch_size=4, device="cpu", second_look=second_look
    )
    assert (metrics.lines, metrics.strict.edits, metrics.unreadable) == (3, 1, 1)
    assert [(pair.truth, pair.predicted) for pair in metrics.substitutions] == [("d", "g")]
    assert metrics.right.tolist() == [1, 1, -1, 0]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batch_size_changes_no_digit(batch_size):
    reference, _ = measure(random_lines(60), batch_size=7)
    (metrics,), _ = measure(random_lines(60), batch_size=batch_size)
    assert (metrics.strict, metrics.folded) == (reference[0].strict, reference[0].folded)
    assert metrics.substitutions == reference[0].substitutions


def test_the_total_is_one_set_not_a_mean_of_means():
    sets = [random_lines(50, seed=1, name="one"), random_lines(3, wrong=1.0, seed=2, name="two")]
    found, total = measure(*sets, worst=2)
    whole = measure(Lines(*sets[0].lines, *sets[1].lines))[1]
    assert [metrics.name for metrics in found] == ["one", "two"]
    assert (total.strict, total.folded, total.deletions) == (whole.strict, whole.folded, whole.deletions)
    assert total.seconds == pytest.approx(sum(metrics.seconds for metrics in found))
    assert total.worst[0].badness >= total.worst[1].badness > (0, 0)
    assert len(total.worst) == 2


def test_characters_that_the_charset_lacks_are_errors_and_named():
    (metrics,), _ = measure(Lines(("ab", "a巴b"), ("cd", "cd"), ("", "巴")))
    assert metrics.missing == (("巴", 2),)
    assert metrics.line_accuracy == pytest.approx(1 / 3)
    assert metrics.cer == pytest.approx(2 / 6)


def test_labels_are_normalised_as_the_charset_wants():
    charset = Charset("abcdefgh", normalisation="nfkc")
    (metrics,), _ = measure(Lines(("ab", "ａｂ"), ("ab", "a b")), charset=charset)
    assert metrics.line_accuracy == 1 / 2
    assert metrics.folded.line_accuracy == 1
    (strict,), _ = measure(Lines(("ab", "ａｂ"), ("ab", "a b")))
    assert strict.line_accuracy == 0


def test_unreadable_lines_are_named_and_in_no_figure():
    first = Lines(("ab", "ab"), (None, "cd"), name="[red]\x1b[31m")
    found, total = measure(first, Lines((None, "x"), name="other"))
    assert [metrics.lines for metrics in found] == [1, 0]
    assert (total.lines, total.line_accuracy, total.unreadable) == (1, 1.0, 2)
    assert total.unreadable_named == ("[red]\x1b[31m#2: truncated image", "other#1: truncated image")
    assert math.isnan(found[1].line_accuracy)


def test_lookalikes_are_counted_if_asked_for():
    (metrics,), _ = measure(Lines(("ab", "aa"), ("ca", "ca")), lookalikes=Lookalikes((Group("ab", 1.0, "list"),)))
    assert (metrics.lookalike_chars, metrics.lookalike_accuracy) == (3, pytest.approx(2 / 3))


def test_every_module_gets_its_mode_back_and_no_gradients_are_made():
    recognizer = StripeReader().train()
    recognizer.frozen.eval()
    (metrics,), _ = evaluate_datasets(recognizer, CHARSET, PLAIN, [random_lines(9)], batch_size=4, device="cpu")
    assert metrics.lines == 9
    assert set(recognizer.modes) == {(False, False, False)}
    assert recognizer.training
    assert not recognizer.frozen.training
    assert torch.is_grad_enabled()
    assert recognizer(torch.zeros(1, 1, 32, 32)).logits.requires_grad


def test_a_recogniser_without_numbers_is_an_error_and_still_gets_its_mode_back():
    recognizer = StripeReader().train()
    recognizer.factor.data.fill_(math.nan)
    with pytest.raises(ModelError, match="not finite"):
        measure(random_lines(3), recognizer=recognizer)
    assert recognizer.training


def test_long_batches_are_cut_to_what_memory_holds(monkeypatch):
    lines = Lines(*[("abcd", "abcd")] * 10)
    monkeypatch.setattr("ocrcc.reading.engines._MAX_SCORES", 3 * 8 * CHARSET.num_classes)
    recognizer = StripeReader()
    (metrics,), _ = measure(lines, recognizer=recognizer, batch_size=10)
    assert metrics.line_accuracy == 1
    assert [shape[0] for shape in recognizer.shapes] == [3, 3, 3, 1]


def test_second_looks_are_those_of_prediction(wild_model):
    reader = LineReader.load(wild_model, config=PredictConfig(second_look=1))
    images = [draw_line(text) for text in wild_lines(20)]
    read = [line.text for line in reader.recognize(images)]

    class Drawn(Lines):
        def line(self, index):
            return Line(image=images[index], label=read[index], source=f"{index}")

    drawn = Drawn(*[("", text) for text in read])
    drawn.widths, drawn.heights = (np.array(sizes) for sizes in zip(*[image.size for image in images], strict=True))
    model = load_model(wild_model)

    def right(second_look):
        metrics, _ = evaluate_datasets(
            model.recognizer,
            model.charset,
            model.preprocessing,
            [drawn],
            batch_size=8,
            device="cpu",
            second_look=second_look,
        )
        return metrics[0].line_accuracy

    assert right(1.0) == 1
    assert right(0.0) < 1


def test_progress_reaches_the_end():
    seen = []
    measure(random_lines(10, seed=1), random_lines(5, seed=2), report=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (15, 15)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("second_look", [0.0, 0.7])
def test_progress_counts_every_line_once(wild_model, digits_lmdb, second_look):
    seen = []
    how = EvaluateConfig(workers=0, threads=1, batch_size=1, lookalikes="", second_look=second_look)
    evaluate(wild_model, [digits_lmdb], how, device="cpu", report=lambda *told: seen.append(told))
    assert seen == [(done, 40) for done in range(1, 41)]


def test_a_result_says_of_what_it_is(wild_model, digits_lmdb):
    how = EvaluateConfig(workers=0, threads=1, second_look=0)
    result = evaluate(wild_model, [digits_lmdb, digits_lmdb], how, device="cpu")
    charset = load_model(wild_model).charset
    assert (result.charset, result.normalisation) == (charset.name, charset.normalisation)
    assert result.lineage == {"charset": charset.sha256, "data": [LmdbDataset(digits_lmdb).sha256] * 2}
    assert [one.lines for one in (*result.datasets, result.total)] == [40, 40, 80]


def test_what_was_read_is_kept_for_who_asks(wild_model, digits_lmdb):
    told = []
    how = EvaluateConfig(workers=0, threads=1, second_look=0, lookalikes="")
    result = evaluate(wild_model, [digits_lmdb], how, device="cpu", then=told.append)
    (readings,) = told
    (log,) = readings.logs
    assert (readings.result, readings.lookalikes, len(readings.datasets)) == (result, None, 1)
    assert log.right.sum() == result.total.strict.correct
    assert len(log.right) == 40
    data = LmdbDataset(digits_lmdb)
    assert {place: line.truth for place, line in log.wrong.items()} == {
        (0, index): data.label(index) for _, index in log.wrong
    }
    assert sorted(log.lengths.tolist()) == sorted(len(data.label(index)) for index in range(40))


def test_progress_of_several_models_is_that_of_all(wild_model, digits_lmdb):
    seen = []
    how = EvaluateConfig(workers=0, threads=1, lookalikes="", second_look=0, compare=(str(wild_model),))
    evaluate(wild_model, [digits_lmdb], how, device="cpu", report=lambda *told: seen.append(told))
    assert {total for _, total in seen} == {80}
    assert seen[-1] == (80, 80)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("second_look", [0.0, 0.7])
def test_centers_have_the_share_that_was_asked_for(model, digits_lmdb, second_look, monkeypatch):
    shares = set()
    plain = greedy.reread

    def watched(runs, logits, features, rivals, weight):
        shares.add(weight)
        return plain(runs, logits, features, rivals, weight)

    monkeypatch.setattr(greedy, "reread", watched)
    how = {"workers": 0, "threads": 1, "second_look": second_look}
    evaluate(model, [digits_lmdb], EvaluateConfig(**how), device="cpu")
    assert not shares
    evaluate(model, [digits_lmdb], EvaluateConfig(**how, center_share=0.3), device="cpu")
    assert shares == {0.3}


def test_centers_shall_have_a_share_and_there_are_none(wild_model, digits_lmdb):
    with pytest.raises(ModelError, match="no class centers to have a share"):
        evaluate(wild_model, [digits_lmdb], EvaluateConfig(center_share=0.1, workers=0, threads=1), device="cpu")


def test_workers_load_the_same_lines():
    alone = measure(random_lines(40))[1]
    helped = measure(random_lines(40), workers=2)[1]
    assert (alone.strict, alone.substitutions) == (helped.strict, helped.substitutions)


def test_a_second_model_reads_beside_the_last_one(wild_model, digits_lmdb, tmp_path):
    other = save_wild_model(tmp_path / "other.safetensors", arch="timm/lcnet_035+none")
    how = {"workers": 0, "threads": 1, "compare": (str(wild_model),)}
    result = evaluate(wild_model, [digits_lmdb], EvaluateConfig(**how, second_model=str(other)), device="cpu")
    settings = PredictConfig(second_model=str(other), threads=1)
    images = [line.image for line in map(LmdbDataset(digits_lmdb).line, range(40))]
    read = [line.text for line in LineReader.load(wild_model, device="cpu", config=settings).recognize(images)]
    assert (result.second_model, result.baseline.second_model) == (str(other), "")
    assert result.total.strict.edits == sum(
        Levenshtein.distance(text, LmdbDataset(digits_lmdb).label(index)) for index, text in enumerate(read)
    )
    alone = evaluate(wild_model, [digits_lmdb], EvaluateConfig(**how), device="cpu")
    assert alone.total.strict == alone.baseline.total.strict == result.baseline.total.strict != result.total.strict


def test_no_lines_at_all_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(workflow, "opened", lambda paths, say: nullcontext([Lines()]))
    with pytest.raises(DataError, match="no lines"):
        workflow.evaluate("model", [tmp_path / "empty.lmdb"], EvaluateConfig())


def test_torch_gets_the_threads_that_were_asked_for(wild_model, digits_lmdb, torch_threads):
    how = EvaluateConfig(threads=3, workers=0, lookalikes="", second_look=0)
    evaluate(wild_model, [digits_lmdb], how, device="cpu")
    assert torch.get_num_threads() == 3

import math

import pytest
import torch
import torch.multiprocessing as mp

from ocrcc.losses.center import (
    Centers,
    NearCenters,
    mean,
    sibling_cross_entropy,
    squared_distance,
)

NUM_CLASSES, WIDTH = 7, 5
SIBLINGS = torch.tensor([[0, 0], [2, 3], [1, 0], [1, 0], [5, 0], [4, 6], [0, 0]])


def a_batch(num_chars=12, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(num_chars, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    classes = torch.randint(1, NUM_CLASSES, (num_chars,), generator=generator)
    return features, classes


def some_centers(seen=(1, 2, 3, 4, 5), dtype=torch.float32):
    centers = Centers(NUM_CLASSES, WIDTH).to(dtype)
    centers.centers[list(seen)] = torch.randn(
        len(seen), WIDTH, generator=torch.Generator().manual_seed(9), dtype=torch.float64
    ).to(dtype)
    centers.center_counts[list(seen)] = 10
    return centers


def distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_center_loss_matches_a_naive_loop(dtype):
    features, classes = a_batch(40, dtype)
    centers = some_centers(dtype=dtype)
    found = squared_distance(features, centers.near(classes, SIBLINGS))
    assert found.dtype == dtype
    table, seen = centers.centers.tolist(), (centers.center_counts > 0).tolist()
    expected = [
        distance(x, table[c]) ** 2 / 2 if seen[c] else 0.0
        for x, c in zip(features.tolist(), classes.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(expected, abs=1e-5 if dtype == torch.float32 else 1e-10)
    assert any(expected)
    assert mean(found).item() == pytest.approx(sum(expected) / 40, abs=1e-5)


def test_gradients_are_right():
    features, classes = a_batch(8, torch.float64)
    near = some_centers(dtype=torch.float64).near(classes, SIBLINGS)
    assert torch.autograd.gradcheck(lambda x: squared_distance(x, near), features.requires_grad_())


def test_a_character_on_its_center_has_a_finite_gradient():
    centers = some_centers()
    features = centers.centers[[1, 4]].clone().requires_grad_()
    near = centers.near(torch.tensor([1, 4]), SIBLINGS)
    (gradient,) = torch.autograd.grad(mean(squared_distance(features, near)), features)
    assert gradient.isfinite().all()


def test_the_classifiers_scores_among_siblings_match_a_loop():
    features, classes = a_batch(30, torch.float64)
    weight, bias = torch.randn(NUM_CLASSES, WIDTH, dtype=torch.float64), torch.randn(NUM_CLASSES, dtype=torch.float64)
    found = sibling_cross_entropy(features, weight, bias, classes, SIBLINGS)
    logits = features @ weight.T + bias
    for m, c in enumerate(classes.tolist()):
        few = [c, *(s for s in SIBLINGS[c].tolist() if s)]
        assert found[m].item() == pytest.approx(-logits[m, few].log_softmax(0)[0].item(), abs=1e-10)
    weight.requires_grad_()
    bias.requires_grad_()
    features.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, w, b: sibling_cross_entropy(x, w, b, classes, SIBLINGS), (features, weight, bias)
    )


def test_characters_without_siblings_are_left_alone():
    features, classes = a_batch(4)
    nobody = torch.zeros(NUM_CLASSES, 2, dtype=torch.int64)
    for table in (nobody, nobody[:, :0]):
        few = sibling_cross_entropy(features, torch.randn(NUM_CLASSES, WIDTH), torch.zeros(NUM_CLASSES), classes, table)
        assert few.tolist() == pytest.approx([0.0] * 4, abs=1e-6)


def test_classes_without_a_center_are_left_alone():
    features, classes = a_batch(20)
    near = Centers(NUM_CLASSES, WIDTH).near(classes, SIBLINGS)
    assert not squared_distance(features, near).any()


def test_an_empty_batch_gives_zero_and_a_gradient():
    features = torch.zeros(0, WIDTH, requires_grad=True)
    classes = torch.zeros(0, dtype=torch.int64)
    centers = some_centers()
    before = centers.centers.clone()
    weight, bias = torch.randn(NUM_CLASSES, WIDTH), torch.zeros(NUM_CLASSES)
    total = mean(sibling_cross_entropy(features, weight, bias, classes, SIBLINGS))
    total = total + mean(squared_distance(features, centers.near(classes, SIBLINGS)))
    total.backward()
    assert total.item() == 0
    assert features.grad.shape == (0, WIDTH)
    centers.update(features, classes)
    centers.accumulate(features, classes)
    assert torch.equal(centers.centers, before)


def test_the_mean_does_not_depend_on_the_size_of_the_batch():
    features, classes = a_batch(6)
    centers = some_centers()
    once = mean(squared_distance(features, centers.near(classes, SIBLINGS)))
    thrice = mean(squared_distance(features.repeat(3, 1), centers.near(classes.repeat(3), SIBLINGS)))
    assert once.item() == pytest.approx(thrice.item(), rel=1e-5)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0])
def test_centers_move_as_published(alpha):
    features, classes = a_batch(20)
    centers = some_centers()
    centers.alpha = alpha
    before, counts = centers.centers.clone(), centers.center_counts.clone()
    centers.update(features, classes)
    for c in range(NUM_CLASSES):
        mine = features[classes == c]
        if counts[c] == 0:  # the first features of a class are its center
            expected = mine.mean(0) if len(mine) else torch.zeros(WIDTH)
        else:
            expected = before[c] - alpha * (before[c] - mine).sum(0) / (1 + len(mine))
        torch.testing.assert_close(centers.centers[c], expected)
        assert centers.center_counts[c] == counts[c] + len(mine)
    assert (counts == 0).sum() > (centers.center_counts == 0).sum()


def test_half_of_the_way_is_the_default():
    assert Centers(3, 2).alpha == 0.5


def test_one_pass_gives_the_means_of_the_classes():
    features, classes = a_batch(50)
    centers = Centers(NUM_CLASSES, WIDTH)
    for part in (slice(0, 7), slice(7, 7), slice(7, 31), slice(31, 50)):
        centers.accumulate(features[part], classes[part])
    for c in range(1, NUM_CLASSES):
        torch.testing.assert_close(centers.centers[c], features[classes == c].mean(0))
    assert centers.center_counts.sum() == 50


def test_half_precision_under_autocast_is_computed_in_float32():
    features, classes = a_batch(16)
    features = features.bfloat16()
    centers, same = some_centers(), some_centers()
    weight, bias = torch.randn(NUM_CLASSES, WIDTH), torch.randn(NUM_CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        near = centers.near(classes, SIBLINGS)
        found = squared_distance(features, near)
        scores = sibling_cross_entropy(features, weight, bias, classes, SIBLINGS)
        centers.update(features, classes)
    same.update(features.float(), classes)
    torch.testing.assert_close(centers.centers, same.centers)
    near = some_centers().near(classes, SIBLINGS)
    torch.testing.assert_close(found, squared_distance(features.float(), near))
    every = torch.cat((classes[:, None], SIBLINGS[classes]), 1)
    by_hand = (weight[every] * features.float()[:, None]).sum(2) + bias[every]
    by_hand = by_hand.masked_fill(every == 0, -torch.inf)
    torch.testing.assert_close(scores, by_hand.logsumexp(1) - by_hand[:, 0])


def test_nothing_of_size_characters_by_classes_is_made():
    num_classes, num_chars = 5000, 300
    largest = 0

    class Watcher(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(tensor, torch.Tensor):
                    largest = max(largest, tensor.numel())
            return result

    centers = Centers(num_classes, 16)
    siblings = torch.randint(1, num_classes, (num_classes, 4))
    features = torch.randn(num_chars, 16, requires_grad=True)
    classes = torch.randint(1, num_classes, (num_chars,))
    with Watcher():
        centers.accumulate(features, classes)
        near = centers.near(classes, siblings)
        (mean(squared_distance(features, near))).backward()
        centers.update(features, classes)
    assert largest <= num_classes * 16 < num_chars * num_classes


def work(rank, world, file, results):
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=world)
    centers = Centers(NUM_CLASSES, WIDTH)
    features, classes = a_batch(30)
    mine = slice(0, 11) if rank == 0 else slice(11, 30)
    centers.accumulate(features[mine][:5], classes[mine][:5])
    for _ in range(3):
        centers.update(features[mine], classes[mine])
    results.put((rank, centers.centers.tolist(), centers.center_counts.tolist()))
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_move_the_centers_as_one_would(tmp_path):
    context = mp.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=work, args=(rank, 2, tmp_path / "meet", results)) for rank in range(2)]
    for process in processes:
        process.start()
    found = {rank: values for rank, *values in (results.get() for _ in processes)}
    for process in processes:
        process.join()
        assert process.exitcode == 0
    features, classes = a_batch(30)
    alone = Centers(NUM_CLASSES, WIDTH)
    first = [*range(5), *range(11, 16)]
    alone.accumulate(features[first], classes[first])
    for _ in range(3):
        alone.update(features, classes)
    assert found[0] == found[1]
    torch.testing.assert_close(torch.tensor(found[0][0]), alone.centers)
    assert found[0][1] == alone.center_counts.tolist()


def test_unknown_centers_are_marked():
    near = some_centers(seen=(1, 2)).near(torch.tensor([1, 6]), SIBLINGS)
    assert isinstance(near, NearCenters)
    assert near.known.tolist() == [True, False]
    assert near.rivals.tolist() == [[True, False], [False, False]]


def test_features_that_are_not_finite_move_no_center():
    centers = Centers(4, 2)
    centers.update(torch.tensor([[2.0, 2.0], [float("nan"), 1.0], [float("inf"), 0.0]]), torch.tensor([1, 1, 2]))
    assert centers.centers[1].tolist() == [2.0, 2.0]
    assert centers.center_counts.tolist() == [0.0, 1.0, 0.0, 0.0]
    assert bool(centers.centers.isfinite().all())

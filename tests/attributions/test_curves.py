"""Curves: equal to a loop, to a case solved by hand, and optimal among all orders of six cells."""

import itertools

import pytest
import torch

from suite.attributions.maps.baselines import BLUR, blur, channel_mean
from suite.attributions.maps.cells import Grid, rank_cells
from suite.attributions.maps.curves import curve_area, replaced_cells
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.masked import MaskedValues
from suite.errors import MeasureError, ModelError

torch.set_num_threads(1)


def images(count, channels, height, width, seed=0):
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed)).double()


def perturbation_curve(score, start, end, rank, *, steps, cell=1, batch_size=256):
    """Return the scores while cells of `start` are replaced by those of `end` in the order of their rank."""
    explained = Explained(start, score, score, range(len(start)))
    values = MaskedValues(explained.rate, start, lambda name: end, batch_size)
    replaced = replaced_cells(rank.flatten(1), steps)
    return values.values(values.ask(Grid(*start.shape[2:], cell), ~replaced, "end"))


def pixel_order(count, pixels, seed=0):
    """Return ranks of single pixels, in a different random order for each sample."""
    return rank_cells(torch.zeros(count, pixels), range(seed, seed + count))


def softmax_score(channels, side):
    weights = torch.randn(channels * side * side, 3, generator=torch.Generator().manual_seed(1)).double()
    classes = torch.tensor([0, 2, 1, 2, 0])
    return lambda x, rows: (x.flatten(1) @ weights).softmax(1).gather(1, classes[rows, None])[:, 0]


def slow_curve(score, start, end, cells_in_order, cell, steps):
    """Follow the definition, one sample and one cell at a time."""
    columns = -(-start.shape[3] // cell)
    count = len(cells_in_order[0])
    curves = []
    for sample in range(len(start)):
        image, curve, done = start[sample].clone(), [], 0
        for step in range(steps + 1):
            while done < step * count // steps:
                top, left = divmod(cells_in_order[sample][done], columns)
                area = (slice(None), slice(top * cell, (top + 1) * cell), slice(left * cell, (left + 1) * cell))
                image[area] = end[sample][area]
                done += 1
            curve.append(score(image[None], torch.tensor([sample])).item())
        curves.append(curve)
    return torch.tensor(curves, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 4, 7, 16])
def test_a_curve_equals_a_loop(steps):
    inputs, grid, score = images(5, 2, 7, 7), Grid(7, 7, 2), softmax_score(2, 7)
    rank = rank_cells(grid.pool(images(5, 1, 7, 7, 9)[:, 0]), range(5))
    curve = perturbation_curve(score, inputs, blur(inputs), rank, steps=steps, cell=2, batch_size=6)
    slow = slow_curve(score, inputs, blur(inputs), rank.argsort(1).tolist(), 2, steps)
    torch.testing.assert_close(curve, slow, atol=1e-10, rtol=0)
    expected = torch.trapezoid(slow, dim=1) / steps
    torch.testing.assert_close(curve_area(curve), expected, atol=1e-10, rtol=0)


def test_a_linear_case_solved_by_hand():
    inputs = torch.tensor([[[[4.0, 1.0], [2.0, 3.0]]]])
    rank = torch.tensor([[[0, 3], [2, 1]]])
    score = lambda x, rows: x.sum((1, 2, 3))  # noqa: E731 - a def adds nothing
    deletion = perturbation_curve(score, inputs, torch.zeros_like(inputs), rank, steps=4)
    insertion = perturbation_curve(score, torch.zeros_like(inputs), inputs, rank, steps=4)
    assert deletion.tolist() == [[10, 6, 3, 1, 0]]
    assert insertion.tolist() == [[0, 4, 7, 9, 10]]
    assert curve_area(deletion).tolist() == [15 / 4]
    assert curve_area(insertion).tolist() == [25 / 4]


def test_true_attribution_has_the_best_order():
    weights = torch.tensor([0.3, -1.2, 2.0, 0.7, -0.1, 1.1], dtype=torch.float64)
    score = lambda x, rows: (x.flatten(1) @ weights).sigmoid()  # noqa: E731
    sample = images(1, 1, 2, 3)
    orders = torch.tensor(list(itertools.permutations(range(6))))
    many = sample.expand(len(orders), -1, -1, -1)
    black = torch.zeros_like(many)
    truth = rank_cells(sample.flatten(1) * weights, [0]).reshape(1, 2, 3)
    every = orders.reshape(-1, 2, 3)
    deletion = curve_area(perturbation_curve(score, many, black, every, steps=6))
    insertion = curve_area(perturbation_curve(score, black, many, every, steps=6))
    assert curve_area(perturbation_curve(score, sample, black[:1], truth, steps=6)).item() <= deletion.min() + 1e-12
    assert curve_area(perturbation_curve(score, black[:1], sample, truth, steps=6)).item() >= insertion.max() - 1e-12
    assert deletion.max() > deletion.min() + 0.05


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_curve_does_not_depend_on_the_batch_size(batch_size):
    inputs, score = images(5, 2, 6, 6), softmax_score(2, 6)
    rank = pixel_order(5, 36).reshape(5, 6, 6)
    curve = perturbation_curve(score, inputs, channel_mean(inputs), rank, steps=9, batch_size=batch_size)
    whole = perturbation_curve(score, inputs, channel_mean(inputs), rank, steps=9, batch_size=1000)
    torch.testing.assert_close(curve, whole, atol=1e-14, rtol=0)


def test_mean_baseline_keeps_the_channel_means():
    inputs = images(2, 3, 4, 5)
    mean = channel_mean(inputs)
    torch.testing.assert_close(mean.mean((2, 3)), inputs.mean((2, 3)))
    assert mean.std((2, 3)).max() < 1e-12


def test_blur_equals_its_definition_and_keeps_constants():
    inputs = images(1, 1, 5, 8)
    sd = BLUR * 8
    expected = torch.zeros(5, 8).double()
    for i, j in itertools.product(range(5), range(8)):
        distance = (torch.arange(5)[:, None] - i).double() ** 2 + (torch.arange(8)[None, :] - j) ** 2
        weights = torch.exp(-distance / (2 * sd**2))
        expected[i, j] = (inputs[0, 0] * weights).sum() / weights.sum()
    torch.testing.assert_close(blur(inputs)[0, 0], expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(blur(torch.full((1, 3, 8, 8), 0.25)), torch.full((1, 3, 8, 8), 0.25))


def test_more_steps_than_cells_are_refused():
    inputs = images(1, 1, 2, 2)
    with pytest.raises(MeasureError, match="steps=5 for an image of 4 cells; expected 1 to 4"):
        perturbation_curve(softmax_score(1, 2), inputs, inputs, torch.arange(4).reshape(1, 2, 2), steps=5)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda x, rows: torch.full((len(x),), float("nan")), "not finite"),
        (lambda x, rows: x.flatten(1), r"returned shape \(5, 4\) for 5 inputs"),
    ],
)
def test_invalid_scores_are_refused(score, message):
    inputs = images(1, 1, 2, 2)
    with pytest.raises(ModelError, match=message):
        perturbation_curve(score, inputs, inputs, torch.arange(4).reshape(1, 2, 2), steps=4)


@pytest.mark.parametrize(("shape", "cell"), [((3, 8, 12), 2), ((3, 8, 12), 3), ((1, 7, 9), 2), ((2, 6, 7), 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_have_the_kept_cells_of_the_sample_and_the_other_ones_of_the_baseline(shape, cell, dtype):
    inputs, ends, grid = images(3, *shape).to(dtype), images(3, *shape, seed=5).to(dtype), Grid(*shape[1:], cell)
    kept = torch.rand(3, 6, grid.count, generator=torch.Generator().manual_seed(2)) < 0.5
    seen, owners = [], []

    def score(x, rows):
        seen.append(x.clone())
        owners.append(rows)
        return x[:, 0, 0, 0]

    values = MaskedValues(score, inputs, lambda name: ends, 4)
    found = values.values(values.ask(grid, kept, "end"))
    expected = torch.where(grid.spread(kept.flatten(0, 1)).reshape(3, 6, 1, *shape[1:]), inputs[:, None], ends[:, None])
    assert torch.equal(torch.cat(seen), expected.flatten(0, 1))
    assert torch.cat(owners).tolist() == [row for row in range(3) for _ in range(6)]
    assert torch.equal(found, expected[:, :, 0, 0, 0].double())


def test_equal_images_are_scored_once():
    inputs, grid, calls = images(2, 1, 4, 4), Grid(4, 4, 2), []

    def score(x, rows):
        calls.append(len(x))
        return x.sum((1, 2, 3)) + rows

    values = MaskedValues(score, inputs, lambda name: {"a": inputs * 0, "b": inputs * 2}[name], 5)
    kept = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 0]]).bool().expand(2, -1, -1)
    first = values.ask(grid, kept, "a")
    again, other = values.ask(grid, kept, "a"), values.ask(grid, kept, "b")
    found = values.values(torch.stack([first, again, other]))
    assert sum(calls) == 2 * (3 + 2)  # the clean image is the same for both baselines
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][:, 0], found[2][:, 0])
    assert torch.equal(values.clean(), inputs.sum((1, 2, 3)) + torch.arange(2))
    assert found[2][1, 1].item() == pytest.approx(2 * inputs[1].sum().item() + 1)
    assert sum(calls) == 10

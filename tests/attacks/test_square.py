"""The Square Attack: within its ball, as strong as the authors' code, independent of the batch."""

import math
from dataclasses import replace

import pytest
import torch

from suite.attacks.constraints import constraint
from suite.attacks.engine.problem import Problem
from suite.attacks.images.square import Square, bump, evaluate
from suite.errors import SpecError
from suite.kinds.classification import losses
from suite.types import VECTOR
from tests.attacks.digits import first

NORMS = ("linf", "l2")
EPS = {"linf": 0.08, "l2": 0.5}


def problem_of(model, batch_size=256):
    return Problem(model, losses.attack_loss, lambda o, t: o.argmax(1) != t, losses.rivals, batch_size=batch_size)


def search(model, norm, count=60, eps=None, batch_size=256, rows=None, **fields):
    pixels, targets = first(count)
    rows = torch.arange(count) if rows is None else rows
    radius = torch.full((len(rows),), EPS[norm] if eps is None else eps, dtype=torch.float64)
    attack = Square(norm=norm, **fields)
    return attack.search(problem_of(model, batch_size), pixels[rows], targets[rows], radius, rows)


@pytest.mark.parametrize("norm", NORMS)
def test_square_is_at_least_as_strong_as_the_authors_code_at_equal_queries(net, norm):
    square = pytest.importorskip("pyautoattack.square")
    pixels, targets = first(150)
    correct = net(pixels).argmax(1) == targets
    pixels, targets = pixels[correct], targets[correct]
    name = {"linf": "Linf", "l2": "L2"}[norm]
    theirs = square.SquareAttack(
        net, norm=name, n_queries=200, eps=EPS[norm], p_init=0.8, seed=0, device="cpu", verbose=False
    ).perturb(pixels, targets)
    seeds = torch.arange(len(pixels))
    ours = Square(norm=norm, queries=200).perturb(problem_of(net), pixels, targets, EPS[norm], seeds)
    left = [(net(perturbed).argmax(1) == targets).float().mean().item() for perturbed in (ours, theirs)]
    assert left[0] <= left[1] and left[1] < 0.95, left


@pytest.mark.parametrize("norm", NORMS)
def test_points_lie_in_ball_and_bounds_with_correct_margins(net, norm):
    pixels, targets = first(60)
    best, margin, misclassified = search(net, norm, queries=60)
    excess = constraint(norm).excess(pixels, best, torch.full((60,), EPS[norm], dtype=torch.float64))
    assert excess.max() <= 0 and best.min() >= 0 and best.max() <= 1
    assert torch.equal(net(best).argmax(1) != targets, misclassified)
    torch.testing.assert_close(losses.margin(net(best).double(), targets, None), margin, rtol=1e-6, atol=1e-6)
    assert 5 < misclassified.sum() < 60


@pytest.mark.parametrize("norm", NORMS)
def test_padding_is_used_for_later_queries_with_the_same_result(net, norm):
    pixels, targets = first(30)
    radius, results, passes = torch.full((30,), EPS[norm], dtype=torch.float64), [], []
    for adapter in (None, net):
        net.width = 64
        problem = replace(problem_of(net.raw, 64), adapter=adapter)
        results.append(Square(norm=norm, queries=70).search(problem, pixels, targets, radius, torch.arange(30)))
        passes.append(problem.passes.forward)
    assert all(map(torch.equal, *results))
    robust = int((~results[0][2]).sum())
    assert 0 < robust < 30 and passes[0] >= 70 * robust
    assert passes[1] < 0.75 * 70 * 64  # one call for each query has 64 rows


@pytest.mark.parametrize("norm", NORMS)
def test_only_forward_passes_of_remaining_samples_are_used(net, norm):
    pixels, targets = first(60)
    problem = problem_of(net)
    radius = torch.full((60,), EPS[norm], dtype=torch.float64)
    misclassified = Square(norm=norm, queries=80).search(problem, pixels, targets, radius, torch.arange(60))[2]
    assert problem.passes.backward == 0
    assert 80 * int((~misclassified).sum()) < problem.passes.forward < 80 * 60
    alone = problem_of(net)
    rows = (~misclassified).nonzero()[:, 0]
    Square(norm=norm, queries=80).search(alone, pixels[rows], targets[rows], radius[rows], rows)
    assert alone.passes.forward == 80 * len(rows)


@pytest.mark.parametrize("norm", NORMS)
def test_result_does_not_depend_on_batch_size_or_order(net, norm):
    whole = search(net, norm, queries=40)
    for batch_size in (1, 7):
        assert all(map(torch.equal, search(net, norm, queries=40, batch_size=batch_size), whole))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = search(net, norm, queries=40, rows=order)
    assert all(torch.equal(part[order], other) for part, other in zip(whole, shuffled, strict=True))


@pytest.mark.parametrize("norm", NORMS)
def test_searching_in_parts_gives_the_same_result(net, norm, monkeypatch):
    whole = search(net, norm, queries=30)
    monkeypatch.setattr("suite.attacks.images.square.HELD", 64 * 20)
    assert all(map(torch.equal, search(net, norm, queries=30, batch_size=16), whole))


@pytest.mark.parametrize("norm", NORMS)
def test_a_given_start_is_used_and_never_gets_worse(net, norm):
    pixels, targets = first(60)
    best, margin, _ = search(net, norm, queries=30)
    radius = torch.full((60,), EPS[norm], dtype=torch.float64)
    again = Square(norm=norm, queries=30).search(problem_of(net), pixels, targets, radius, torch.arange(60), best)
    assert (again[1] >= margin).all() and (again[1] > margin).any()


@pytest.mark.parametrize("norm", NORMS)
def test_a_radius_of_zero_changes_nothing(net, norm):
    assert torch.equal(search(net, norm, queries=5, eps=0.0)[0], first(60)[0])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nonfinite_outputs_are_neither_successes_nor_best_points(net, bad):
    def broken(pixels):
        output = net(pixels).clone()
        output[pixels[:, 0, 0, 0] > 0.02, 3] = bad  # the corner of these digits is black
        return output

    pixels, targets = first(60)
    best, margin, misclassified = search(broken, "linf", queries=60)
    finite = margin.isfinite()
    assert torch.isfinite(broken(best)[finite]).all() and finite.sum() > 40
    assert torch.equal(net(best)[finite].argmax(1) != targets[finite], misclassified[finite])
    assert not misclassified[~finite].any()
    nowhere = evaluate(problem_of(lambda p: torch.full((len(p), 10), bad)), pixels, targets)
    assert (nowhere[0] == -math.inf).all() and not nowhere[1].any()


def test_the_search_moves_on_constant_scores():
    def one_hot(pixels):
        return torch.nn.functional.one_hot((pixels.flatten(1).mean(dim=1) > 0.5).long(), 2).float()

    pixels, targets = torch.full((40, 1, 8, 8), 0.46), torch.zeros(40, dtype=torch.long)
    radius = torch.full((40,), 0.1, dtype=torch.float64)
    misclassified = Square(queries=400).search(problem_of(one_hot), pixels, targets, radius, torch.arange(40))[2]
    assert misclassified.float().mean() > 0.8


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 9), (2, 2, 3), (1, 1, 1)], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_images_of_any_shape_stay_in_the_ball(norm, shape):
    source = torch.Generator().manual_seed(1)
    pixels = torch.rand(12, *shape, generator=source).round(decimals=1)
    weight = torch.randn(math.prod(shape), 3, generator=source)
    targets = (pixels.flatten(1) @ weight).argmax(1)
    radius = torch.linspace(0, 2, 12).double()
    problem = problem_of(lambda p: p.flatten(1) @ weight)
    best, margin, _ = Square(norm=norm, queries=50).search(problem, pixels, targets, radius, torch.arange(12))
    assert constraint(norm).excess(pixels, best, radius).max() <= 0
    assert best.min() >= 0 and best.max() <= 1
    clean = losses.margin((pixels.flatten(1) @ weight).double(), targets, None)
    assert (margin >= clean).float().mean() > 0.7


def test_squares_shrink_as_in_the_paper_and_bumps_have_norm_one():
    plan = Square(total=10_000)
    assert [plan.share(query) for query in (0, 10, 11, 51, 201, 501, 1001)] == [
        0.8 / 2**halvings for halvings in (0, 0, 1, 2, 3, 4, 5)
    ]
    assert Square(total=100).share(99) == 0.8 / 2**9
    for side in (1, 2, 3, 5, 8):
        assert bump(side).norm() == pytest.approx(1, abs=1e-6)


def test_invalid_options_are_rejected():
    for fields in ({"queries": 0}, {"p": 0.0}, {"p": 1.5}, {"total": 0}):
        with pytest.raises(SpecError, match="square needs"):
            Square(**fields)
    flat = torch.rand(2, 5)
    with pytest.raises(SpecError, match="images"):
        Square().search(
            replace(problem_of(lambda p: p), input=VECTOR), flat, torch.zeros(2).long(), torch.ones(2), torch.arange(2)
        )
    assert Square(queries=7).with_double_steps().queries == 14

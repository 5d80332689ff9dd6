"""The boundary attack: exact on linear models, at least as strong as PGD on networks, independent of the batch."""

import math

import pytest
import torch

from suite.attacks.constraints import constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.problem import Problem
from suite.attacks.images.boundary import Boundary, beyond_plane
from suite.errors import SpecError
from suite.kinds.classification import losses
from suite.models.base import TorchClassifier
from suite.models.networks.image_classifiers import TinyViT
from tests.attacks.digits import first, splits

NORMS = ("linf", "l2")


def problem_of(model, batch_size=256):
    return Problem(model, losses.attack_loss, lambda o, t: o.argmax(1) != t, losses.rivals, batch_size=batch_size)


def bisected(clean, slope, missing, norm):
    """Return the smallest size at which a linear function rises by `missing` within [0, 1], by bisection in float64."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        perturbed = (clean + middle * (slope.sign() if norm == "linf" else slope)).clamp(0, 1)
        low, high = (low, middle) if ((perturbed - clean) * slope).sum() >= missing else (middle, high)
    delta = (clean + high * (slope.sign() if norm == "linf" else slope)).clamp(0, 1) - clean
    return float(delta.abs().max() if norm == "linf" else delta.norm())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_distance_on_a_linear_model_matches_the_closed_form_in_the_box(norm, seed):
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(5, 16, generator=source, dtype=torch.float64)
    pixels = torch.rand(40, 1, 4, 4, generator=source).clamp(0.1, 0.9).sub(0.1).mul(1.25)  # many on a bound
    logits = pixels.double().flatten(1) @ weight.T
    targets = logits.argmax(1)
    problem = problem_of(lambda p: p.flatten(1).double() @ weight.T)
    points, distance = Boundary(norm=norm, steps=4, aimed=1).smallest(problem, pixels, targets, torch.arange(40))
    assert (problem.forward(points).argmax(1) != targets).all()
    for row in range(40):
        expected = min(
            bisected(pixels[row].double().flatten(), weight[goal] - weight[targets[row]], margin, norm)
            for goal in range(5)
            if goal != targets[row]
            for margin in [float(logits[row, targets[row]] - logits[row, goal])]
            if ((weight[goal] - weight[targets[row]]).abs() * _room(pixels[row], weight[goal] - weight[targets[row]]))
            .sum()
            .item()
            > margin
        )
        assert float(distance[row]) == pytest.approx(expected, rel=1e-4, abs=2e-7)


def _room(clean, slope):
    flat = clean.double().flatten()
    return torch.where(slope > 0, 1 - flat, flat)


@pytest.mark.parametrize("norm", NORMS)
def test_far_from_the_bounds_the_distance_is_the_margin_over_the_dual_norm(norm):
    source = torch.Generator().manual_seed(3)
    weight = torch.randn(16, generator=source, dtype=torch.float64)
    pixels = 0.5 + 0.05 * (torch.rand(30, 1, 4, 4, generator=source) - 0.5)

    def model(points):
        score = (points.flatten(1).double() - 0.5) @ weight
        return torch.stack([-score / 2, score / 2], dim=1)

    score = (pixels.flatten(1).double() - 0.5) @ weight
    attack = Boundary(norm=norm, steps=3, aimed=0)
    distance = attack.smallest(problem_of(model), pixels, (score > 0).long(), torch.arange(30))[1]
    dual = weight.abs().sum() if norm == "linf" else weight.norm()
    torch.testing.assert_close(distance, score.abs() / dual, rtol=1e-4, atol=2e-7)


@pytest.mark.parametrize("norm", NORMS)
def test_the_corner_is_returned_if_the_box_is_too_small(norm):
    clean, gradient = torch.tensor([[0.2, 0.9, 0.5]]), torch.tensor([[1.0, -2.0, 0.0]])
    corner = beyond_plane(clean, gradient, torch.tensor([100.0]), norm, (0.0, 1.0))
    torch.testing.assert_close(corner, torch.tensor([[1.0, 0.0, 0.5]]))
    assert torch.equal(beyond_plane(clean, gradient, torch.tensor([-1.0]), norm, (0.0, 1.0)), clean)
    assert torch.equal(beyond_plane(clean, 0 * gradient, torch.tensor([1.0]), norm, (0.0, 1.0)), clean)


def pgd_accuracy(model, pixels, targets, norm, eps):
    search = Search.of(pixels, targets, eps, torch.arange(len(pixels)))
    for restart in range(2):
        maximize(problem_of(model), search, constraint(norm), Budget(20), stream=restart)
    return 1 - search.misclassified.double().mean().item()


def vit():
    """Return a small transformer, trained for two seconds."""
    train = splits()[0]
    pixels, targets = torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = TinyViT(10, (1, 8, 8), width=16, depth=1, dropout=0.0)
        adam = torch.optim.Adam(net.parameters(), lr=5e-3)
        for _ in range(8):
            for rows in torch.randperm(len(pixels)).split(64):
                adam.zero_grad()
                torch.nn.functional.cross_entropy(net(pixels[rows]), targets[rows]).backward()
                adam.step()
    return TorchClassifier(net.eval().requires_grad_(False))


@pytest.mark.parametrize("architecture", ["cnn", "vit"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_accuracy_curve_is_nowhere_above_that_of_pgd_by_more_than_a_sample(net, norm, architecture):
    model = net if architecture == "cnn" else vit()
    pixels, targets = first(100)
    distance = Boundary(norm=norm).smallest(problem_of(model), pixels, targets, torch.arange(100))[1]
    for eps in distance[distance > 0].quantile(torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)).tolist():
        left = (distance > eps).double().mean().item()
        assert left <= pgd_accuracy(model, pixels, targets, norm, eps) + 0.01, eps  # one may differ by rounding


@pytest.mark.parametrize("norm", NORMS)
def test_distances_belong_to_misclassified_points(net, norm):
    pixels, targets = first(60)
    problem = problem_of(net)
    points, distance = Boundary(norm=norm).smallest(problem, pixels, targets, torch.arange(60))
    assert problem.passes.total <= 60 * (3 * 9 + 1 + 2 * 6 * 25 + 6 + 14)
    assert torch.equal(constraint(norm).size(points.double() - pixels.double()), distance)
    assert (net(points).argmax(1) != targets).all() and points.min() >= 0 and points.max() <= 1
    wrong = net(pixels).argmax(1) != targets
    assert torch.equal(distance == 0, wrong)
    eps = float(distance.median())
    perturbed = Boundary(norm=norm).perturb(problem, pixels, targets, eps, torch.arange(60))
    assert torch.equal((perturbed != pixels).flatten(1).any(1), (distance <= eps) & ~wrong)
    assert constraint(norm).excess(pixels, perturbed, torch.full((60,), eps)).max() <= 0
    assert torch.equal(Boundary(norm=norm, steps=2).perturb(problem, pixels, targets, 0.0, torch.arange(60)), pixels)


@pytest.mark.parametrize("norm", NORMS)
def test_result_does_not_depend_on_batch_size_or_order(net, norm):
    pixels, targets = first(16)
    attack, seeds = Boundary(norm=norm, steps=6, aimed=2), torch.arange(16)
    whole = attack.smallest(problem_of(net), pixels, targets, seeds)
    for batch_size in (1, 7):
        assert all(map(torch.equal, attack.smallest(problem_of(net, batch_size), pixels, targets, seeds), whole))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    shuffled = attack.smallest(problem_of(net), pixels[order], targets[order], seeds[order])
    assert all(torch.equal(part[order], other) for part, other in zip(whole, shuffled, strict=True))


def test_nonfinite_outputs_and_gradients_give_no_adversarial_examples(net):
    pixels, targets = first(10)
    attack = Boundary(steps=3, aimed=1)

    def nonfinite(points):
        return net(points) * math.nan

    points, distance = attack.smallest(problem_of(nonfinite), pixels, targets, torch.arange(10))
    assert torch.equal(points, pixels) and (distance == math.inf).all()

    class NaNBackward(torch.autograd.Function):
        @staticmethod
        def forward(context, points):
            return points.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient * math.nan

    correct = net(pixels).argmax(1) == targets
    hidden = problem_of(lambda points: net(NaNBackward.apply(points)))
    points, distance = attack.smallest(hidden, pixels[correct], targets[correct], torch.arange(int(correct.sum())))
    assert torch.isfinite(points).all()
    reached = distance.isfinite()
    assert torch.equal(net(points).argmax(1) != targets[correct], reached)


def test_invalid_options_are_rejected():
    for fields in ({"steps": 0}, {"met": 0}, {"aimed": 10}):
        with pytest.raises(SpecError, match="boundary needs"):
            Boundary(**fields)
    assert Boundary(steps=7).with_double_steps().steps == 14

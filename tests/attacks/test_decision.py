"""The decision-based attack: uses only predicted labels, is close to gradient attacks, independent of the batch."""

import math

import pytest
import torch

from suite.attacks.constraints import constraint
from suite.attacks.engine.problem import Problem
from suite.attacks.images.boundary import Boundary
from suite.attacks.images.decision import Decision
from suite.errors import SpecError
from suite.kinds.classification import losses
from tests.attacks.digits import first, splits

NORMS = ("linf", "l2")


def unused(*arguments):
    raise AssertionError("a decision-based attack must not compute scores")


def problem_of(model, batch_size=256):
    return Problem(model, unused, lambda o, t: o.argmax(1) != t, losses.rivals, batch_size=batch_size)


def training():
    part = splits()[0].take(range(100))
    return torch.from_numpy(part.pixels()), torch.from_numpy(part.targets)


@pytest.mark.parametrize("pool", [True, False], ids=["pool", "noise"])
@pytest.mark.parametrize("norm", NORMS)
def test_distances_are_close_to_those_of_a_gradient_attack(net, norm, pool):
    pixels, targets = first(40)
    problem = problem_of(net)
    attack = Decision(norm=norm, queries=500)
    attack = attack.fit(problem, training, seed=0) if pool else attack
    points, distance = attack.nearest(problem, pixels, targets, torch.arange(40))
    assert problem.passes.backward == 0 and problem.passes.forward <= 500 * 40 + 64
    assert (net(points).argmax(1) != targets).all() and points.min() >= 0 and points.max() <= 1
    assert torch.equal(constraint(norm).size(points.double() - pixels.double()), distance)
    visible = Problem(net, losses.attack_loss, problem.misclassified, losses.rivals)
    reference = Boundary(norm=norm, aimed=2).smallest(visible, pixels, targets, torch.arange(40))[1]
    correct = reference > 0
    assert (distance[correct] / reference[correct]).median() < 1.7
    assert torch.equal(distance == 0, ~correct)


@pytest.mark.parametrize("norm", NORMS)
def test_perturbations_respect_the_size_and_the_search_stops_when_near_enough(net, norm):
    pixels, targets = first(40)
    size = {"linf": 0.2, "l2": 1.0}[norm]
    problem = problem_of(net)
    perturbed = Decision(norm=norm, queries=200).perturb(problem, pixels, targets, size, torch.arange(40))
    assert constraint(norm).excess(pixels, perturbed, torch.full((40,), size)).max() <= 0
    misclassified = net(perturbed).argmax(1) != targets
    changed = (perturbed != pixels).flatten(1).any(1)
    assert misclassified[changed].all() and changed.sum() > 10
    assert problem.passes.forward < 200 * 40
    assert torch.equal(Decision(norm=norm, queries=20).perturb(problem, pixels, targets, 0.0, torch.arange(40)), pixels)


@pytest.mark.parametrize("norm", NORMS)
def test_result_does_not_depend_on_batch_size_or_order(net, norm):
    pixels, targets = first(16)
    attack, seeds = Decision(norm=norm, queries=40).fit(problem_of(net), training, seed=0), torch.arange(16)
    for value in (attack, Decision(norm=norm, queries=40)):
        whole = value.nearest(problem_of(net), pixels, targets, seeds)
        for batch_size in (1, 7):
            assert all(map(torch.equal, value.nearest(problem_of(net, batch_size), pixels, targets, seeds), whole))
        order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
        shuffled = value.nearest(problem_of(net), pixels[order], targets[order], seeds[order])
        assert all(torch.equal(part[order], other) for part, other in zip(whole, shuffled, strict=True))


def test_nonfinite_outputs_do_not_count_as_misclassified(net):
    def broken(points):
        output = net(points).clone()
        output[points.flatten(1).mean(1) > 0.4] = math.nan
        return output

    pixels, targets = first(30)
    points, distance = (
        Decision(queries=60)
        .fit(problem_of(broken), training, seed=0)
        .nearest(problem_of(broken), pixels, targets, torch.arange(30))
    )
    reached = distance.isfinite()
    assert torch.isfinite(broken(points)[reached]).all() and reached.sum() > 10
    nonfinite = problem_of(lambda points: torch.full((len(points), 10), math.nan))
    points, distance = Decision(queries=20).nearest(nonfinite, pixels, targets, torch.arange(30))
    assert torch.equal(points, pixels) and (distance == math.inf).all()


def test_invalid_options_are_rejected():
    for fields in ({"queries": 0}, {"p": 0.0}):
        with pytest.raises(SpecError, match="decision needs"):
            Decision(**fields)
    assert Decision(queries=7).with_double_steps().queries == 14

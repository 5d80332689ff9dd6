"""The transfer attack: a surrogate imitates the model, also where the model has no gradient."""

import math
from dataclasses import replace

import pytest
import torch

from suite.attacks.constraints import constraint
from suite.attacks.engine.problem import Problem
from suite.attacks.images.transfer import SurrogateTraining, Transfer, _fit, _SoftLabels, train_surrogate
from suite.errors import AttackError, SpecError
from suite.kinds.classification import losses
from suite.kinds.classification.kind import Classification
from tests.attacks.digits import first, splits, trained

EPS = 0.15


def problem_of(model, batch_size=256):
    return Problem(model, losses.attack_loss, lambda o, t: o.argmax(1) != t, losses.rivals, batch_size=batch_size)


def training(count=300):
    part = splits()[0].take(range(count))
    return torch.from_numpy(part.pixels()), torch.from_numpy(part.targets)


def one_hot(model):
    """Return a model that outputs one-hot decisions, without scores and gradients."""
    return lambda points: torch.nn.functional.one_hot(model(points).argmax(1), 10).float()


def frozen():
    """Return the trained network without dropout and without parameter gradients."""
    model = trained()
    model.module.eval().requires_grad_(False)
    return model


@pytest.fixture(scope="module")
def fitted():
    """Return a decision-only model, and an attack fitted to it."""
    hidden = one_hot(frozen())
    problem = problem_of(hidden)
    attack = Transfer(eps=(EPS,), samples=300, rounds=2, steps=10, restarts=2).fit(problem, training, seed=0)
    assert problem.passes.backward == 0 and problem.passes.forward == 4 * 300
    return hidden, attack


def test_transfer_breaks_a_decision_only_model_far_more_than_noise(fitted):
    hidden, attack = fitted
    pixels, targets = first(100)
    problem = problem_of(hidden)
    perturbed = attack.perturb(problem, pixels, targets, EPS, torch.arange(100))
    assert constraint("linf").excess(pixels, perturbed, torch.full((100,), EPS)).max() <= 0
    assert perturbed.min() >= 0 and perturbed.max() <= 1
    assert problem.passes.backward == 0 and 100 < problem.passes.forward <= 200
    control = constraint("linf").control(pixels, torch.full((100,), EPS), torch.arange(100))
    left = [(hidden(points).argmax(1) == targets).float().mean().item() for points in (pixels, control, perturbed)]
    assert left[2] < left[1] - 0.3, left


def test_the_surrogate_agrees_with_the_model(fitted):
    hidden, attack = fitted
    pixels, _ = first(200)
    agrees = attack.surrogate.model(pixels).argmax(1) == hidden(pixels).argmax(1)
    assert agrees.float().mean() > 0.85


def test_result_does_not_depend_on_batch_size_or_order(fitted):
    hidden, attack = fitted
    pixels, targets = first(30)
    seeds = torch.arange(30)
    whole = attack.perturb(problem_of(hidden), pixels, targets, EPS, seeds)
    for batch_size in (1, 7):
        assert torch.equal(attack.perturb(problem_of(hidden, batch_size), pixels, targets, EPS, seeds), whole)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    shuffled = attack.perturb(problem_of(hidden), pixels[order], targets[order], EPS, seeds[order])
    assert torch.equal(whole[order], shuffled)


def test_size_zero_and_nan_outputs_leave_the_inputs_unchanged(fitted):
    hidden, attack = fitted
    pixels, targets = first(20)
    assert torch.equal(attack.perturb(problem_of(hidden), pixels, targets, 0.0, torch.arange(20)), pixels)
    nonfinite = problem_of(lambda points: torch.full((len(points), 10), math.nan))
    assert torch.equal(attack.perturb(nonfinite, pixels, targets, EPS, torch.arange(20)), pixels)


def test_training_is_reproducible_and_leaves_the_global_generator_unchanged():
    model = one_hot(frozen())
    settings = SurrogateTraining(constraint("l2"), 0.5, 1, 3)
    pixels, _ = training(40)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    once = train_surrogate(problem_of(model), pixels, settings)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = train_surrogate(problem_of(model), pixels, settings)
    assert torch.equal(once.model(pixels), again.model(pixels))


def test_nonfinite_predictions_are_not_used_for_training():
    model = one_hot(frozen())

    def broken(points):
        output = model(points)
        output[::3] = math.nan
        return output

    pixels, _ = training(60)
    copy = train_surrogate(problem_of(broken), pixels, SurrogateTraining(constraint("linf"), EPS, 1, 0))
    assert torch.isfinite(copy.model(pixels)).all()


def test_invalid_options_are_rejected():
    pixels, targets = first(2)
    with pytest.raises(AttackError, match="call fit"):
        Transfer().perturb(problem_of(frozen()), pixels, targets, EPS, torch.arange(2))
    with pytest.raises(SpecError, match="transfer needs"):
        Transfer(restarts=0)
    with pytest.raises(SpecError, match="at least 4x4"):
        train_surrogate(problem_of(frozen()), torch.rand(2, 1, 3, 8), SurrogateTraining(constraint("linf"), EPS, 1, 0))


def test_a_surrogate_inherits_neither_guide_nor_draws():
    def guide(points):
        raise AssertionError("the surrogate must use its own gradient")

    problem = replace(problem_of(frozen()), guide=guide, average=3, draws=5)
    copy = train_surrogate(problem, training(40)[0], SurrogateTraining(constraint("linf"), EPS, 1, 0))
    assert (copy.guide, copy.average, copy.draws) == (None, 1, 1)


def test_missing_training_samples_are_an_error():
    with pytest.raises(AttackError, match="training samples, and the task has none"):
        Transfer(eps=(EPS,)).fit(problem_of(frozen()), lambda: training(0), seed=0)


def test_equal_outputs_are_learned_as_a_uniform_prediction():
    pixels, _ = first(32)
    pixels[:4] = 0  # a network without biases gives equal logits to a black image
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10, bias=False))
    problem = Problem.of(Classification().kind(), module)
    labels = _SoftLabels.of(problem, pixels)
    assert torch.equal(labels.probabilities[:4], torch.full((4, 10), 0.1))
    copy = train_surrogate(problem, pixels, SurrogateTraining(constraint("linf"), 0.1, 1, 0))
    with torch.no_grad():
        assert torch.isfinite(copy.model(pixels)).all()


def test_a_surrogate_that_diverges_is_not_blamed_on_the_model():
    pixels, _ = first(16)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    labels = _SoftLabels(pixels, torch.full((16, 10), math.nan), torch.ones(16, dtype=torch.bool))
    with pytest.raises(AttackError, match="The training of the surrogate diverged; the attacked model is not at fault"):
        _fit(net, labels, 0)

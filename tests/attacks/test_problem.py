"""A model under attack: outcomes over several draws, gradients, guides and pass counts."""

from dataclasses import replace

import pytest
import torch

from suite.attacks.engine.problem import Problem
from suite.errors import AttackError
from tests.attacks.digits import Counting, Linear, first, problem_of


def linear():
    weight = torch.arange(1.0, 65.0) / 64
    return Linear(weight, -0.5 * float(weight.sum()))


@pytest.fixture
def samples():
    pixels = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return pixels, torch.arange(20) % 2


def test_the_gradient_is_that_of_the_summed_loss(samples):
    pixels, targets = samples
    model = linear()
    gradient, output = problem_of(model).gradient(pixels, targets, "margin")
    assert torch.equal(output, model(pixels)) and not output.requires_grad
    sign = torch.where(targets == 1, -1.0, 1.0).view(-1, 1, 1, 1)
    assert torch.allclose(gradient, sign * model.weight.view(1, 1, 8, 8).expand_as(gradient))
    alone, _ = problem_of(model).gradient(pixels[3:4], targets[3:4], "margin")
    assert torch.equal(alone, gradient[3:4])  # a mean over the batch would shrink it
    assert not pixels.requires_grad and pixels.grad is None


def test_target_classes_change_the_gradient(net):
    pixels, targets = first(6)
    problem, target_classes = problem_of(net), torch.full((6,), 8)
    point = pixels.clone().requires_grad_(True)
    output = net(point).double()
    expected = torch.autograd.grad((output[:, 8] - output.gather(1, targets[:, None])[:, 0]).sum(), point)[0]
    assert torch.allclose(problem.gradient(pixels, targets, "margin", target_classes)[0], expected)
    assert not torch.allclose(problem.gradient(pixels, targets, "margin")[0], expected)


def test_every_pass_is_counted_exactly_once(samples):
    pixels, targets = samples
    model = Counting(linear())
    problem = Problem(
        model, problem_of(model).loss, problem_of(model).misclassified, problem_of(model).rivals, batch_size=7
    )

    def counts():
        assert (problem.passes.forward, problem.passes.backward) == (model.forward, model.backward)
        assert problem.passes.total == model.forward + model.backward
        return model.forward, model.backward

    assert counts() == (0, 0)
    problem.forward(pixels[:3])
    assert counts() == (3, 0)
    problem.gradient(pixels[:5], targets[:5], "ce")
    assert counts() == (8, 5)
    replace(problem, average=4).gradient(
        pixels[:5], targets[:5], "ce"
    )  # a problem made from another one shares its counts
    assert counts() == (28, 25)
    model.sizes.clear()
    problem.outcome(pixels, targets)
    assert counts() == (48, 25)
    assert model.sizes == [7, 7, 6]
    replace(problem, draws=3).outcome(pixels, targets)
    assert counts() == (108, 25)


def test_only_problems_made_from_each_other_share_pass_counts(samples):
    one, other = problem_of(linear()), problem_of(linear())
    one.forward(samples[0])
    assert (one.passes.total, other.passes.total) == (20, 0)
    assert replace(one, batch_size=3).passes is one.passes


@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 20])
def test_chunks_cover_all_rows_once_in_order(count):
    problem = replace(problem_of(linear()), batch_size=7)
    chunks = list(problem.chunks(count))
    assert [row for chunk in chunks for row in range(count)[chunk]] == list(range(count))
    assert all(0 < chunk.stop - chunk.start <= 7 for chunk in chunks)
    assert len(chunks) == -(-count // 7)


class Coin:
    """A model that predicts class 1 with a probability given by the first pixel of each sample."""

    def __init__(self):
        self.source, self.calls = torch.Generator().manual_seed(0), 0

    def __call__(self, pixels):
        self.calls += 1
        heads = torch.rand(len(pixels), generator=self.source) < pixels[:, 0, 0, 0]
        return torch.stack([~heads, heads], dim=1).float() + 0 * pixels.flatten(1).sum(dim=1, keepdim=True)


def test_an_outcome_is_the_share_of_misclassified_draws():
    chances = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    pixels = chances.view(-1, 1, 1, 1).expand(5, 1, 2, 2).contiguous()
    coin = Coin()
    shares = replace(problem_of(coin), draws=400).outcome(pixels, torch.zeros(5).long())
    assert coin.calls == 400
    assert shares[0] == 0 and shares[4] == 1
    assert (shares - chances).abs().max() < 4.5 * 0.5 / 20
    assert torch.allclose(shares * 400, (shares * 400).round(), atol=1e-3)
    once = problem_of(Coin()).outcome(pixels, torch.zeros(5).long())
    assert set(once.tolist()) <= {0.0, 1.0}


def test_outcomes_are_computed_without_gradients_on_a_copy(net):
    pixels, targets = first(10)
    calls = []

    def forward(x):
        calls.append((torch.is_grad_enabled(), x.requires_grad, x.data_ptr() == pixels.data_ptr()))
        output = net(x)
        x.zero_()  # an in-place operation in the model changes the copy only
        return output

    before = pixels.clone()
    differentiable = pixels.requires_grad_(True)
    shares = replace(problem_of(forward), draws=2).outcome(differentiable, targets)
    assert calls == [(False, False, False)] * 2
    assert torch.equal(pixels.detach(), before) and not shares.requires_grad


@pytest.mark.parametrize("value", [torch.nan, torch.inf], ids=str)
def test_a_single_non_finite_draw_is_an_error(samples, value):
    model, calls = linear(), []

    def forward(x):
        calls.append(len(x))
        output = model(x)
        if len(calls) == 3:
            output[1, 0] = value
        return output

    with pytest.raises(AttackError, match="NaN or infinite output for 1 of 20 samples"):
        replace(problem_of(forward), draws=4).outcome(*samples)
    assert problem_of(forward).forward(samples[0]).isfinite().all()  # a forward pass raises no error


def test_forward_and_gradient_accept_non_finite_outputs(samples):
    problem = problem_of(lambda x: linear()(x) * torch.nan)
    assert problem.forward(samples[0]).isnan().all()
    gradient, output = problem.gradient(*samples, "margin")
    assert output.isnan().all() and gradient.isnan().all()  # the search marks such samples


class Noisy:
    """A linear model whose slope is random with a known mean."""

    def __init__(self):
        self.source, self.inner = torch.Generator().manual_seed(0), linear()

    def __call__(self, pixels):
        slope = self.inner.weight + torch.randn(64, generator=self.source)
        score = (pixels.flatten(1) * slope).sum(dim=1)
        return torch.stack([-score / 2, score / 2], dim=1)


def test_averaging_reduces_the_noise_of_a_gradient(samples):
    pixels, targets = samples

    def error(average):
        gradient, _ = replace(problem_of(Noisy()), average=average).gradient(
            pixels, torch.zeros_like(targets), "margin"
        )
        return float((gradient[0].flatten() / average - linear().weight).norm() / 8)  # the length does not matter

    assert error(1) == pytest.approx(1, abs=0.3)
    assert error(100) == pytest.approx(0.1, abs=0.03)


def test_a_guide_provides_gradients_but_no_outcomes(samples):
    pixels, targets = samples
    model, guide = Counting(lambda x: linear()(x).detach()), Counting(lambda x: 3 * linear()(x))
    problem = replace(problem_of(model), guide=guide)
    gradient, output = problem.gradient(pixels, targets, "margin")
    assert (model.forward, guide.forward, guide.backward) == (0, 20, 20)
    assert torch.equal(output, 3 * linear()(pixels))
    assert torch.allclose(gradient.abs(), 3 * linear().weight.view(1, 1, 8, 8).expand_as(gradient))
    problem.outcome(pixels, targets)
    problem.forward(pixels)
    assert (model.forward, guide.forward) == (40, 20)
    assert (problem.passes.forward, problem.passes.backward) == (60, 20)
    with pytest.raises(AttackError, match="no gradient exists"):
        replace(problem, guide=None).gradient(pixels, targets, "margin")
    assert problem.passes.backward == 20  # the failed backward pass is not counted


def test_parameters_receive_no_gradient(net):
    pixels, targets = first(8)
    for parameter in net.module.parameters():
        parameter.requires_grad_(True)
    problem_of(net).gradient(pixels, targets, "ce")
    assert all(parameter.grad is None for parameter in net.module.parameters())

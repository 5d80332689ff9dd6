"""Straight-through gradients: values are unchanged, and the directions are useful."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from suite.attacks.diagnostics.gradient_probes import margin, slope
from suite.attacks.diagnostics.straight_through import (
    StraightThrough,
    before_flattening,
    straight_through,
    with_gradient_of,
)
from suite.models.base import TorchClassifier
from tests.attacks import digits, fakes

EPS, COUNT = 0.1, 100
REPAIRED = (
    "8 levels",
    "bit depth 3",
    "JPEG-like",
    "thermometer",
    "flat in grad mode",
    "saturated",
    "softmax(50 x logits)",
)
DISCRETE = ("8 levels", "bit depth 3", "JPEG-like", "thermometer")


def defense(name):
    return TorchClassifier(fakes.built(name).requires_grad_(False))


def wrong(forward, pixels, targets):
    with torch.no_grad():
        return int((forward(pixels).argmax(dim=1) != targets).sum())


def ascend(gradient_at, pixels, steps=12):
    """Take a few shrinking sign steps inside the ball."""
    perturbed = pixels
    for step in range(steps):
        length = EPS * (1 - step / steps)
        delta = (perturbed + length * gradient_at(perturbed).sign() - pixels).clamp(-EPS, EPS)
        perturbed = (pixels + delta).clamp(0, 1)
    return perturbed


def most_wrong_at_random(pixels, targets, forward, tries=12):
    """Return the largest number of errors under random sign patterns."""
    source = torch.Generator().manual_seed(0)
    signs = (torch.randint(2, (tries, *pixels.shape), generator=source) * 2.0 - 1) * EPS
    return max(wrong(forward, (pixels + sign).clamp(0, 1), targets) for sign in signs)


@pytest.mark.parametrize(
    "name", [n for n, f in fakes.FAKES.items() if not f.stochastic and n != "other if requires_grad"]
)
def test_values_equal_those_of_the_model_bit_for_bit(name):
    pixels, _ = digits.first(COUNT)
    forward = defense(name)
    with torch.no_grad():
        plain = forward(pixels)
        assert torch.equal(straight_through(forward)(pixels), plain)
    assert torch.equal(straight_through(forward)(pixels.clone().requires_grad_()), plain)


@pytest.mark.parametrize("name", REPAIRED)
def test_a_hidden_gradient_is_recovered_and_useful(name):
    pixels, targets = digits.first(COUNT)
    forward = defense(name)
    hidden = slope(forward, pixels, targets).gradient
    assert hidden is None or (hidden.flatten(1).abs().amax(dim=1) == 0).float().mean() > 0.9
    smooth = straight_through(forward)
    gradient = slope(smooth, pixels, targets).gradient
    assert torch.isfinite(gradient).all() and (gradient.flatten(1).abs().amax(dim=1) > 0).all()
    errors = wrong(forward, ascend(lambda perturbed: slope(smooth, perturbed, targets).gradient, pixels), targets)
    assert errors >= most_wrong_at_random(pixels, targets, forward) + 10


@pytest.mark.parametrize("name", ["8 levels", "JPEG-like"])
def test_the_margin_increases_more_than_along_random_signs(name):
    pixels, targets = digits.first(COUNT)
    forward = defense(name)
    gradient = slope(straight_through(forward), pixels, targets).gradient
    source = torch.Generator().manual_seed(1)
    random = torch.randint(2, pixels.shape, generator=source) * 2.0 - 1
    with torch.no_grad():
        up, sideways = (
            margin(forward((pixels + EPS * direction).clamp(0, 1)), targets) for direction in (gradient.sign(), random)
        )
    assert (up > sideways).float().mean() > 0.95


@pytest.mark.parametrize("name", ["one-hot", "softmax(50 x logits)"])
def test_scores_before_flattening_equal_those_of_the_base(name):
    pixels, targets = digits.first(COUNT)
    forward, base = defense(name), defense("none")
    scores = before_flattening(forward)
    factor = 50 if "50" in name else 1
    torch.testing.assert_close(scores(pixels), factor * base(pixels))
    errors = [
        wrong(
            forward,
            ascend(lambda perturbed, smooth=smooth: slope(smooth, perturbed, targets).gradient, pixels),
            targets,
        )
        for smooth in (scores, base)
    ]
    assert errors[0] == errors[1] > 30


def test_outputs_that_are_not_flattened_are_returned_unchanged():
    pixels, _ = digits.first(20)
    for name in ("none", "thermometer", "log-softmax"):
        assert torch.equal(before_flattening(defense(name))(pixels), defense(name)(pixels))


@pytest.mark.parametrize("name", ["none", "logits x100", "distilled", "batch statistics"])
def test_unmasked_gradients_are_unchanged(name):
    pixels, targets = digits.first(20)
    forward = defense(name)
    plain = slope(forward, pixels, targets).gradient
    torch.testing.assert_close(slope(straight_through(forward), pixels, targets).gradient, plain)


VALUES = torch.linspace(-2.05, 2.05, 42)

SAME_SLOPE = {
    "round": torch.round,
    "method": lambda x: x.floor(),
    "decimals": lambda x: torch.round(x, decimals=1),
    "ceil": torch.ceil,
    "sign": torch.sign,
    "int": lambda x: x.int().float(),
    "to": lambda x: x.to(torch.int16).to(torch.float32),
    "type": lambda x: x.type(torch.int64).type(torch.float32),
    "int to itself": lambda x: x.long().to(torch.int32).add(3).to(x),
    "in place": lambda x: (x * 1).round_(),
    "detach": lambda x: x.detach(),
}


@pytest.mark.parametrize("name", SAME_SLOPE)
def test_rounding_has_the_gradient_of_the_identity(name):
    point = VALUES.clone().requires_grad_()
    with torch.no_grad():
        expected = SAME_SLOPE[name](VALUES.clone())
    with StraightThrough():
        out = SAME_SLOPE[name](point)
    assert torch.equal(out, expected)
    (gradient,) = torch.autograd.grad(out.sum(), point)
    assert torch.equal(gradient, torch.ones_like(VALUES))


SCALED = {
    "floor division": (lambda x: x // 0.25, 4),
    "division that rounds": (lambda x: torch.div(x, 0.5, rounding_mode="floor"), 2),
    "integers then scale": (lambda x: (x * 100).to(torch.int32).float() / 50, 2),
    "shifts": (lambda x: (((x * 64).to(torch.int32) >> 3) << 1).float(), 16),
    "integer floor division": (lambda x: ((x * 64).int() // 16).float(), 4),
    "masks times numbers": (lambda x: x.int() * 3.0, 3),
    "shapes": (lambda x: torch.cat([x.int().view(6, 7).T, x.int().view(7, 6)]).float(), 2),
}


@pytest.mark.parametrize("name", SCALED)
def test_gradients_pass_through_integer_arithmetic(name):
    function, expected = SCALED[name]
    point = VALUES.clone().requires_grad_()
    with StraightThrough():
        out = function(point)
    assert torch.equal(out, function(VALUES))
    (gradient,) = torch.autograd.grad(out.sum(), point)
    torch.testing.assert_close(gradient, torch.full_like(VALUES, expected))


def sigmoid_slope(x):
    return (x / 0.1).sigmoid() * (1 - (x / 0.1).sigmoid()) / 0.1


MASKS = {
    ">": (lambda x: (x > 0).float(), 1),
    "<=": (lambda x: (x <= 0).to(torch.float32), -1),
    "reflected": (lambda x: (0 < x).type(torch.float32), 1),
    "torch.ge": (lambda x: torch.ge(x, torch.zeros(())).type_as(x), 1),
    "not": (lambda x: (~(x < 0)).float(), 1),
    "where": (lambda x: torch.where(x > 0, 3.0, 1.0), 2),
    "times": (lambda x: (x > 0) * 2.0, 2),
    "filled": (lambda x: torch.zeros(len(x)).masked_fill(x > 0, 5.0), 5),
    "integers": (lambda x: (x > 0).long().mul(2).float(), 2),
    "and": (lambda x: ((x > 0) & (x > -9)).float(), 1),
    "sum": (lambda x: torch.stack([x > 0, x > 9]).sum(dim=0).float(), 1),
    "bucketize": (lambda x: torch.bucketize(x, torch.tensor([0.0])).float(), 1),
    "heaviside": (lambda x: torch.heaviside(x, torch.zeros(())), 1),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_comparison_has_the_gradient_of_a_sigmoid(name):
    function, factor = MASKS[name]
    point = VALUES.clone().requires_grad_()
    with StraightThrough():
        out = function(point)
    assert torch.equal(out, function(VALUES))
    (gradient,) = torch.autograd.grad(out.sum(), point)
    torch.testing.assert_close(gradient, factor * sigmoid_slope(VALUES), atol=1e-5, rtol=1e-4)


def test_the_temperature_is_the_width_of_the_sigmoid():
    point = torch.zeros(1, requires_grad=True)
    for temperature in (0.05, 0.5):
        out = straight_through(lambda x: (x > 0).float(), temperature=temperature)(point)
        assert torch.autograd.grad(out.sum(), point)[0].item() == pytest.approx(0.25 / temperature)


def test_where_keeps_the_gradient_of_its_branches():
    point = torch.tensor([-1.0, 2.0], requires_grad=True)
    with StraightThrough(1e-3):
        out = torch.where(point > 0, 3 * point, 5 * point)
    assert torch.autograd.grad(out.sum(), point)[0].tolist() == [5, 3]


def test_one_hot_has_the_gradient_of_the_scores():
    scores = torch.tensor([[1.0, 3.0, 2.0]], requires_grad=True)
    with StraightThrough():
        out = functional.one_hot(scores.argmax(dim=1), 3).float()
    assert out.tolist() == [[0, 1, 0]]
    assert torch.autograd.grad(out[0, 2], scores)[0].tolist() == [[0, 0, 1]]


def test_saturated_functions_have_a_gradient_and_attention_softmax_is_unchanged():
    point = torch.tensor([[40.0, -40.0]], requires_grad=True)
    for function, least in ((torch.tanh, 1e-2), (torch.sigmoid, 1e-2), (lambda x: x.softmax(dim=1), 0.9)):
        out = straight_through(function)(point)
        assert torch.equal(out, function(point))
        assert (torch.autograd.grad(out[:, 0].sum(), point)[0][0, 0] >= least).all()
    cube = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    plain, smooth = (torch.autograd.grad(f(cube)[..., 0].sum(), cube)[0] for f in (soft, straight_through(soft)))
    assert torch.equal(plain, smooth)


def soft(x):
    return functional.softmax(x, dim=-1)


def test_a_model_that_uses_numpy_still_works():
    def outside(pixels):
        return torch.from_numpy(pixels.detach().cpu().numpy() * 2)

    point = VALUES.clone().requires_grad_()
    assert torch.equal(straight_through(outside)(point), 2 * VALUES)


def test_integers_used_as_indices_are_unchanged():
    table = nn.Embedding(5, 2)
    point = torch.tensor([0.2, 3.7], requires_grad=True)
    with StraightThrough():
        out, picked = table(point.long()), torch.arange(5.0)[point.long()]
    assert torch.equal(out, table(torch.tensor([0, 3]))) and picked.tolist() == [0, 3]


def test_nothing_changes_outside_the_context_or_without_grad_mode():
    point = VALUES.clone().requires_grad_()
    with pytest.raises(ZeroDivisionError), StraightThrough():
        _ = 1 / 0
    assert torch.autograd.grad(point.round().sum(), point)[0].abs().max() == 0
    with StraightThrough(), torch.no_grad():
        assert not point.round().requires_grad


def test_the_surrogate_never_changes_the_value():
    odd = torch.tensor([-0.0, torch.inf, torch.nan, 1e-45])
    out = with_gradient_of(odd, torch.full((4,), torch.inf, requires_grad=True))
    assert torch.equal(out.view(torch.int32), odd.view(torch.int32)) and out.requires_grad

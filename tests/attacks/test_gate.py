"""The gate: whatever breaks the rules is an error, and only a clean forward pass says who is fooled."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.attacks import norms
from suite.attacks.gate import judged
from suite.attacks.gradient import FGSM, PGD
from suite.attacks.patch import Patch
from suite.errors import AttackError, ModelError
from tests.attacks.digits import Linear, first, problem_of

EPS = 0.1
PATCH = Patch(area=(0.15,))


def changed(pixels, edit):
    moved = pixels.clone()
    edit(moved)
    return moved


def at(row, column, height, width, value=0.3):
    """Return an edit that shifts a box of one image, staying inside the bounds."""

    def edit(moved):
        moved[1, :, row : row + height, column : column + width] = value

    return edit


VIOLATIONS = {
    "nan": (FGSM(), lambda x: changed(x, lambda m: m[1, 0, 0].fill_(torch.nan)), "NaN or infinite"),
    "infinite": (FGSM(), lambda x: changed(x, lambda m: m[1, 0, 0].fill_(torch.inf)), "NaN or infinite"),
    "all nan": (PGD(norm="l2"), lambda x: x * torch.nan, "NaN or infinite"),
    "below": (FGSM(), lambda x: changed(x, lambda m: m[1, 0, 0].fill_(-1e-7)), r"outside \[0, 1\]"),
    "above": (FGSM(), lambda x: changed(x, lambda m: m[1, 0, 0].fill_(1.0001)), r"outside \[0, 1\]"),
    "linf": (FGSM(), lambda x: changed(x, lambda m: m[1, 0, 0, 0].add_(EPS * 1.001)), "over the limit .*of 3"),
    "l2": (PGD(norm="l2"), lambda x: changed(x, lambda m: m[1, 0, 0, :2].add_(EPS * 0.71)), "over the limit"),
    "shape": (FGSM(), lambda x: x[:2], "returned shape"),
    "channels": (FGSM(), lambda x: x.repeat(1, 3, 1, 1), "returned shape"),
    "patch too wide": (PATCH, lambda x: changed(x, at(2, 2, 3, 4)), "over the limit"),
    "patch too high": (PATCH, lambda x: changed(x, at(2, 2, 4, 3)), "over the limit"),
    "other pixel": (
        PATCH,
        lambda x: changed(changed(x, at(2, 2, 3, 3)), at(7, 7, 1, 1)),
        "over the limit",
    ),
    "whole picture": (PATCH, lambda x: x * 0.9 + 0.01, "over the limit"),
}


@pytest.mark.parametrize("case", VIOLATIONS)
def test_every_violation_is_an_error(problem, case):
    attack, edit, message = VIOLATIONS[case]
    pixels, targets = first(3)
    pixels = pixels * 0.5 + 0.1
    size = 0.15 if isinstance(attack, Patch) else EPS
    assert judged(problem, attack, pixels, pixels.clone(), targets, size).shape == (3,)
    with pytest.raises(AttackError, match=message):
        judged(problem, attack, pixels, edit(pixels), targets, size)


def test_the_error_says_who_is_at_fault_and_by_how_much(problem):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match=r"FGSM at eps 0.1 .* 2 of 3 .* by up to 0.1\. The attack is at fault"):
        judged(problem, FGSM(), pixels * 0, torch.tensor([0.2, 0.2, 0])[:, None, None, None] + pixels * 0, targets, EPS)


@dataclass(frozen=True)
class Claims:
    """An attack that is the judge of its own size."""

    norm: str
    claim: float
    size_name: str = "eps"

    def violation(self, clean: Any, adversarial: Any, size: float) -> Any:
        return torch.full((len(clean),), self.claim, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_attack_that_denies_its_violation_is_caught(problem, norm):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match="over the limit for 3 of 3"):
        judged(problem, Claims(norm, -1.0), pixels * 0, pixels * 0 + 0.5, targets, EPS)


def test_a_violation_that_is_not_a_number_is_a_violation(problem):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match="over the limit for 3 of 3"):
        judged(problem, Claims("own", float("nan")), pixels, pixels, targets, EPS)


def test_an_attack_that_returns_the_clean_images_is_scored_by_the_model_alone(net):
    pixels, targets = first(50)
    calls = []

    def forward(x):
        calls.append((torch.is_grad_enabled(), x.requires_grad, x.data_ptr() == pixels.data_ptr()))
        return net(x)

    problem = problem_of(forward)
    fooled = judged(problem, FGSM(), pixels, pixels, targets, EPS)
    assert torch.equal(fooled, net(pixels).argmax(1) != targets)
    assert calls == [(False, False, False)]  # no gradients, and a fresh copy
    assert judged(problem, FGSM(), pixels, pixels, (targets + 1) % 10, EPS).sum() >= 48


def test_a_model_that_breaks_on_the_adversarial_images_is_an_error(problem, net):
    net.module[-1].bias.data[:] = torch.nan
    pixels, targets = first(3)
    with pytest.raises(ModelError, match="NaN or infinite"):
        judged(problem, FGSM(), pixels, pixels, targets, EPS)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    norm=st.sampled_from(["linf", "l2"]),
    eps=st.floats(1e-3, 1.0),
    stretch=st.floats(0.0, 3.0),
)
def test_nothing_out_of_budget_is_ever_counted(seed, norm, eps, stretch):
    source = torch.Generator().manual_seed(seed)
    pixels = torch.rand(6, 1, 3, 3, generator=source)
    delta = norms.steepest(torch.randn(pixels.shape, generator=source), norm) * eps * stretch
    moved = pixels + delta
    targets = torch.randint(2, (6,), generator=source)
    model = Linear(torch.randn(9, generator=source), 0.0)
    change = (moved.double() - pixels.double()).flatten(1)
    sizes = change.abs().amax(dim=1) if norm == "linf" else change.pow(2).sum(dim=1).sqrt()
    allowed = bool((sizes <= eps * (1 + 1e-5) + 1e-6).all()) and bool((moved >= 0).all() and (moved <= 1).all())
    attack = PGD(norm=norm)
    if allowed:
        assert torch.equal(
            judged(problem_of(model), attack, pixels, moved, targets, eps), model(moved).argmax(1) != targets
        )
    else:
        with pytest.raises(AttackError):
            judged(problem_of(model), attack, pixels, moved, targets, eps)

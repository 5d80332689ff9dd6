"""The gate: whatever breaks the rules is an error, and only a clean forward pass says who is fooled."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from suite.attacks.constraints import NORMS, constraint
from suite.attacks.engine.validation import validate
from suite.attacks.images.gradient import FGSM, PGD
from suite.attacks.images.patch import Patch
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
    "l1": (PGD(norm="l1"), lambda x: changed(x, lambda m: m[1, 0, 0, :4].add_(EPS * 0.251)), "over the limit .*of 3"),
    "l0": (PGD(eps=(3,), norm="l0"), lambda x: changed(x, lambda m: m[1, 0, 0, :3].add_(1e-6)), "over the limit"),
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
    size = 0.15 if isinstance(attack, Patch) else 2 if attack.norm == "l0" else EPS
    assert validate(problem, attack, pixels, pixels.clone(), targets, size).shape == (3,)
    with pytest.raises(AttackError, match=message):
        validate(problem, attack, pixels, edit(pixels), targets, size)


def test_the_error_says_who_is_at_fault_and_by_how_much(problem):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match=r"FGSM at eps 0.1 .* 2 of 3 .* by up to 0.1\. The attack is at fault"):
        validate(
            problem, FGSM(), pixels * 0, torch.tensor([0.2, 0.2, 0])[:, None, None, None] + pixels * 0, targets, EPS
        )


@dataclass(frozen=True)
class Claims:
    """An attack that is the judge of its own size."""

    norm: str
    claim: float
    size_name: str = "eps"

    def violation(self, clean: Any, adversarial: Any, size: float) -> Any:
        return torch.full((len(clean),), self.claim, dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
def test_an_attack_that_denies_its_violation_is_caught(problem, norm):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match="over the limit for 3 of 3"):
        validate(problem, Claims(norm, -1.0), pixels * 0, pixels * 0 + 0.5, targets, EPS)


def test_a_violation_that_is_not_a_number_is_a_violation(problem):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match="over the limit for 3 of 3"):
        validate(problem, Claims("own", float("nan")), pixels, pixels, targets, EPS)


def test_an_attack_that_returns_the_clean_images_is_scored_by_the_model_alone(net):
    pixels, targets = first(50)
    calls = []

    def forward(x):
        calls.append((torch.is_grad_enabled(), x.requires_grad, x.data_ptr() == pixels.data_ptr()))
        return net(x)

    problem = problem_of(forward)
    misclassified = validate(problem, FGSM(), pixels, pixels, targets, EPS)
    assert torch.equal(misclassified, (net(pixels).argmax(1) != targets).float())
    assert calls == [(False, False, False)]  # no gradients, and a fresh copy
    assert validate(problem, FGSM(), pixels, pixels, (targets + 1) % 10, EPS).sum() >= 48


@pytest.mark.parametrize("checked", [True, False], ids=["checked outputs", "raw outputs"])
def test_a_model_that_breaks_on_the_adversarial_images_is_an_error(net, checked):
    net.module[-1].bias.data[:] = torch.nan
    pixels, targets = first(3)
    with pytest.raises(ModelError if checked else AttackError, match="NaN or infinite"):
        validate(problem_of(net if checked else net.raw), FGSM(), pixels, pixels, targets, EPS)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_one_output_that_is_not_finite_makes_the_others_worthless_too(net, value):
    pixels, targets = first(20)

    def forward(x):
        output = net.raw(x)
        output[13, 4] = value  # of a class that may not even be the largest
        return output

    with pytest.raises(AttackError, match="for 1 of 20 samples; they are neither robust nor misclassified"):
        validate(problem_of(forward), FGSM(), pixels, pixels, targets, EPS)


def test_of_a_model_that_answers_at_random_the_share_of_draws_is_returned():
    draws = iter([[True, True, False], [True, False, False], [False, False, False], [True, True, False]])

    def forward(x):
        return torch.tensor(next(draws)).float()[:, None] * torch.tensor([[-1.0, 1.0]])

    problem = replace(problem_of(forward), draws=4)
    pixels = torch.zeros(3, 1, 2, 2)
    misclassified = validate(problem, FGSM(), pixels, pixels, torch.zeros(3).long(), EPS)
    assert misclassified.tolist() == [0.75, 0.5, 0.0]


CASES = 1_000_000
"""Random cases in all; what is counted as broken is compared with an oracle of this file, in float64."""

IMAGES = 4096
"""Cases that share a size, and so a call of the gate where none of them breaks a rule."""


def oracle_size(delta, norm):
    """Return the size of each perturbation, in float64 and numpy."""
    flat = np.abs(delta.astype(np.float64)).reshape(len(delta), -1)
    if norm == "l0":
        return (delta != 0).any(axis=1).reshape(len(delta), -1).sum(axis=1).astype(np.float64)
    return {"linf": flat.max(axis=1), "l2": np.sqrt((flat**2).sum(axis=1)), "l1": flat.sum(axis=1)}[norm]


def oracle_allowed(clean, moved, norm, size):
    """Return which inputs keep to the rules; rounding of the size is allowed for, unless it is a count."""
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(moved).reshape(len(moved), -1).all(axis=1)
        inside = ((moved >= 0) & (moved <= 1)).reshape(len(moved), -1).all(axis=1)
        limit = size if norm == "l0" else size * (1 + 1e-5) + 1e-6
        return finite & inside & (oracle_size(moved.astype(np.float64) - clean, norm) <= limit)


def cases(source, norm, size):
    """Return clean images and perturbed ones: sizes around the limit, at the bounds, and a few that are not numbers."""
    shape = (IMAGES, 2, 2, 2)
    clean = source.random(shape, dtype=np.float32)
    clean[: IMAGES // 4] = clean[: IMAGES // 4].round()  # a perturbation of these is cut off by the bounds
    delta = source.normal(size=shape) * (source.random(shape) < 0.6)
    if norm == "l0":  # of four places
        delta *= (source.random((IMAGES, 1, 2, 2)) < source.random((IMAGES, 1, 1, 1))) / 4
    else:
        near = 1 + np.where(source.random(IMAGES) < 0.5, 1e-5, 1.0) * source.normal(size=IMAGES)
        length = np.maximum(oracle_size(delta, norm), 1e-9)
        delta *= (size * np.abs(near) / length)[:, None, None, None]
    moved = clean + delta
    kept = source.random(IMAGES) < 0.9
    moved[kept] = moved[kept].clip(0, 1)
    moved = moved.astype(np.float32)
    broken = source.random(IMAGES) < 0.02
    places = source.integers(8, size=IMAGES)
    values = source.choice(np.array([np.nan, np.inf, -np.inf], dtype=np.float32), IMAGES)
    rows = np.flatnonzero(broken)
    moved.reshape(IMAGES, -1)[rows, places[rows]] = values[rows]
    return clean, moved


def asked(problem, attack, clean, moved, targets, size):
    """Return what the gate counts as broken, or None where it refuses."""
    try:
        return validate(problem, attack, *(torch.from_numpy(part) for part in (clean, moved, targets)), size).numpy()
    except AttackError:
        return None


def test_in_a_million_cases_nothing_out_of_budget_not_finite_or_rightly_labelled_counts_as_broken():
    source, count, seen = np.random.default_rng(0), 0, Counter()
    while count < CASES:
        norm = NORMS[(count // IMAGES) % len(NORMS)]
        size = float(source.integers(1, 4)) if norm == "l0" else float(10 ** source.uniform(-3, 0.3))
        weight = source.normal(size=8).astype(np.float32)
        problem = problem_of(Linear(torch.from_numpy(weight), float(-weight.sum() / 2)))
        attack = PGD(eps=(1,), norm=norm)
        clean, moved = cases(source, norm, size)
        targets = source.integers(2, size=IMAGES)
        allowed = oracle_allowed(clean, moved, norm, size)
        # All that keep to the rules at once: they count exactly where the label is wrong.
        score = moved[allowed].reshape(-1, 8).astype(np.float64) @ weight.astype(np.float64) - float(weight.sum() / 2)
        clear = np.abs(score) > 1e-4
        wrong = (score > 0) != targets[allowed]
        counted = asked(problem, attack, clean[allowed], moved[allowed], targets[allowed], size)
        assert counted is not None and np.isin(counted, (0, 1)).all()
        assert np.array_equal(counted[clear] == 1, wrong[clear])
        # All that do not, and each of the blocks that mix the two: nothing is counted.
        assert asked(problem, attack, clean[~allowed], moved[~allowed], targets[~allowed], size) is None
        assert asked(problem, attack, clean, moved, targets, size) is None
        # Any single one of them spoils the block it is in.
        values = attack.violation(torch.from_numpy(clean), torch.from_numpy(moved), size).numpy()
        legal = np.isfinite(moved).reshape(IMAGES, -1).all(axis=1) & ((moved >= 0) & (moved <= 1)).reshape(
            IMAGES, -1
        ).all(axis=1)
        assert np.array_equal((values <= 0) & legal, allowed)
        for row in np.flatnonzero(~allowed)[:4]:
            block = np.append(np.flatnonzero(allowed)[:7], row)
            assert asked(problem, attack, clean[block], moved[block], targets[block], size) is None
        # A wrong shape is refused, whatever is in it.
        for odd in (moved[allowed][:, :1], moved[allowed][1:], moved[allowed].reshape(-1, 8)):
            assert asked(problem, attack, clean[allowed], odd, targets[allowed], size) is None
        count += IMAGES
        seen.update(allowed=int(allowed.sum()), refused=int((~allowed).sum()), broken=int(counted.sum()))
        seen.update(right=int((counted == 0).sum()), unclear=int((~clear).sum()))
    assert sum((seen["allowed"], seen["refused"])) >= CASES
    assert min(seen["allowed"], seen["refused"], seen["broken"], seen["right"]) > CASES / 10
    assert seen["unclear"] < CASES / 1000


@pytest.mark.parametrize("norm", NORMS)
def test_the_limit_itself_is_allowed_and_the_next_step_beyond_the_allowance_is_not(problem, norm):
    pixels, targets = torch.full((2, 1, 8, 8), 0.25), torch.zeros(2).long()
    size = 3 if norm == "l0" else 0.25
    changes = {"linf": (64, size), "l2": (4, size / 2), "l1": (8, size / 8), "l0": (3, 0.5)}
    places, amount = changes[norm]
    moved = pixels.clone()
    moved.view(2, -1)[:, :places] += amount
    assert validate(problem, PGD(eps=(1,), norm=norm), pixels, moved, targets, size).shape == (2,)
    assert constraint(norm).size(moved.double() - pixels.double()).tolist() == [size, size]
    if norm == "l0":
        moved.view(2, -1)[1, places] += 1e-7
    else:
        moved.view(2, -1)[1, :places] += 2e-5 * amount + 1e-5 / places
    with pytest.raises(AttackError, match="over the limit for 1 of 2"):
        validate(problem, PGD(eps=(1,), norm=norm), pixels, moved, targets, size)


def test_a_large_set_is_checked_batch_by_batch(problem):
    seen = []

    class Watched(FGSM):
        def violation(self, clean, adversarial, size):
            seen.append(len(clean))
            return super().violation(clean, adversarial, size)

    pixels, targets = first(12)
    shares = validate(replace(problem, batch_size=5), Watched(), pixels, pixels, targets, EPS)
    assert seen == [5, 5, 2] and shares.shape == (12,)
    far = pixels.clone()
    far[-1] = 1 - far[-1]
    with pytest.raises(AttackError, match="over the limit"):
        validate(replace(problem, batch_size=5), Watched(), pixels, far, targets, EPS)

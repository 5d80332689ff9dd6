"""Validation: invalid adversarial inputs are errors, and outcomes come from a forward pass without gradients."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from suite.attacks.constraints import ball_norms, constraint
from suite.attacks.engine.validation import validate
from suite.attacks.images.gradient import FGSM, PGD
from suite.attacks.images.patch import Patch
from suite.errors import AttackError, ModelError
from tests.attacks.digits import Linear, first, problem_of

NORMS = ball_norms()

EPS = 0.1
PATCH = Patch(area=(0.15,))


def changed(pixels, edit):
    perturbed = pixels.clone()
    edit(perturbed)
    return perturbed


def at(row, column, height, width, value=0.3):
    """Return an edit that sets a box of one image to a value."""

    def edit(perturbed):
        perturbed[1, :, row : row + height, column : column + width] = value

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
    "whole image": (PATCH, lambda x: x * 0.9 + 0.01, "over the limit"),
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


def test_the_error_names_the_attack_and_the_excess(problem):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match=r"FGSM at eps 0.1 .* 2 of 3 .* by up to 0.1\. The attack is at fault"):
        validate(
            problem, FGSM(), pixels * 0, torch.tensor([0.2, 0.2, 0])[:, None, None, None] + pixels * 0, targets, EPS
        )


@dataclass(frozen=True)
class ReportedViolation:
    """An attack that reports the given violation, true or not."""

    norm: str
    reported: float
    size_name: str = "eps"

    def violation(self, clean: Any, adversarial: Any, size: float) -> Any:
        return torch.full((len(clean),), self.reported, dtype=torch.float64)


@pytest.mark.parametrize("norm", NORMS)
def test_violations_that_the_attack_denies_are_detected(problem, norm):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match="over the limit for 3 of 3"):
        validate(problem, ReportedViolation(norm, -1.0), pixels * 0, pixels * 0 + 0.5, targets, EPS)


def test_a_nan_violation_is_a_violation(problem):
    pixels, targets = first(3)
    with pytest.raises(AttackError, match="over the limit for 3 of 3"):
        validate(problem, ReportedViolation("own", float("nan")), pixels, pixels, targets, EPS)


def test_outcomes_of_clean_images_come_from_one_forward_pass(net):
    pixels, targets = first(50)
    calls = []

    def forward(x):
        calls.append((torch.is_grad_enabled(), x.requires_grad, x.data_ptr() == pixels.data_ptr()))
        return net(x)

    problem = problem_of(forward)
    misclassified = validate(problem, FGSM(), pixels, pixels, targets, EPS)
    assert torch.equal(misclassified, (net(pixels).argmax(1) != targets).float())
    assert calls == [(False, False, False)]  # without gradients, on a copy
    assert validate(problem, FGSM(), pixels, pixels, (targets + 1) % 10, EPS).sum() >= 48


@pytest.mark.parametrize("checked", [True, False], ids=["checked outputs", "raw outputs"])
def test_non_finite_outputs_on_adversarial_images_are_errors(net, checked):
    net.module[-1].bias.data[:] = torch.nan
    pixels, targets = first(3)
    with pytest.raises(ModelError if checked else AttackError, match="NaN or infinite"):
        validate(problem_of(net if checked else net.raw), FGSM(), pixels, pixels, targets, EPS)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_a_single_non_finite_output_is_an_error(net, value):
    pixels, targets = first(20)

    def forward(x):
        output = net.raw(x)
        output[13, 4] = value  # even if it is not the largest logit
        return output

    with pytest.raises(AttackError, match="for 1 of 20 samples; they are neither robust nor misclassified"):
        validate(problem_of(forward), FGSM(), pixels, pixels, targets, EPS)


def test_the_outcome_of_a_randomized_model_is_a_share_of_draws():
    draws = iter([[True, True, False], [True, False, False], [False, False, False], [True, True, False]])

    def forward(x):
        return torch.tensor(next(draws)).float()[:, None] * torch.tensor([[-1.0, 1.0]])

    problem = replace(problem_of(forward), draws=4)
    pixels = torch.zeros(3, 1, 2, 2)
    misclassified = validate(problem, FGSM(), pixels, pixels, torch.zeros(3).long(), EPS)
    assert misclassified.tolist() == [0.75, 0.5, 0.0]


CASES = 1_000_000
"""Total number of random cases; the outcomes are compared with an oracle in float64."""

IMAGES = 4096
"""Number of cases that share a size, and therefore one call of `validate`."""


def oracle_size(delta, norm):
    """Return the size of each perturbation, in float64 and numpy."""
    flat = np.abs(delta.astype(np.float64)).reshape(len(delta), -1)
    if norm == "l0":
        return (delta != 0).any(axis=1).reshape(len(delta), -1).sum(axis=1).astype(np.float64)
    return {"linf": flat.max(axis=1), "l2": np.sqrt((flat**2).sum(axis=1)), "l1": flat.sum(axis=1)}[norm]


def oracle_allowed(clean, perturbed, norm, size):
    """Return which inputs are valid, with an allowance for rounding unless the size is a count."""
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(perturbed).reshape(len(perturbed), -1).all(axis=1)
        inside = ((perturbed >= 0) & (perturbed <= 1)).reshape(len(perturbed), -1).all(axis=1)
        limit = size if norm == "l0" else size * (1 + 1e-5) + 1e-6
        return finite & inside & (oracle_size(perturbed.astype(np.float64) - clean, norm) <= limit)


def cases(source, norm, size):
    """Return clean and perturbed images: sizes around the limit, pixels at the bounds, and a few non-finite values."""
    shape = (IMAGES, 2, 2, 2)
    clean = source.random(shape, dtype=np.float32)
    clean[: IMAGES // 4] = clean[: IMAGES // 4].round()  # perturbations of these are clipped by the bounds
    delta = source.normal(size=shape) * (source.random(shape) < 0.6)
    if norm == "l0":  # of four positions
        delta *= (source.random((IMAGES, 1, 2, 2)) < source.random((IMAGES, 1, 1, 1))) / 4
    else:
        near = 1 + np.where(source.random(IMAGES) < 0.5, 1e-5, 1.0) * source.normal(size=IMAGES)
        length = np.maximum(oracle_size(delta, norm), 1e-9)
        delta *= (size * np.abs(near) / length)[:, None, None, None]
    perturbed = clean + delta
    kept = source.random(IMAGES) < 0.9
    perturbed[kept] = perturbed[kept].clip(0, 1)
    perturbed = perturbed.astype(np.float32)
    broken = source.random(IMAGES) < 0.02
    places = source.integers(8, size=IMAGES)
    values = source.choice(np.array([np.nan, np.inf, -np.inf], dtype=np.float32), IMAGES)
    rows = np.flatnonzero(broken)
    perturbed.reshape(IMAGES, -1)[rows, places[rows]] = values[rows]
    return clean, perturbed


def outcomes(problem, attack, clean, perturbed, targets, size):
    """Return the outcomes, or None if validation raises an error."""
    try:
        return validate(
            problem, attack, *(torch.from_numpy(part) for part in (clean, perturbed, targets)), size
        ).numpy()
    except AttackError:
        return None


def test_in_a_million_cases_only_valid_misclassified_inputs_count_as_adversarial():
    source, count, totals = np.random.default_rng(0), 0, Counter()
    while count < CASES:
        norm = NORMS[(count // IMAGES) % len(NORMS)]
        size = float(source.integers(1, 4)) if norm == "l0" else float(10 ** source.uniform(-3, 0.3))
        weight = source.normal(size=8).astype(np.float32)
        problem = problem_of(Linear(torch.from_numpy(weight), float(-weight.sum() / 2)))
        attack = PGD(eps=(1,), norm=norm)
        clean, perturbed = cases(source, norm, size)
        targets = source.integers(2, size=IMAGES)
        allowed = oracle_allowed(clean, perturbed, norm, size)
        # All valid inputs at once: they count exactly if they are misclassified.
        score = perturbed[allowed].reshape(-1, 8).astype(np.float64) @ weight.astype(np.float64) - float(
            weight.sum() / 2
        )
        clear = np.abs(score) > 1e-4
        wrong = (score > 0) != targets[allowed]
        counted = outcomes(problem, attack, clean[allowed], perturbed[allowed], targets[allowed], size)
        assert counted is not None and np.isin(counted, (0, 1)).all()
        assert np.array_equal(counted[clear] == 1, wrong[clear])
        # Invalid inputs are an error, also among valid ones.
        assert outcomes(problem, attack, clean[~allowed], perturbed[~allowed], targets[~allowed], size) is None
        assert outcomes(problem, attack, clean, perturbed, targets, size) is None
        # A single invalid input among valid ones is an error.
        values = attack.violation(torch.from_numpy(clean), torch.from_numpy(perturbed), size).numpy()
        legal = np.isfinite(perturbed).reshape(IMAGES, -1).all(axis=1) & ((perturbed >= 0) & (perturbed <= 1)).reshape(
            IMAGES, -1
        ).all(axis=1)
        assert np.array_equal((values <= 0) & legal, allowed)
        for row in np.flatnonzero(~allowed)[:4]:
            block = np.append(np.flatnonzero(allowed)[:7], row)
            assert outcomes(problem, attack, clean[block], perturbed[block], targets[block], size) is None
        # A wrong shape is an error.
        for odd in (perturbed[allowed][:, :1], perturbed[allowed][1:], perturbed[allowed].reshape(-1, 8)):
            assert outcomes(problem, attack, clean[allowed], odd, targets[allowed], size) is None
        count += IMAGES
        totals.update(allowed=int(allowed.sum()), refused=int((~allowed).sum()), misclassified=int(counted.sum()))
        totals.update(correct=int((counted == 0).sum()), unclear=int((~clear).sum()))
    assert sum((totals["allowed"], totals["refused"])) >= CASES
    assert min(totals["allowed"], totals["refused"], totals["misclassified"], totals["correct"]) > CASES / 10
    assert totals["unclear"] < CASES / 1000


@pytest.mark.parametrize("norm", NORMS)
def test_the_limit_is_allowed_and_slightly_more_is_not(problem, norm):
    pixels, targets = torch.full((2, 1, 8, 8), 0.25), torch.zeros(2).long()
    size = 3 if norm == "l0" else 0.25
    changes = {"linf": (64, size), "l2": (4, size / 2), "l1": (8, size / 8), "l0": (3, 0.5)}
    places, amount = changes[norm]
    perturbed = pixels.clone()
    perturbed.view(2, -1)[:, :places] += amount
    assert validate(problem, PGD(eps=(1,), norm=norm), pixels, perturbed, targets, size).shape == (2,)
    assert constraint(norm).size(perturbed.double() - pixels.double()).tolist() == [size, size]
    if norm == "l0":
        perturbed.view(2, -1)[1, places] += 1e-7
    else:
        perturbed.view(2, -1)[1, :places] += 2e-5 * amount + 1e-5 / places
    with pytest.raises(AttackError, match="over the limit for 1 of 2"):
        validate(problem, PGD(eps=(1,), norm=norm), pixels, perturbed, targets, size)


def test_inputs_are_checked_in_batches(problem):
    sizes = []

    class Recording(FGSM):
        def violation(self, clean, adversarial, size):
            sizes.append(len(clean))
            return super().violation(clean, adversarial, size)

    pixels, targets = first(12)
    shares = validate(replace(problem, batch_size=5), Recording(), pixels, pixels, targets, EPS)
    assert sizes == [5, 5, 2] and shares.shape == (12,)
    far = pixels.clone()
    far[-1] = 1 - far[-1]
    with pytest.raises(AttackError, match="over the limit"):
        validate(replace(problem, batch_size=5), Recording(), pixels, far, targets, EPS)

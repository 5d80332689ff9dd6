"""Validation of adversarial inputs, independent of the attack that made them."""

import torch
from torch import Tensor

from suite.attacks.constraints import constraint, norm_of
from suite.attacks.constraints.base import all_finite
from suite.attacks.constraints.patch import covered
from suite.attacks.engine.base import Attack
from suite.attacks.engine.problem import Problem
from suite.errors import AttackError
from suite.kinds.base import Array


def validate(
    problem: Problem, attack: Attack, clean: Tensor, adversarial: Tensor, targets: Tensor, size: float
) -> Tensor:
    """Check adversarial inputs as `validate_and_score` does, and return the outcomes only, (n,) in [0, 1]."""
    return validate_and_score(problem, attack, clean, adversarial, targets, size)[0]


def validate_and_score(
    problem: Problem, attack: Attack, clean: Tensor, adversarial: Tensor, targets: Tensor, size: float
) -> tuple[Tensor, Array]:
    """Check adversarial inputs and return the result of `Problem.outcome_and_tally` for them.

    Shape, finiteness, bounds and constraint are checked on the values themselves, in float64; the outcome comes from
    a forward pass without gradients. Targets that a patch covers do not have to be predicted.

    Args:
        problem: the model.
        attack: the attack that made the inputs.
        clean: the clean inputs, (n, ...).
        adversarial: the adversarial inputs, (n, ...).
        targets: the targets, (n, ...).
        size: the allowed size of a perturbation.

    Raises:
        AttackError: an input violates the rules, or an output of the model is not finite.
    """
    name = f"{type(attack).__name__} at {attack.size_name} {size:g}"
    if adversarial.shape != clean.shape:
        raise AttackError(f"{name} returned shape {tuple(adversarial.shape)} for {tuple(clean.shape)}.")
    values = adversarial.detach()
    for chunk in problem.chunks(len(clean)):  # float64 copies of all inputs at once would take too much memory
        _check(name, problem, attack, clean[chunk], values[chunk], size)
    if norm_of(attack.norm).covers:
        targets = problem.mask_covered_targets(targets, covered(clean, values))
    return problem.outcome_and_tally(values, targets)


def _check(name: str, problem: Problem, attack: Attack, clean: Tensor, values: Tensor, size: float) -> None:
    _refuse(name, ~all_finite(values), "NaN or infinite pixels")
    low, high = problem.bounds
    outside = torch.maximum(low - values, values - high).flatten(1).amax(dim=1)
    _refuse(name, outside > 0, f"pixels outside [{low:g}, {high:g}]", outside)
    over, norm = attack.violation(clean, values, size), norm_of(attack.norm)
    if norm.ball is not None:  # do not trust the attack where the size can be measured
        limit = torch.full((len(clean),), size, dtype=torch.float64, device=clean.device)
        over = torch.maximum(over, constraint(attack.norm, problem.bounds).excess(clean, values, limit))
    elif norm.edits is not None:
        over = torch.maximum(over, torch.from_numpy(norm.edits(clean, values) - size).to(over))
    _refuse(name, ~(over <= 0), "perturbations over the limit", over)


def _refuse(name: str, bad: Tensor, what: str, amount: Tensor | None = None) -> None:
    if bad.any():
        excess = f" by up to {float(amount.max()):.3g}" if amount is not None else ""
        raise AttackError(
            f"{name} returned {what} for {int(bad.sum())} of {len(bad)} samples{excess}. The attack is at fault, not "
            "the model; nothing is reported."
        )

"""The gate: no adversarial input counts before it is checked by code that the attack had no hand in."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.attacks.base import Attack
from suite.attacks.constraints import NORMS, constraint
from suite.attacks.problem import Problem
from suite.errors import AttackError


def judged(
    problem: Problem, attack: Attack, clean: Tensor, adversarial: Tensor, targets: Tensor, size: float
) -> Tensor:
    """Check adversarial inputs and return how often each fools the model, (n,) in [0, 1]; 0 or 1 for one draw.

    Shape, finiteness, bounds and constraint are checked on the values themselves, in float64; the outcome comes from
    a clean forward pass without gradients.

    Raises:
        AttackError: an input broke the rules; the result is an error, never a number.
    """
    name = f"{type(attack).__name__} at {attack.size_name} {size:g}"
    if adversarial.shape != clean.shape:
        raise AttackError(f"{name} returned shape {tuple(adversarial.shape)} for {tuple(clean.shape)}.")
    values = adversarial.detach()
    for chunk in problem.chunks(len(clean)):  # in float64 a whole set would take several times its memory
        _check(name, problem, attack, clean[chunk], values[chunk], size)
    return problem.outcome(values, targets)


def _check(name: str, problem: Problem, attack: Attack, clean: Tensor, values: Tensor, size: float) -> None:
    _refuse(name, ~torch.isfinite(values).flatten(1).all(dim=1), "NaN or infinite pixels")
    low, high = problem.bounds
    outside = torch.maximum(low - values, values - high).flatten(1).amax(dim=1)
    _refuse(name, outside > 0, f"pixels outside [{low:g}, {high:g}]", outside)
    over = attack.violation(clean, values, size)
    if attack.norm in NORMS:  # an attack is not the judge of its own size where we can measure it
        limit = torch.full((len(clean),), size, dtype=torch.float64, device=clean.device)
        over = torch.maximum(over, constraint(attack.norm, problem.bounds).excess(clean, values, limit))
    _refuse(name, ~(over <= 0), "perturbations over the limit", over)


def _refuse(name: str, bad: Tensor, what: str, amount: Tensor | None = None) -> None:
    if bad.any():
        excess = f" by up to {float(amount.max()):.3g}" if amount is not None else ""
        raise AttackError(
            f"{name} returned {what} for {int(bad.sum())} of {len(bad)} samples{excess}. The attack is at fault, not "
            "the model; nothing is reported."
        )

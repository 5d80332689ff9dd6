"""Workarounds for failed checks: other sources of a gradient for a model that hides its own.

A workaround changes how an attack searches, never how the result is evaluated: that is always done with the model
itself, without gradients. So a workaround that does not work only costs passes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from suite.attacks.diagnostics.gradient_probes import gradient_finite, gradient_informative, gradient_nonzero
from suite.attacks.diagnostics.straight_through import Forward, before_flattening, straight_through
from suite.attacks.engine.problem import Problem

GRADIENT = ("gradient_finite", "gradient_nonzero", "gradient_informative")
"""The checks of the gradient alone."""

AVERAGED = 8
"""Number of draws that the gradient of a randomized model is averaged over."""

GUIDES: Mapping[str, Callable[[Forward], Forward]] = {
    "straight-through gradient": straight_through,
    "gradient before the last softmax or argmax": before_flattening,
}
"""Stand-ins whose gradient is useful where the model's own is not, in the order in which they are tried."""


@dataclass(frozen=True)
class Workaround:
    """How an attack works around what a model hides.

    Attributes:
        problem: the problem to attack.
        handled: failed checks that no longer count, by name, each with the reason.
        no_gradient: true if there is no gradient to follow, so that only gradient-free attacks help.
    """

    problem: Problem
    handled: Mapping[str, str]
    no_gradient: bool = False


def find_workaround(problem: Problem, pixels: Tensor, targets: Tensor) -> Workaround:
    """Return the workaround for a model's failed checks.

    Args:
        problem: the problem with its probes.
        pixels: a few samples that the model classifies correctly; stand-ins are tried on them.
        targets: their classes.
    """
    failed = {name for name, item in problem.probes.items() if item.status == "fail"}
    handled: dict[str, str] = {}
    if "deterministic" in failed:
        problem = replace(problem, average=AVERAGED)
        handled["deterministic"] = (
            f"the model is randomized: success is the share of {problem.draws} fresh draws, gradients are the mean of "
            f"{AVERAGED}"
        )
    if not failed & {*GRADIENT, "grad_mode_free", "outputs_are_logits"}:
        return Workaround(problem, handled)
    for name, stand_in in GUIDES.items():
        guide = stand_in(problem.model)
        if _useful(guide, problem, pixels, targets):
            failed_here = failed & {*GRADIENT, "outputs_are_logits"}
            handled |= {flag: f"{problem.probes[flag].sentence}; handled by: {name}" for flag in failed_here}
            return Workaround(replace(problem, guide=guide), handled)
    return Workaround(problem, handled, no_gradient=bool(failed & {*GRADIENT, "grad_mode_free"}))


def _useful(guide: Forward, problem: Problem, pixels: Tensor, targets: Tensor) -> bool:
    """Return whether a stand-in has a finite, nonzero gradient along which its own margin or the model's increases."""

    def mixed(point: Tensor) -> Tensor:
        return guide(point) if point.requires_grad else problem.model(point)

    probes = [check(mixed, pixels, targets) for check in (gradient_finite, gradient_nonzero)]
    return all(item.status == "pass" for item in probes) and any(
        gradient_informative(forward, pixels, targets).status == "pass" for forward in (mixed, guide)
    )

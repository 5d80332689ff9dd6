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
        handled: failed checks that no longer count, by name, each with the reason.
        average: number of draws that a gradient is averaged over.
        guide: name of the stand-in in `GUIDES` whose gradient is followed; None for the model's own.
        no_gradient: true if there is no gradient to follow, so that only gradient-free attacks help.
    """

    handled: Mapping[str, str]
    average: int = 1
    guide: str | None = None
    no_gradient: bool = False

    def applied(self, problem: Problem) -> Problem:
        """Return the problem to attack."""
        guide = None if self.guide is None else GUIDES[self.guide](problem.model)
        return replace(problem, average=max(self.average, problem.average), guide=guide or problem.guide)


def find_workaround(problem: Problem, pixels: Tensor, targets: Tensor) -> Workaround:
    """Return the workaround for a model's failed checks.

    Args:
        problem: the problem with its probes.
        pixels: a few samples that the model classifies correctly; stand-ins are tried on them.
        targets: their classes.
    """
    failed, average = {name for name, item in problem.probes.items() if item.status == "fail"}, 1
    handled: dict[str, str] = {}
    if "deterministic" in failed:
        average = AVERAGED
        handled["deterministic"] = (
            f"the model is randomized: success is the share of {problem.draws} fresh draws, gradients are the mean of "
            f"{AVERAGED}"
        )
    if not failed & {*GRADIENT, "grad_mode_free", "outputs_are_logits"}:
        return Workaround(handled, average)
    for name, stand_in in GUIDES.items():
        if _useful(stand_in(problem.model), problem, pixels, targets):
            failed_here = failed & {*GRADIENT, "outputs_are_logits"}
            handled |= {flag: f"{problem.probes[flag].sentence}; handled by: {name}" for flag in sorted(failed_here)}
            return Workaround(handled, average, name)
    return Workaround(handled, average, no_gradient=bool(failed & {*GRADIENT, "grad_mode_free"}))


def _useful(guide: Forward, problem: Problem, pixels: Tensor, targets: Tensor) -> bool:
    """Return whether a stand-in has a finite, nonzero gradient along which its own margin or the model's increases."""

    def mixed(point: Tensor) -> Tensor:
        return guide(point) if point.requires_grad else problem.model(point)

    probes = [check(mixed, pixels, targets) for check in (gradient_finite, gradient_nonzero)]
    return all(item.status == "pass" for item in probes) and any(
        gradient_informative(forward, pixels, targets).status == "pass" for forward in (mixed, guide)
    )

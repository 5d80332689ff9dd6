"""What a flag triggers: another way to the gradient of a model that hides its own.

A remedy changes how an attack looks for points, never how they are judged: that is always the model itself, asked
cleanly. So a remedy that does not work costs passes and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from suite.attacks.diagnostics.gradient_probes import (
    Forward,
    gradient_finite,
    gradient_informative,
    gradient_nonzero,
)
from suite.attacks.diagnostics.straight_through import before_flattening, straight_through
from suite.attacks.engine.problem import Probe, Problem

GRADIENT = ("gradient_finite", "gradient_nonzero", "gradient_informative")
"""The questions about the gradient alone."""

AVERAGED = 8
"""Fresh draws that the gradient of a random model is averaged over."""

GUIDES: Mapping[str, Callable[[Forward], Forward]] = {
    "straight-through gradient": straight_through,
    "gradient before the last softmax or argmax": before_flattening,
}
"""Stand-ins whose gradient leads where the model's own does not, in the order they are tried."""


@dataclass(frozen=True)
class Remedy:
    """How an attack gets round what a model hides.

    Attributes:
        problem: the problem to attack.
        cures: flags that no longer count, by name, with the sentence that says why.
        no_gradient: there is no gradient to follow; only attacks that need none are of use.
    """

    problem: Problem
    cures: Mapping[str, str]
    no_gradient: bool = False


def find_remedy(problem: Problem, pixels: Tensor, targets: Tensor) -> Remedy:
    """Return the remedy for a model's flags.

    Args:
        problem: with its probes.
        pixels: a few samples that the model is right about; stand-ins are tried on them.
        targets: their classes.
    """
    failed = {name for name, item in problem.probes.items() if item.status == "fail"}
    cures: dict[str, str] = {}
    if "deterministic" in failed:
        problem = replace(problem, average=AVERAGED)
        cures["deterministic"] = (
            f"the model answers at random: success is the share of {problem.draws} fresh draws, gradients are the "
            f"mean of {AVERAGED}"
        )
    if not failed & {*GRADIENT, "grad_mode_free", "outputs_are_logits"}:
        return Remedy(problem, cures)
    for name, guided in GUIDES.items():
        guide = guided(problem.model)
        if _leads(guide, problem, pixels, targets):
            cured = failed & {*GRADIENT, "outputs_are_logits"}
            told = {flag: f"{problem.probes[flag].sentence}; cured by: {name}" for flag in cured}
            return Remedy(replace(problem, guide=guide), cures | told)
    return Remedy(problem, cures, no_gradient=bool(failed & {*GRADIENT, "grad_mode_free"}))


def _leads(guide: Forward, problem: Problem, pixels: Tensor, targets: Tensor) -> bool:
    """Return whether a stand-in has a gradient that is there, finite, and rises as the model without gradients does."""

    def answer(point: Tensor) -> Tensor:
        return guide(point) if point.requires_grad else problem.model(point)

    probes: list[Probe] = [ask(answer, pixels, targets) for ask in (gradient_finite, gradient_nonzero)]
    return all(item.status == "pass" for item in probes) and _informative(guide, answer, pixels, targets)


def _informative(guide: Forward, judged: Forward, pixels: Tensor, targets: Tensor) -> bool:
    own = gradient_informative(judged, pixels, targets)
    return own.status == "pass" or gradient_informative(guide, pixels, targets).status == "pass"

"""Count how often an ascent waits for the device; ``python -m tests.device.waiting`` prints the counts as JSON."""

import itertools

import torch
from torch import nn

from suite.attacks.constraints import constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.paths import Cosine
from suite.attacks.engine.problem import Problem
from suite.attacks.images.apgd import AutoSteps
from suite.attacks.rng import as_seeds
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from tests.device import device

COUNT = 16
EPS = {"linf": 0.02, "l2": 0.2, "l1": 1.0, "l0": 4.0}


def waits_of(steps: int, *, wrong: bool, norm: str, adaptive: bool) -> dict[str, int]:
    """Return the waits of an ascent by operator.

    Args:
        steps: gradient steps.
        wrong: whether attacks succeed, so that rows leave the batch.
        norm: of the perturbation.
        adaptive: adapt the step lengths as Auto-PGD does.
    """
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    model = TorchClassifier(module).to(torch.device(device.NAME))
    pixels = torch.rand(COUNT, 1, 8, 8, device=device.NAME)
    with model.frozen(), torch.no_grad():
        targets = model(pixels).argmax(dim=1)
    problem = Problem.of(Classification().kind(), model.raw, adapter=model)  # as the axis does
    seeds = as_seeds(range(COUNT), device.NAME)
    search = Search.of(pixels, targets, EPS[norm] if wrong else 1e-6, seeds)
    rows = torch.arange(COUNT, device=device.NAME)
    budget = Budget(steps, step_rule=AutoSteps.begin if adaptive else Cosine.begin)
    with model.frozen(), device.counted_waits() as waits:
        maximize(problem, search, constraint(norm), budget, rows=rows)
    assert bool(search.misclassified.any()) == wrong
    return waits.by_name


if __name__ == "__main__":
    device.load()
    cases = itertools.product((8, 40), (False, True), ("linf", "l2", "l1", "l0"), (False, True))
    device.finish([[*case, waits_of(case[0], wrong=case[1], norm=case[2], adaptive=case[3])] for case in cases])

"""Count how often an ascent waits for the pretend accelerator: ``python -m tests.attacks.waits`` prints JSON.

It is a process of its own, since the device must exist before the first backward pass.
"""

import json
from typing import Any

import torch

from suite.attacks.engine import ascent
from suite.attacks.engine.problem import Problem
from suite.attacks.images.apgd import AutoSteps
from suite.attacks.images.gradient import PGD
from suite.attacks.rng import as_seeds
from suite.kinds.classification.kind import Classification
from tests.attacks.digits import first, trained
from tests.device import device

COUNT, WIDTH, STEPS = 20, 16, 24

RULES: dict[str, dict[str, Any]] = {"cosine": {}, "auto": {"step_rule": AutoSteps.begin}}


def waits_of(budget: ascent.Budget) -> dict[str, int]:
    """Return the waits of one ascent by name, with the number of sweeps and of removals."""
    model, (pixels, targets) = trained().to(device.NAME), (part.to(device.NAME) for part in first(COUNT))
    model.width = WIDTH
    search = ascent.Search.of(pixels, targets, 0.05, as_seeds(range(COUNT), device.NAME))
    problem, rows = Problem.of(Classification().kind(), model.raw, adapter=model), torch.arange(COUNT).to(device.NAME)
    run = ascent._Ascent(problem, search, PGD().constraint, budget, rows, None, 1, 0)
    with model.frozen(), device.counted_waits() as waits:
        run.run()
    return {**waits.by_name, "sweeps": run.sweeps, "misclassified": int(search.misclassified.sum())}


def main() -> None:
    """Print the waits of ascents with and without early stopping."""
    device.load()
    cases = {f"{name} stop={stop}": (rule, stop) for name, rule in RULES.items() for stop in (True, False)}
    budgets = {name: ascent.Budget(STEPS, stop=stop, **rule) for name, (rule, stop) in cases.items()}
    print(json.dumps({name: waits_of(budget) for name, budget in budgets.items()}))


if __name__ == "__main__":
    main()

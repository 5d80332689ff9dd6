"""What is said beside the robust accuracy of an attack on texts: how often it succeeds, at what cost, by how much."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from suite.axes.robustness.sweep import AttackSweep
from suite.kinds.base import Array
from suite.metrics import stats
from suite.types import Measure

Params = Callable[[float], dict[str, Any]]
"""A size to what distinguishes its rows."""

Changes = Callable[[torch.Tensor, torch.Tensor], Mapping[str, Any]]
"""Texts before and after to what was done to each, (n,) by name."""


def remarks(assault: AttackSweep, params: Params) -> list[Measure]:
    """Return the success rate and the changes at every size, and the passes; nothing for attacks on images.

    Args:
        assault: the attack, already run.
        params: of a row of some size.
    """
    changes: Changes | None = getattr(assault.attack, "changes", None)
    if changes is None:
        return []
    whole = assault.context.kind.single_label
    attackable = np.flatnonzero(assault.clean > (0.5 if whole else 0))
    measures = [_queries(assault.spent, len(attackable), params(assault.attack.sizes[-1]))]
    if not whole:  # of answers that are better or worse, what is kept is the worst of all sizes
        return [*measures, *_changed(assault, changes, assault.attack.sizes[-1], params(assault.attack.sizes[-1]))]
    for size in assault.attack.sizes:
        measures.append(_success(assault, attackable, size, params(size)))
        measures += _changed(assault, changes, size, params(size))
    return measures


def _success(assault: AttackSweep, rows: Array, size: float, params: dict[str, Any]) -> Measure:
    """Return the share of right samples that turned wrong; undefined where no sample was right."""
    fields: dict[str, Any] = {"params": params, "higher_is_better": False}
    if not len(rows):
        reason = "the model is right about no sample, so that there is nothing to attack"
        return Measure("success_rate", None, None, None, 0, "none", reason=reason, **fields)
    control = float((assault.control["random"][size][rows] <= 0.5).mean())
    return stats.rate("success_rate", assault.right[size][rows] <= 0.5, control=control, **fields)


def _changed(assault: AttackSweep, changes: Changes, size: float, params: dict[str, Any]) -> list[Measure]:
    """Return the mean changes of the texts that fell up to a size; undefined where none did."""
    rows = np.flatnonzero(assault.found_at <= size)
    chosen = torch.from_numpy(rows).to(assault.context.device)
    found = changes(assault.context.pixels[chosen], assault.adversarial[chosen])
    fields: dict[str, Any] = {"params": params, "higher_is_better": None}
    if not len(rows):
        reason = "no text was found that the model is more wrong about"
        return [Measure(name, None, None, None, 0, "none", reason=reason, **fields) for name in found]
    seed = assault.context.seed
    return [stats.mean_measure(name, values, seed=seed, **fields) for name, values in found.items()]


def _queries(spent: int, attacked: int, params: dict[str, Any]) -> Measure:
    """Return the passes per sample that was attacked; they are counted for all together, so that none has its own."""
    fields: dict[str, Any] = {"unit": "passes", "params": params, "higher_is_better": None}
    if not attacked:
        reason = "the model is right about no sample, so that there is nothing to attack"
        return Measure("queries", None, None, None, 0, "none", reason=reason, **fields)
    return Measure("queries", spent / attacked, None, None, attacked, "count", **fields)

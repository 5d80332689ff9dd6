"""Measures of attacks on texts besides robust accuracy: success rate, queries, and size of the changes."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from suite.axes.robustness.sweep import NOTHING_TO_ATTACK, AttackSweep
from suite.kinds.base import Array
from suite.metrics import stats
from suite.types import Measure

Params = Callable[[float], dict[str, Any]]
"""Maps a size to the params of its rows."""

Changes = Callable[[torch.Tensor, torch.Tensor], Mapping[str, Any]]
"""Maps texts before and after to measures of the change, each (n,), by name."""


def text_measures(sweep: AttackSweep, params: Params) -> list[Measure]:
    """Return queries per sample, and success rate and changes by size; an empty list for attacks on images.

    Args:
        sweep: the finished sweep.
        params: returns the params of a row.
    """
    changes: Changes | None = getattr(sweep.attack, "changes", None)
    if changes is None:
        return []
    single_label, largest = sweep.context.kind.single_label, sweep.attack.sizes[-1]
    attackable = np.flatnonzero(sweep.clean > (0.5 if single_label else 0))
    measures = [_queries(sweep.spent, len(attackable), params(largest))]
    if not single_label:  # for graded outcomes only the worst text over all sizes is kept
        return [*measures, *_changed(sweep, changes, largest, params(largest))]
    for size in sweep.attack.sizes:
        measures.append(_success(sweep, attackable, size, params(size)))
        measures += _changed(sweep, changes, size, params(size))
    return measures


def _success(sweep: AttackSweep, rows: Array, size: float, params: dict[str, Any]) -> Measure:
    """Return the share of correctly predicted samples on which the attack succeeds; undefined if there are none."""
    fields: dict[str, Any] = {"params": params, "higher_is_better": False}
    if not len(rows):
        return Measure("success_rate", None, None, None, 0, "none", reason=NOTHING_TO_ATTACK, **fields)
    control = float((sweep.control["random"][size][rows] <= 0.5).mean())
    return stats.rate("success_rate", sweep.quality[size][rows] <= 0.5, control=control, **fields)


def _changed(sweep: AttackSweep, changes: Changes, size: float, params: dict[str, Any]) -> list[Measure]:
    """Return the mean changes of the texts that are misclassified up to a size; undefined if there are none."""
    rows = np.flatnonzero(sweep.found_at <= size)
    chosen = torch.from_numpy(rows).to(sweep.context.device)
    changed = changes(sweep.context.pixels[chosen], sweep.adversarial[chosen])
    fields: dict[str, Any] = {"params": params, "higher_is_better": None}
    if not len(rows):
        reason = "the attack found no adversarial text"
        return [Measure(name, None, None, None, 0, "none", reason=reason, **fields) for name in changed]
    seed = sweep.context.seed
    return [stats.mean_measure(name, values, seed=seed, **fields) for name, values in changed.items()]


def _queries(spent: int, attacked: int, params: dict[str, Any]) -> Measure:
    """Return the passes per attacked sample. Passes are counted for all samples together, so there is no interval."""
    fields: dict[str, Any] = {"unit": "passes", "params": params, "higher_is_better": None}
    if not attacked:
        return Measure("queries", None, None, None, 0, "none", reason=NOTHING_TO_ATTACK, **fields)
    return Measure("queries", spent / attacked, None, None, attacked, "count", **fields)

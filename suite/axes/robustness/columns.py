"""Per-sample columns of an attack at every size."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from suite.attacks.engine.base import Attack
from suite.axes.registered import measured_by, metrics_of
from suite.axes.robustness.inputs import digests
from suite.axes.robustness.stored import RANDOM
from suite.axes.robustness.sweep import AttackSweep
from suite.kinds.base import Array
from suite.metrics.table import Column, Part, collected


def outcome_columns(sweep: AttackSweep) -> list[Column]:
    """Return ids, outcomes without attack, at every size and under every control, and what was found of each sample.

    Outcomes are the column ``quality``: bool if predictions are right or wrong and the model is deterministic, else a
    share or grade in [0, 1]. Where they are graded, the column ``tally`` holds what samples contribute to the headline
    metric.
    """
    outcomes: list[tuple[dict[str, object], Array, Array]] = [({}, sweep.clean, sweep.clean_tally)]
    outcomes += [(condition(sweep.attack, size), sweep.quality[size], sweep.tally[size]) for size in sweep.attack.sizes]
    outcomes += [
        ({"control": name, **condition(sweep.attack, size)}, quality, sweep.control_tally[name][size])
        for name, by_size in sweep.control.items()
        for size, quality in by_size.items()
    ]
    exact = not sweep.graded and sweep.problem.draws == 1
    columns = [Column("id", sweep.context.ids)]
    for params, quality, tally in outcomes:
        columns.append(Column("quality", quality > 0.5 if exact else quality, params))
        if sweep.graded:
            columns.append(Column("tally", tally, params))
    return [
        *columns,
        Column("found_size", sweep.found_at),
        Column("found_by", sweep.found_by),
        Column("sha256", digests(sweep)),
    ]


def condition(attack: Attack, size: float) -> dict[str, object]:
    """Return the condition of the columns at a size."""
    return {"norm": attack.norm, attack.size_name: size}


def reached_columns(sweep: AttackSweep) -> Iterator[Column]:
    """Yield how often each sample is predicted as the target class, by size; NaN for samples of this class."""
    if sweep.attack.goal is None:
        return
    for size in sweep.attack.sizes:
        yield Column("reached", sweep.reached(size), condition(sweep.attack, size))
        yield Column("reached", sweep.reached(size, control=True), {"control": RANDOM, **condition(sweep.attack, size)})


def shift_columns(sweep: AttackSweep) -> Part:
    """Return what the metrics of the kind measure of outputs, at the largest size and under the random control."""
    metrics = [entry for entry in metrics_of(sweep.context.kind, "robustness") if entry.meta["measure"] is not None]
    if not metrics:
        return Part()
    before, largest = sweep.context.outcomes, condition(sweep.attack, sweep.attack.sizes[-1])
    attacked = collected(measured_by(metrics, before, sweep.outcomes()), **largest)
    control = collected(measured_by(metrics, before, sweep.outcomes(control=True)), control=RANDOM, **largest)
    return replace(attacked, columns=[*attacked.columns, *control.columns])


def text_columns(sweep: AttackSweep) -> Iterator[Column]:
    """Yield how the misclassified texts were changed, by size; NaN for the others.

    For graded outcomes only the worst text over all sizes is kept, so that only the largest size has a column.
    """
    sizes = sweep.attack.sizes[-1:] if sweep.graded else sweep.attack.sizes
    for size in sizes:
        rows = np.flatnonzero(sweep.found_at <= size)
        chosen = torch.from_numpy(rows).to(sweep.context.device)
        changes = sweep.attack.changes(sweep.context.pixels[chosen], sweep.adversarial[chosen]) or {}
        for name, values in changes.items():
            yield Column(name, _spread(values, rows, len(sweep.clean)), condition(sweep.attack, size))


def _spread(values: Array, rows: Array, count: int) -> Array:
    """Return values of some rows as a column, NaN elsewhere."""
    column = np.full(count, np.nan)
    column[rows] = values
    return column

"""Tables of what metrics measure, and summaries of parts of them compared with direct evaluations of these parts."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from suite.kinds.base import Outcomes, Prediction, required
from suite.metrics.table import Column, Measurement, Table, collected
from suite.types import Measure


def table_of(outcomes: Outcomes, *measurements: Measurement) -> Table:
    """Return the table of what a kind and further measurements store of some outcomes."""
    parts = [outcomes.kind.scoring.measured(outcomes), *(measure(outcomes) for measure in measurements)]
    whole = collected(parts)
    ids = Column("id", np.array(outcomes.ids, object))
    return Table((ids, *whole.columns), whole.all_facts, seed=outcomes.seed)


def method_table(prediction: Prediction, measure: Measurement, seed: int = 0) -> Table:
    """Return the table of one uncertainty method, as the axis calibration narrows it."""
    params = {"uncertainty": prediction.method}
    whole = collected([measure(prediction)], **params)
    return Table(tuple(whole.columns), {**whole.all_facts, "bins": prediction.bins}, seed=seed).at(**params)


def prediction_of(kind: Any, output: Any, targets: Any, **fields: Any) -> Prediction:
    """Return the prediction of a model's own output."""
    predicted = required(kind.probabilities).probabilities(output)
    return Prediction("softmax", predicted, output, targets, kind=kind, **fields)


def part(outcomes: Outcomes, rows: Sequence[int]) -> Outcomes:
    """Return the outcomes of some samples."""
    ids, chosen = tuple(outcomes.ids[row] for row in rows), list(rows)
    read = None if outcomes.read is None else lambda: outcomes.inputs[chosen]
    return replace(outcomes, ids=ids, output=outcomes.output[chosen], targets=outcomes.targets[chosen], read=read)


def assert_same(summary: Sequence[Measure], direct: Sequence[Measure]) -> None:
    """Assert that measures agree; numbers may differ in their last bits, since models may run on other batches."""
    numbers = ("value", "lo", "hi", "control")
    assert len(summary) == len(direct)
    for one, other in zip(map(asdict, summary), map(asdict, direct), strict=True):
        first, second = (np.array([row.pop(name) for name in numbers], np.float64) for row in (one, other))
        np.testing.assert_allclose(first, second, rtol=1e-6)
        assert one == other

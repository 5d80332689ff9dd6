"""Faithfulness of feature attributions and control orders, per sample."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from suite.attributions.features.curves import ORDERS, emptied, random_values, ranked, recent_values, score_drops
from suite.attributions.features.methods import FeatureMethod, Features
from suite.attributions.maps.explained import require_finite
from suite.attributions.maps.faithfulness import CONTROL
from suite.errors import ModelError, NotApplicableError
from suite.metrics.catalogue import BoardColumn, Metric

RECENCY = "recency"
"""Name of the order that deletes the last features first."""

CONTROLS = (CONTROL, RECENCY)
"""Orders that are always measured for comparison."""

COMPREHENSIVENESS = Metric(
    "comprehensiveness",
    "comprehensiveness",
    "drop of the score without the features of the highest attribution, averaged over fractions of the features",
    unit="probability",
    bounds=(-1.0, 1.0),
    control="random",
    columns=(BoardColumn("comprehensiveness over random", best_of="method", controls=CONTROLS),),
)
SUFFICIENCY = Metric(
    "sufficiency",
    "sufficiency",
    "drop of the score with the features of the highest attribution alone, averaged over fractions of the features",
    unit="probability",
    bounds=(-1.0, 1.0),
    higher_is_better=False,
    control="random",
)
DROPS = (COMPREHENSIVENESS, SUFFICIENCY)
"""The metrics of score drops; each is a field of `ScoreDrops`."""

GAPS = {
    drop.name: Metric(
        f"{drop.name}_gap",
        f"{drop.name} gap",
        f"improvement of {drop.name} over the random control, relative to the drop when every feature is deleted",
        unit="ratio",
    )
    for drop in DROPS
}
"""The improvement over the random control, by the name of the metric."""

CONVERGENCE = Metric(
    "convergence_delta",
    "convergence error",
    "relative error of the sum of the attributions against the difference that they explain",
    higher_is_better=False,
    bounds=(0.0, None),
)

Watch = Callable[[list[str]], Iterable[str]]
"""Wraps the iteration over names, for example in a progress bar."""


class ScoreDrops(NamedTuple):
    """Drops of the score of each sample under an order of its features, averaged over random orders.

    Attributes:
        comprehensiveness, sufficiency: drop of the score without the first features, and with these alone,
            (n, fractions).
    """

    comprehensiveness: NDArray[np.float64]
    sufficiency: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rationales:
    """Results of `evaluate` as numpy arrays.

    Attributes:
        drops: score drops by method, including the controls.
        attributions: attributions (n, features) by method, without the controls.
        completeness_error, steps: of methods with completeness, see `FeatureAttribution`, by method, (n,).
        emptied: drop of the score when every feature is deleted, (n,).
        skipped: why a method was not applicable, by method.
    """

    emptied: NDArray[np.float64]
    drops: dict[str, ScoreDrops] = field(default_factory=dict)
    attributions: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    completeness_error: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    steps: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def values(self, method: str, metric: str) -> NDArray[np.float64]:
        """Return a metric of a method by sample, the mean over the fractions, (n,)."""
        return np.asarray(getattr(self.drops[method], metric).mean(axis=1))


def evaluate(
    features: Features, methods: Mapping[str, FeatureMethod], *, fractions: Sequence[float], watch: Watch = iter
) -> Rationales:
    """Measure methods, and the controls, on the same samples and fractions of their features.

    Args:
        features: the samples, each with at least two features.
        methods: methods by reported name; `CONTROLS` are added.
        fractions: fractions of the present features that are deleted.
        watch: wraps the iteration over all names, with the controls last.

    Returns:
        Values per sample; independent of the batch size and of which other methods are measured.

    Raises:
        ModelError: a target, a score or an attribution is not finite, or of the wrong shape.
    """
    result = Rationales(emptied=_numpy(emptied(features)))
    orders: dict[str, list[Tensor]] = {}
    for name in watch([*methods, *CONTROLS]):
        try:
            orders[name] = _orders(result, features, name, methods.get(name))
        except NotApplicableError as error:
            result.skipped[name] = str(error)
    _add_drops(result, features, orders, fractions)
    return result


def _orders(result: Rationales, features: Features, name: str, method: FeatureMethod | None) -> list[Tensor]:
    """Return the ranks of the features by a method, or those of each draw of a control, each (n, features)."""
    rankings = _control_values(features, name) if method is None else [_attributed(result, features, name, method)]
    return [ranked(values, features.present, features.seeds) for values in rankings]


def _add_drops(
    result: Rationales, features: Features, orders: Mapping[str, list[Tensor]], fractions: Sequence[float]
) -> None:
    """Add the mean drops of each name's orders to the result; the inputs of all orders share full batches."""
    every = torch.stack([order for listed in orders.values() for order in listed])
    drops = iter(_numpy(score_drops(features, every, fractions)))
    for name, listed in orders.items():
        result.drops[name] = ScoreDrops(*np.mean([next(drops) for _ in listed], axis=0))


def _control_values(features: Features, name: str) -> Iterator[Tensor]:
    """Yield the values by which a control ranks the features; one array per draw for the random control."""
    if name == RECENCY:
        yield recent_values(features)
    else:
        yield from (random_values(features, draw) for draw in range(ORDERS))


def _attributed(result: Rationales, features: Features, name: str, method: FeatureMethod) -> Tensor:
    """Return the attributions of a method, after adding them to the result.

    Raises:
        ModelError: they are of the wrong shape or not finite.
    """
    attribution = method(features)
    if attribution.values.shape != features.present.shape:
        raise ModelError(
            f"{name}: returned attributions of shape {tuple(attribution.values.shape)}; expected one per feature, "
            f"{tuple(features.present.shape)}."
        )
    require_finite(attribution.values, f"the attributions of {name}")
    result.attributions[name] = _numpy(attribution.values)
    if attribution.completeness_error is not None and attribution.steps is not None:
        result.completeness_error[name] = _numpy(attribution.completeness_error)
        result.steps[name] = attribution.steps.cpu().numpy()
    return attribution.values


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu().numpy(), np.float64)

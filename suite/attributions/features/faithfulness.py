"""Faithfulness of feature attributions and control orders, per sample and as measures."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from suite.attributions.features.curves import ORDERS, emptied, random_values, ranked, recent_values, score_drops
from suite.attributions.features.methods import METHODS, STEPS, TOLERANCE, Features
from suite.attributions.maps.faithfulness import CONTROL
from suite.attributions.maps.measures import CHECK_LEVEL, FEWEST
from suite.errors import NotApplicableError
from suite.kinds.base import Array
from suite.metrics.stats import drawn, mean_measure, paired_bootstrap_difference, resampled
from suite.types import Check, Measure

RECENCY = "recency"
"""Name of the order that deletes the last features first."""

CONTROLS = (CONTROL, RECENCY)
"""Orders that are always measured for comparison."""

BETTER: Mapping[str, bool] = {"comprehensiveness": True, "sufficiency": False}
"""Metrics, and whether higher is better."""

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
    features: Features, methods: Sequence[str], *, fractions: Sequence[float], watch: Watch = iter
) -> Rationales:
    """Measure methods by name, and the controls, on the same samples and fractions of their features.

    Args:
        features: the samples, each with at least two features.
        methods: names in `METHODS`.
        fractions: fractions of the present features that are deleted.
        watch: wraps the iteration over all names, with the controls last.

    Returns:
        Values per sample; independent of the batch size and of which other methods are measured.

    Raises:
        ModelError: a target, a score or an attribution is not finite, or of the wrong shape.
    """
    result = Rationales(emptied=_numpy(emptied(features)))
    for name in watch([*methods, *CONTROLS]):
        try:
            _add(result, features, name, tuple(fractions))
        except NotApplicableError as error:
            result.skipped[name] = str(error)
    return result


def _add(result: Rationales, features: Features, name: str, fractions: tuple[float, ...]) -> None:
    """Add the score drops of a method or control to the result."""
    ranks = (ranked(values, features.present, features.seeds) for values in _values(result, features, name))
    drops = [_numpy(score_drops(features, order, fractions)) for order in ranks]
    result.drops[name] = ScoreDrops(*(np.mean([drop[part] for drop in drops], axis=0) for part in (0, 1)))


def _values(result: Rationales, features: Features, name: str) -> Iterator[Tensor]:
    """Yield the values that rank the features: one array, or one per draw for the random control."""
    if name == CONTROL:
        yield from (random_values(features, draw) for draw in range(ORDERS))
    elif name == RECENCY:
        yield recent_values(features)
    else:
        attribution = METHODS[name](features)
        result.attributions[name] = _numpy(attribution.values)
        if attribution.completeness_error is not None and attribution.steps is not None:
            result.completeness_error[name], result.steps[name] = (
                _numpy(attribution.completeness_error),
                attribution.steps.cpu().numpy(),
            )
        yield attribution.values


def rationale_measures(
    result: Rationales, *, seed: int, ends_matter: bool = False, params: Mapping[str, Any] | None = None
) -> list[Measure]:
    """Return comprehensiveness, sufficiency and their gaps of every method, and the convergence error.

    The check ``beats_random`` passes when the paired bootstrap interval of (method - control), at `CHECK_LEVEL`,
    excludes 0 on the better side; ``beats_recency`` is the same against the order that deletes the last features
    first. They are n/a for the controls and for fewer than `FEWEST` samples. A gap is the improvement over the random
    control, relative to the drop of the score when every feature is deleted; it is comparable between models.

    Args:
        result: from `evaluate`.
        seed: of the bootstrap, the same for all measures.
        ends_matter: whether methods also have to beat recency.
        params: added to those of every measure.
    """
    measures = []
    for method in result.drops:
        about = {"method": method, **(params or {})}
        for metric in BETTER:
            measures.append(_measure(result, (method, metric), seed, ends_matter, about))
            if method not in CONTROLS:
                measures.append(_gap(result, (method, metric), seed, about))
        if method in result.completeness_error:
            measures.append(_convergence(result, method, seed, about))
    return measures


def _measure(result: Rationales, key: tuple[str, str], seed: int, ends_matter: bool, about: dict[str, Any]) -> Measure:
    method, metric = key
    rivals = [CONTROL, RECENCY] if ends_matter else [CONTROL]
    checks = {f"beats_{rival}": _beats(result, key, rival, seed) for rival in rivals}
    failed = [f"does not beat the {_RIVAL_NAMES[rival]}" for rival in rivals if checks[f"beats_{rival}"] == "fail"]
    return mean_measure(
        metric,
        result.values(method, metric),
        seed=seed,
        checks=checks,
        control=float(result.values(CONTROL, metric).mean()),
        reason="; ".join(failed) or None,
        params=about,
        higher_is_better=BETTER[metric],
        unit="probability",
    )


_RIVAL_NAMES = {CONTROL: "random control", RECENCY: "order that deletes the last features first"}


def _beats(result: Rationales, key: tuple[str, str], rival: str, seed: int) -> Check:
    method, metric = key
    values = result.values(method, metric)
    if method in CONTROLS or len(values) < FEWEST:
        return "n/a"
    _, lo, hi = paired_bootstrap_difference(values, result.values(rival, metric), seed=seed, level=CHECK_LEVEL)
    return "pass" if (lo > 0 if BETTER[metric] else hi < 0) else "fail"


def _gap(result: Rationales, key: tuple[str, str], seed: int, about: dict[str, Any]) -> Measure:
    """Return the improvement over the random control, relative to the drop without any feature."""
    method, metric = key
    advantage = result.values(method, metric) - result.values(CONTROL, metric)
    advantage = advantage if BETTER[metric] else -advantage

    def share(counts: Array | None) -> Array:
        weights = drawn(counts, len(advantage))
        total = weights @ result.emptied
        return np.asarray(np.divide(weights @ advantage, total, out=np.full(len(total), np.nan), where=total > 1e-9))

    why = "deleting every feature does not lower the score on average, so that the gap has no scale"
    return resampled(f"{metric}_gap", share, len(advantage), seed=seed, why=why, params=about, unit="ratio")


def _convergence(result: Rationales, method: str, seed: int, about: dict[str, Any]) -> Measure:
    completeness_error, steps = result.completeness_error[method], result.steps[method]
    off = int((completeness_error > TOLERANCE).sum())
    check: Check = "fail" if off else "pass"
    return mean_measure(
        "convergence_delta",
        completeness_error,
        seed=seed,
        checks={"adds_up": check},
        reason=f"{off} samples have a relative error above {TOLERANCE:.0%} at {STEPS[-1]} steps" if off else None,
        params={**about, "steps": int(steps.max())},
        higher_is_better=False,
    )


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu().numpy(), np.float64)

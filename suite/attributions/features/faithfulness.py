"""Faithfulness of attributions of features, per sample, next to a random control, and as measures."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from suite.attributions.features.curves import ORDERS, Falls, emptied, falls, random_values, ranked, recent_values
from suite.attributions.features.methods import METHODS, STEPS, TOLERANCE, Features, Shares
from suite.attributions.maps.faithfulness import CONTROL
from suite.attributions.maps.measures import CHECK_LEVEL, FEWEST
from suite.errors import NotApplicableError
from suite.kinds.base import Array
from suite.metrics.stats import drawn, mean_measure, paired_bootstrap_difference, resampled
from suite.types import Check, Measure

RECENCY = "recency"
"""Name of the order that deletes the last features first."""

CONTROLS = (CONTROL, RECENCY)
"""What is always measured, and explains nothing."""

BETTER: Mapping[str, bool] = {"comprehensiveness": True, "sufficiency": False}
"""Metrics, and whether higher is better."""

Watch = Callable[[list[str]], Iterable[str]]
"""Hands on names one by one, each when the one before is measured: a place for a progress bar."""


class Followed(NamedTuple):
    """What an order of features does to the score of each sample, averaged over its draws.

    Attributes:
        comprehensiveness, sufficiency: how far the score falls without the first features, and with nothing but them,
            (n, fractions).
    """

    comprehensiveness: NDArray[np.float64]
    sufficiency: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rationales:
    """What `evaluate` found, as plain numpy.

    Attributes:
        followed: by method, the controls among them.
        shares: attributions (n, features) by method, without the controls.
        missed, steps: of methods whose attributions have to add up, see `Shares`, by method, (n,).
        emptied: how far the score falls when every feature is deleted, (n,).
        skipped: why a method was not applicable, by method.
    """

    followed: Mapping[str, Followed]
    shares: Mapping[str, NDArray[np.float64]]
    missed: Mapping[str, NDArray[np.float64]]
    steps: Mapping[str, NDArray[np.int64]]
    emptied: NDArray[np.float64]
    skipped: Mapping[str, str]

    def values(self, method: str, metric: str) -> NDArray[np.float64]:
        """Return a metric of a method by sample, the mean over the fractions, (n,)."""
        return np.asarray(getattr(self.followed[method], metric).mean(axis=1))


def evaluate(
    features: Features, methods: Sequence[str], *, fractions: Sequence[float], watch: Watch = iter
) -> Rationales:
    """Measure methods by name, and the controls, on the same samples and shares of their features.

    Args:
        features: the samples, each with two features or more.
        methods: names in `METHODS`.
        fractions: shares of the present features whose deletion is followed.
        watch: is given all names, the controls at the end, and hands them on; for progress.

    Returns:
        Values per sample; independent of the batch size and of which other methods are measured.

    Raises:
        ModelError: a target, a score or an attribution is not finite, or of the wrong shape.
    """
    bench = _Bench(features, tuple(fractions))
    for name in watch([*methods, *CONTROLS]):
        try:
            bench.add(name)
        except NotApplicableError as error:
            bench.skipped[name] = str(error)
    return Rationales(bench.followed, bench.shares, bench.missed, bench.steps, _numpy(emptied(features)), bench.skipped)


@dataclass(eq=False)
class _Bench:
    """The results so far; lives for one call of `evaluate`."""

    features: Features
    fractions: tuple[float, ...]
    followed: dict[str, Followed] = field(default_factory=dict)
    shares: dict[str, Array] = field(default_factory=dict)
    missed: dict[str, Array] = field(default_factory=dict)
    steps: dict[str, Array] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> None:
        found = [self._follow(values) for values in self._values(name)]
        self.followed[name] = Followed(
            *(np.mean([_numpy(getattr(one, part)) for one in found], axis=0) for part in ("without", "alone"))
        )

    def _values(self, name: str) -> Iterator[Tensor]:
        """Yield what ranks the features: once, and of the random control once per draw."""
        if name == CONTROL:
            yield from (random_values(self.features, draw) for draw in range(ORDERS))
        elif name == RECENCY:
            yield recent_values(self.features)
        else:
            shares = METHODS[name](self.features)
            self._remember(name, shares)
            yield shares.values

    def _remember(self, name: str, shares: Shares) -> None:
        self.shares[name] = _numpy(shares.values)
        if shares.missed is not None and shares.steps is not None:
            self.missed[name], self.steps[name] = _numpy(shares.missed), shares.steps.cpu().numpy()

    def _follow(self, values: Tensor) -> Falls:
        ranks = ranked(values, self.features.present, self.features.seeds)
        return falls(self.features, ranks, self.fractions)


def rationale_measures(
    found: Rationales, *, seed: int, ends_matter: bool = False, params: Mapping[str, Any] | None = None
) -> list[Measure]:
    """Return comprehensiveness, sufficiency and their gaps of every method, and how well attributions add up.

    The check ``beats_random`` passes when the paired bootstrap interval of (method - control), at `CHECK_LEVEL`,
    excludes 0 on the better side; ``beats_recency`` is the same against the order that deletes the last features
    first. They are n/a for the controls and for fewer than `FEWEST` samples. A gap is how much better than chance a
    method is, as a share of how far the score falls when every feature is deleted; models can be compared by it.

    Args:
        found: from `evaluate`.
        seed: of the bootstrap; the same for all measures, so that they are resampled alike.
        ends_matter: whether methods have to beat recency.
        params: added to those of every measure.
    """
    measures = []
    for method in found.followed:
        about = {"method": method, **(params or {})}
        for metric in BETTER:
            measures.append(_measure(found, (method, metric), seed, ends_matter, about))
            if method not in CONTROLS:
                measures.append(_gap(found, (method, metric), seed, about))
        if method in found.missed:
            measures.append(_convergence(found, method, seed, about))
    return measures


def _measure(found: Rationales, key: tuple[str, str], seed: int, ends_matter: bool, about: dict[str, Any]) -> Measure:
    method, metric = key
    rivals = [CONTROL, RECENCY] if ends_matter else [CONTROL]
    checks = {f"beats_{rival}": _beats(found, key, rival, seed) for rival in rivals}
    failed = [f"does not beat the {_SPOKEN[rival]}" for rival in rivals if checks[f"beats_{rival}"] == "fail"]
    return mean_measure(
        metric,
        found.values(method, metric),
        seed=seed,
        checks=checks,
        control=float(found.values(CONTROL, metric).mean()),
        reason="; ".join(failed) or None,
        params=about,
        higher_is_better=BETTER[metric],
        unit="probability",
    )


_SPOKEN = {CONTROL: "random control", RECENCY: "order that deletes the last features first"}


def _beats(found: Rationales, key: tuple[str, str], rival: str, seed: int) -> Check:
    method, metric = key
    values = found.values(method, metric)
    if method in CONTROLS or len(values) < FEWEST:
        return "n/a"
    _, lo, hi = paired_bootstrap_difference(values, found.values(rival, metric), seed=seed, level=CHECK_LEVEL)
    return "pass" if (lo > 0 if BETTER[metric] else hi < 0) else "fail"


def _gap(found: Rationales, key: tuple[str, str], seed: int, about: dict[str, Any]) -> Measure:
    """Return how much better than chance a method is, as a share of what all features together are worth."""
    method, metric = key
    ahead = found.values(method, metric) - found.values(CONTROL, metric)
    ahead = ahead if BETTER[metric] else -ahead

    def share(counts: Array | None) -> Array:
        weights = drawn(counts, len(ahead))
        worth = weights @ found.emptied
        return np.asarray(np.divide(weights @ ahead, worth, out=np.full(len(worth), np.nan), where=worth > 1e-9))

    why = "deleting every feature does not lower the score on average, so that there is no whole to share out"
    return resampled(f"{metric}_gap", share, len(ahead), seed=seed, why=why, params=about, unit="ratio")


def _convergence(found: Rationales, method: str, seed: int, about: dict[str, Any]) -> Measure:
    missed, steps = found.missed[method], found.steps[method]
    off = int((missed > TOLERANCE).sum())
    check: Check = "fail" if off else "pass"
    return mean_measure(
        "convergence_delta",
        missed,
        seed=seed,
        checks={"adds_up": check},
        reason=f"of {off} samples more than {TOLERANCE:.0%} is missed at {STEPS[-1]} steps" if off else None,
        params={**about, "steps": int(steps.max())},
        higher_is_better=False,
    )


def _numpy(values: Tensor) -> NDArray[np.float64]:
    return np.asarray(values.detach().cpu().numpy(), np.float64)

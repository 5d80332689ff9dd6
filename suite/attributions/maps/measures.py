"""Faithfulness per sample, turned into measures: a mean, its interval, and whether chance did worse."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.attributions.maps.faithfulness import CONTROL, Faithfulness, Key
from suite.metrics.stats import mean_measure, paired_bootstrap_difference
from suite.types import Check, Measure, not_applicable

FEWEST = 6
"""Samples that a comparison with the control needs: with five, all of them better is no rarer than 1 in 32."""

CHECK_LEVEL = 0.99
"""Level of the interval that decides `beats_random`; stricter than the reported one, for a report makes dozens of these
comparisons and at 0.95 chance would pass one in forty of them."""


GLOBAL = (
    "infidelity asks what a small change of a pixel does to the output; "
    "this method says instead how much of the output a pixel makes up in all"
)
"""Why a method that is not `Method.local` has no infidelity."""

NO_CONTEXT = "the explained region touches every cell of every image, so that there is no context to delete"
"""Why context deletion is undefined where it is for all samples."""


@dataclass(frozen=True)
class _Trait:
    """What a metric's numbers mean; `missing` says why a sample may have none (NaN), where it may."""

    higher_is_better: bool
    unit: str
    comparable: bool = True
    missing: str | None = None


_TRAITS: Mapping[str, _Trait] = {
    "deletion_auc": _Trait(higher_is_better=False, unit="fraction"),
    "insertion_auc": _Trait(higher_is_better=True, unit="fraction"),
    # The control has an arbitrary scale, so that raw infidelity compares scales; the scaled one is the comparison.
    "infidelity": _Trait(higher_is_better=False, unit="squared scalar", comparable=False),
    "infidelity_scaled": _Trait(higher_is_better=False, unit="squared scalar"),
    # Plausibility, not faithfulness: beating chance here shows where a map lies, and not that the model uses the place.
    "pointing_game": _Trait(higher_is_better=True, unit="fraction"),
    "energy_inside": _Trait(higher_is_better=True, unit="fraction"),
    # Lower: the context that the map points at mattered. A model that uses none lets no map beat chance.
    "context_deletion_auc": _Trait(higher_is_better=False, unit="fraction", missing=NO_CONTEXT),
}


def faithfulness_measures(faithfulness: Faithfulness, *, seed: int, replicates: int = 1000) -> list[Measure]:
    """Return one measure per method, metric and baseline, in the order they were measured.

    `Measure.control` is the random control's mean. The check ``beats_random`` passes when the paired bootstrap
    interval of (method - control), at `CHECK_LEVEL`, excludes 0 on the better side. It is n/a for the control itself,
    for raw infidelity (the control has no scale) and for fewer than `FEWEST` samples. Methods that were skipped have
    no measure. A method that has no infidelity, because it is not local, has a measure that says so, at the end.

    Where a region is explained, ``pointing_game`` and ``energy_inside`` say how plausible a map is (it lies in the
    region), not how faithful; their ``beats_random`` says no more than that. ``context_deletion_auc`` rests on the `n`
    samples that have a context; of a model that uses none, every method's check fails, and none is to blame.

    Args:
        faithfulness: values per sample, from `evaluate`.
        seed: of the bootstrap; the same for all measures, so that they are resampled alike.
        replicates: resamples.
    """
    measured = [_measure(faithfulness, key, seed, replicates) for key in faithfulness.values]
    return [*measured, *_without_infidelity(faithfulness)]


def _without_infidelity(faithfulness: Faithfulness) -> list[Measure]:
    names = dict.fromkeys(method for method, _, _ in faithfulness.values)
    return [
        not_applicable("infidelity", GLOBAL, method=name, baseline="noise")
        for name in names
        if (name, "infidelity", "noise") not in faithfulness.values
    ]


def _measure(faithfulness: Faithfulness, key: Key, seed: int, replicates: int) -> Measure:
    method, metric, baseline = key
    trait = _TRAITS[metric]
    about: dict[str, Any] = {
        "params": {"method": method, "baseline": baseline},
        "unit": trait.unit,
        "higher_is_better": trait.higher_is_better,
    }
    values, control = (_defined(faithfulness, (name, metric, baseline)) for name in (method, CONTROL))
    if not len(values):
        return Measure(metric, None, None, None, 0, "none", reason=trait.missing, **about)
    comparable = trait.comparable and method != CONTROL and len(values) >= FEWEST
    check: Check = _beats(values, control, trait.higher_is_better, seed, replicates) if comparable else "n/a"
    return mean_measure(
        metric,
        values,
        seed=seed,
        replicates=replicates,
        checks={"beats_random": check},
        control=float(np.mean(control)),
        reason="does not beat the random control" if check == "fail" else None,
        **about,
    )


def _defined(faithfulness: Faithfulness, key: Key) -> NDArray[np.float64]:
    """Return the values of the samples that have one: the same samples for all methods, so that they stay paired."""
    values = faithfulness.values[key]
    return values[~np.isnan(values)] if _TRAITS[key[1]].missing else values


def _beats(
    values: NDArray[np.float64], control: NDArray[np.float64], higher_is_better: bool, seed: int, replicates: int
) -> Check:
    _, lo, hi = paired_bootstrap_difference(values, control, seed=seed, replicates=replicates, level=CHECK_LEVEL)
    return "pass" if (lo > 0 if higher_is_better else hi < 0) else "fail"

"""Faithfulness per sample, turned into measures: a mean, its interval, and whether chance did worse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from suite.stats import mean_measure, paired_bootstrap_difference
from suite.types import Check, Measure, not_applicable

if TYPE_CHECKING:
    from suite.attribution.faithfulness import Faithfulness, Key

CONTROL = "random"
"""Name of the random control, which is always measured and not to be given to another method."""

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


@dataclass(frozen=True)
class _Trait:
    """What a metric's numbers mean."""

    higher_is_better: bool
    unit: str
    comparable: bool = True


_TRAITS: Mapping[str, _Trait] = {
    "deletion_auc": _Trait(higher_is_better=False, unit="fraction"),
    "insertion_auc": _Trait(higher_is_better=True, unit="fraction"),
    # The control has an arbitrary scale, so that raw infidelity compares scales; the scaled one is the comparison.
    "infidelity": _Trait(higher_is_better=False, unit="squared scalar", comparable=False),
    "infidelity_scaled": _Trait(higher_is_better=False, unit="squared scalar"),
}


def faithfulness_measures(faithfulness: Faithfulness, *, seed: int, replicates: int = 1000) -> list[Measure]:
    """Return one measure per method, metric and baseline, in the order they were measured.

    `Measure.control` is the random control's mean. The check ``beats_random`` passes when the paired bootstrap
    interval of (method - control), at `CHECK_LEVEL`, excludes 0 on the better side. It is n/a for the control itself,
    for raw infidelity (the control has no scale) and for fewer than `FEWEST` samples. Methods that were skipped have
    no measure. A method that has no infidelity, because it is not local, has a measure that says so, at the end.

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
    values, control = faithfulness.values[key], faithfulness.values[CONTROL, metric, baseline]
    trait = _TRAITS[metric]
    comparable = trait.comparable and method != CONTROL and len(values) >= FEWEST
    check: Check = _beats(values, control, trait.higher_is_better, seed, replicates) if comparable else "n/a"
    return mean_measure(
        metric,
        values,
        seed=seed,
        replicates=replicates,
        unit=trait.unit,
        higher_is_better=trait.higher_is_better,
        params={"method": method, "baseline": baseline},
        checks={"beats_random": check},
        control=float(np.mean(control)),
        reason="does not beat the random control" if check == "fail" else None,
    )


def _beats(
    values: NDArray[np.float64], control: NDArray[np.float64], higher_is_better: bool, seed: int, replicates: int
) -> Check:
    _, lo, hi = paired_bootstrap_difference(values, control, seed=seed, replicates=replicates, level=CHECK_LEVEL)
    return "pass" if (lo > 0 if higher_is_better else hi < 0) else "fail"

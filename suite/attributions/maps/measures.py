"""Faithfulness measures: means with intervals, and a comparison with the random control."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.attributions.maps.faithfulness import CONTROL, Faithfulness, Key
from suite.metrics.stats import mean_measure, paired_bootstrap_difference
from suite.types import Check, Measure, not_applicable

FEWEST = 6
"""Fewest samples for a comparison with the control: with five, all are better by chance in 1 of 32 cases."""

CHECK_LEVEL = 0.99
"""Level of the interval of `beats_random`. It is stricter than the reported 0.95, at which one in forty of the dozens
of comparisons in a report would pass by chance."""


GLOBAL = (
    "infidelity measures the effect of a small change of a pixel; "
    "this method attributes its total contribution to the output"
)
"""Reason why a method that is not `Method.local` has no infidelity."""

NO_CONTEXT = "the explained region overlaps every cell of every image, so that there is no context to delete"
"""Reason why context deletion is undefined for all samples."""


@dataclass(frozen=True)
class _Properties:
    """Properties of a metric; `missing` is the reason why samples may have no value (NaN), if they may."""

    higher_is_better: bool
    unit: str
    comparable: bool = True
    missing: str | None = None


_METRICS: Mapping[str, _Properties] = {
    "deletion_auc": _Properties(higher_is_better=False, unit="fraction"),
    "insertion_auc": _Properties(higher_is_better=True, unit="fraction"),
    # The control has an arbitrary scale, so that only the scaled infidelity can be compared with it.
    "infidelity": _Properties(higher_is_better=False, unit="squared scalar", comparable=False),
    "infidelity_scaled": _Properties(higher_is_better=False, unit="squared scalar"),
    # Plausibility, not faithfulness: it does not show that the model uses these pixels.
    "pointing_game": _Properties(higher_is_better=True, unit="fraction"),
    "energy_inside": _Properties(higher_is_better=True, unit="fraction"),
    # Lower if the context that the map highlights matters. If a model uses no context, no map beats the control.
    "context_deletion_auc": _Properties(higher_is_better=False, unit="fraction", missing=NO_CONTEXT),
}


def faithfulness_measures(faithfulness: Faithfulness, *, seed: int, replicates: int = 1000) -> list[Measure]:
    """Return one measure per method, metric and baseline, in the order they were measured.

    `Measure.control` is the random control's mean. The check ``beats_random`` passes when the paired bootstrap
    interval of (method - control), at `CHECK_LEVEL`, excludes 0 on the better side. It is n/a for the control itself,
    for raw infidelity (the control has no scale) and for fewer than `FEWEST` samples. Skipped methods have no measure.
    Methods without infidelity, because they are not local, have a skipped measure at the end.

    If a region is explained, ``pointing_game`` and ``energy_inside`` measure plausibility (the map lies in the region),
    not faithfulness, and so does their ``beats_random``. ``context_deletion_auc`` uses the `n` samples that have a
    context; if the model uses no context, the check fails for every method.

    Args:
        faithfulness: values per sample, from `evaluate`.
        seed: of the bootstrap, the same for all measures.
        replicates: number of resamples.
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
    trait = _METRICS[metric]
    fields: dict[str, Any] = {
        "params": {"method": method, "baseline": baseline},
        "unit": trait.unit,
        "higher_is_better": trait.higher_is_better,
    }
    values, control = (_defined(faithfulness, (name, metric, baseline)) for name in (method, CONTROL))
    if not len(values):
        return Measure(metric, None, None, None, 0, "none", reason=trait.missing, **fields)
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
        **fields,
    )


def _defined(faithfulness: Faithfulness, key: Key) -> NDArray[np.float64]:
    """Return the values of the samples that have one; they are the same samples for all methods, so stay paired."""
    values = faithfulness.values[key]
    return values[~np.isnan(values)] if _METRICS[key[1]].missing else values


def _beats(
    values: NDArray[np.float64], control: NDArray[np.float64], higher_is_better: bool, seed: int, replicates: int
) -> Check:
    _, lo, hi = paired_bootstrap_difference(values, control, seed=seed, replicates=replicates, level=CHECK_LEVEL)
    return "pass" if (lo > 0 if higher_is_better else hi < 0) else "fail"

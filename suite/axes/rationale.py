"""Rationales: whether a method highlights the words, or other features, that the model uses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from suite.attributions.features.faithfulness import (
    COMPREHENSIVENESS,
    CONTROLS,
    CONVERGENCE,
    DROPS,
    GAPS,
    Rationales,
    evaluate,
)
from suite.attributions.features.measures import rationale_measures
from suite.attributions.features.methods import FeatureMethod, Features
from suite.axes.attribution import Specs, built, outputs_of, rows_to_explain, skipped_methods
from suite.axes.base import GALLERY, AxisResult, Context, predicted_arrays
from suite.axes.registered import entries_of, metrics_of, summaries
from suite.data.digests import seed_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Kind, Rationale, required
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Table
from suite.registry import register
from suite.types import Display, Measure

FEWEST_FEATURES = 2
"""Fewest features of a sample that is explained: a single feature cannot be ranked."""


@register("axis", name="rationale")
@dataclass(frozen=True)
class RationaleAxis:
    """Comprehensiveness and sufficiency of feature attributions (DeYoung et al. 2020), with two control rankings.

    The controls rank features at random and by recency.

    Attributes:
        explainers: specs of methods for features, or a single one. If several specs have the same name, rows show the
            whole spec.
        samples: number of test samples to explain; those with fewer than two features are skipped and counted.
        fractions: fractions of the features that are deleted, ascending, above 0 and at most 1.
        batch_size: inputs per forward pass; results do not depend on it.
    """

    explainers: Specs = ("gradient_x_input", "layer_integrated_gradients", "occlusion")
    samples: int = 100
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    batch_size: int = 256

    def __post_init__(self) -> None:
        fractions = tuple(self.fractions)
        if not self.explainers or not fractions or list(fractions) != sorted(set(fractions)) or not 0 < fractions[0]:
            raise SpecError(f"got {self}; expected at least one explainer, and ascending fractions above 0.")
        if fractions[-1] > 1 or self.samples < 1 or self.batch_size < 1:
            raise SpecError(f"got {self}; expected fractions up to 1, and samples and batch_size of at least 1.")
        object.__setattr__(self, "fractions", fractions)

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of the metrics of feature attributions."""
        return [*DROPS, *GAPS.values(), CONVERGENCE, *entries_of(metrics_of(kind, "rationale"))]

    def measure(self, context: Context) -> AxisResult:
        """Explain some samples and track the score while features are deleted.

        Raises:
            SpecError: a method has the name of a control.
            NotApplicableError: the kind explains no features, or no sample has enough of them.
        """
        methods: dict[str, FeatureMethod] = built("feature_attribution", self.explainers, CONTROLS)
        explaining = required(context.kind.features)
        rows = rows_to_explain(context, explaining, self.samples)
        with context.model.frozen():
            rationale = explaining.explained(context.model, context.pixels[rows], outputs_of(context, rows))
            chosen = (rationale.present.sum(dim=1) >= FEWEST_FEATURES).nonzero()[:, 0]
            if not len(chosen):
                raise NotApplicableError("no sample has two or more features")
            return self._measured(context, methods, rows, (rationale, chosen))

    def _measured(
        self, context: Context, methods: dict[str, FeatureMethod], rows: list[int], explained: tuple[Rationale, Tensor]
    ) -> AxisResult:
        rationale, chosen = explained
        kept = [rows[place] for place in chosen.tolist()]
        features = Features(rationale, chosen, context.sample_seeds("rationale", kept), self.batch_size)
        result = evaluate(
            features,
            methods,
            fractions=self.fractions,
            watch=lambda names: context.track(names, "rationale", len(names)),
        )
        facts = {
            "methods": list(result.drops),
            "skipped": dict(result.skipped),
            "deletion": rationale.deletion,
            "proxy": rationale.proxy,
            "ends_matter": rationale.ends_matter,
            "too_short": len(rows) - len(kept),
        }
        return AxisResult(
            [Column("id", context.ids[kept]), *_columns(result)],
            {**context.facts, **facts},
            {**self._details(result), **facts},
            _gallery(context, kept[:GALLERY], features, result),
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute the faithfulness of every method, and compare it with the controls."""
        return [
            *rationale_measures(table.with_seed(seed_of(*table.facts["names"]) % 2**32)),
            *skipped_methods(COMPREHENSIVENESS, table),
            *summaries(metrics_of(kind, "rationale"), table),
        ]

    def _details(self, result: Rationales) -> dict[str, Any]:
        return {
            "rationale": {
                method: {metric: values.mean(axis=0).tolist() for metric, values in drops._asdict().items()}
                for method, drops in result.drops.items()
            },
            "fractions": list(self.fractions),
            "controls": list(CONTROLS),
            "steps": {method: int(steps.max()) for method, steps in result.steps.items()},
        }


def _columns(result: Rationales) -> list[Column]:
    columns = [
        Column(metric.name, result.values(method, metric.name), {"method": method})
        for method in result.drops
        for metric in DROPS
    ]
    for name, values in (("completeness_error", result.completeness_error), ("steps", result.steps)):
        columns += [Column(name, by_sample, {"method": method}) for method, by_sample in values.items()]
    return [*columns, Column("emptied", result.emptied)]


def _gallery(context: Context, rows: list[int], features: Features, result: Rationales) -> dict[str, Display]:
    """Return the first samples with their predictions, their features and the attribution of each feature."""
    places, rationale = features.rows[:GALLERY].tolist(), features.rationale
    names = np.array([list(rationale.names[place]) for place in places], dtype=np.str_)
    return {
        **predicted_arrays(context, rows),
        "names": Display(names, "name", "features"),
        "present": Display(rationale.present[features.rows[:GALLERY]].cpu().numpy(), "flag", "present"),
        **_inputs(context, rows, places, rationale),
        **{
            f"attribution_{name}": Display(values[:GALLERY], "number", "attribution", {"method": name})
            for name, values in result.attributions.items()
        },
    }


def _inputs(context: Context, rows: list[int], places: list[int], rationale: Rationale) -> dict[str, Display]:
    """Return what the kind shows of the explained samples, else the texts."""
    if rationale.arrays:
        return {
            name: replace(display, values=np.asarray(display.values)[places])
            for name, display in rationale.arrays.items()
        }
    texts = context.model.input.type == "text"
    return {"codes": Display(context.pixels[rows].cpu().numpy(), "text", "input")} if texts else {}

"""Rationales: whether a method highlights the words, or other features, that the model uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

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
from suite.axes.attribution import (
    Specs,
    built,
    by_method,
    cohort_of,
    divided,
    in_given_order,
    outputs_of,
    rows_to_explain,
    shown_columns,
    skipped_methods,
)
from suite.axes.base import GALLERY, AxisResult, Context, predicted_arrays
from suite.axes.registered import entries_of, metrics_of, summaries
from suite.axes.rounds import Round, State
from suite.data.digests import seed_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Kind, Rationale, required
from suite.kinds.logits import checked_explanations
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Mean, Part, Table
from suite.registry import register
from suite.types import Display, Measure

ATTRIBUTION = "attribution_"
"""What the names of arrays of attributions start with."""

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
        built("feature_attribution", self.explainers, CONTROLS)
        rows = rows_to_explain(context, required(context.kind.features), self.samples)
        size = cohort_of(context.test.shape)
        (present,) = context.run(Round("features", _present, size), rows).columns
        kept = np.array(rows)[present.values >= FEWEST_FEATURES].tolist()
        if not kept:
            raise NotApplicableError("no sample has two or more features")
        state = {"gallery": [context.test.ids[row] for row in kept[:GALLERY]]}
        explained = context.run(Round("rationale", self._explained, size), kept, state)
        values, shown = divided(explained.columns)
        facts = {**explained.facts, "too_short": len(rows) - len(kept)}
        return AxisResult(
            [Column("id", context.ids[kept]), *values],
            {**context.facts, **facts},
            {**self._details(values, explained), **facts},
            _gallery(context, kept[:GALLERY], shown),
        )

    def _explained(self, context: Context, state: State) -> Part:
        """Explain the predictions for one cohort."""
        methods: dict[str, FeatureMethod] = built("feature_attribution", self.explainers, CONTROLS)
        rows = torch.arange(len(context.test), device=context.device)
        with context.model.frozen():
            rationale = _rationale(context)
            features = Features(rationale, rows, context.sample_seeds("rationale", rows.tolist()), self.batch_size)
            result = evaluate(features, methods, fractions=self.fractions)
        facts = {
            "methods": list(result.drops),
            "skipped": dict(result.skipped),
            "deletion": rationale.deletion,
            "proxy": rationale.proxy,
            "ends_matter": rationale.ends_matter,
        }
        curves = {
            f"{method}\0{metric}": Mean(values.sum(axis=0), len(values))
            for method, drops in result.drops.items()
            for metric, values in drops._asdict().items()
        }
        arrays = {f"{ATTRIBUTION}{name}": values for name, values in result.attributions.items()}
        return Part([*_columns(result), *shown_columns(context, state["gallery"], arrays)], facts, curves)

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute the faithfulness of every method, and compare it with the controls."""
        measures = [
            *rationale_measures(table.with_seed(seed_of(*table.facts["names"]) % 2**32)),
            *skipped_methods(COMPREHENSIVENESS, table),
            *summaries(metrics_of(kind, "rationale"), table),
        ]
        return checked_explanations(measures, table.facts, kind.logits)

    def _details(self, columns: Sequence[Column], explained: Part) -> dict[str, Any]:
        steps = {column.params["method"]: int(column.values.max()) for column in columns if column.name == "steps"}
        return {
            "rationale": by_method(explained.sums),
            "fractions": list(self.fractions),
            "controls": list(CONTROLS),
            "steps": steps,
        }


def _present(context: Context, state: State) -> Part:
    """Return how many features each sample has."""
    with context.model.frozen():
        return Part([Column("features", _rationale(context).present.sum(dim=1).cpu().numpy())])


def _rationale(context: Context) -> Rationale:
    return required(context.kind.features).explained(context.model, context.pixels, outputs_of(context))


def _columns(result: Rationales) -> list[Column]:
    columns = [
        Column(metric.name, result.values(method, metric.name), {"method": method})
        for method in result.drops
        for metric in DROPS
    ]
    for name, values in (("completeness_error", result.completeness_error), ("steps", result.steps)):
        columns += [Column(name, by_sample, {"method": method}) for method, by_sample in values.items()]
    return [*columns, Column("emptied", result.emptied)]


def _gallery(context: Context, rows: list[int], columns: Sequence[Column]) -> dict[str, Display]:
    """Return the first samples with their predictions, their features and the attribution of each feature."""
    shown = context.of(rows)
    with context.model.frozen():
        rationale = _rationale(shown)
    order, features = in_given_order(columns, shown.test.ids), rationale.present.shape[1]
    names = np.array([list(of_sample) for of_sample in rationale.names], dtype=np.str_)
    return {
        **predicted_arrays(context, rows),
        "names": Display(names, "name", "features"),
        "present": Display(rationale.present.cpu().numpy(), "flag", "present"),
        **_inputs(shown, rationale),
        **{
            column.name: Display(column.values[order][:, :features], "number", "attribution", {"method": method})
            for column in columns
            if (method := column.name.removeprefix(ATTRIBUTION)) != column.name
        },
    }


def _inputs(shown: Context, rationale: Rationale) -> Mapping[str, Display]:
    """Return what the kind shows of the explained samples, else the texts."""
    if rationale.arrays:
        return rationale.arrays
    texts = shown.model.input.type == "text"
    return {"codes": Display(shown.pixels.cpu().numpy(), "text", "input")} if texts else {}

"""Attribution faithfulness: whether a method highlights the pixels that the model uses."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attributions.maps.base import Method
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.faithfulness import AREAS, CONTROL, INSERTION, METRICS, Faithfulness, Settings, evaluate
from suite.attributions.maps.measures import faithfulness_measures
from suite.axes.base import GALLERY, AxisResult, Context, predicted_arrays
from suite.axes.registered import entries_of, metrics_of, summaries
from suite.axes.rounds import Round, State
from suite.data.digests import in_digest_order, seed_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Array, Explainable, Kind, required
from suite.kinds.logits import checked_explanations
from suite.metrics.catalogue import Metric
from suite.metrics.table import TEST, Column, Mean, Part, Sum, Table
from suite.registry import register, resolve
from suite.spec import Spec, parse
from suite.types import Display, Measure, not_applicable

FEWEST, MOST, MOST_BYTES = 16, 1024, 8 * 2**20
"""Fewest and most samples that are explained together, and most bytes of their inputs beyond the fewest."""

SHOWN, MAP = "gallery", "map_"
"""The population of the samples of the gallery, and what the names of maps start with."""

NOTHING_TO_EXPLAIN = "the model makes no prediction that could be explained"
"""Reason of a skipped row."""

Specs = Spec | str | tuple[Spec | str, ...]
"""One or several specs."""


@register("axis", name="attribution")
@dataclass(frozen=True)
class Attribution:
    """Deletion, insertion and infidelity of several methods and of a random map as control.

    Attributes:
        methods: specs of attribution methods, or a single one. If several specs have the same name, rows show the
            whole spec.
        samples: number of test samples to explain.
        steps: number of points of a curve; None for 16, fewer at large images, where passes are expensive.
    """

    methods: Specs = ("saliency", "integrated_gradients", "smoothgrad", "occlusion", "gradcam")
    samples: int = 100
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.samples < 1 or (self.steps is not None and self.steps < 1):
            raise SpecError(f"samples={self.samples}, steps={self.steps}; expected numbers of at least 1.")

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of the metrics of maps."""
        return [*METRICS.values(), *entries_of(metrics_of(kind, "attribution"))]

    def measure(self, context: Context) -> AxisResult:
        """Explain the predictions for some samples and track the score while cells are deleted and inserted.

        Raises:
            SpecError: a method has the name of the random control.
            NotApplicableError: the kind has no maps, or there is no prediction to explain.
        """
        built("attribution", self.methods, (CONTROL,))
        rows = rows_to_explain(context, required(context.kind.maps), self.samples)
        shown = rows[:GALLERY]
        state = {"gallery": [context.test.ids[row] for row in shown]}
        explained = context.run(Round("attribution", self._explained, cohort_of(context.test.shape)), rows, state)
        values, maps = divided(explained.columns)
        order = in_given_order(maps, state["gallery"])
        displayed = {column.name: column.values[order] for column in maps if column.name != "id"}
        return AxisResult(
            [Column("id", context.ids[rows]), *values],
            {**context.facts, **explained.facts},
            _details(explained),
            {**_gallery(context, shown), **_displays(displayed)},
        )

    def _explained(self, context: Context, state: State) -> Part:
        """Explain the predictions for one cohort."""
        methods: dict[str, Method] = built("attribution", self.methods, (CONTROL,))
        rows = np.arange(len(context.test))
        with context.model.frozen():
            target = required(context.kind.maps).explained(context.model, context.pixels, outputs_of(context))
            explained = Explained(
                context.pixels,
                target.target,
                target.score,
                seeds=context.sample_seeds("attribution", rows),
                layer=context.model.gradcam_layer(context.pixels),
                batch_size=context.model.width,
                region=target.region,
            )
            result = evaluate(explained, methods, settings=Settings(steps=self.steps, gallery=len(rows)))
        columns = [
            Column(metric, values, {"method": method, "baseline": baseline})
            for (method, metric, baseline), values in result.values.items()
        ]
        facts = {"methods": list(result.maps), "skipped": dict(result.skipped), "costs": dict(result.costs)}
        return Part(
            [*columns, *shown_columns(context, state["gallery"], _shown(result, target.region))], facts, _curves(result)
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute the faithfulness of every method, and compare it with the random control."""
        measures = [
            *faithfulness_measures(table.with_seed(seed_of(*table.facts["names"]) % 2**32)),
            *skipped_methods(INSERTION, table),
            *summaries(metrics_of(kind, "attribution"), table),
        ]
        return checked_explanations(measures, table.facts, kind.logits)


def built(role: str, given: Specs, reserved: Collection[str]) -> dict[str, Any]:
    """Return attribution methods by the label of their rows: the name, or the whole spec if the name is not unique.

    Args:
        role: the role of the methods in the registry.
        given: their specs.
        reserved: names of controls.

    Raises:
        SpecError: there is no method, or one has the name of a control.
    """
    specs = [parse(method) for method in ((given,) if isinstance(given, Spec | str) else given)]
    names = [spec.name for spec in specs]
    if not names:
        raise SpecError("got no attribution method; name at least one, for example saliency.")
    for name in reserved:
        if name in names:
            raise SpecError(
                f"got an attribution method named {name!r}; this name is reserved for the {name} control, which is "
                "always measured. Remove it, or register the method under another name."
            )
    unique = dict.fromkeys(specs)
    labels = [spec.name if names.count(spec.name) == 1 else str(spec) for spec in unique]
    return {label: resolve(role, spec)[0].build(spec) for label, spec in zip(labels, unique, strict=True)}


def rows_to_explain(context: Context, facet: Explainable[Any], count: int) -> list[int]:
    """Return the first samples, in digest order, whose predictions can be explained; they include the gallery.

    Raises:
        NotApplicableError: there is none.
    """
    order, rows = np.array(in_digest_order(context.test.ids), np.int64), list[int]()
    for start in range(0, len(order), max(count, context.cohort)):
        chosen = order[start : start + max(count, context.cohort)]
        cohort = context.of(chosen)
        explainable = facet.explainable(cohort.output) & ~np.isin(cohort.ids, list(cohort.failed))
        rows += chosen[explainable].tolist()
        if len(rows) >= count:
            break
    if not rows:
        raise NotApplicableError(NOTHING_TO_EXPLAIN)
    return rows[:count]


def outputs_of(context: Context) -> Tensor:
    """Return the clean outputs of the samples on the device, (n, ...)."""
    return torch.from_numpy(context.output).to(context.device)


def cohort_of(shape: Sequence[int]) -> int:
    """Return the number of samples that are explained together: many small ones, but at least `FEWEST`."""
    return max(FEWEST, min(MOST, MOST_BYTES // (4 * math.prod(shape))))


def divided(columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """Return the columns of the explained samples, and those of the samples of the gallery."""
    own = [column for column in columns if column.population == TEST]
    return own, [column for column in columns if column.population == SHOWN]


def shown_columns(context: Context, ids: Sequence[str], arrays: Mapping[str, Array]) -> list[Column]:
    """Return the ids and arrays of the cohort's samples that the gallery shows.

    Args:
        context: that of the cohort.
        ids: of all samples of the gallery.
        arrays: by name, one entry per sample of the cohort.
    """
    rows = [row for row, name in enumerate(context.test.ids) if name in ids]
    return [Column(name, values[rows], {}, SHOWN) for name, values in {"id": context.ids, **arrays}.items()]


def by_method(sums: Mapping[str, Sum]) -> dict[str, dict[str, Any]]:
    """Return sums as JSON values by method and name, which a zero character separates in the name of a sum."""
    values: dict[str, dict[str, Any]] = {}
    for key, value in sums.items():
        method, name = key.split("\0")
        values.setdefault(method, {})[name] = value.to_json()
    return values


def in_given_order(columns: Sequence[Column], ids: Sequence[str]) -> list[int]:
    """Return the rows of the gallery's columns in the order of these ids."""
    (names,) = (column.values.tolist() for column in columns if column.name == "id")
    return [names.index(name) for name in ids]


def skipped_methods(metric: Metric, table: Table) -> list[Measure]:
    """Return a skipped row of a metric for every method that does not apply to the model."""
    return [not_applicable(metric.name, reason, method=name) for name, reason in table.facts["skipped"].items()]


def _curves(result: Faithfulness) -> dict[str, Mean]:
    """Return the curves as means over the samples; of the context's curves, over the samples that have a context."""
    curves = {}
    for (method, direction, baseline), curve in result.curves.items():
        count = int(np.isfinite(result.values[method, AREAS[direction].name, baseline]).sum())
        if count:  # the mean over no samples is NaN, which would spoil the sum over all cohorts
            curves[f"{method}\0{direction}/{baseline}"] = Mean(np.asarray(curve, np.float64) * count, count)
    return curves


def _details(explained: Part) -> dict[str, Any]:
    curves = by_method(explained.sums)
    steps = max((len(curve) for paths in curves.values() for curve in paths.values()), default=1)
    return {
        "curves": curves,
        "areas": {direction: metric.name for direction, metric in AREAS.items()},
        "fractions": np.linspace(0, 1, steps).tolist(),
        "skipped": explained.facts["skipped"],
    }


def _shown(result: Faithfulness, region: Tensor | None) -> dict[str, Array]:
    """Return the maps and the explained regions, by name."""
    maps: dict[str, Array] = {f"{MAP}{name}": maps for name, maps in result.maps.items()}
    return maps if region is None else {**maps, "region": region.cpu().numpy()}


def _displays(arrays: Mapping[str, Array]) -> dict[str, Display]:
    """Return what the gallery shows of the explanations."""
    maps = {
        name: Display(values, "map", "attribution", {"method": name.removeprefix(MAP)})
        for name, values in arrays.items()
        if name.startswith(MAP)
    }
    regions = {"region": Display(arrays["region"], "region", "region")} if "region" in arrays else {}
    return {**regions, **maps}


def _gallery(context: Context, rows: list[int]) -> dict[str, Display]:
    images = Display(context.test.take(rows).pixels(), "image", "input")
    return {**predicted_arrays(context, rows), "images": images}

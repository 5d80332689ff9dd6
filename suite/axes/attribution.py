"""Attribution faithfulness: whether a method highlights the pixels that the model uses."""

from collections.abc import Collection, Sequence
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
from suite.data.digests import in_digest_order, seed_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Explainable, Kind, required
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Table
from suite.registry import register, resolve
from suite.spec import Spec, parse
from suite.types import Display, Measure, not_applicable

BATCH, GRADED_BATCH = 256, 64
"""Smallest number of inputs per pass; kinds with graded outcomes have many outputs per input, and need more memory."""

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
        steps: number of points of a curve.
    """

    methods: Specs = ("saliency", "integrated_gradients", "smoothgrad", "occlusion", "gradcam")
    samples: int = 100
    steps: int = 16

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of the metrics of maps."""
        return [*METRICS.values(), *entries_of(metrics_of(kind, "attribution"))]

    def measure(self, context: Context) -> AxisResult:
        """Explain the predictions for some samples and track the score while cells are deleted and inserted.

        Raises:
            SpecError: a method has the name of the random control.
            NotApplicableError: the kind has no maps, or there is no prediction to explain.
        """
        methods: dict[str, Method] = built("attribution", self.methods, (CONTROL,))
        maps = required(context.kind.maps)
        rows = rows_to_explain(context, maps, self.samples)
        with context.model.frozen():
            pixels = context.pixels[rows]
            explained = maps.explained(context.model, pixels, outputs_of(context, rows))
            smallest = BATCH if context.kind.scoring.outcome.type == "binary" else GRADED_BATCH
            result = evaluate(
                Explained(
                    pixels,
                    explained.target,
                    explained.score,
                    seeds=context.sample_seeds("attribution", rows),
                    layer=context.model.gradcam_layer(pixels),
                    batch_size=max(smallest, context.batch_size),
                    max_batch=context.model.max_batch(pixels),
                    region=explained.region,
                ),
                methods,
                settings=Settings(steps=self.steps, gallery=GALLERY),
                watch=lambda names: context.track(names, "attribution", len(names)),
            )
        columns = [
            Column(metric, values, {"method": method, "baseline": baseline})
            for (method, metric, baseline), values in result.values.items()
        ]
        return AxisResult(
            [Column("id", context.ids[rows]), *columns],
            {**context.facts, "methods": list(result.maps), "skipped": dict(result.skipped)},
            _details(result),
            _gallery(context, rows[:GALLERY], result, explained.region),
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute the faithfulness of every method, and compare it with the random control."""
        return [
            *faithfulness_measures(table.with_seed(seed_of(*table.facts["names"]) % 2**32)),
            *skipped_methods(INSERTION, table),
            *summaries(metrics_of(kind, "attribution"), table),
        ]


def built(role: str, given: Specs, reserved: Collection[str]) -> dict[str, Any]:
    """Return attribution methods by the label of their rows: the name, or the whole spec if the name is not unique.

    Args:
        role: the role of the methods in the registry.
        given: their specs.
        reserved: names of controls.

    Raises:
        SpecError: a method has the name of a control.
    """
    specs = [parse(method) for method in ((given,) if isinstance(given, Spec | str) else given)]
    names = [spec.name for spec in specs]
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
    explainable = facet.explainable(context.outcomes.output)
    rows = [row for row in in_digest_order(context.test.ids) if explainable[row]][:count]
    if not rows:
        raise NotApplicableError(NOTHING_TO_EXPLAIN)
    return rows


def outputs_of(context: Context, rows: list[int]) -> Tensor:
    """Return the clean outputs of some samples on the device, (n, ...)."""
    return torch.from_numpy(context.outcomes.output[rows]).to(context.device)


def skipped_methods(metric: Metric, table: Table) -> list[Measure]:
    """Return a skipped row of a metric for every method that does not apply to the model."""
    return [not_applicable(metric.name, reason, method=name) for name, reason in table.facts["skipped"].items()]


def _details(result: Faithfulness) -> dict[str, Any]:
    curves: dict[str, dict[str, list[float]]] = {}
    for (method, direction, baseline), curve in result.curves.items():
        curves.setdefault(method, {})[f"{direction}/{baseline}"] = curve.tolist()
    steps = max((len(curve) for curve in result.curves.values()), default=1)
    return {
        "curves": curves,
        "areas": {direction: metric.name for direction, metric in AREAS.items()},
        "fractions": np.linspace(0, 1, steps).tolist(),
        "skipped": dict(result.skipped),
    }


def _gallery(context: Context, rows: list[int], result: Faithfulness, region: Tensor | None) -> dict[str, Display]:
    regions = {} if region is None else {"region": Display(region[:GALLERY].cpu().numpy(), "region", "region")}
    return {
        **predicted_arrays(context, rows),
        "images": Display(context.test.take(rows).pixels(), "image", "input"),
        **regions,
        **{f"map_{name}": Display(maps, "map", "attribution", {"method": name}) for name, maps in result.maps.items()},
    }

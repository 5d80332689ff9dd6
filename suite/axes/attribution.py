"""Attribution faithfulness: whether a method highlights the pixels that the model uses."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attributions.maps.base import Method
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.faithfulness import CONTROL, Faithfulness, Settings, evaluate
from suite.attributions.maps.measures import faithfulness_measures
from suite.axes.base import GALLERY, AxisResult, Context
from suite.data.digests import in_digest_order, seed_of
from suite.errors import SpecError
from suite.registry import register, resolve
from suite.spec import Spec, parse
from suite.types import not_applicable

PATH = 64
"""Smallest number of inputs per pass for kinds with many outputs, whose larger batches may not fit in memory."""

NOTHING_TO_EXPLAIN = "the model makes no prediction that could be explained"
"""Reason of a skipped row."""


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

    methods: Spec | str | tuple[Spec | str, ...] = (
        "saliency",
        "integrated_gradients",
        "smoothgrad",
        "occlusion",
        "gradcam",
    )
    samples: int = 100
    steps: int = 16

    def measure(self, context: Context) -> AxisResult:
        """Explain the predictions for some samples and track the score while cells are deleted and inserted.

        Raises:
            SpecError: a method has the name of the random control.
        """
        methods = self._methods()
        rows = rows_to_explain(context, self.samples)
        if not rows:
            return AxisResult([not_applicable("insertion_auc", NOTHING_TO_EXPLAIN)])
        with context.model.frozen():
            pixels = context.pixels[rows]
            outputs = torch.from_numpy(context.outcomes.output[rows]).to(context.device)
            scalars = context.kind.explained(context.model, pixels, outputs)
            explained = Explained(
                pixels,
                scalars.target,
                scalars.score,
                seeds=context.sample_seeds("attribution", rows),
                layer=context.model.gradcam_layer(pixels),
                batch_size=max(256 if context.kind.single_label else PATH, context.batch_size),
                max_batch=context.model.max_batch(pixels),
                region=scalars.region,
            )
            result = evaluate(
                explained,
                methods,
                settings=Settings(steps=self.steps, gallery=GALLERY),
                watch=lambda names: context.track(names, "attribution", len(names)),
            )
        measures = faithfulness_measures(result, seed=seed_of(*context.names) % 2**32)
        skipped = [not_applicable("insertion_auc", reason, method=name) for name, reason in result.skipped.items()]
        return AxisResult(
            [*measures, *skipped],
            _columns(context, rows, result),
            _details(result),
            _gallery(context, rows, result, scalars.region),
        )

    def _methods(self) -> dict[str, Method]:
        """Return the methods by the label of their rows: the name, or the whole spec if the name is not unique."""
        given = (self.methods,) if isinstance(self.methods, Spec | str) else self.methods
        specs = [parse(method) for method in given]
        names = [spec.name for spec in specs]
        if CONTROL in names:
            raise SpecError(
                f"got an attribution method named {CONTROL!r}; this name is reserved for the random control, which is "
                "always measured. Remove it, or register the method under another name."
            )
        labels = [spec.name if names.count(spec.name) == 1 else str(spec) for spec in specs]
        entries = [resolve("attribution", spec)[0] for spec in specs]
        return {label: entry.build(spec) for label, entry, spec in zip(labels, entries, specs, strict=True)}


def rows_to_explain(context: Context, count: int) -> list[int]:
    """Return the first samples, in digest order, whose predictions can be explained; they include the gallery."""
    explainable = context.kind.explainable(context.outcomes.output)
    return [row for row in in_digest_order(context.test.ids) if explainable[row]][:count]


def _columns(context: Context, rows: list[int], result: Faithfulness) -> dict[str, Any]:
    return {
        "id": [context.test.ids[row] for row in rows],
        **{f"{metric}@{method}/{base}": values for (method, metric, base), values in result.values.items()},
    }


def _details(result: Faithfulness) -> dict[str, Any]:
    curves: dict[str, dict[str, list[float]]] = {}
    for (method, direction, baseline), curve in result.curves.items():
        curves.setdefault(method, {})[f"{direction}/{baseline}"] = curve.tolist()
    steps = max((len(curve) for curve in result.curves.values()), default=1)
    return {"curves": curves, "fractions": np.linspace(0, 1, steps).tolist(), "skipped": dict(result.skipped)}


def _gallery(context: Context, rows: list[int], result: Faithfulness, region: Tensor | None) -> dict[str, Any]:
    rows = rows[:GALLERY]
    split = context.test.take(rows)
    return {
        "ids": np.array(split.ids),
        "images": split.pixels(),
        "label": split.targets,
        **context.kind.output_arrays(context.outcomes.output[rows]),
        **({} if region is None else {"region": region[:GALLERY].cpu().numpy()}),
        **{f"map_{name}": maps for name, maps in result.maps.items()},
    }

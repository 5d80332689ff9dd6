"""Attribution faithfulness: whether the pixels a method points at are those the model used."""

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
"""Inputs in one pass at least, for a path of integrated gradients; a larger batch of boxes or masks may not fit."""


@register("axis", name="attribution")
@dataclass(frozen=True)
class Attribution:
    """Deletion, insertion and infidelity of several methods beside a random map.

    Attributes:
        methods: specs of attribution methods, or a single one. Rows name a method as its spec is written where
            several specs have one name.
        samples: how many test samples are explained.
        steps: points of a curve.
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
        """Explain the predicted class of some samples and follow it while cells are deleted and inserted.

        Raises:
            SpecError: a method has the name of the random control.
        """
        methods = self._built()
        rows = self._rows(context)
        if not rows:
            return AxisResult([not_applicable("insertion_auc", "the model says nothing about any sample to explain")])
        with context.model.frozen():
            pixels = context.pixels[torch.tensor(rows, device=context.device)]
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
            found = evaluate(
                explained,
                methods,
                settings=Settings(steps=self.steps, gallery=GALLERY),
                watch=lambda everyone: context.track(everyone, "attribution", len(everyone)),
            )
        measures = faithfulness_measures(found, seed=seed_of(*context.names) % 2**32)
        skipped = [not_applicable("insertion_auc", reason, method=name) for name, reason in found.skipped.items()]
        return AxisResult(
            [*measures, *skipped],
            _columns(context, rows, found),
            _details(found),
            _gallery(context, rows, found, scalars.region),
        )

    def _rows(self, context: Context) -> list[int]:
        """Return the samples to explain: the first in which there is something to explain, the gallery's among them."""
        order = in_digest_order(context.test.ids)
        fit = context.kind.explainable(context.outcomes.output)
        return [row for row in order if fit[row]][: self.samples]

    def _built(self) -> dict[str, Method]:
        """Return the methods by the names that rows show: a spec's name, or all of it where the name is not unique."""
        given = (self.methods,) if isinstance(self.methods, Spec | str) else self.methods
        specs = [parse(method) for method in given]
        names = [spec.name for spec in specs]
        if CONTROL in names:
            raise SpecError(
                f"got an attribution method named {CONTROL!r}; that name belongs to the random control, which is "
                "always measured. Leave it out, or register the method under another name."
            )
        labels = [spec.name if names.count(spec.name) == 1 else str(spec) for spec in specs]
        entries = [resolve("attribution", spec)[0] for spec in specs]
        return {label: entry.build(spec) for label, entry, spec in zip(labels, entries, specs, strict=True)}


def _columns(context: Context, rows: list[int], found: Faithfulness) -> dict[str, Any]:
    by_key = {f"{metric}@{method}/{baseline}": values for (method, metric, baseline), values in found.values.items()}
    return {"id": [context.test.ids[row] for row in rows], **by_key}


def _details(found: Faithfulness) -> dict[str, Any]:
    curves: dict[str, dict[str, list[float]]] = {}
    for (method, direction, baseline), curve in found.curves.items():
        curves.setdefault(method, {})[f"{direction}/{baseline}"] = curve.tolist()
    steps = max((len(curve) for curve in found.curves.values()), default=1)
    return {"curves": curves, "fractions": np.linspace(0, 1, steps).tolist(), "skipped": dict(found.skipped)}


def _gallery(context: Context, rows: list[int], found: Faithfulness, region: Tensor | None) -> dict[str, Any]:
    shown = rows[:GALLERY]
    small = context.test.take(shown)
    return {
        "ids": np.array(small.ids),
        "images": small.pixels(),
        "label": small.targets,
        **context.kind.output_arrays(context.outcomes.output[shown]),
        **({} if region is None else {"region": region[:GALLERY].cpu().numpy()}),
        **{f"map_{name}": maps for name, maps in found.maps.items()},
    }

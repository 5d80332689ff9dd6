"""Attribution faithfulness: whether the pixels a method points at are those the model used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.attribution.explained import Explained
from suite.attribution.faithfulness import Faithfulness, Settings, evaluate
from suite.attribution.measures import faithfulness_measures
from suite.axes.base import GALLERY, Context, Finding, in_digest_order, seed_of
from suite.registry import register, resolve
from suite.spec import Spec
from suite.types import not_applicable


@register("axis", name="attribution")
@dataclass(frozen=True)
class Attribution:
    """Deletion, insertion and infidelity of several methods beside a random map.

    Attributes:
        methods: specs of attribution methods.
        samples: how many test samples are explained.
        steps: points of a curve.
    """

    methods: tuple[Spec | str, ...] = ("saliency", "integrated_gradients", "smoothgrad", "occlusion", "gradcam")
    samples: int = 100
    steps: int = 16

    def measure(self, context: Context) -> Finding:
        """Explain the predicted class of some samples and follow it while cells are deleted and inserted."""
        rows = in_digest_order(context.test.ids)[: self.samples]  # begins with the gallery
        resolved = [resolve("attribution", method) for method in self.methods]
        methods = {spec.name: entry.build(spec) for entry, spec in resolved}
        with context.model.frozen():
            pixels = context.pixels[torch.tensor(rows, device=context.device)]
            outputs = torch.from_numpy(context.outcomes.output[rows]).to(context.device)
            scalars = context.kind.explained(context.model, outputs)
            explained = Explained(
                pixels,
                scalars.target,
                scalars.score,
                seeds=context.sample_seeds("attribution", rows),
                layer=context.model.layer,
                batch_size=max(256, context.batch_size),
            )
            tracked = dict(context.track(list(methods.items()), "attribution", len(methods)))
            found = evaluate(explained, tracked, settings=Settings(steps=self.steps, gallery=GALLERY))
        measures = faithfulness_measures(found, seed=seed_of(*context.names) % 2**32)
        skipped = [not_applicable("insertion_auc", reason, method=name) for name, reason in found.skipped.items()]
        return Finding([*measures, *skipped], _columns(context, rows, found), _details(found), _gallery(context, found))


def _columns(context: Context, rows: list[int], found: Faithfulness) -> dict[str, Any]:
    by_key = {f"{metric}@{method}/{baseline}": values for (method, metric, baseline), values in found.values.items()}
    return {"id": [context.test.ids[row] for row in rows], **by_key}


def _details(found: Faithfulness) -> dict[str, Any]:
    curves: dict[str, dict[str, list[float]]] = {}
    for (method, direction, baseline), curve in found.curves.items():
        curves.setdefault(method, {})[f"{direction}/{baseline}"] = curve.tolist()
    steps = max((len(curve) for curve in found.curves.values()), default=1)
    return {"curves": curves, "fractions": np.linspace(0, 1, steps).tolist(), "skipped": dict(found.skipped)}


def _gallery(context: Context, found: Faithfulness) -> dict[str, Any]:
    shown = context.test.take(context.gallery)
    probabilities = context.kind.probabilities(context.outcomes.output[context.gallery])
    return {
        "ids": np.array(shown.ids),
        "images": shown.pixels(),
        "label": shown.targets,
        "prediction": probabilities.argmax(axis=1),
        "confidence": probabilities.max(axis=1),
        **{f"map_{name}": maps for name, maps in found.maps.items()},
    }

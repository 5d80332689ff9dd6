"""Common corruptions: what is left of the accuracy when nobody attacks, but cameras, weather and codecs do their worst.

There is no random control beside these numbers. A control answers whether an attack is more than chance, and a
corruption claims no more than to be what it is; its own strength is the severity, and severity 0 is the clean image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite import stats
from suite.axes.base import Context, Finding, seed_of
from suite.corruptions.catalogue import COMMON, SEVERITIES, checked, corrupt
from suite.errors import SpecError
from suite.kinds.base import Array
from suite.registry import register
from suite.types import Measure, not_applicable

SHOWN = 4
"""Samples of the gallery that are stored under every corruption."""


@register("axis", name="corruption")
@dataclass(frozen=True)
class Corruption:
    """Accuracy under common corruptions (Hendrycks and Dietterich 2019), and two numbers that sum them up.

    ``mean_corruption_error`` is the plain mean of the error over all corruptions and severities. It is not the mCE of
    the paper, which divides each corruption's error by that of AlexNet before it takes the mean: the two must not be
    compared. ``corruption_retention`` is the mean corrupted accuracy as a share of the clean one.

    Attributes:
        names: corruptions; all fifteen by default.
        severities: severities from 1 to 5, ascending.
    """

    names: tuple[str, ...] = tuple(COMMON)
    severities: tuple[int, ...] = SEVERITIES

    def __post_init__(self) -> None:
        names = tuple(self.names)
        severities = tuple(self.severities)
        for name in names:
            for severity in severities:
                checked(name, severity)
        if not names or len(set(names)) < len(names):
            raise SpecError(f"names={list(names)}; expected corruptions, each once, like names=[fog, snow].")
        if not severities or 0 in severities or list(severities) != sorted(set(severities)):
            raise SpecError(f"severities={list(severities)}; expected ascending numbers from 1 to 5, like [1, 3, 5].")
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "severities", severities)

    def measure(self, context: Context) -> Finding:
        """Corrupt every sample in every way and ask the model again; what is no image is a skipped row."""
        if reason := why_no_image(context):
            return Finding([not_applicable("mean_corruption_error", reason)])
        everyone = np.arange(len(context.test))
        with context.model.frozen():
            clean = right_answers(context, everyone, "clean", lambda pixels, rows: pixels)
            right = {
                (name, severity): right_answers(
                    context, everyone, f"{name} {severity}", self._corrupted(context, name, severity)
                )
                for name, severity in self._cells()
            }
        columns = {f"correct@{name}/{severity}": held for (name, severity), held in right.items()}
        measures = [
            context.kind.overall("corrupted_accuracy", held, params={"corruption": name, "severity": severity})
            for (name, severity), held in right.items()
        ]
        return Finding(
            [*summary(clean, np.stack(list(right.values())), seed_of(*context.names) % 2**32), *measures],
            {"id": list(context.test.ids), "correct_clean": clean, **columns},
            {"clean": float(clean.mean()), "corruptions": self._curves(clean, right)},
            self._gallery(context),
        )

    def _cells(self) -> Iterator[tuple[str, int]]:
        return ((name, severity) for name in self.names for severity in self.severities)

    def _corrupted(self, context: Context, name: str, severity: int) -> Any:
        def corrupted(pixels: Tensor, rows: Array) -> Tensor:
            seeds = context.sample_seeds(f"corruption {name} {severity}", [int(row) for row in rows])
            return corrupt(pixels, name, severity, seeds)

        return corrupted

    def _curves(self, clean: Array, right: dict[tuple[str, int], Array]) -> dict[str, list[dict[str, float]]]:
        """Return accuracy with its interval by severity, from the clean image on, for every corruption."""
        curves = {}
        for name in self.names:
            by_severity = {0: clean} | {severity: right[name, severity] for severity in self.severities}
            curves[name] = [{"severity": severity, **band(held)} for severity, held in by_severity.items()]
        return curves

    def _gallery(self, context: Context) -> dict[str, Any]:
        """Return a few images under every corruption at the middle severity, with what the model said."""
        rows, kind = context.gallery[:SHOWN], context.kind
        severity = self.severities[len(self.severities) // 2]
        small = context.test.take(rows)
        arrays: dict[str, Any] = {"ids": np.array(small.ids), "label": small.targets, "severity": np.array(severity)}
        pixels = context.pixels[torch.tensor(rows, device=context.device)]
        versions = {"clean": pixels} | {
            name: self._corrupted(context, name, severity)(pixels, np.array(rows)) for name in self.names
        }
        with context.model.frozen(), torch.no_grad():
            for name, images in versions.items():
                answer = kind.answer(kind.probabilities(context.model(images).float().cpu().numpy()))
                arrays[f"image_{name}"] = images.mul(255).round().to(torch.uint8).cpu().numpy()
                arrays |= {f"{part}_{name}": values for part, values in answer._asdict().items()}
        return arrays


def why_no_image(context: Context) -> str | None:
    """Return why the samples can be neither corrupted nor covered, or None for images of one channel or three."""
    shape = tuple(context.pixels.shape[1:])
    fit = len(shape) == 3 and shape[0] in (1, 3)
    return None if fit else f"a sample has the shape {shape}, and not that of an image of one channel or three"


def right_answers(context: Context, rows: Array, label: str, change: Any) -> Array:
    """Return which of the rows the model is right about once `change` (pixels, rows) was applied, bool (n,)."""
    right = np.zeros(len(rows), dtype=bool)
    for places in context.batches(np.arange(len(rows)), label):
        chosen = torch.from_numpy(rows[places]).to(context.device)
        with torch.no_grad():
            output = context.model(change(context.pixels[chosen], rows[places]))
        right[places] = ~context.kind.fooled(output, context.targets[chosen]).cpu().numpy()
    return right


def band(right: Array) -> dict[str, float]:
    """Return the share of right answers and its Wilson interval."""
    lo, hi = stats.wilson(int(right.sum()), len(right))
    return {"accuracy": float(right.mean()), "lo": lo, "hi": hi}


def summary(clean: Array, right: Array, seed: int) -> list[Measure]:
    """Return mean corruption error and retention from outcomes (n,) and (corruptions, n).

    Intervals come from resampling images: all corrupted versions of one image stay together, because they fail
    together.
    """
    kept = right.mean(axis=0)
    params = {"conditions": len(right)}
    error = stats.mean_measure("mean_corruption_error", 1 - kept, seed=seed, higher_is_better=False, params=params)
    return [error, _retention(clean.astype(np.float64), kept, seed, params)]


def _retention(clean: Array, kept: Array, seed: int, params: dict[str, int]) -> Measure:
    name, count = "corruption_retention", len(clean)
    if not clean.any():
        reason = "no clean sample is right, so that there is nothing to retain"
        return Measure(name, None, None, None, count, "none", unit="ratio", params=params, reason=reason)
    value = float(kept.mean() / clean.mean())

    def ratio(indices: Array) -> Array:
        whole = clean[indices].sum(axis=1)
        return np.where(whole > 0, kept[indices].sum(axis=1) / np.maximum(whole, 1), np.nan)

    samples = stats.bootstrap(ratio, count, seed=seed)
    interval = stats.percentile_interval(value, samples[np.isfinite(samples)], n=count)
    return Measure(name, value, interval.lo, interval.hi, count, interval.method, unit="ratio", params=params)

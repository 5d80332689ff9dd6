"""Common corruptions: performance under noise, blur, weather and compression.

These measures have no random control. A control shows whether an attack is better than chance, but a corruption is not
an attack: its strength is its severity, and severity 0 is the clean image.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attacks.engine.validation import covered
from suite.axes.base import AxisResult, Context
from suite.corruptions.catalogue import COMMON, SEVERITIES, checked, corrupt
from suite.data.digests import seed_of
from suite.errors import SpecError
from suite.kinds.base import Array, Kind
from suite.metrics.stats import mean_of, ratio, resampled
from suite.registry import register
from suite.types import Measure, not_applicable

CORRUPTED_GALLERY = 4
"""Samples of the gallery that are stored under every corruption."""

Change = Callable[[Tensor, Array], Tensor]
"""Takes images (k, c, h, w) and their rows among the test samples (k,); returns the changed images."""


@register("axis", name="corruption")
@dataclass(frozen=True)
class Corruption:
    """The headline measure under common corruptions (Hendrycks and Dietterich 2019), with two summaries.

    ``mean_corruption_error`` is 1 minus the mean of the measure over all corruptions and severities. It is not
    comparable with the mCE of the paper, which divides the error of each corruption by that of AlexNet before
    averaging. ``corruption_retention`` is the mean measure under corruption divided by the clean one.

    Attributes:
        names: names of corruptions; all fifteen by default.
        severities: severities from 1 to 5, in ascending order.
    """

    names: tuple[str, ...] = tuple(COMMON)
    severities: tuple[int, ...] = SEVERITIES

    def __post_init__(self) -> None:
        names, severities = tuple(self.names), tuple(self.severities)
        for name, severity in itertools.product(names, severities):
            checked(name, severity)
        if not names or len(set(names)) < len(names):
            raise SpecError(f"names={list(names)}; expected distinct corruptions, for example names=[fog, snow].")
        if not severities or 0 in severities or list(severities) != sorted(set(severities)):
            raise SpecError(
                f"severities={list(severities)}; expected ascending numbers from 1 to 5, for example [1, 3, 5]."
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "severities", severities)

    def measure(self, context: Context) -> AxisResult:
        """Evaluate the model under every corruption; a task without images gives a skipped row."""
        if reason := not_an_image(context):
            return AxisResult([not_applicable("mean_corruption_error", reason)])
        kind, conditions = context.kind, list(itertools.product(self.names, self.severities))
        with context.model.frozen():
            clean = evaluate(context, "clean", lambda pixels, rows: pixels)
            results = {
                (name, severity): evaluate(context, f"{name} {severity}", _corruption(context, name, severity))
                for name, severity in conditions
            }
        measures = {
            (name, severity): kind.headline_measure(
                f"corrupted_{kind.headline}",
                results[name, severity].tally,
                seed=context.seed,
                params={"corruption": name, "severity": severity},
            )
            for name, severity in conditions
        }
        columns = {f"correct@{name}/{severity}": result.quality for (name, severity), result in results.items()}
        tallies = [result.tally for result in results.values()]
        headline = kind.headline_measure("clean", clean.tally, seed=context.seed)
        return AxisResult(
            [*summary(kind, clean.tally, tallies, seed_of(*context.names) % 2**32), *measures.values()],
            {"id": list(context.test.ids), "correct_clean": clean.quality, **columns},
            {
                "clean": headline.value,
                "headline": kind.headline,
                "unit": kind.unit,
                "corruptions": self._curves(headline, measures),
            },
            self._gallery(context),
        )

    def _curves(
        self, clean: Measure, measures: dict[tuple[str, int], Measure]
    ) -> dict[str, list[dict[str, float | None]]]:
        """Return the headline measure with its interval by severity for every corruption; severity 0 is clean."""
        return {
            name: [{"severity": 0, **curve_point(clean)}]
            + [{"severity": severity, **curve_point(measures[name, severity])} for severity in self.severities]
            for name in self.names
        }

    def _gallery(self, context: Context) -> dict[str, Any]:
        """Return a few images under every corruption at the middle severity, with the predictions."""
        rows, severity = context.gallery[:CORRUPTED_GALLERY], self.severities[len(self.severities) // 2]
        split, pixels = context.test.take(rows), context.pixels[rows]
        arrays: dict[str, Any] = {"ids": np.array(split.ids), "label": split.targets, "severity": np.array(severity)}
        versions = {"clean": pixels} | {
            name: _corruption(context, name, severity)(pixels, np.array(rows)) for name in self.names
        }
        for name, images in versions.items():
            arrays[f"image_{name}"] = images.mul(255).round().to(torch.uint8).cpu().numpy()
            arrays |= {f"{part}_{name}": values for part, values in context.output_arrays(images).items()}
        return arrays


def _corruption(context: Context, name: str, severity: int) -> Change:
    purpose = f"corruption {name} {severity}"
    return lambda pixels, rows: corrupt(pixels, name, severity, context.sample_seeds(purpose, rows))


def not_an_image(context: Context) -> str | None:
    """Return why samples can be neither corrupted nor occluded; None for images of one or three channels."""
    shape = tuple(context.pixels.shape[1:])
    is_image = len(shape) == 3 and shape[0] in (1, 3)
    return None if is_image else f"a sample has shape {shape}; expected an image of one or three channels"


@dataclass(frozen=True)
class Evaluation:
    """Outcomes on changed samples.

    Attributes:
        quality: 1 - damage to each sample, (n,); bool if a sample has one label.
        tally: what each sample contributes to the headline measure, (n, ...).
    """

    quality: Array
    tally: Array


def evaluate(context: Context, label: str, change: Change, *, hides: bool = False) -> Evaluation:
    """Evaluate the model on all test samples after a change.

    Args:
        context: gives the model and the samples.
        label: label of the progress bar.
        change: applied to every batch.
        hides: whether the change covers parts of the image; targets that it covers are not scored.
    """
    kind, quality, tallies = context.kind, np.zeros(len(context.test)), []
    for rows in context.batches(np.arange(len(context.test)), label):
        chosen = torch.from_numpy(rows).to(context.device)
        pixels, targets = context.pixels[chosen], context.targets[chosen]
        changed = change(pixels, rows)
        targets = kind.mask_covered_targets(targets, covered(pixels, changed)) if hides else targets
        with torch.no_grad():
            output = context.model(changed)
        quality[rows] = 1 - kind.damage(output, targets).double().cpu().numpy()
        tallies.append(kind.tally(output.float().cpu().numpy(), targets.cpu().numpy()))
    return Evaluation(quality > 0.5 if kind.single_label else quality, np.concatenate(tallies))


def curve_point(measure: Measure) -> dict[str, float | None]:
    """Return the headline measure and its interval as a point of a curve."""
    return {"accuracy": measure.value, "lo": measure.lo, "hi": measure.hi}


def summary(kind: Kind, clean: Array, tallies: list[Array], seed: int) -> list[Measure]:
    """Return mean corruption error and retention from the clean tally (n, ...) and one tally per condition.

    If lower values of the headline measure are better, return its mean under corruption and the ratio of that to the
    clean value, ``corruption_growth``. Intervals resample images: all corrupted versions of an image stay together,
    because their outcomes are correlated.
    """
    corrupted, uncorrupted = mean_of([kind.statistic(tally) for tally in tallies]), kind.statistic(clean)

    def relative(counts: Array | None) -> Array:
        return ratio(corrupted(counts), uncorrupted(counts))

    params, n = {"conditions": len(tallies)}, len(clean)
    if not kind.higher_is_better:
        fields: dict[str, Any] = {"seed": seed, "higher_is_better": False, "params": params}
        return [
            resampled(f"mean_corrupted_{kind.headline}", corrupted, n, unit=kind.unit, **fields),
            resampled("corruption_growth", relative, n, unit="ratio", why="the clean measure is zero", **fields),
        ]
    why = "the model predicts no clean sample correctly"
    return [
        resampled(
            "mean_corruption_error",
            lambda counts: 1 - corrupted(counts),
            n,
            seed=seed,
            higher_is_better=False,
            params=params,
        ),
        resampled("corruption_retention", relative, n, seed=seed, why=why, unit="ratio", params=params),
    ]

"""Common corruptions: what is left when nobody attacks, but cameras, weather and codecs do their worst.

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

from suite.attacks.engine.validation import covered
from suite.axes.base import AxisResult, Context
from suite.corruptions.catalogue import COMMON, SEVERITIES, checked, corrupt
from suite.data.digests import seed_of
from suite.errors import SpecError
from suite.kinds.base import Array, Kind
from suite.metrics.stats import mean_of, ratio, resampled
from suite.registry import register
from suite.types import Measure, not_applicable

SHOWN = 4
"""Samples of the gallery that are stored under every corruption."""


@register("axis", name="corruption")
@dataclass(frozen=True)
class Corruption:
    """The headline measure under common corruptions (Hendrycks and Dietterich 2019), and two numbers that sum them up.

    ``mean_corruption_error`` is 1 minus the plain mean of the measure over all corruptions and severities. It is not
    the mCE of the paper, which divides each corruption's error by that of AlexNet before it takes the mean: the two
    must not be compared. ``corruption_retention`` is the mean corrupted measure as a share of the clean one.

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

    def measure(self, context: Context) -> AxisResult:
        """Corrupt every sample in every way and ask the model again; what is no image is a skipped row."""
        if reason := why_no_image(context):
            return AxisResult([not_applicable("mean_corruption_error", reason)])
        everyone = np.arange(len(context.test))
        with context.model.frozen():
            clean = answered(context, everyone, "clean", lambda pixels, rows: pixels)
            found = {
                (name, severity): answered(
                    context, everyone, f"{name} {severity}", self._corrupted(context, name, severity)
                )
                for name, severity in self._cells()
            }
        kept = {cell: self._overall(context, cell, answers) for cell, answers in found.items()}
        columns = {f"correct@{name}/{severity}": answers.quality for (name, severity), answers in found.items()}
        tallies = [answers.tally for answers in found.values()]
        overall = context.kind.headline_measure("clean", clean.tally, seed=context.seed)
        return AxisResult(
            [*summary(context.kind, clean.tally, tallies, seed_of(*context.names) % 2**32), *kept.values()],
            {"id": list(context.test.ids), "correct_clean": clean.quality, **columns},
            {
                "clean": overall.value,
                "headline": context.kind.headline,
                "unit": context.kind.unit,
                "corruptions": self._curves(overall, kept),
            },
            self._gallery(context),
        )

    def _overall(self, context: Context, cell: tuple[str, int], answers: Answers) -> Measure:
        params = {"corruption": cell[0], "severity": cell[1]}
        return context.kind.headline_measure(
            f"corrupted_{context.kind.headline}", answers.tally, seed=context.seed, params=params
        )

    def _cells(self) -> Iterator[tuple[str, int]]:
        return ((name, severity) for name in self.names for severity in self.severities)

    def _corrupted(self, context: Context, name: str, severity: int) -> Any:
        def corrupted(pixels: Tensor, rows: Array) -> Tensor:
            seeds = context.sample_seeds(f"corruption {name} {severity}", [int(row) for row in rows])
            return corrupt(pixels, name, severity, seeds)

        return corrupted

    def _curves(self, clean: Measure, kept: dict[tuple[str, int], Measure]) -> dict[str, list[dict[str, float | None]]]:
        """Return the headline measure with its interval by severity, from the clean image on, for every corruption."""
        curves = {}
        for name in self.names:
            by_severity = {0: clean} | {severity: kept[name, severity] for severity in self.severities}
            curves[name] = [{"severity": severity, **band(measure)} for severity, measure in by_severity.items()]
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
                told = kind.output_arrays(context.model(images).float().cpu().numpy())
                arrays[f"image_{name}"] = images.mul(255).round().to(torch.uint8).cpu().numpy()
                arrays |= {f"{part}_{name}": values for part, values in told.items()}
        return arrays


def why_no_image(context: Context) -> str | None:
    """Return why the samples can be neither corrupted nor covered, or None for images of one channel or three."""
    shape = tuple(context.pixels.shape[1:])
    fit = len(shape) == 3 and shape[0] in (1, 3)
    return None if fit else f"a sample has the shape {shape}, and not that of an image of one channel or three"


@dataclass(frozen=True)
class Answers:
    """How well changed samples are answered.

    Attributes:
        quality: 1 - damage to each sample, (n,); bool where an answer is right or wrong.
        tally: what each contributes to the headline measure, (n, ...).
    """

    quality: Array
    tally: Array


def answered(context: Context, rows: Array, label: str, change: Any, *, hides: bool = False) -> Answers:
    """Return how the model answers some rows once `change` (pixels, rows) was applied.

    Where the change hides what it covers, that does not have to be found.
    """
    kind, quality, tallies = context.kind, np.zeros(len(rows)), []
    for places in context.batches(np.arange(len(rows)), label):
        chosen = torch.from_numpy(rows[places]).to(context.device)
        pixels, targets = context.pixels[chosen], context.targets[chosen]
        changed = change(pixels, rows[places])
        targets = kind.hidden(targets, covered(pixels, changed)) if hides else targets
        with torch.no_grad():
            output = context.model(changed)
        quality[places] = 1 - kind.damage(output, targets).double().cpu().numpy()
        tallies.append(kind.tally(output.float().cpu().numpy(), targets.cpu().numpy()))
    return Answers(quality > 0.5 if kind.single_label else quality, np.concatenate(tallies))


def band(measure: Measure) -> dict[str, float | None]:
    """Return the headline measure and its interval, as a point of a curve."""
    return {"accuracy": measure.value, "lo": measure.lo, "hi": measure.hi}


def summary(kind: Kind, clean: Array, tallies: list[Array], seed: int) -> list[Measure]:
    """Return mean corruption error and retention from the clean tally (n, ...) and one for each condition.

    Where less of the headline measure is better, they are its corrupted mean and the ratio of that to the clean one,
    ``corruption_growth``. Intervals come from resampling images: all corrupted versions of one image stay together,
    because they fail together.
    """
    kept, whole = mean_of([kind.statistic(tally) for tally in tallies]), kind.statistic(clean)

    def error(counts: Array | None) -> Array:
        return 1 - kept(counts)

    def relative(counts: Array | None) -> Array:
        return ratio(kept(counts), whole(counts))

    params, n = {"conditions": len(tallies)}, len(clean)
    if not kind.higher_is_better:
        fields: dict[str, Any] = {"seed": seed, "higher_is_better": False, "params": params}
        return [
            resampled(f"mean_corrupted_{kind.headline}", kept, n, unit=kind.unit, **fields),
            resampled("corruption_growth", relative, n, unit="ratio", why="the clean measure is zero", **fields),
        ]
    why = "no clean sample is right, so that there is nothing to retain"
    return [
        resampled("mean_corruption_error", error, n, seed=seed, higher_is_better=False, params=params),
        resampled("corruption_retention", relative, n, seed=seed, why=why, unit="ratio", params=params),
    ]

"""Occlusion: the headline measure when part of the image is covered."""

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attacks.images.patch_common import GREY, apply_patch
from suite.attacks.rng import as_seeds, uniform
from suite.axes.base import AxisResult, Context
from suite.axes.corruption import Evaluation, curve_point, evaluate, not_an_image
from suite.data.digests import seed_of
from suite.errors import SpecError
from suite.kinds.base import Array
from suite.metrics.stats import mean_of, resampled
from suite.registry import register
from suite.types import Measure, not_applicable

FILLS = ("grey", "mean")
"""What fills the square: mid-gray, or the mean color of the image."""


@register("axis", name="occlusion")
@dataclass(frozen=True)
class Occlusion:
    """The headline measure when a square at a random position covers a fraction of the image.

    The value is the mean over several positions per image; the interval resamples images. Targets that the square
    covers are not scored. The square has an integer side and covers at most the given fraction; the row states how
    much it covers.

    Attributes:
        fractions: fractions of the area, ascending, below 1.
        places: number of random positions of the square per image and fraction.
        fill: ``grey`` or ``mean`` (of the image, by channel).
        grid: on gallery images, the square of the middle fraction is moved over grid x grid positions.
    """

    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    places: int = 4
    fill: str = "grey"
    grid: int = 7

    def __post_init__(self) -> None:
        fractions = tuple(self.fractions)
        if not fractions or list(fractions) != sorted(set(fractions)) or not 0 < fractions[0] <= fractions[-1] < 1:
            raise SpecError(f"fractions={list(fractions)}; expected ascending numbers between 0 and 1.")
        if self.places < 1 or self.grid < 1 or self.fill not in FILLS:
            raise SpecError(
                f"got places={self.places}, grid={self.grid}, fill={self.fill}; expected places and grid >= 1, "
                f"and fill={' or fill='.join(FILLS)}."
            )
        object.__setattr__(self, "fractions", fractions)

    def measure(self, context: Context) -> AxisResult:
        """Occlude every sample, and search the worst position on gallery samples.

        Raises:
            SpecError: the smallest fraction is less than one pixel.
        """
        if reason := not_an_image(context):
            return AxisResult([not_applicable(f"occluded_{context.kind.headline}", reason)])
        sides = {fraction: side_of(context.pixels, fraction) for fraction in self.fractions}
        with context.model.frozen():
            clean = evaluate(context, "clean", lambda pixels, rows: pixels)
            results = {fraction: self._evaluate(context, fraction, side) for fraction, side in sides.items()}
            gallery = self._gallery(context, sides[self.fractions[len(self.fractions) // 2]])
        measures = [self._measure(context, fraction, side, results[fraction]) for fraction, side in sides.items()]
        uncovered = curve_point(context.kind.headline_measure("clean", clean.tally, seed=context.seed))
        curve = [{"fraction": 0.0, "covered": 0.0, **uncovered}] + [
            {"fraction": one.params["fraction"], "covered": one.params["covered"], **curve_point(one)}
            for one in measures
        ]
        columns = {
            f"kept@{fraction!r}": np.mean([result.quality for result in positions], axis=0)
            for fraction, positions in results.items()
        }
        return AxisResult(
            measures,
            {"id": list(context.test.ids), "correct_clean": clean.quality, **columns},
            {
                "occlusion": curve,
                "headline": context.kind.headline,
                "unit": context.kind.unit,
                "fill": self.fill,
                "places": self.places,
            },
            gallery,
        )

    def _evaluate(self, context: Context, fraction: float, side: int) -> list[Evaluation]:
        """Evaluate the model with the square at each random position."""

        def occlude(place: int, pixels: Tensor, rows: Array) -> Tensor:
            seeds = context.sample_seeds(f"occlusion {float(fraction)!r}", rows)
            return self.occluded(pixels, side, corners(pixels, side, seeds, place))

        return [
            evaluate(context, f"occlusion {fraction:.3g}, place {place + 1}", partial(occlude, place), hides=True)
            for place in range(self.places)
        ]

    def occluded(self, pixels: Tensor, side: int, at: Tensor) -> Tensor:
        """Return images (n, c, h, w) with a square whose upper left corners `at` are (n, 2): row and column."""
        square = torch.ones((1, side, side), device=pixels.device, dtype=pixels.dtype)
        inside = apply_patch(torch.zeros_like(pixels[:, :1]), square, at) > 0
        filling = pixels.mean(dim=(2, 3), keepdim=True) if self.fill == "mean" else torch.full_like(pixels, GREY)
        return torch.where(inside, filling, pixels)

    def _measure(self, context: Context, fraction: float, side: int, results: list[Evaluation]) -> Measure:
        kind = context.kind
        return resampled(
            f"occluded_{kind.headline}",
            mean_of([kind.statistic(result.tally) for result in results]),
            len(context.test),
            seed=seed_of(*context.names, repr(fraction)) % 2**32,
            params={
                "fraction": fraction,
                "covered": side**2 / (context.pixels.shape[-2] * context.pixels.shape[-1]),
                "fill": self.fill,
                "places": self.places,
            },
            unit=kind.unit,
            higher_is_better=kind.higher_is_better,
        )

    def _gallery(self, context: Context, side: int) -> dict[str, Any]:
        """Return the gallery images, the score of the clean prediction by position, and the worst position of each."""
        explainable = context.kind.explainable(context.outcomes.output[context.gallery])
        rows = list(itertools.compress(context.gallery, explainable))
        if not rows:
            return {}
        pixels = context.pixels[rows]
        outputs = torch.from_numpy(context.outcomes.output[rows]).to(context.device)
        score = context.kind.explained(context.model, pixels, outputs).score
        tops, lefts = (stops(size, side, self.grid) for size in pixels.shape[-2:])
        positions = torch.tensor(list(itertools.product(tops, lefts)))
        samples = torch.arange(len(rows), device=context.device)
        with torch.no_grad():
            before = score(pixels, samples)
            after = torch.stack(
                [score(self.occluded(pixels, side, at.expand(len(rows), 2)), samples) for at in positions]
            )
        worst = positions[after.argmin(dim=0).cpu()]
        split, occluded = context.test.take(rows), self.occluded(pixels, side, worst)
        return {
            "ids": np.array(split.ids),
            "label": split.targets,
            "images": split.pixels(),
            "score": before.cpu().numpy(),
            "heat": after.T.reshape(len(rows), len(tops), len(lefts)).cpu().numpy(),
            "side": np.array(side),
            "worst_corner": worst.numpy(),
            "worst": occluded.cpu().numpy(),
            **context.kind.output_arrays(context.outcomes.output[rows]),
            **{f"worst_{name}": values for name, values in context.output_arrays(occluded).items()},
        }


def side_of(pixels: Tensor, fraction: float) -> int:
    """Return the integer side of the largest square that covers at most a fraction of the image.

    Raises:
        SpecError: the fraction is less than one pixel.
    """
    height, width = pixels.shape[-2:]
    side = min(height, width, math.isqrt(int(fraction * height * width * (1 + 1e-9))))
    if not side:
        raise SpecError(
            f"A fraction of {fraction:g} of {height}x{width} pixels is less than one pixel; use a larger one."
        )
    return side


def corners(pixels: Tensor, side: int, seeds: list[int], place: int) -> Tensor:
    """Return one random upper left corner per image, (n, 2): row and column; the square lies inside the image."""
    room = torch.tensor([size - side + 1 for size in pixels.shape[-2:]])
    return (uniform(as_seeds(seeds), place, (2,)) * room).long().minimum(room - 1)


def stops(size: int, side: int, count: int) -> list[int]:
    """Return at most `count` evenly spaced offsets of a square on an axis of `size` pixels, both ends included."""
    return sorted({round(stop) for stop in np.linspace(0, size - side, count)})

"""Occlusion: the headline measure when part of the image is covered."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from suite.attacks.images.patch_common import GREY, apply_patch
from suite.attacks.rng import as_seeds, uniform
from suite.axes.base import AxisResult, Context, in_role, predicted_arrays
from suite.axes.corruption import evaluate, mean_tally, require_images, tally_of
from suite.axes.registered import entries_of, metrics_of, more_measured, summaries
from suite.axes.rounds import Round, State
from suite.data.digests import seed_of
from suite.errors import SpecError
from suite.kinds.base import Array, Kind, optional
from suite.kinds.logits import checked_headline
from suite.metrics.catalogue import Metric
from suite.metrics.stats import mean_of
from suite.metrics.table import Column, Part, Table, collected, combined
from suite.registry import register
from suite.types import Display, Measure

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
        are_numbers = all(isinstance(fraction, int | float) for fraction in fractions)
        if (
            not fractions
            or not are_numbers
            or list(fractions) != sorted(set(fractions))
            or not 0 < fractions[0] <= fractions[-1] < 1
        ):
            raise SpecError(f"fractions={list(fractions)}; expected ascending numbers between 0 and 1.")
        if self.places < 1 or self.grid < 1 or self.fill not in FILLS:
            raise SpecError(
                f"got places={self.places}, grid={self.grid}, fill={self.fill}; expected places and grid >= 1, "
                f"and fill={' or fill='.join(FILLS)}."
            )
        object.__setattr__(self, "fractions", fractions)

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declaration of the headline metric of occluded images."""
        return [occluded_metric(kind.scoring.headline), *entries_of(metrics_of(kind, "occlusion"))]

    def measure(self, context: Context) -> AxisResult:
        """Occlude every sample, and search the worst position on gallery samples.

        Raises:
            NotApplicableError: the samples are not images.
            SpecError: the smallest fraction is less than one pixel.
        """
        require_images(context)
        size = context.test.shape[-2:]
        sides = {fraction: side_of(size, fraction) for fraction in self.fractions}
        occluded = context.run(Round("squares", self._occluded, context.cohort))
        measured = combined([occluded, more_measured(context, "occlusion")])
        with context.model.frozen():
            gallery = self._gallery(context, sides[self.fractions[len(self.fractions) // 2]])
        facts = {
            **measured.all_facts,
            **context.facts,
            "squares": [
                {"fraction": float(fraction), "covered": side**2 / math.prod(size), "seed": repr(fraction)}
                for fraction, side in sides.items()
            ],
            "fill": self.fill,
            "places": self.places,
        }
        table, kind = Table(tuple(occluded.columns), facts, seed=context.seed), context.kind
        return AxisResult(
            [Column("id", context.ids), *measured.columns],
            facts,
            {"fill": self.fill, "places": self.places},
            gallery,
            lambda measures: {"occlusion": self._curve(table, kind, measures)},
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute the headline metric for every fraction, as the mean over the positions of the square."""
        metric, facts, measures = occluded_metric(kind.scoring.headline), table.facts, []
        for square in facts["squares"]:
            parts = [table.at(fraction=square["fraction"], place=place) for place in range(facts["places"])]
            seed = seed_of(*facts["names"], square["seed"]) % 2**32
            shown = {name: square[name] for name in ("fraction", "covered")}
            params = {**shown, "fill": facts["fill"], "places": facts["places"]}
            if kind.scoring.outcome.type == "binary":
                measures.append(table.mean(metric, mean_tally(parts), seed=seed, params=params))
            else:
                statistic = mean_of([kind.scoring.statistic(tally_of(part)) for part in parts])
                measures.append(table.resampled(metric, statistic, seed=seed, params=params))
        measures += summaries(metrics_of(kind, "occlusion"), table)
        return checked_headline(measures, table.facts, kind.logits)

    def _curve(self, table: Table, kind: Kind, measures: Sequence[Measure]) -> list[dict[str, float | None]]:
        """Return the headline metric and its interval by covered share, from the clean image on."""
        clean = kind.scoring.headline_measure(table, kind.scoring.headline, tally_of(table))
        squares = [{"fraction": 0.0, "covered": 0.0}, *table.facts["squares"]]
        return [
            {**{name: square[name] for name in ("fraction", "covered")}, "value": one.value, "lo": one.lo, "hi": one.hi}
            for square, one in zip(squares, [clean, *measures], strict=False)
        ]

    def _occluded(self, context: Context, state: State) -> Part:
        """Evaluate one cohort without a square, then with squares of all sizes."""
        known = collected([context.kind.scoring.measured(context.outcomes)])
        with context.model.frozen():
            columns = evaluate(context, lambda pixels, rows: pixels, {})
            for fraction in self.fractions:
                columns += self._columns(context, fraction, side_of(context.test.shape[-2:], fraction))
        return Part(columns, known.facts, known.sums)

    def _columns(self, context: Context, fraction: float, side: int) -> list[Column]:
        """Evaluate the model with the square at each random position."""

        def occlude(place: int, pixels: Tensor, rows: Array) -> Tensor:
            seeds = context.sample_seeds(f"occlusion {float(fraction)!r}", rows)
            return self.occluded(pixels, side, corners(pixels, side, seeds, place))

        columns = []
        for place in range(self.places):
            params = {"fraction": float(fraction), "place": place}
            columns += evaluate(context, partial(occlude, place), params, hides=True)
        return columns

    def occluded(self, pixels: Tensor, side: int, at: Tensor) -> Tensor:
        """Return images (n, c, h, w) with a square whose upper left corners `at` are (n, 2): row and column."""
        square = torch.ones((1, side, side), device=pixels.device, dtype=pixels.dtype)
        inside = apply_patch(torch.zeros_like(pixels[:, :1]), square, at) > 0
        filling = pixels.mean(dim=(2, 3), keepdim=True) if self.fill == "mean" else torch.full_like(pixels, GREY)
        return torch.where(inside, filling, pixels)

    def _gallery(self, context: Context, side: int) -> dict[str, Display]:
        """Return the gallery images, the score of the clean prediction by position, and the worst position of each."""
        maps = optional(context.kind.maps)
        if maps is None:
            return {}
        explainable = maps.explainable(context.of(context.gallery).output)
        rows = list(itertools.compress(context.gallery, explainable))
        if not rows:
            return {}
        shown = context.of(rows)
        pixels, outputs = shown.pixels, torch.from_numpy(shown.output).to(context.device)
        score = maps.explained(context.model, pixels, outputs).score
        tops, lefts = (stops(size, side, self.grid) for size in pixels.shape[-2:])
        positions = torch.tensor(list(itertools.product(tops, lefts)))
        samples = torch.arange(len(rows), device=context.device)
        with torch.no_grad():
            before = score(pixels, samples)
            after = torch.stack(
                [score(self.occluded(pixels, side, at.expand(len(rows), 2)), samples) for at in positions]
            )
        worst = positions[after.argmin(dim=0).cpu()]
        occluded, heat = self.occluded(pixels, side, worst), after.T.reshape(len(rows), len(tops), len(lefts))
        return {
            **predicted_arrays(context, rows),
            "images": Display(shown.test.pixels(), "image", "input"),
            "score": Display(before.cpu().numpy(), "number", "score"),
            "heat": Display(heat.cpu().numpy(), "map", "score"),
            "side": Display(np.array(side), "number", "size", per_sample=False),
            "worst_corner": Display(worst.numpy(), "number", "region"),
            "worst": Display(occluded.cpu().numpy(), "image", "changed"),
            **in_role(context.output_arrays(occluded), "changed_prediction", "worst_{}"),
        }


def occluded_metric(headline: Metric) -> Metric:
    """Return the declaration of the headline metric of occluded images."""
    return headline.renamed(
        "occluded",
        f"{headline.title} under occlusion",
        meaning=f"{headline.title} with a square over part of the image, averaged over random positions",
    )


def side_of(size: tuple[int, ...], fraction: float) -> int:
    """Return the integer side of the largest square that covers at most a fraction of the image.

    Raises:
        SpecError: the fraction is less than one pixel.
    """
    height, width = size
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

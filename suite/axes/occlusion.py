"""Occlusion: what is left of the headline measure when part of the image is covered, as a dog's mouth is by a ball."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.attacks.images.patch_common import GREY, placed
from suite.attacks.rng import as_seeds, uniform
from suite.axes.base import AxisResult, Context
from suite.axes.corruption import Answers, answered, band, why_no_image
from suite.data.digests import seed_of
from suite.errors import SpecError
from suite.kinds.base import Array
from suite.metrics.stats import mean_of, resampled
from suite.registry import register
from suite.types import Measure, not_applicable

FILLS = ("grey", "mean")
"""What covers the square: mid-grey, or the mean colour of the image."""


@register("axis", name="occlusion")
@dataclass(frozen=True)
class Occlusion:
    """The headline measure against the share of the image that a square covers, at random places.

    The measure is taken with the square at one place of every image after the other, and then the mean of those; the
    interval resamples images. What the square hides does not have to be found. A square has whole pixels and covers
    no more than the share asked for; how much it covers is in the row.

    Attributes:
        fractions: shares of the area, ascending, below 1.
        places: random places of the square per image and share.
        fill: ``grey`` or ``mean`` (of the image, by channel).
        grid: the square of the middle share visits grid x grid places of the images in the gallery.
    """

    fractions: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5)
    places: int = 4
    fill: str = "grey"
    grid: int = 7

    def __post_init__(self) -> None:
        given = tuple(self.fractions)
        if not given or list(given) != sorted(set(given)) or not 0 < given[0] <= given[-1] < 1:
            raise SpecError(f"fractions={list(given)}; expected ascending shares of the area between 0 and 1.")
        if self.places < 1 or self.grid < 1 or self.fill not in FILLS:
            raise SpecError(
                f"got places={self.places}, grid={self.grid}, fill={self.fill}; expected at least one place and one "
                f"row of the grid, and fill={' or fill='.join(FILLS)}."
            )
        object.__setattr__(self, "fractions", given)

    def measure(self, context: Context) -> AxisResult:
        """Cover every sample, and look for the worst place on the samples of the gallery.

        Raises:
            SpecError: not even one pixel fits into the smallest share.
        """
        if reason := why_no_image(context):
            return AxisResult([not_applicable(f"occluded_{context.kind.headline}", reason)])
        sides = {fraction: side_of(context.pixels, fraction) for fraction in self.fractions}
        everyone = np.arange(len(context.test))
        with context.model.frozen():
            clean = answered(context, everyone, "clean", lambda pixels, rows: pixels)
            kept = {fraction: self._kept(context, fraction, side) for fraction, side in sides.items()}
            gallery = self._gallery(context, sides[self.fractions[len(self.fractions) // 2]])
        measures = [self._measure(context, fraction, sides[fraction], kept[fraction]) for fraction in self.fractions]
        whole = band(context.kind.headline_measure("clean", clean.tally, seed=context.seed))
        curve = [{"fraction": 0.0, "covered": 0.0, **whole}, *(_point(measure) for measure in measures)]
        columns = {
            f"kept@{fraction!r}": np.mean([answers.quality for answers in places], axis=0)
            for fraction, places in kept.items()
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

    def _kept(self, context: Context, fraction: float, side: int) -> list[Answers]:
        """Return the answers with the square at each of the places."""
        everyone = np.arange(len(context.test))
        found = []
        for place in range(self.places):

            def changed(pixels: Tensor, rows: Array, place: int = place) -> Tensor:
                seeds = context.sample_seeds(f"occlusion {float(fraction)!r}", [int(row) for row in rows])
                return self.covered(pixels, side, corners(pixels, side, seeds, place))

            label = f"occlusion {fraction:.3g}, place {place + 1}"
            found.append(answered(context, everyone, label, changed, hides=True))
        return found

    def covered(self, pixels: Tensor, side: int, at: Tensor) -> Tensor:
        """Return images (n, c, h, w) with a square whose upper left corners are (n, 2): row and column."""
        square = torch.ones((1, side, side), device=pixels.device, dtype=pixels.dtype)
        inside = placed(torch.zeros_like(pixels[:, :1]), square, at) > 0
        filling = pixels.mean(dim=(2, 3), keepdim=True) if self.fill == "mean" else torch.full_like(pixels, GREY)
        return torch.where(inside, filling, pixels)

    def _measure(self, context: Context, fraction: float, side: int, kept: list[Answers]) -> Measure:
        params = {
            "fraction": fraction,
            "covered": share_of(context.pixels, side),
            "fill": self.fill,
            "places": self.places,
        }
        seed = seed_of(*context.names, repr(fraction)) % 2**32
        mean = mean_of([context.kind.statistic(answers.tally) for answers in kept])
        kind = context.kind
        fields: dict[str, Any] = {"params": params, "unit": kind.unit, "higher_is_better": kind.higher_is_better}
        return resampled(f"occluded_{kind.headline}", mean, len(context.test), seed=seed, **fields)

    def _gallery(self, context: Context, side: int) -> dict[str, Any]:
        """Return the images of the gallery, the score of the clean answer by place, and the worst place of each."""
        fit = context.kind.explainable(context.outcomes.output[context.gallery])
        rows = [row for row, explainable in zip(context.gallery, fit, strict=True) if explainable]
        if not rows:
            return {}
        pixels = context.pixels[torch.tensor(rows, device=context.device)]
        outputs = torch.from_numpy(context.outcomes.output[rows]).to(context.device)
        score = context.kind.explained(context.model, pixels, outputs).score
        tops, lefts = (stops(size, side, self.grid) for size in pixels.shape[-2:])
        places = [(top, left) for top in tops for left in lefts]
        everyone = torch.arange(len(rows), device=context.device)
        with torch.no_grad():
            before = score(pixels, everyone)
            after = torch.stack(
                [score(self.covered(pixels, side, torch.tensor([place] * len(rows))), everyone) for place in places]
            )
        worst = torch.tensor(places)[after.argmin(dim=0).cpu()]
        kind, small = context.kind, context.test.take(rows)
        hidden = self.covered(pixels, side, worst)
        with torch.no_grad():
            after_worst = kind.output_arrays(context.model(hidden).float().cpu().numpy())
        return {
            "ids": np.array(small.ids),
            "label": small.targets,
            "images": small.pixels(),
            "score": before.cpu().numpy(),
            "heat": after.T.reshape(len(rows), len(tops), len(lefts)).cpu().numpy(),
            "side": np.array(side),
            "worst_corner": worst.numpy(),
            "worst": hidden.cpu().numpy(),
            **kind.output_arrays(context.outcomes.output[rows]),
            **{f"worst_{name}": values for name, values in after_worst.items()},
        }


def _point(measure: Measure) -> dict[str, Any]:
    position = {name: measure.params[name] for name in ("fraction", "covered")}
    return {**position, "accuracy": measure.value, "lo": measure.lo, "hi": measure.hi}


def side_of(pixels: Tensor, fraction: float) -> int:
    """Return the side of the largest square of whole pixels that covers no more than a share of the image.

    Raises:
        SpecError: not even one pixel fits.
    """
    height, width = pixels.shape[-2:]
    side = min(height, width, math.isqrt(int(fraction * height * width * (1 + 1e-9))))
    if not side:
        raise SpecError(f"A share of {fraction:g} of {height}x{width} pixels is less than one; give more.")
    return side


def share_of(pixels: Tensor, side: int) -> float:
    """Return the share of an image that a square covers."""
    return side**2 / (pixels.shape[-2] * pixels.shape[-1])


def corners(pixels: Tensor, side: int, seeds: list[int], place: int) -> Tensor:
    """Return one random upper left corner per image, (n, 2): row and column, so that the square lies inside."""
    room = torch.tensor([size - side + 1 for size in pixels.shape[-2:]])
    return (uniform(as_seeds(seeds), place, (2,)) * room).long().minimum(room - 1)


def stops(size: int, side: int, count: int) -> list[int]:
    """Return where a square of a side may begin on a line of pixels: at most `count` places, evenly, ends included."""
    return sorted({round(stop) for stop in np.linspace(0, size - side, count)})

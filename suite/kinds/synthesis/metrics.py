"""Clean measures of generators, and what a page shows of them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Outcomes
from suite.kinds.synthesis.kind import Synthesis
from suite.kinds.synthesis.quality import MOST, sample_quality_measures
from suite.metrics import stats
from suite.types import Measure, not_applicable

SAMPLES = 201
"""Seed of the images that are scored."""

PATHS, STEPS = 100, 10
"""Straight lines between latents, and the images along each."""


@metric(kind="synthesis", name="synthesis_precision")
def precision(outcomes: Outcomes) -> list[Measure]:
    """Share of the images of the test latents that lie on the manifold of training images, beside test images."""
    kind: Synthesis = outcomes.kind
    try:
        manifold = kind.manifold(torch.device("cpu"))
    except NotApplicableError as error:
        return [not_applicable("precision", str(error))]
    real = manifold.seen(outcomes.data.test.pixels()) <= 0
    tally = kind.tally(outcomes.output, outcomes.targets)
    return [kind.headline_measure("precision", tally, seed=outcomes.seed, control=float(real.mean()), proxy=False)]


@metric(kind="synthesis", name="synthesis_quality")
def quality(outcomes: Outcomes) -> list[Measure]:
    """Quality of random samples; the precision of the kind itself stands for that among them."""
    images = outcomes.model.sample(MOST, SAMPLES)
    return [row for row in sample_quality_measures(outcomes, images, seed=outcomes.seed) if row.metric != "precision"]


@metric(kind="synthesis")
def interpolation_jump(outcomes: Outcomes) -> list[Measure]:
    """How even the way between two images is: the largest over the mean step of features along a straight line."""
    kind: Synthesis = outcomes.kind
    try:
        manifold = kind.manifold(torch.device("cpu"))
    except NotApplicableError as error:
        return [not_applicable("interpolation_jump", str(error)), not_applicable("interpolation_detour", str(error))]
    images = _between(outcomes, PATHS)
    if not len(images):
        reason = "one test latent has no other to go to"
        return [not_applicable("interpolation_jump", reason), not_applicable("interpolation_detour", reason)]
    features = manifold.judge.seen(images.flatten(0, 1).cpu()).reshape(len(images), STEPS, -1)
    jumps, detours = jump(features), detour(features)
    ends = float(np.linalg.norm(features[:, -1] - features[:, 0], axis=1).mean())
    fields: dict[str, Any] = {
        "seed": outcomes.seed,
        "higher_is_better": False,
        "unit": "ratio",
        "params": {"steps": STEPS, "features": f"judge of {manifold.judge.learnt}", "distance_of_ends": ends},
    }
    names = {"interpolation_jump": jumps, "interpolation_detour": detours}
    return [_mean(name, values[np.isfinite(values)], fields) for name, values in names.items()]


def _mean(name: str, values: Array, fields: dict[str, Any]) -> Measure:
    if len(values):
        return stats.mean_measure(name, values, **fields)
    told = {key: value for key, value in fields.items() if key != "seed"}
    reason = "all images along every line are the same to the judge"
    return Measure(name, None, None, None, 0, "none", reason=reason, **told)


def jump(features: Array) -> Array:
    """Return the largest over the mean step of paths (n, steps, features), (n,); NaN where nothing moves."""
    lengths = np.linalg.norm(np.diff(features, axis=1), axis=2)
    mean = lengths.mean(axis=1)
    return np.asarray(np.divide(lengths.max(axis=1), mean, out=np.full(len(mean), np.nan), where=mean > 0))


def detour(features: Array) -> Array:
    """Return the length of paths (n, steps, features) over the distance of their ends, (n,); NaN where they meet."""
    length = np.linalg.norm(np.diff(features, axis=1), axis=2).sum(axis=1)
    ends = np.linalg.norm(features[:, -1] - features[:, 0], axis=1)
    return np.asarray(np.divide(length, ends, out=np.full(len(ends), np.nan), where=ends > 0))


def _between(outcomes: Outcomes, count: int) -> Tensor:
    """Return images along the lines between test latents that follow each other, (lines, steps, c, h, w)."""
    latents = outcomes.inputs
    count = min(count, len(latents) - 1)
    images: Tensor = outcomes.model.interpolate(latents[:count], latents[1 : count + 1], STEPS)
    return images

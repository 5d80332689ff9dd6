"""Clean metrics of generators."""

from typing import Any

import numpy as np
import torch

from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Outcomes
from suite.kinds.synthesis.gallery import interpolations
from suite.kinds.synthesis.kind import Synthesis
from suite.kinds.synthesis.quality import MOST, sample_quality_measures
from suite.metrics import stats
from suite.metrics.stats import ratio
from suite.types import Measure, not_applicable

SAMPLES = 201
"""Seed of the images whose quality is measured."""

PATHS, STEPS = 100, 10
"""Interpolations between latents, and images per interpolation."""


@metric(kind="synthesis", name="synthesis_precision")
def precision(outcomes: Outcomes) -> list[Measure]:
    """Fraction of the images of test latents on the manifold of training images; the control is that of test images."""
    kind: Synthesis = outcomes.kind
    try:
        manifold = kind.manifold(torch.device("cpu"))
    except NotApplicableError as error:
        return [not_applicable("precision", str(error))]
    real = manifold.distances(outcomes.data.test.pixels()) <= 0
    tally = kind.tally(outcomes.output, outcomes.targets)
    return [kind.headline_measure("precision", tally, seed=outcomes.seed, control=float(real.mean()), proxy=False)]


@metric(kind="synthesis", name="synthesis_quality")
def quality(outcomes: Outcomes) -> list[Measure]:
    """Quality of random samples, without their precision, which `precision` reports."""
    images = outcomes.model.sample(MOST, SAMPLES)
    return [row for row in sample_quality_measures(outcomes, images, seed=outcomes.seed) if row.metric != "precision"]


@metric(kind="synthesis")
def interpolation_jump(outcomes: Outcomes) -> list[Measure]:
    """Smoothness of interpolations: the largest over the mean step, and the length over the distance of the ends.

    Steps are measured in the judge's features, along straight lines between latents.
    """
    kind: Synthesis = outcomes.kind
    names = ("interpolation_jump", "interpolation_detour")
    try:
        judge = kind.manifold(torch.device("cpu")).judge
    except NotApplicableError as error:
        return [not_applicable(name, str(error)) for name in names]
    images = interpolations(outcomes, PATHS, STEPS)
    if not len(images):
        return [not_applicable(name, "one test latent has no other to interpolate to") for name in names]
    features = judge.features_of(images.flatten(0, 1).cpu()).reshape(len(images), STEPS, -1)
    ends = float(np.linalg.norm(features[:, -1] - features[:, 0], axis=1).mean())
    params = {"steps": STEPS, "features": f"judge of {judge.learned}", "distance_of_ends": ends}
    values = (jump(features), detour(features))
    return [_mean(n, v[np.isfinite(v)], outcomes.seed, params) for n, v in zip(names, values, strict=True)]


def _mean(name: str, values: Array, seed: int, params: dict[str, Any]) -> Measure:
    fields: dict[str, Any] = {"higher_is_better": False, "unit": "ratio", "params": params}
    if len(values):
        return stats.mean_measure(name, values, seed=seed, **fields)
    reason = "all images along every line have the same features"
    return Measure(name, None, None, None, 0, "none", reason=reason, **fields)


def jump(features: Array) -> Array:
    """Return the largest over the mean step of paths (n, steps, features), (n,); NaN for constant paths."""
    lengths = np.linalg.norm(np.diff(features, axis=1), axis=2)
    return ratio(lengths.max(axis=1), lengths.mean(axis=1))


def detour(features: Array) -> Array:
    """Return the length of paths (n, steps, features) over the distance of their ends, (n,); NaN for equal ends."""
    length = np.linalg.norm(np.diff(features, axis=1), axis=2).sum(axis=1)
    return ratio(length, np.linalg.norm(features[:, -1] - features[:, 0], axis=1))

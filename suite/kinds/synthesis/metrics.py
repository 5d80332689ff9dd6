"""Clean metrics of generators."""

import numpy as np
import torch

from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Outcomes
from suite.kinds.synthesis.gallery import interpolations
from suite.kinds.synthesis.kind import Synthesis
from suite.kinds.synthesis.memorization import judge_params
from suite.kinds.synthesis.pools import MOST, sample_pools
from suite.kinds.synthesis.quality import PRECISION, QUALITY, quality_measures
from suite.metrics.catalogue import Metric
from suite.metrics.stats import ratio
from suite.metrics.table import Measured, Table
from suite.types import Measure

SAMPLES = 201
"""Seed of the images whose quality is measured."""

PATHS, STEPS = 100, 10
"""Interpolations between latents, and images per interpolation."""

HELD_OUT, LINES = "held_out", "interpolations"
"""The populations of all test images, and of lines between latents."""

JUMP = Metric(
    "interpolation_jump",
    "interpolation jump",
    "ratio of the largest to the mean step on paths between images; 1 is even",
    unit="ratio",
    bounds=(1.0, None),
    higher_is_better=False,
)
DETOUR = Metric(
    "interpolation_detour",
    "interpolation detour",
    "ratio of path length to endpoint distance on paths between images; 1 is straight",
    unit="ratio",
    bounds=(1.0, None),
    higher_is_better=False,
)


def held_out_distances(outcomes: Outcomes) -> Measured:
    """Return the distance of each test image to the manifold of training images, (n,); negative on it."""
    manifold = outcomes.kind.scoring.manifold(torch.device("cpu"))
    return Measured({"off_manifold": manifold.distances(outcomes.data.test.pixels())}, population=HELD_OUT)


@metric(kind="synthesis", name="synthesis_precision", entries=[PRECISION], measure=held_out_distances)
def precision(table: Table) -> list[Measure]:
    """Fraction of the images of test latents on the manifold of training images; the control is that of test images."""
    control = float((table.of(HELD_OUT, "off_manifold") <= 0).mean())
    return [Synthesis().headline_measure(table, PRECISION, table["off_manifold"] <= 0, control=control)]


def random_samples(outcomes: Outcomes) -> list[Measured]:
    """Draw images, and return what `quality_measures` needs of them."""
    return sample_pools(outcomes.data, outcomes.model.sample(MOST, SAMPLES))


@metric(
    kind="synthesis",
    name="synthesis_quality",
    entries=[one for one in QUALITY if one is not PRECISION],
    measure=random_samples,
)
def quality(table: Table) -> list[Measure]:
    """Quality of random samples, without their precision, which `precision` reports."""
    return [row for row in quality_measures(table) if row.metric != PRECISION.name]


def lines(outcomes: Outcomes) -> Measured:
    """Return the jump, the detour and the distance of the ends of images along lines between latents, (lines,).

    Steps are measured in the judge's features.

    Raises:
        NotApplicableError: a judge cannot be trained, or there is a single latent.
    """
    judge = outcomes.kind.scoring.manifold(torch.device("cpu")).judge
    images = interpolations(outcomes, PATHS, STEPS)
    if not len(images):
        raise NotApplicableError("one test latent has no other to interpolate to")
    features = judge.features_of(images.flatten(0, 1).cpu()).reshape(len(images), STEPS, -1)
    ends = np.linalg.norm(features[:, -1] - features[:, 0], axis=1)
    columns = {"jump": jump(features), "detour": detour(features), "distance": ends}
    return Measured(columns, {"judge": judge.learned}, LINES)


@metric(kind="synthesis", entries=[JUMP, DETOUR], measure=lines)
def interpolation_jump(table: Table) -> list[Measure]:
    """Smoothness of interpolations: the largest over the mean step, and the length over the distance of the ends."""
    return [_smoothness(table, one, table.of(LINES, name)) for one, name in ((JUMP, "jump"), (DETOUR, "detour"))]


def _smoothness(table: Table, metric: Metric, values: Array) -> Measure:
    ends = float(table.of(LINES, "distance").mean())
    params = {"steps": STEPS, **judge_params(table), "distance_of_ends": ends}
    values = values[np.isfinite(values)]
    if len(values):
        return table.of_others().mean(metric, values, params=params)
    return table.undefined(metric, "all images along every line have the same features", params=params)


def jump(features: Array) -> Array:
    """Return the largest over the mean step of paths (n, steps, features), (n,); NaN for constant paths."""
    lengths = np.linalg.norm(np.diff(features, axis=1), axis=2)
    return ratio(lengths.max(axis=1), lengths.mean(axis=1))


def detour(features: Array) -> Array:
    """Return the length of paths (n, steps, features) over the distance of their ends, (n,); NaN for equal ends."""
    length = np.linalg.norm(np.diff(features, axis=1), axis=2).sum(axis=1)
    return ratio(length, np.linalg.norm(features[:, -1] - features[:, 0], axis=1))

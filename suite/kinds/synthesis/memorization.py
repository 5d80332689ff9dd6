"""Memorized images: generated ones that are nearer to a training image than real images are."""

from typing import Any

import numpy as np

from suite.kinds.synthesis.pools import GENERATED, NEAREST, REAL
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.generation import nearer_counts, nearer_interval, nearer_share
from suite.metrics.stats import Interval
from suite.metrics.table import Table
from suite.types import Measure

NEAR_COVERS = "the share of all images of the generator below the true 1 % quantile of the distances of real images"
NEAR_METHOD = "binomial quantile and clopper-pearson"
"""Covered quantity and interval method of memorized images."""

IMAGE_MEMORIZATION = Metric(
    "image_memorization",
    "images memorized",
    "share of generated images that are nearer to a training image than the nearest hundredth of test images; 1 % for "
    "an honest generator",
    higher_is_better=False,
    control="real",
    columns=(BoardColumn("images memorized"),),
    descriptive=("control", "distance"),
)


def judge_params(table: Table) -> dict[str, Any]:
    """Return the params of rows that depend on the judge."""
    return {"features": f"judge of {table.facts['judge']}"}


def row_fields(table: Table, **params: Any) -> dict[str, Any]:
    """Return what every row has: the number of images that are not finite, and the judge."""
    return {"n_failed": table.facts["not_finite"], "params": {**judge_params(table), **params}}


def image_memorization(table: Table, space: str) -> Measure:
    """Return how many generated images are nearer to a training image than the nearest 1 % of test images.

    An honest generator shows 1 % on average. If more than 1 % of the test images are copies of training images, copies
    by the generator cannot be distinguished from them, and only a share of them counts, see `nearer_counts`.
    """
    params = {"space": space, "control": "test images; 0.01 by construction", "covers": NEAR_COVERS}
    generated, real = (len(table.of(name, "features")) for name in (GENERATED, REAL))
    if not generated or real < 1 / NEAREST:
        reason = f"{real} test images; expected at least {1 / NEAREST:.0f}, to determine the nearest hundredth"
        return table.undefined(IMAGE_MEMORIZATION, reason, n=generated, **row_fields(table, **params))
    of_generated, of_real = (table.of(name, f"nearest_{space}") for name in (GENERATED, REAL))
    counts = nearer_counts(of_real, of_generated)
    value = nearer_share(counts, generated, NEAREST)
    lo, hi = nearer_interval(counts, generated, NEAREST, table.level)
    fields = table.fields(
        IMAGE_MEMORIZATION,
        **row_fields(table, **params, distance=float(np.quantile(of_real, NEAREST, method="weibull"))),
    )
    return Interval(lo, hi, NEAR_METHOD).measure(
        IMAGE_MEMORIZATION.name, value, generated, level=table.level, control=NEAREST, **fields
    )

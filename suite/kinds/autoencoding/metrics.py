"""Clean metrics of autoencoders: bounds of the likelihood, use of the code, and quality of generated images.

All likelihoods are of Bernoulli pixels, and comparable only among images that were binarized in the same way.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from suite.data.digests import seed_of
from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.autoencoding import losses
from suite.kinds.autoencoding.evidence import (
    binarized,
    evidence_of,
    evidence_params,
    known_rows,
    likelihood,
    subset_mean,
)
from suite.kinds.autoencoding.kind import Autoencoding
from suite.kinds.autoencoding.losses import ACTIVE_UNITS, CODE_LENGTH, DIVERGENCE, INDEPENDENT_PIXELS
from suite.kinds.autoencoding.rank_test import generated
from suite.kinds.base import Array, Outcomes
from suite.kinds.synthesis.pools import sample_pools
from suite.kinds.synthesis.quality import PRECISION, QUALITY, quality_measures
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import drawn
from suite.metrics.table import Measured, Table
from suite.types import Measure

GENERATED = 1000
"""Maximum number of images that are generated for sample quality; at most as many as test images."""

ACTIVE = 0.01
"""Variance over images of a code's mean above which a unit is active (Burda et al. 2016)."""

PIXEL_ERROR = Metric(
    "pixel_error",
    "pixel error",
    "share of pixels that are flipped after encoding and decoding",
    higher_is_better=False,
)
NLL = Metric(
    "importance_weighted_nll",
    "NLL",
    "bound on the cost of an image from many sampled codes, tighter than the ELBO",
    unit="nat",
    higher_is_better=False,
    columns=(BoardColumn("NLL (nats)"),),
)
NLL_BITS = Metric(
    "importance_weighted_bits",
    "NLL per pixel",
    "the NLL in bits per pixel",
    unit="bit per dimension",
    higher_is_better=False,
)
ELBO = Metric(
    "elbo",
    "ELBO",
    "lower bound on the log-likelihood of an image",
    unit="nat",
    columns=(BoardColumn("ELBO (nats)"),),
)
ELBO_BITS = Metric(
    "negative_elbo_bits",
    "negative ELBO per pixel",
    "upper bound on the cost of an image, its reconstruction and its code, in bits per pixel",
    unit="bit per dimension",
    higher_is_better=False,
)
RECONSTRUCTION = Metric(
    "reconstruction",
    "reconstruction",
    "the part of the cost due to reconstruction errors",
    unit="nat",
    higher_is_better=None,
)


BOUNDS = (NLL, NLL_BITS, ELBO, ELBO_BITS, RECONSTRUCTION, DIVERGENCE)
SAMPLES = tuple(replace(one, is_headline=False, outcome="") if one is PRECISION else one for one in QUALITY)


@metric(kind="autoencoding", entries=[CODE_LENGTH, PIXEL_ERROR])
def code_length(table: Table) -> list[Measure]:
    """Bits per dimension of the code and of the pixels given the code's mean, and the fraction of wrong pixels.

    The row's reason says that it bounds no likelihood; its params say if pixels are not binary.
    """
    tally = np.stack([table["reconstruction"], table["divergence"]], axis=1)
    params: dict[str, Any] = {} if table.facts["binarised"] else likelihood(table.facts)
    reason = (
        "the decoder is evaluated at the code's mean: an estimate that bounds no likelihood; the ELBO and the NLL do"
        if table.facts["variational"]
        else "codes are points of length 0: this bounds no likelihood"
    )
    return [
        Autoencoding().headline_measure(table, CODE_LENGTH, tally, params=params, reason=reason),
        table.mean(PIXEL_ERROR, table["wrong_pixels"], params={"threshold": 0.5}),
    ]


@metric(kind="autoencoding", entries=BOUNDS, measure=evidence_of)
def evidence(table: Table) -> list[Measure]:
    """Importance-weighted bound of -log p, evidence lower bound and its parts."""
    names = ("evidence_importance", "evidence_reconstruction", "evidence_divergence")
    importance, reconstruction, divergence = (table[name] for name in names)
    negative_elbo = reconstruction + divergence
    per_dimension = 1 / (table.facts["dimensions"] * math.log(2))
    values = {
        NLL: importance,
        NLL_BITS: importance * per_dimension,
        ELBO: -negative_elbo,
        ELBO_BITS: negative_elbo * per_dimension,
        RECONSTRUCTION: reconstruction,
        DIVERGENCE: divergence,
    }
    params, rows = evidence_params(table), known_rows(table, names[0])
    return [subset_mean(table, one, part, rows, params) for one, part in values.items()]


def independent_nats(outcomes: Outcomes) -> dict[str, Array]:
    """Return -log p of test images under independent pixels with the training images' means, in nats, (n,)."""
    train = outcomes.data.train.targets
    if not len(train):
        raise NotApplicableError("there are no training images to average")
    if not binarized(outcomes):
        raise NotApplicableError("pixels between 0 and 1 have no likelihood under a Bernoulli")
    return {"independent_nats": losses.independent_nats(outcomes.targets, losses.independent(train))}


@metric(kind="autoencoding", entries=[INDEPENDENT_PIXELS], measure=independent_nats)
def independent_pixels(table: Table) -> list[Measure]:
    """Mean -log p under independent pixels: a baseline of the bounds."""
    return [table.mean(INDEPENDENT_PIXELS, table["independent_nats"], params=likelihood(table.facts))]


def code_means(outcomes: Outcomes) -> dict[str, Array]:
    """Return the means of the codes, (n, latent)."""
    if not outcomes.model.variational:
        raise NotApplicableError("codes are points without a prior, so that their scale is arbitrary")
    output = losses.output_parts(torch.from_numpy(outcomes.output), torch.from_numpy(outcomes.targets))
    return {"code_mean": output.mean.numpy()}


@metric(kind="autoencoding", entries=[ACTIVE_UNITS], measure=code_means)
def active_units(table: Table) -> list[Measure]:
    """Number of latent dimensions whose mean varies over images."""
    mean = table["code_mean"].astype(np.float64)
    n, params = len(mean), {"latent": mean.shape[1], "threshold": ACTIVE}
    if n < 2:
        return [table.undefined(ACTIVE_UNITS, "the variance of codes is undefined for one image", n=n, params=params)]
    measure = table.resampled(ACTIVE_UNITS, lambda counts: active(mean, counts), n, params=params)
    return [replace(measure, reason="all resamples count the same number") if measure.lo is None else measure]


def active(mean: Array, counts: Array | None = None) -> Array:
    """Return how many columns of codes' means (n, latent) vary by more than `ACTIVE`, for each resample, (r,)."""
    weights = drawn(counts, len(mean))
    total = weights.sum(axis=1, keepdims=True)
    centered = mean - mean.mean(axis=0)
    first, second = weights @ centered / total, weights @ np.square(centered) / total
    return np.asarray(((second - first**2) * total / (total - 1) > ACTIVE).sum(axis=1), np.float64)


def drawn_samples(outcomes: Outcomes) -> list[Measured]:
    """Draw images from the model, and return what `quality_measures` needs of them."""
    if not outcomes.model.variational:
        raise NotApplicableError("a plain autoencoder has no prior to draw codes from")
    seed = seed_of("prior", "samples", str(outcomes.seed))
    count = min(GENERATED, len(outcomes.ids))
    images = generated(outcomes.model, count, seed) if binarized(outcomes) else outcomes.model.sample(count, seed)
    return sample_pools(outcomes.data, images)


@metric(kind="autoencoding", name="autoencoding_samples", entries=SAMPLES, measure=drawn_samples)
def samples(table: Table) -> list[Measure]:
    """Quality of images drawn from the model."""
    return quality_measures(table)

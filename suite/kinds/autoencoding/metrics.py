"""Clean metrics of autoencoders: bounds of the likelihood, use of the code, and quality of generated images.

All likelihoods are of Bernoulli pixels, and comparable only among images that were binarized in the same way.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from suite.data.digests import seed_of
from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.autoencoding import losses
from suite.kinds.autoencoding.evidence import binarized, evidence_of, likelihood
from suite.kinds.autoencoding.rank_test import generated
from suite.kinds.base import Array, Outcomes
from suite.metrics import stats
from suite.metrics.stats import drawn, resampled
from suite.models.adapters.evidence import Evidence
from suite.types import Measure, not_applicable

GENERATED = 1000
"""Maximum number of images that are generated for sample quality; at most as many as test images."""

ACTIVE = 0.01
"""Variance over images of a code's mean above which a unit is active (Burda et al. 2016)."""


@metric(kind="autoencoding")
def code_length(outcomes: Outcomes) -> list[Measure]:
    """Bits per dimension of the code and of the pixels given the code's mean, and the fraction of wrong pixels.

    The row's reason says that it bounds no likelihood; its params say if pixels are not binary.
    """
    tally, kind = outcomes.kind.tally(outcomes.output, outcomes.targets), outcomes.kind
    params: dict[str, Any] = {} if binarized(outcomes) else likelihood(outcomes)
    reason = (
        "the decoder is evaluated at the code's mean: an estimate that bounds no likelihood; the ELBO and the NLL do"
        if outcomes.model.variational
        else "codes are points of length 0: this bounds no likelihood"
    )
    error = kind.columns(outcomes)["pixel_error"]
    return [
        kind.headline_measure("code_length", tally, seed=outcomes.seed, params=params, reason=reason),
        stats.mean_measure("pixel_error", error, seed=outcomes.seed, higher_is_better=False, params={"threshold": 0.5}),
    ]


@metric(kind="autoencoding")
def evidence(outcomes: Outcomes) -> list[Measure]:
    """Importance-weighted bound of -log p, evidence lower bound and its parts, and an independent-pixels baseline."""
    per_dimension = 1 / (math.prod(outcomes.targets.shape[1:]) * math.log(2))
    parts: dict[str, Callable[[Evidence], Any]] = {
        "importance_weighted_nll": lambda bounds: bounds.importance,
        "importance_weighted_bits": lambda bounds: bounds.importance * per_dimension,
        "elbo": lambda bounds: -bounds.negative_elbo,
        "negative_elbo_bits": lambda bounds: bounds.negative_elbo * per_dimension,
        "reconstruction": lambda bounds: bounds.reconstruction,
        "divergence": lambda bounds: bounds.divergence,
    }
    try:
        bounds, params = evidence_of(outcomes)
    except NotApplicableError as error:
        return [*(not_applicable(name, str(error)) for name in parts), independent_pixels(outcomes)]
    measures = []
    for name, part in parts.items():
        better = {"elbo": True, "reconstruction": None, "divergence": None}.get(name, False)
        unit = "bit per dimension" if name.endswith("_bits") else "nat"
        fields: dict[str, Any] = {"unit": unit, "higher_is_better": better, "params": params}
        measures.append(stats.mean_measure(name, part(bounds).cpu().numpy(), seed=outcomes.seed, **fields))
    return [*measures, independent_pixels(outcomes)]


@metric(kind="autoencoding")
def active_units(outcomes: Outcomes) -> list[Measure]:
    """Number of latent dimensions whose mean varies over images."""
    if not outcomes.model.variational:
        return [not_applicable("active_units", "codes are points without a prior, so that their scale is arbitrary")]
    output = losses.output_parts(torch.from_numpy(outcomes.output), torch.from_numpy(outcomes.targets))
    mean, n = output.mean.double().numpy(), len(outcomes.output)
    params = {"latent": mean.shape[1], "threshold": ACTIVE}
    fields: dict[str, Any] = {"unit": "number of the code", "higher_is_better": None, "params": params}
    if n < 2:
        reason = "the variance of codes is undefined for one image"
        return [Measure("active_units", None, None, None, n, "none", reason=reason, **fields)]
    return [resampled("active_units", lambda counts: active(mean, counts), n, seed=outcomes.seed, **fields)]


@metric(kind="autoencoding", name="autoencoding_samples")
def samples(outcomes: Outcomes) -> list[Measure]:
    """Quality of images drawn from the model."""
    from suite.kinds.synthesis.quality import NAMES, sample_quality_measures

    if not outcomes.model.variational:
        return [not_applicable(name, "a plain autoencoder has no prior to draw codes from") for name in NAMES]
    seed = seed_of("prior", "samples", str(outcomes.seed))
    count = min(GENERATED, len(outcomes.ids))
    images = generated(outcomes.model, count, seed) if binarized(outcomes) else outcomes.model.sample(count, seed)
    measures: list[Measure] = sample_quality_measures(outcomes, images, seed=outcomes.seed)
    return measures


def active(mean: Array, counts: Array | None = None) -> Array:
    """Return how many columns of codes' means (n, latent) vary by more than `ACTIVE`, for each resample, (r,)."""
    weights = drawn(counts, len(mean))
    total = weights.sum(axis=1, keepdims=True)
    centered = mean - mean.mean(axis=0)
    first, second = weights @ centered / total, weights @ np.square(centered) / total
    return np.asarray(((second - first**2) * total / (total - 1) > ACTIVE).sum(axis=1), np.float64)


def independent_pixels(outcomes: Outcomes) -> Measure:
    """Return -log p of test images under independent pixels with the training images' means, in nats."""
    train = outcomes.data.train.targets
    if not len(train):
        return not_applicable("independent_pixels_nll", "there are no training images to average")
    if not binarized(outcomes):
        return not_applicable("independent_pixels_nll", "pixels between 0 and 1 have no likelihood under a Bernoulli")
    nats = losses.independent_nats(outcomes.targets, losses.independent(train))
    fields: dict[str, Any] = {"unit": "nat", "higher_is_better": None, "params": likelihood(outcomes)}
    return stats.mean_measure("independent_pixels_nll", nats, seed=outcomes.seed, **fields)

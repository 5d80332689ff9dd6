"""Clean measures of autoencoders: bounds of the likelihood, what the code is used for, and what is made up from it.

All likelihoods are of Bernoulli pixels, and comparable among images that were binarised in one way only.
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
from suite.kinds.autoencoding.evidence import binarised, evidence_of, likelihood
from suite.kinds.autoencoding.rank_test import generated
from suite.kinds.base import Array, Outcomes
from suite.metrics import stats
from suite.metrics.stats import drawn, resampled
from suite.models.adapters.evidence import Evidence
from suite.types import Measure, not_applicable

GENERATED = 1000
"""Images that are made up for their quality, at most; no more than there are test images."""

ACTIVE = 0.01
"""Variance over images of a code's mean from which on it is in use (Burda et al. 2016)."""


AT_MEAN = "the decoder is asked at the code's mean: an estimate that bounds no likelihood; the ELBO and the NLL do"
"""What has to be said of the code length of a variational model."""


@metric(kind="autoencoding")
def code_length(outcomes: Outcomes) -> list[Measure]:
    """Bits per dimension that the code and the pixels given the code's mean cost, and the share of wrong pixels.

    The row says that it bounds no likelihood; params where it is something else than a length of Bernoulli pixels.
    """
    tally, kind = outcomes.kind.tally(outcomes.output, outcomes.targets), outcomes.kind
    params: dict[str, Any] = {} if binarised(outcomes) else likelihood(outcomes)
    told = AT_MEAN if outcomes.model.variational else "codes are points that cost nothing: this bounds no likelihood"
    wrong = kind.columns(outcomes)["pixel_error"]
    return [
        kind.headline_measure("code_length", tally, seed=outcomes.seed, params=params, reason=told),
        stats.mean_measure("pixel_error", wrong, seed=outcomes.seed, higher_is_better=False, params={"threshold": 0.5}),
    ]


@metric(kind="autoencoding")
def evidence(outcomes: Outcomes) -> list[Measure]:
    """Importance-weighted bound of -log p, evidence lower bound and its parts, beside independent pixels."""
    per_dimension = 1 / (math.prod(outcomes.targets.shape[1:]) * math.log(2))
    parts: dict[str, Callable[[Evidence], Any]] = {
        "importance_weighted_nll": lambda found: found.importance,
        "importance_weighted_bits": lambda found: found.importance * per_dimension,
        "elbo": lambda found: -found.negative_elbo,
        "negative_elbo_bits": lambda found: found.negative_elbo * per_dimension,
        "reconstruction": lambda found: found.reconstruction,
        "divergence": lambda found: found.divergence,
    }
    try:
        found, params = evidence_of(outcomes)
    except NotApplicableError as error:
        return [*(not_applicable(name, str(error)) for name in parts), independent_pixels(outcomes)]
    measures = []
    for name, part in parts.items():
        better = {"elbo": True, "reconstruction": None, "divergence": None}.get(name, False)
        unit = "bit per dimension" if name.endswith("_bits") else "nat"
        fields: dict[str, Any] = {"unit": unit, "higher_is_better": better, "params": params}
        measures.append(stats.mean_measure(name, part(found).cpu().numpy(), seed=outcomes.seed, **fields))
    return [*measures, independent_pixels(outcomes)]


@metric(kind="autoencoding")
def active_units(outcomes: Outcomes) -> list[Measure]:
    """How many numbers of the code differ from image to image."""
    if not outcomes.model.variational:
        return [not_applicable("active_units", "codes are points without a prior, so that their scale says nothing")]
    known = losses.answer(torch.from_numpy(outcomes.output), torch.from_numpy(outcomes.targets))
    mean, n = known.mean.double().numpy(), len(outcomes.output)
    params = {"latent": mean.shape[1], "threshold": ACTIVE}
    fields: dict[str, Any] = {"unit": "number of the code", "higher_is_better": None, "params": params}
    if n < 2:
        reason = "one image says nothing about how codes differ"
        return [Measure("active_units", None, None, None, n, "none", reason=reason, **fields)]
    return [resampled("active_units", lambda counts: active(mean, counts), n, seed=outcomes.seed, **fields)]


@metric(kind="autoencoding", name="autoencoding_samples")
def samples(outcomes: Outcomes) -> list[Measure]:
    """The quality of images drawn from the model."""
    from suite.kinds.synthesis.quality import NAMES, sample_quality_measures

    if not outcomes.model.variational:
        return [not_applicable(name, "a plain autoencoder has no prior to draw codes from") for name in NAMES]
    seed = seed_of("prior", "samples", str(outcomes.seed))
    count = min(GENERATED, len(outcomes.ids))
    images = generated(outcomes.model, count, seed) if binarised(outcomes) else outcomes.model.sample(count, seed)
    measures: list[Measure] = sample_quality_measures(outcomes, images, seed=outcomes.seed)
    return measures


def active(mean: Array, counts: Array | None = None) -> Array:
    """Return how many columns of codes' means (n, latent) vary by more than `ACTIVE`, for each resample, (r,)."""
    weights = drawn(counts, len(mean))
    whole = weights.sum(axis=1, keepdims=True)
    centred = mean - mean.mean(axis=0)
    first, second = weights @ centred / whole, weights @ np.square(centred) / whole
    return np.asarray(((second - first**2) * whole / (whole - 1) > ACTIVE).sum(axis=1), np.float64)


def independent_pixels(outcomes: Outcomes) -> Measure:
    """Return -log p of test images under independent pixels with the training images' means, in nats."""
    train = outcomes.data.train.targets
    if not len(train):
        return not_applicable("independent_pixels_nll", "there are no training images to take means of")
    if not binarised(outcomes):
        return not_applicable("independent_pixels_nll", "pixels between 0 and 1 have no likelihood under a Bernoulli")
    nats = losses.independent_nats(outcomes.targets, losses.independent(train))
    fields: dict[str, Any] = {"unit": "nat", "higher_is_better": None, "params": likelihood(outcomes)}
    return stats.mean_measure("independent_pixels_nll", nats, seed=outcomes.seed, **fields)

"""Calibration of autoencoders: of pixel probabilities and of latent distributions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import xlogy

from suite.data.digests import seed_of
from suite.errors import NotApplicableError
from suite.kinds.autoencoding.evidence import binarized, evidence_of
from suite.kinds.autoencoding.out_of_distribution import out_of_distribution_measures
from suite.kinds.autoencoding.rank_test import BINS, DRAWS, SIMULATIONS, rank_p_values, rank_spread, simulated_ranks
from suite.kinds.base import Array, Calibrated, Outcomes, Rescaling
from suite.kinds.classification.calibration import best_temperature, temperature_scaling
from suite.metrics import stats
from suite.metrics.calibration import Reliability
from suite.metrics.calibration.bins import BINNING, bin_index
from suite.metrics.stats import average, drawn, resampled
from suite.types import Measure, not_applicable

SAMPLE = 200_000
"""Maximum number of validation pixels that a temperature is fitted on."""

CONVENTION = "p(pixel = 1) at the mean of the image's own code"

SIGNIFICANT = 0.05
"""Adjusted p-value below which the ranks of a latent dimension are not uniform."""


@dataclass(frozen=True)
class PixelSums:
    """Sums over the pixels of each image: counts, probabilities and values by bin (n, bins); mean scores (n,)."""

    counts: Array
    predicted: Array
    true: Array
    nll: Array
    brier: Array

    @property
    def gaps(self) -> Array:
        """Sums of probability minus value, (n, bins)."""
        return np.asarray(self.predicted - self.true)


def pixel_sums(predicted: Array, logits: Array | None, targets: Array, bins: int) -> PixelSums:
    """Return the sums of images (n, c, h, w), one image at a time, so that they depend on neither batch nor order.

    Args:
        predicted: probabilities of pixels.
        logits: what they were computed from, for a likelihood that does not underflow; None for a mean of several.
        targets: pixel values in [0, 1].
        bins: number of probability bins.
    """
    rows = [
        _image_sums(predicted[row].ravel(), None if logits is None else logits[row].ravel(), targets[row].ravel(), bins)
        for row in range(len(predicted))
    ]
    return PixelSums(*(np.stack(part) for part in zip(*rows, strict=True)))


def _image_sums(predicted: Array, logits: Array | None, targets: Array, bins: int) -> tuple[Array, ...]:
    true = targets.astype(np.float64)
    keys = bin_index(predicted, bins)
    by_bin = [np.bincount(keys, weights, bins) for weights in (None, predicted, true)]
    if logits is None:
        with np.errstate(divide="ignore"):
            nll = -xlogy(true, predicted) - xlogy(1 - true, 1 - predicted)
    else:
        log_odds = logits.astype(np.float64)
        nll = np.logaddexp(0, log_odds) - true * log_odds
    return (*by_bin, np.asarray(nll.mean()), np.asarray(np.square(predicted - true).mean()))


def calibrated(
    predicted: Array, logits: Array | None, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int
) -> Calibrated:
    """Return the calibration of pixels: the binned error of p(pixel = 1), the negative log-likelihood, the Brier score.

    Whole images are resampled, since the pixels of an image are correlated.
    """
    sums, n = pixel_sums(predicted, logits, targets, bins), len(predicted)
    pixels = float(sums.counts[0].sum())

    def ece(counts: Array | None) -> Array:
        weights = drawn(counts, n)
        return np.asarray(np.abs(weights @ sums.gaps).sum(axis=1) / (pixels * weights.sum(axis=1)))

    common: dict[str, Any] = {"seed": seed, "higher_is_better": False}
    ece_params = {**params, "bins": bins, "binning": BINNING, "convention": CONVENTION, "pixels": int(pixels) * n}
    per_image = np.abs(sums.gaps).sum(axis=1) / pixels
    infinite = f"pixels of {int(np.isinf(sums.nll).sum())} images were given probability 0; the mean is infinite"
    measures = [
        resampled("pixel_ece", ece, n, recentred=True, params=ece_params, **common),
        resampled("nll", average(sums.nll), n, unit="nat per pixel", params=dict(params), why=infinite, **common),
        resampled("brier", average(sums.brier), n, unit="squared error", params=dict(params), **common),
        resampled("image_ece", average(per_image), n, params={**params, "bins": bins}, **common),
    ]
    reliability = Reliability(*(part.sum(axis=0) for part in (sums.counts, sums.predicted, sums.true)))
    return Calibrated(measures, {"image_ece": per_image}, reliability.diagram())


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits a sample of validation pixels; codes are left unchanged.

    It has no interval: the pixels of an image are correlated.

    Raises:
        NotApplicableError: pixels lie between 0 and 1, or no temperature is best.
    """
    size = int(np.prod(targets.shape[1:]))
    flat = targets.reshape(-1)
    if not np.isin(flat, (0, 1)).all():
        raise NotApplicableError("a temperature is fitted on pixels that are 0 or 1, and some lie between")
    logits = output[:, :size].reshape(-1)
    chosen = np.arange(flat.size)
    if flat.size > SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(flat.size, SAMPLE, replace=False, shuffle=False))
    pairs = np.stack([np.zeros(len(chosen)), logits[chosen]], axis=1)
    temperature = best_temperature(pairs, flat[chosen].astype(np.int64), "pixels")
    scaling = temperature_scaling(temperature, len(output))

    def apply(output: Array) -> Array:
        return np.concatenate([scaling.apply(output[:, :size]), output[:, size:]], axis=1)

    return Rescaling(apply, scaling.measure)


def uncertainty(outcomes: Outcomes) -> list[Measure]:
    """Return the calibration of latent distributions, and how well code lengths detect out-of-distribution images.

    The former is the gap between ELBO and importance-weighted bound, and a test of posterior ranks by simulation-based
    calibration (Talts et al. 2018): a code is drawn from the prior and an image from the code; if q(z | x) were the
    posterior, the code's rank among draws from it would be uniform. The test is about images that the model generates,
    not about the task's images.
    """
    names = ("elbo_gap", "latent_ranks_failed", "latent_rank_spread")
    detection = out_of_distribution_measures(outcomes)
    why = None if binarized(outcomes) else "pixels lie between 0 and 1, but the decoder generates only 0 and 1"
    if not outcomes.model.variational:
        why = "codes are points without a distribution, so that their calibration is undefined"
    if why is not None:
        return [*(not_applicable(name, why) for name in names), *detection]
    ranks = simulated_ranks(outcomes.model, SIMULATIONS, seed_of("calibration", "ranks", str(outcomes.seed)))
    return [_elbo_gap(outcomes), *_rank_measures(ranks, outcomes.seed), *detection]


def _elbo_gap(outcomes: Outcomes) -> Measure:
    evidence, params = evidence_of(outcomes)
    gaps = (evidence.negative_elbo - evidence.importance).cpu().numpy()
    fields: dict[str, Any] = {"unit": "nat", "higher_is_better": False, "params": params}
    return stats.mean_measure("elbo_gap", gaps, seed=outcomes.seed, **fields)


def _rank_measures(ranks: Array, seed: int) -> list[Measure]:
    adjusted = stats.holm(rank_p_values(ranks, DRAWS, BINS))
    params = {"simulations": len(ranks), "draws": DRAWS, "bins": BINS}
    failed = {**params, "test": "chi-square, Holm", "level": SIGNIFICANT, "smallest_p": float(np.min(adjusted))}
    return [
        stats.rate("latent_ranks_failed", np.asarray(adjusted) < SIGNIFICANT, higher_is_better=False, params=failed),
        stats.mean_measure(
            "latent_rank_spread", rank_spread(ranks, DRAWS), seed=seed, unit="ratio", higher_is_better=None,
            params={**params, "reading": "1 is calibrated, above is too narrow, below too wide"},
        ),
    ]  # fmt: skip

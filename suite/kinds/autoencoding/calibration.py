"""Calibration of autoencoders: of the probabilities of pixels, and of the distributions of codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import xlogy

from suite.data.digests import seed_of
from suite.errors import NotApplicableError
from suite.kinds.autoencoding.evidence import binarised, evidence_of
from suite.kinds.autoencoding.out_of_distribution import stranger_measures
from suite.kinds.autoencoding.rank_test import BINS, DRAWS, SIMULATIONS, rank_p_values, rank_spread, simulated_ranks
from suite.kinds.base import Array, Calibrated, Outcomes, Rescaling
from suite.kinds.classification.calibration import by_temperature
from suite.metrics import stats
from suite.metrics.calibration import Reliability, fit_temperature
from suite.metrics.calibration.bins import BINNING, bin_index
from suite.metrics.stats import Statistic, drawn, resampled
from suite.types import Measure, not_applicable

SAMPLE = 200_000
"""Validation pixels that a temperature is fitted on, at most."""

CONVENTION = "p(pixel = 1) at the mean of the image's own code"

SIGNIFICANT = 0.05
"""Adjusted chance below which the ranks of a number of the code are not uniform."""


@dataclass(frozen=True)
class PixelSums:
    """What is summed over each image's pixels: by bin (n, bins) counts, probabilities and values; and scores (n,)."""

    counts: Array
    said: Array
    true: Array
    nll: Array
    brier: Array

    @property
    def gaps(self) -> Array:
        """Sums of probability minus value, (n, bins)."""
        return np.asarray(self.said - self.true)


def pixel_sums(predicted: Array, logits: Array | None, targets: Array, bins: int) -> PixelSums:
    """Return the sums of images (n, c, h, w), image by image, so that neither batches nor order change them.

    Args:
        predicted: probabilities of pixels.
        logits: those they were made from, for a likelihood that does not round to 0; None for a mean of several.
        targets: pixels in [0, 1].
        bins: of probability.
    """
    rows = [
        _image_sums(predicted[row].ravel(), None if logits is None else logits[row].ravel(), targets[row].ravel(), bins)
        for row in range(len(predicted))
    ]
    return PixelSums(*(np.stack(part) for part in zip(*rows, strict=True)))


def _image_sums(said: Array, logits: Array | None, targets: Array, bins: int) -> tuple[Array, ...]:
    true = targets.astype(np.float64)
    keys = bin_index(said, bins)
    by_bin = [np.bincount(keys, weights, bins) for weights in (None, said, true)]
    if logits is None:
        with np.errstate(divide="ignore"):
            missed = -xlogy(true, said) - xlogy(1 - true, 1 - said)
    else:
        score = logits.astype(np.float64)
        missed = np.logaddexp(0, score) - true * score
    return (*by_bin, np.asarray(missed.mean()), np.asarray(np.square(said - true).mean()))


def calibrated(
    predicted: Array, logits: Array | None, targets: Array, *, seed: int, params: Mapping[str, Any], bins: int
) -> Calibrated:
    """Return the calibration of pixels: the error of p(pixel = 1) in bins, the likelihood and the squared error.

    Whole images are resampled, for the pixels of one go together.
    """
    sums, n = pixel_sums(predicted, logits, targets, bins), len(predicted)
    pixels = float(sums.counts[0].sum())

    def ece(counts: Array | None) -> Array:
        weights = drawn(counts, n)
        return np.asarray(np.abs(weights @ sums.gaps).sum(axis=1) / (pixels * weights.sum(axis=1)))

    common: dict[str, Any] = {"seed": seed, "higher_is_better": False}
    told = {**params, "bins": bins, "binning": BINNING, "convention": CONVENTION, "pixels": int(pixels) * n}
    per_image = np.abs(sums.gaps).sum(axis=1) / pixels
    infinite = f"pixels of {int(np.isinf(sums.nll).sum())} images were given probability 0; the mean is infinite"
    measures = [
        resampled("pixel_ece", ece, n, recentred=True, params=told, **common),
        resampled("nll", _mean(sums.nll), n, unit="nat per pixel", params=dict(params), why=infinite, **common),
        resampled("brier", _mean(sums.brier), n, unit="squared error", params=dict(params), **common),
        resampled("image_ece", _mean(per_image), n, params={**params, "bins": bins}, **common),
    ]
    state = Reliability(*(part.sum(axis=0) for part in (sums.counts, sums.said, sums.true)))
    return Calibrated(measures, {"image_ece": per_image}, state.diagram())


def _mean(values: Array) -> Statistic:
    finite, known = np.where(np.isfinite(values), values, 0.0), ~np.isfinite(values)

    def mean(counts: Array | None) -> Array:
        weights = drawn(counts, len(values))
        return np.where(weights @ known > 0, np.inf, weights @ finite / weights.sum(axis=1))

    return mean


def rescaling(output: Array, targets: Array) -> Rescaling:
    """Return the temperature that fits a sample of validation pixels; the code stays as it is.

    Its interval is left out: pixels of one image go together.

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
    fit = fit_temperature(pairs, flat[chosen].astype(np.int64))
    if not fit.converged:
        raise NotApplicableError(f"no temperature is best on {len(chosen)} validation pixels: {fit.reason}")
    whole = by_temperature(fit.value, None, None, len(output))

    def apply(given: Array) -> Array:
        return np.concatenate([whole.apply(given[:, :size]), given[:, size:]], axis=1)

    return Rescaling(apply, whole.measure)


def uncertainty(outcomes: Outcomes) -> list[Measure]:
    """Return what the distributions of codes are worth, and whether code lengths tell the task's images from others.

    The former are the gap they leave in the bound, and the test of their ranks.

    The test is simulation-based calibration (Talts et al. 2018): a code is drawn from the prior and an image from the
    code; if q(z | x) were the posterior, the code's rank among draws from it would be uniform. It tells of images that
    the model makes, and not of the task's.
    """
    names = ("elbo_gap", "latent_ranks_failed", "latent_rank_spread")
    strangers = stranger_measures(outcomes)
    why = None if binarised(outcomes) else "pixels lie between 0 and 1, and the decoder draws none such"
    if not outcomes.model.variational:
        why = "codes are points, without a distribution to be sure or unsure"
    if why is not None:
        return [*(not_applicable(name, why) for name in names), *strangers]
    seed = seed_of("calibration", "ranks", str(outcomes.seed))
    ranks = simulated_ranks(outcomes.model, SIMULATIONS, seed)
    return [_gap(outcomes), *_ranks(ranks, outcomes.seed), *strangers]


def _gap(outcomes: Outcomes) -> Measure:
    found, params = evidence_of(outcomes)
    gaps = (found.negative_elbo - found.importance).cpu().numpy()
    fields: dict[str, Any] = {"unit": "nat", "higher_is_better": False, "params": params}
    return stats.mean_measure("elbo_gap", gaps, seed=outcomes.seed, **fields)


def _ranks(ranks: Array, seed: int) -> list[Measure]:
    chances = rank_p_values(ranks, DRAWS, BINS)
    adjusted = stats.holm(chances)
    told = {"simulations": len(ranks), "draws": DRAWS, "bins": BINS}
    failed = {**told, "test": "chi-square, Holm", "level": SIGNIFICANT, "smallest_p": float(np.min(adjusted))}
    spread = rank_spread(ranks, DRAWS)
    return [
        stats.rate("latent_ranks_failed", np.asarray(adjusted) < SIGNIFICANT, higher_is_better=False, params=failed),
        stats.mean_measure(
            "latent_rank_spread", spread, seed=seed, unit="ratio", higher_is_better=None,
            params={**told, "reading": "1 is calibrated, above is too narrow, below too wide"},
        ),
    ]  # fmt: skip

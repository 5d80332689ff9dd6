"""Calibration of autoencoders: of pixel probabilities and of latent distributions."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.special import xlogy

from suite.data.digests import seed_of
from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.autoencoding.evidence import binarized, evidence_of, evidence_params, known_rows, subset_mean
from suite.kinds.autoencoding.out_of_distribution import AUROC, code_lengths_of_transforms, out_of_distribution_measures
from suite.kinds.autoencoding.rank_test import BINS, DRAWS, SIMULATIONS, rank_p_values, rank_spread, simulated_ranks
from suite.kinds.base import Array, Outcomes, Prediction, Rescaling
from suite.kinds.classification.calibration import best_temperature, temperature_scaling
from suite.metrics.calibration import Diagram, Reliability, summary
from suite.metrics.calibration.bins import BINNING, bin_index
from suite.metrics.calibration.events import uncertainty_columns
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import drawn, holm
from suite.metrics.table import Measured, Table
from suite.models.adapters.autoencoder import split_output
from suite.types import Measure

SAMPLE = 200_000
"""Maximum number of validation pixels that a temperature is fitted on."""

CONVENTION = "p(pixel = 1) at the mean of the image's own code"

SIGNIFICANT = 0.05
"""Adjusted p-value below which the ranks of a latent dimension are not uniform."""

PIXEL_ECE = Metric(
    "pixel_ece",
    "ECE of pixels",
    "mean gap between the predicted probability of a pixel and its value",
    higher_is_better=False,
    columns=uncertainty_columns("pixel ECE", "pixel"),
)
NLL = replace(summary.NLL, meaning="negative log-likelihood of the pixels, a proper scoring rule", unit="nat per pixel")
BRIER = summary.BRIER
IMAGE_ECE = Metric(
    "image_ece", "mean ECE per image", "ECE of the pixels of one image, averaged over images", higher_is_better=False
)
ELBO_GAP = Metric(
    "elbo_gap",
    "ELBO gap",
    "how far the ELBO lies below the importance-weighted bound, because the distributions of codes are no posteriors",
    unit="nat",
    higher_is_better=False,
    columns=(BoardColumn("ELBO gap"),),
)
RANKS_FAILED = Metric(
    "latent_ranks_failed",
    "latents that fail the rank test",
    "share of latent dimensions for which the true codes of generated images are no typical draws of the posterior",
    higher_is_better=False,
    columns=(BoardColumn("latents that fail the rank test"),),
    descriptive=("smallest_p",),
)
RANK_SPREAD = Metric(
    "latent_rank_spread",
    "spread of latent ranks",
    "spread of the ranks of true codes among draws of the posterior: 1 is calibrated, above is too narrow, below too "
    "wide",
    unit="ratio",
    higher_is_better=None,
)


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


def pixels_of(prediction: Prediction) -> Measured:
    """Return the sums of each image by bin, its scores and its ECE, and a reliability diagram of all pixels."""
    predicted, logits = prediction.predicted, None
    if prediction.output is not None:
        parts = split_output(torch.from_numpy(np.asarray(prediction.output)), int(np.prod(predicted.shape[1:])))
        logits = parts.logits.view(predicted.shape).numpy()
    sums = pixel_sums(predicted, logits, prediction.targets, prediction.bins)
    columns = {
        "bin_counts": sums.counts,
        "bin_predicted": sums.predicted,
        "bin_true": sums.true,
        "image_nll": sums.nll,
        "image_brier": sums.brier,
        "image_ece": np.abs(sums.gaps).sum(axis=1) / float(sums.counts[0].sum()),
    }
    reliability = Reliability(*(part.sum(axis=0) for part in (sums.counts, sums.predicted, sums.true)))
    return Measured(columns, sums={"reliability": Diagram(reliability, "pixels")})


@metric(
    kind="autoencoding", axis="calibration", per_method=True, entries=[PIXEL_ECE, NLL, BRIER, IMAGE_ECE],
    measure=pixels_of,
)  # fmt: skip
def autoencoding_calibration(table: Table) -> list[Measure]:
    """The binned error of p(pixel = 1), the negative log-likelihood, and the Brier score.

    Whole images are resampled, since the pixels of an image are correlated.
    """
    names = ("bin_counts", "bin_predicted", "bin_true", "image_nll", "image_brier")
    sums = PixelSums(*(table[name] for name in names))
    n, bins, gaps = len(sums.nll), table.facts["bins"], sums.gaps
    pixels = float(sums.counts[0].sum())

    def ece(counts: Array | None) -> Array:
        weights = drawn(counts, n)
        return np.asarray(np.abs(weights @ gaps).sum(axis=1) / (pixels * weights.sum(axis=1)))

    params = {"bins": bins, "binning": BINNING, "convention": CONVENTION, "pixels": int(pixels) * n}
    return [
        table.resampled(PIXEL_ECE, ece, n, recentred=True, params=params),
        _nll(table, sums.nll),
        table.mean(BRIER, sums.brier),
        table.mean(IMAGE_ECE, table["image_ece"], params={"bins": bins}),
    ]


def _nll(table: Table, losses: Array) -> Measure:
    """Return the mean of the images' losses (n,); undefined if one is infinite."""
    if infinite := int(np.isinf(losses).sum()):
        why = f"pixels of {infinite} images were given probability 0; the mean is infinite"
        return table.undefined(NLL, why, n=len(losses))
    return table.mean(NLL, losses)


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

    return replace(scaling, apply=apply)


def _check_posteriors(outcomes: Outcomes) -> None:
    """Raise NotApplicableError if the distributions of codes are no estimates of posteriors."""
    if not outcomes.model.variational:
        raise NotApplicableError("codes are points without a distribution, so that their calibration is undefined")
    if not binarized(outcomes):
        raise NotApplicableError("pixels lie between 0 and 1, but the decoder generates only 0 and 1")


def posterior_evidence(outcomes: Outcomes) -> Measured:
    """Return the terms of the bounds, see `evidence_of`."""
    _check_posteriors(outcomes)
    return evidence_of(outcomes)


@metric(kind="autoencoding", axis="calibration", entries=[ELBO_GAP], measure=posterior_evidence)
def elbo_gap(table: Table) -> list[Measure]:
    """The gap between the evidence lower bound and the importance-weighted bound."""
    names = ("evidence_reconstruction", "evidence_divergence", "evidence_importance")
    reconstruction, divergence, importance = (table[name] for name in names)
    gap, rows = reconstruction + divergence - importance, known_rows(table, names[0])
    return [subset_mean(table, ELBO_GAP, gap, rows, evidence_params(table))]


def posterior_ranks(outcomes: Outcomes) -> Measured:
    """Return the ranks of true codes among draws from the posteriors of simulated images, (simulations, latent)."""
    _check_posteriors(outcomes)
    ranks = simulated_ranks(outcomes.model, SIMULATIONS, seed_of("calibration", "ranks", str(outcomes.seed)))
    return Measured({"rank": ranks}, {"rank_draws": DRAWS}, population="simulated")


@metric(kind="autoencoding", axis="calibration", entries=[RANKS_FAILED, RANK_SPREAD], measure=posterior_ranks)
def latent_ranks(table: Table) -> list[Measure]:
    """A test of posterior ranks by simulation-based calibration (Talts et al. 2018).

    A code is drawn from the prior and an image from the code; if q(z | x) were the posterior, the code's rank among
    draws from it would be uniform. The test is about images that the model generates, not about the task's images.
    """
    ranks, draws = table.of("simulated", "rank"), table.facts["rank_draws"]
    adjusted = np.asarray(holm(rank_p_values(ranks, draws, BINS)))
    params = {"simulations": len(ranks), "draws": draws, "bins": BINS}
    table = table.of_others()
    test = {"test": "chi-square, Holm", "level": SIGNIFICANT, "smallest_p": float(np.min(adjusted))}
    reading = {"reading": "1 is calibrated, above is too narrow, below too wide"}
    return [
        table.rate(RANKS_FAILED, adjusted < SIGNIFICANT, params={**params, **test}),
        table.mean(RANK_SPREAD, rank_spread(ranks, draws), params={**params, **reading}),
    ]


@metric(kind="autoencoding", axis="calibration", entries=[AUROC], measure=code_lengths_of_transforms)
def out_of_distribution_auroc(table: Table) -> list[Measure]:
    """How well code lengths detect out-of-distribution images."""
    return out_of_distribution_measures(table)

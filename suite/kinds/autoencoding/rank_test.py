"""Simulation-based calibration of codes: the rank of a code among draws from the posterior of its image."""

from typing import Any

import numpy as np
import torch
from scipy.stats import chisquare
from torch import Tensor

from suite.errors import MeasureError
from suite.kinds.base import Array

SIMULATIONS, DRAWS, BINS = 500, 99, 10
"""Simulated images; posterior draws per image, which give 100 possible ranks; bins of 10 ranks each."""


def generated(model: Any, count: int, seed: int) -> Tensor:
    """Return images drawn from a variational model, each pixel 0 or 1, (count, c, h, w), on the model's device."""
    probabilities = model.sample(count, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.bernoulli(probabilities.cpu(), generator=generator).to(probabilities)


def simulated_ranks(model: Any, count: int, seed: int) -> Array:
    """Return how many of `DRAWS` draws from q(z | x) lie below the z that generated x, (count, latent)."""
    codes, images = model.prior(count, seed), generated(model, count, seed)
    with model.frozen(), torch.no_grad():
        mean, log_variance = model.code(images)
    generator = torch.Generator().manual_seed(seed + 2)
    noise = torch.randn(count, DRAWS, codes.shape[1], generator=generator).to(codes)
    draws = mean[:, None] + (log_variance / 2).exp()[:, None] * noise
    return np.asarray((draws < codes[:, None]).sum(dim=1).cpu().numpy())


def rank_p_values(ranks: Array, draws: int, bins: int) -> Array:
    """Return the p-values of chi-square tests that ranks are uniform, (latent,).

    Args:
        ranks: integers from 0 to `draws`, (count, latent).
        draws: number of draws that a code is ranked among.
        bins: number of equal bins of the draws + 1 possible ranks.

    Raises:
        MeasureError: the bins would not be equal, or fewer than 5 ranks are expected in a bin.
    """
    if (draws + 1) % bins or len(ranks) < 5 * bins:
        raise MeasureError(
            f"{len(ranks)} ranks among {draws} draws in {bins} bins; expected draws + 1 to be a multiple of bins, and "
            "5 ranks or more for each bin. Simulate more."
        )
    width = (draws + 1) // bins
    counts = [np.bincount(column // width, minlength=bins) for column in ranks.T]
    return np.array([chisquare(count).pvalue for count in counts])


def rank_spread(ranks: Array, draws: int) -> Array:
    """Return the squared deviation of each simulation's ranks from the middle, relative to uniform ranks, (n,).

    It is averaged over latent dimensions. Its expectation is 1 for calibrated posteriors, above 1 for posteriors that
    are too narrow, and below 1 for posteriors that are too wide.
    """
    expected = ((draws + 1) ** 2 - 1) / 12
    return np.asarray(np.square(ranks - draws / 2).mean(axis=1) / expected)

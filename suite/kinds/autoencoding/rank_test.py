"""Simulation-based calibration of codes: where a code ranks among draws from its own image's posterior."""

from typing import Any

import numpy as np
import torch
from scipy.stats import chisquare
from torch import Tensor

from suite.errors import MeasureError
from suite.kinds.base import Array
from suite.models.base import BATCH_MULTIPLE

SIMULATIONS, DRAWS, BINS = 500, 99, 10
"""Images that are made up; draws from the posterior of each, so that there are 100 ranks; bins of 10 of them."""


def generated(model: Any, count: int, seed: int) -> Tensor:
    """Return images drawn from a variational model, each pixel 0 or 1, (count, c, h, w), on the model's device."""
    chances = model.sample(count, seed)
    source = torch.Generator().manual_seed(seed + 1)
    return torch.bernoulli(chances.cpu(), generator=source).to(chances)


def simulated_ranks(model: Any, count: int, seed: int) -> Array:
    """Return how many of `DRAWS` draws from q(z | x) lie below the z that x was made from, (count, latent)."""
    codes, images = model.prior(count, seed), generated(model, count, seed)
    with model.frozen(), torch.no_grad():
        found = [model.code(chunk) for chunk in torch.split(images, BATCH_MULTIPLE)]
    mean, log_variance = (torch.cat(part) for part in zip(*found, strict=True))
    source = torch.Generator().manual_seed(seed + 2)
    noise = torch.randn(count, DRAWS, codes.shape[1], generator=source).to(codes)
    drawn = mean[:, None] + (log_variance / 2).exp()[:, None] * noise
    return np.asarray((drawn < codes[:, None]).sum(dim=1).cpu().numpy())


def rank_p_values(ranks: Array, draws: int, bins: int) -> Array:
    """Return the chance of ranks at least as uneven if they were uniform, by a chi-square test, (latent,).

    Args:
        ranks: whole numbers from 0 to `draws`, (count, latent).
        draws: number of draws that a rank is among.
        bins: that the draws + 1 ranks are shared out to evenly.

    Raises:
        MeasureError: the ranks cannot be shared out evenly, or fewer than 5 are expected in a bin.
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
    """Return the squared distance of each simulation's ranks from the middle, over that of uniform ones, (n,).

    The mean is 1 where posteriors are calibrated, above it where they are too narrow, and below it where they are too
    wide. Averaged over the numbers of a code.
    """
    expected = ((draws + 1) ** 2 - 1) / 12
    return np.asarray(np.square(ranks - draws / 2).mean(axis=1) / expected)

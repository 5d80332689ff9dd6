"""Drops of the score when features are deleted: comprehensiveness and sufficiency (DeYoung et al. 2020)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from suite.attributions.features.methods import Features
from suite.attributions.maps.cells import rank_cells
from suite.attributions.maps.draws import generator

ORDERS = 10
"""Number of random orders whose mean is the control; a single order of few features is noisy."""


def feature_counts(present: Tensor, fractions: Sequence[float]) -> Tensor:
    """Return the number of features in each fraction of the present ones, rounded up, at least 1, (n, fractions)."""
    have = present.sum(dim=1, keepdim=True).double()
    shares = torch.tensor(list(fractions), dtype=torch.float64, device=present.device)
    # Products such as 0.2 * 15 are whole numbers up to rounding.
    return (have * shares - 1e-9).ceil().long().clamp_min(1)


def ranked(values: Tensor, present: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the rank of each feature by descending value, 0 for the most important; absent features come last.

    Args:
        values: attributions (n, features).
        present: bool (n, features).
        seeds: one per sample, for the order of ties.
    """
    ranks = rank_cells(values.double().masked_fill(~present, 0.0), seeds)
    ranks = ranks + (~present).long() * values.shape[1]
    return ranks.argsort(dim=1).argsort(dim=1)


def random_values(features: Features, draw: int) -> Tensor:
    """Return values that rank features at random, (n, features)."""
    width = features.present.shape[1]
    drawn = [torch.rand(width, generator=generator(seed, f"order {draw}")) for seed in features.seeds]
    return torch.stack(drawn).double().to(features.present.device)


def recent_values(features: Features) -> Tensor:
    """Return values that rank the last feature first, (n, features)."""
    present = features.present
    return torch.arange(present.shape[1], dtype=torch.float64, device=present.device).expand(present.shape)


def score_drops(features: Features, ranks: Tensor, fractions: Sequence[float]) -> Tensor:
    """Return the drop of the score without the first features of an order, and with these alone.

    Args:
        features: the explained samples.
        ranks: rank of each feature (..., n, features), from `ranked`; several orders share full batches.
        fractions: fractions of the present features.

    Returns:
        float64 (..., 2, n, fractions).
    """
    present = features.present
    first = ranks[..., None, :] < feature_counts(present, fractions)[..., None]
    absent = ~present[:, None]
    kept = torch.stack([~first | absent, first | absent], dim=-4)
    samples = torch.arange(len(present), device=present.device)[:, None].expand(kept.shape[:-1])
    scores = features.scores(kept.flatten(0, -2), samples.flatten())
    return features.whole[:, None] - scores.reshape(kept.shape[:-1])


def emptied(features: Features) -> Tensor:
    """Return the drop of the score when every feature is deleted, (n,)."""
    present = features.present
    return features.whole - features.scores(~present, torch.arange(len(present), device=present.device))

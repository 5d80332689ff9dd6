"""What deleting features in some order does to the score: comprehensiveness and sufficiency (DeYoung et al. 2020)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from suite.attributions.features.methods import Features
from suite.attributions.maps.cells import rank_cells
from suite.attributions.maps.explained import generator

ORDERS = 10
"""Random orders whose mean is the control: a single one of so few features would be noise."""


class Falls(NamedTuple):
    """How far the score of each sample falls, by share of its features.

    Attributes:
        without: without the most important features, (n, fractions).
        alone: with nothing but them, (n, fractions).
    """

    without: Tensor
    alone: Tensor


def counted(present: Tensor, fractions: Sequence[float]) -> Tensor:
    """Return how many features a share of the present ones is, rounded up and at least 1, int64 (n, fractions)."""
    have = present.sum(dim=1, keepdim=True).double()
    shares = torch.tensor(list(fractions), dtype=torch.float64, device=present.device)
    # What is a whole number but for rounding, as 0.2 * 15, is that number.
    return (have * shares - 1e-9).ceil().long().clamp_min(1)


def ranked(values: Tensor, present: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the rank of each feature by falling value, 0 for the most important; what is absent comes last.

    Args:
        values: attributions (n, features).
        present: bool (n, features).
        seeds: decide about ties, one per sample.
    """
    ranks = rank_cells(values.double().masked_fill(~present, 0.0), seeds)
    ranks = ranks + (~present).long() * values.shape[1]
    return ranks.argsort(dim=1).argsort(dim=1)


def random_values(features: Features, draw: int) -> Tensor:
    """Return values that rank features by chance, (n, features); the same for all methods of a sample."""
    width = features.present.shape[1]
    drawn = [torch.rand(width, generator=generator(seed, f"order {draw}")) for seed in features.seeds]
    return torch.stack(drawn).double().to(features.present.device)


def recent_values(features: Features) -> Tensor:
    """Return values that rank the last feature first, (n, features)."""
    present = features.present
    return torch.arange(present.shape[1], dtype=torch.float64, device=present.device).expand(present.shape)


def falls(features: Features, ranks: Tensor, fractions: Sequence[float]) -> Falls:
    """Return how far the score falls without, and with nothing but, the first features of an order.

    Args:
        features: the explained samples.
        ranks: rank of each feature (n, features), from `ranked`.
        fractions: shares of the present features.
    """
    present = features.present
    first = ranks[:, None] < counted(present, fractions)[..., None]
    absent = ~present[:, None]
    kept = torch.stack([~first | absent, first | absent])
    whole = features.scores(torch.ones_like(present), torch.arange(len(present), device=present.device))
    left = _scored(features, kept)
    return Falls(*(whole[:, None] - left))


def emptied(features: Features) -> Tensor:
    """Return how far the score falls when every feature is deleted, (n,)."""
    present = features.present
    everyone = torch.arange(len(present), device=present.device)
    return features.scores(torch.ones_like(present), everyone) - features.scores(~present, everyone)


def _scored(features: Features, kept: Tensor) -> Tensor:
    """Return the scores of (2, n, fractions, features) kept features; equal questions are asked once."""
    ways, count, shares, width = kept.shape
    samples = torch.arange(count).repeat(ways).repeat_interleave(shares)
    bits = np.packbits(kept.reshape(-1, width).cpu().numpy(), axis=1)
    keys = np.concatenate([samples.numpy().astype(">u4").view(np.uint8).reshape(-1, 4), bits], axis=1)
    _, first, inverse = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    asked = torch.from_numpy(first).to(kept.device)
    scores = features.scores(kept.reshape(-1, width)[asked], samples.to(kept.device)[asked])
    return scores[torch.from_numpy(inverse.reshape(-1)).to(kept.device)].reshape(ways, count, shares)

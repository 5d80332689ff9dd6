"""Where real images lie among the features of a judge: in balls round training images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from suite.data import Split
from suite.kinds.base import Array
from suite.kinds.synthesis.judge import ASKED, Judge, judge_of
from suite.metrics.generation import radii

REAL, K = 2000, 3
"""Training images that span the manifold, and the neighbour that a ball reaches to."""

WIDEST = 0.9
"""Quantile of the radii above which balls are left out: they reach into the void, where anything at all would pass for
real (Kynkäänniemi et al. 2019 leave out half for their realism score)."""


@dataclass(frozen=True)
class Manifold:
    """Where real images lie among the features of a judge.

    Attributes:
        judge: tells features.
        centres: features of real images, (n, features).
        reach: radii of the balls round them, (n,).
    """

    judge: Judge
    centres: Tensor
    reach: Tensor

    @classmethod
    def of(cls, train: Split) -> Self:
        """Return the manifold of training images.

        Raises:
            NotApplicableError: there is nothing that a judge could learn from.
        """
        judge = judge_of(train)
        centres = judge.seen(train.few(REAL).pixels())
        reach = radii(centres, K)
        kept = reach <= np.quantile(reach, WIDEST)
        return cls(judge, torch.from_numpy(centres[kept]).float(), torch.from_numpy(reach[kept]).float())

    def on(self, device: torch.device) -> Manifold:
        """Return the manifold on a device."""
        return Manifold(self.judge.on(device), self.centres.to(device), self.reach.to(device))

    def gaps(self, images: Tensor) -> Tensor:
        """Return how far images (m, c, h, w) are outside of each ball, (m, n); below 0 inside."""
        # Not by a matrix product, whose last bits would depend on how many images are asked about.
        distances = torch.cdist(self.judge.features(images), self.centres, compute_mode="donot_use_mm_for_euclid_dist")
        return distances - self.reach

    def seen(self, images: Tensor | Array) -> Array:
        """Return how far many images are outside of the manifold, float64 (m,)."""
        shown = torch.as_tensor(images)
        with torch.no_grad():
            parts = [self.gaps(shown[start : start + ASKED]).amin(dim=1) for start in range(0, len(shown), ASKED)]
        return np.asarray(torch.cat(parts).double().numpy()) if parts else np.zeros(0)
